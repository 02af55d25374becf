/** Undo over HTTP: ask for one, see which links it holds, let them go. */
import { z } from 'zod';
import type { RunId, UserId } from '../../core/ids.ts';
import { route, type Route } from '../../platform/route.ts';
import { full, reachedRun, runBody, runParams, textOrNull, view, type RoutesDeps } from '../route-parts.ts';

const heldLinkBody = z.object({
  connectionId: z.string(),
  connectionName: z.string(),
  anchor: z.string(),
  subject: z.string(),
  userId: textOrNull,
  heldRunId: textOrNull,
  reason: textOrNull,
  since: z.string(),
});

const maxListed = 1000;

export function undoRoutes(deps: RoutesDeps): Route[] {
  return [undoRoute(deps), ...linkRoutes(deps)];
}

function undoRoute(deps: RoutesDeps): Route {
  const { reconciliation, dispatch } = deps;
  return route({
    method: 'post',
    path: '/runs/:runId/undo',
    summary:
      'Plan the undo of a run, or of what it did to one user or in one request; apply goes on where nothing holds it. The same undo waiting already: the new run ends superseded, and counts.sameAs names the one to approve.',
    permission: full,
    params: runParams,
    body: z.strictObject({
      userId: z.uuid().optional(),
      requestId: z.uuid().optional(),
      since: z.iso
        .datetime({ offset: true })
        .optional()
        .describe('Only what was done from then on; of a day of pushes.'),
      apply: z.boolean().default(false),
      keepRunning: z.boolean().default(false).describe('Of a part: the connection is not paused, its links are held.'),
    }),
    response: runBody,
    status: 202,
    handler: async ({ params, body }, { principal }) => {
      const { tenantId, actor } = principal;
      const undoOf = await reachedRun(deps, principal, params);
      const runId = await reconciliation.requestUndo({
        tenantId,
        runId: undoOf,
        requestedBy: actor,
        mode: body.apply ? 'auto' : 'plan',
        userId: body.userId as UserId | undefined,
        requestId: body.requestId,
        since: body.since,
        keepsRunning: body.keepRunning,
      });
      const run = await reconciliation.getRun(tenantId, runId);
      await dispatch({ tenantId, runId, connectionId: run.connectionId });
      return run;
    },
  });
}

function linkRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    route({
      method: 'get',
      path: '/links',
      summary: 'Links that an undo holds.',
      permission: view,
      response: z.object({ items: z.array(heldLinkBody) }),
      handler: async (_input, { principal }) => {
        const connectionIds = await reconciliation.reach.connections(principal);
        return { items: await reconciliation.listHeldLinks(principal.tenantId, { connectionIds }, maxListed) };
      },
    }),
    route({
      method: 'post',
      path: '/links/release',
      summary: 'Let held links go, of one undo or of one user: the next run decides about their users again.',
      permission: full,
      body: z.strictObject({ runId: z.uuid().optional(), userId: z.uuid().optional() }),
      response: z.object({ released: z.int() }),
      handler: async ({ body }, { principal }) => {
        const released = await reconciliation.releaseLinks(principal.actor, principal.tenantId, {
          runId: body.runId as RunId | undefined,
          userId: body.userId as UserId | undefined,
          connectionIds: await reconciliation.reach.connections(principal),
        });
        return { released };
      },
    }),
  ];
}
