/** Connections over HTTP, and starting their runs. */
import { z } from 'zod';
import type { ConnectionId } from '../../core/ids.ts';
import { requireId } from '../../core/require-id.ts';
import { grantableRoles } from '../../core/roles.ts';
import { connectionKinds, connectionStatuses, runModes } from '../../core/vocabulary.ts';
import { route, type Principal, type Route } from '../../platform/route.ts';
import { objectBody, reference } from '../explain/routes.ts';
import { connectionParams, facts, full, runBody, textOrNull, view, type RoutesDeps } from '../route-parts.ts';

const connectionBody = z.object({
  id: z.string(),
  organizationId: z.string(),
  kind: z.enum(connectionKinds),
  name: z.string(),
  status: z.enum(connectionStatuses),
  statusReason: textOrNull,
  statusText: textOrNull.describe('Status, reason and what comes next in a sentence; null while all is well.'),
  failedRuns: z.int().describe('Runs in a row that failed.'),
  quarantinedAt: textOrNull,
  cron: textOrNull,
  timeZone: z.string(),
  nextRunAt: textOrNull,
  priority: z.int(),
  ceiling: z.enum(grantableRoles),
  version: z.int(),
  lastFullAt: textOrNull,
});

const previewBody = objectBody.extend({
  source: facts.describe('As the directory said it last.'),
  mapped: z.record(z.string(), textOrNull),
  isInScope: z.boolean(),
  problem: textOrNull,
  predicates: z.array(z.string()).readonly().describe('Role predicates that hold.'),
  unread: z.array(z.string()).readonly().describe('Attributes that the document reads and the last read did not.'),
});

function preview({ reconciliation }: RoutesDeps): Route {
  return route({
    method: 'post',
    path: '/connections/:connectionId/preview',
    summary: 'What the rules, or those of a document that is not saved, make of one object. Nothing is written.',
    permission: full,
    params: connectionParams,
    body: z.strictObject({ object: reference, document: z.unknown().optional() }),
    response: previewBody,
    handler: async ({ params, body }, { principal }) => {
      const connectionId = requireId<ConnectionId>(params.connectionId, 'connection');
      await reconciliation.reach.requireConnection(principal, connectionId);
      return reconciliation.previewObject(principal.tenantId, { connectionId, ...body });
    },
  });
}

export function connectionRoutes(deps: RoutesDeps): Route[] {
  const { reconciliation, dispatch } = deps;
  return [
    preview(deps),
    route({
      method: 'get',
      path: '/connections',
      summary: 'Connections of the tenant.',
      permission: view,
      response: z.object({ items: z.array(connectionBody) }),
      handler: async (_input, { principal }) => {
        const inReach = new Set(await reconciliation.reach.connections(principal));
        const all = await reconciliation.listConnections(principal.tenantId);
        return { items: all.filter((connection) => inReach.has(connection.id)) };
      },
    }),
    route({
      method: 'get',
      path: '/connections/:connectionId',
      summary: 'One connection with its document; secrets are never shown.',
      permission: view,
      params: connectionParams,
      response: connectionBody.extend({ document: facts }),
      handler: async ({ params }, { principal }) => {
        const id = requireId<ConnectionId>(params.connectionId, 'connection');
        await reconciliation.reach.requireConnection(principal, id);
        const connection = await reconciliation.findConnection(principal.tenantId, id);
        return { ...connection, document: await reconciliation.exportConnection(principal.tenantId, id) };
      },
    }),
    ...standingRoutes({ reconciliation, dispatch }),
    route({
      method: 'post',
      path: '/connections/:connectionId/runs',
      summary: 'Start a run; mode plan stops before the first write.',
      permission: full,
      params: connectionParams,
      body: z.strictObject({ mode: z.enum(runModes).default('auto'), read: z.enum(['full', 'delta']).default('full') }),
      response: runBody,
      status: 202,
      handler: async ({ params, body }, { principal }) => {
        const connectionId = requireId<ConnectionId>(params.connectionId, 'connection');
        const { tenantId, actor } = principal;
        await reconciliation.reach.requireConnection(principal, connectionId);
        const runId = await reconciliation.requestRun({ tenantId, connectionId, requestedBy: actor, ...body });
        await dispatch({ tenantId, runId, connectionId });
        return reconciliation.getRun(tenantId, runId);
      },
    }),
  ];
}

/** Pause, resume, and a try of what is in quarantine. */
function standingRoutes({ reconciliation, dispatch }: RoutesDeps): Route[] {
  const find = async (params: { connectionId: string }, principal: Principal): Promise<ConnectionId> => {
    const id = requireId<ConnectionId>(params.connectionId, 'connection');
    await reconciliation.reach.requireConnection(principal, id);
    return id;
  };
  return [
    route({
      method: 'post',
      path: '/connections/:connectionId/pause',
      summary: 'Stop scheduled runs, and the one under way at its next chunk.',
      permission: full,
      params: connectionParams,
      body: z.strictObject({ reason: z.string().trim().min(1).max(500) }),
      response: connectionBody,
      handler: async ({ params, body }, { principal }) => {
        const id = await find(params, principal);
        await reconciliation.pauseConnection(principal.actor, principal.tenantId, id, body.reason);
        return reconciliation.findConnection(principal.tenantId, id);
      },
    }),
    route({
      method: 'post',
      path: '/connections/:connectionId/resume',
      summary: 'Let scheduled runs happen again, after a pause or a quarantine.',
      permission: full,
      params: connectionParams,
      response: connectionBody.extend({
        heldLinks: z.int().describe('No run touches their users: an undo holds them.'),
      }),
      handler: async ({ params }, { principal }) => {
        const id = await find(params, principal);
        const resumed = await reconciliation.resumeConnection(principal.actor, principal.tenantId, id);
        return { ...(await reconciliation.findConnection(principal.tenantId, id)), ...resumed };
      },
    }),
    route({
      method: 'post',
      path: '/connections/:connectionId/retry',
      summary: 'Try a connection in quarantine now; a run that succeeds ends the quarantine.',
      permission: full,
      params: connectionParams,
      response: runBody,
      status: 202,
      handler: async ({ params }, { principal }) => {
        const connectionId = await find(params, principal);
        const { tenantId, actor } = principal;
        const runId = await reconciliation.retryConnection({ tenantId, connectionId, requestedBy: actor });
        await dispatch({ tenantId, runId, connectionId });
        return reconciliation.getRun(tenantId, runId);
      },
    }),
  ];
}
