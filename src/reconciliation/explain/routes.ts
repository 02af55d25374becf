/** Explanations over HTTP, and provisioning one user on demand. */
import { z } from 'zod';
import type { ConnectionId, UserId } from '../../core/ids.ts';
import { requireId } from '../../core/require-id.ts';
import { route, type Route } from '../../platform/route.ts';
import { connectionParams, facts, full, textOrNull, view, type RoutesDeps } from '../route-parts.ts';
import { explainSteps } from './explain-object.ts';

export const objectBody = z.object({
  connectionId: z.string(),
  connectionName: z.string(),
  anchor: z.string(),
  name: z.string(),
  locator: textOrNull,
  userId: textOrNull,
  steps: z
    .array(
      z.object({
        step: z.enum(explainSteps),
        input: z.string(),
        rule: z.string(),
        ruleVersion: z.int().describe('Version of the connection whose document holds the rule.'),
        outcome: z.string(),
        lines: z
          .array(z.object({ what: z.string(), input: textOrNull, rule: textOrNull, outcome: z.string() }))
          .readonly(),
      }),
    )
    .readonly(),
});

export const reference = z
  .string()
  .min(1)
  .max(500)
  .describe('Immutable id, username, e-mail address, full name or place.');

export function explainRoutes(deps: RoutesDeps): Route[] {
  const { reconciliation } = deps;
  return [
    route({
      method: 'get',
      path: '/users/:userId/explanation',
      summary: 'Which object, rule and run led to each value of a user.',
      permission: view,
      params: z.strictObject({ userId: z.string() }),
      response: facts,
      handler: async ({ params }, { principal }) => {
        const userId = requireId<UserId>(params.userId, 'user');
        await reconciliation.reach.requireUser(principal, userId);
        return reconciliation.explainUser(principal.tenantId, userId);
      },
    }),
    route({
      method: 'get',
      path: '/connections/:connectionId/objects/explanation',
      summary:
        'What each step makes of a directory object, linked or not, and what the next run would do. Changes nothing.',
      permission: view,
      params: connectionParams,
      query: z.strictObject({ object: reference }),
      response: objectBody,
      handler: async ({ params, query }, { principal }) => {
        const id = requireId<ConnectionId>(params.connectionId, 'connection');
        await reconciliation.reach.requireConnection(principal, id);
        return reconciliation.explainObject(principal.tenantId, id, query.object);
      },
    }),
    provision(deps),
    unmappedGroups(deps),
  ];
}

function provision({ reconciliation }: RoutesDeps): Route {
  return route({
    method: 'post',
    path: '/connections/:connectionId/provision',
    summary: 'Reads one user from the directory now, decides and applies it, as a run of its own.',
    permission: full,
    params: connectionParams,
    body: z.strictObject({ object: reference }),
    response: z.object({
      runId: z.string(),
      status: z.enum(['succeeded', 'partly', 'held']),
      isChanged: z.boolean(),
      changes: z.array(facts).readonly(),
      explanation: objectBody,
    }),
    handler: async ({ params, body }, { principal, signal }) => {
      const connectionId = requireId<ConnectionId>(params.connectionId, 'connection');
      await reconciliation.reach.requireConnection(principal, connectionId);
      const { tenantId, actor } = principal;
      return reconciliation.provisionObject({ tenantId, connectionId, reference: body.object, actor, signal });
    },
  });
}

function unmappedGroups({ reconciliation }: RoutesDeps): Route {
  return route({
    method: 'get',
    path: '/unmapped-groups',
    summary: 'Groups that no role mapping names, with their direct members counted, the largest first.',
    permission: view,
    query: z.strictObject({
      connectionId: z.string().optional(),
      limit: z.coerce.number().int().min(1).max(1_000).default(200),
    }),
    response: z.object({
      items: z.array(
        z.object({
          connectionId: z.string(),
          connectionName: z.string(),
          anchor: z.string(),
          name: z.string(),
          locator: textOrNull,
          members: z.int(),
          isNested: z.boolean().describe('It lies below a mapped group, so its members have a role through that one.'),
        }),
      ),
    }),
    handler: async ({ query }, { principal }) => {
      const inReach = await reconciliation.reach.connections(principal);
      const connectionIds =
        query.connectionId === undefined
          ? inReach
          : [requireId<ConnectionId>(query.connectionId, 'connection')].filter((id) => inReach.includes(id));
      const items = await reconciliation.listUnmappedGroups(principal.tenantId, {
        connectionIds,
        limit: query.limit,
      });
      return { items };
    },
  });
}
