/** Runs, their changes, and a person's word on a plan that waits. */
import { z } from 'zod';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { requireId } from '../../core/require-id.ts';
import { grantableRoles } from '../../core/roles.ts';
import { changeClasses, changeKinds, changeOps, changeStates, runStatuses } from '../../core/vocabulary.ts';
import { pageOf, pageQuery, cutPage, decodeCursor } from '../../platform/page.ts';
import { route, type Principal, type Route } from '../../platform/route.ts';
import { eventRoutes } from './event-routes.ts';
import { exportRoutes } from './export-routes.ts';
import { historyRoutes } from './history-routes.ts';
import { facts, full, reachedRun, runBody, runParams, textOrNull, view, type RoutesDeps } from '../route-parts.ts';

const changeBody = z.object({
  seq: z.int(),
  class: z.enum(changeClasses),
  op: z.enum(changeOps),
  kind: z.enum(changeKinds),
  state: z.enum(changeStates),
  subject: z.string(),
  userId: textOrNull,
  anchor: textOrNull,
  organizationId: textOrNull,
  role: z.enum(grantableRoles).nullable(),
  before: facts.nullable(),
  after: facts.nullable(),
  reason: z.string(),
  cause: z.string(),
  error: textOrNull,
  appliedAt: textOrNull,
});

export function runRoutes(deps: RoutesDeps): Route[] {
  return [
    ...listRoutes(deps),
    ...eventRoutes(deps),
    ...exportRoutes(deps),
    ...historyRoutes(deps),
    ...changeRoutes(deps),
    ...actionRoutes(deps),
  ];
}

function listRoutes(deps: RoutesDeps): Route[] {
  const { reconciliation } = deps;
  return [
    route({
      method: 'get',
      path: '/runs',
      summary: 'Runs, newest first.',
      permission: view,
      query: z.strictObject({
        ...pageQuery,
        connectionId: z.string().optional(),
        status: z.enum(runStatuses).optional(),
      }),
      response: pageOf(runBody),
      handler: async ({ query }, { principal }) => {
        const after = decodeCursor(query.cursor, z.tuple([z.uuid()]));
        const runs = await reconciliation.listRuns(principal.tenantId, {
          limit: query.limit + 1,
          connectionIds: await reconciliation.reach.connections(principal),
          ...(query.connectionId === undefined
            ? {}
            : { connectionId: requireId<ConnectionId>(query.connectionId, 'connection') }),
          ...(query.status === undefined ? {} : { status: query.status }),
          ...(after === null ? {} : { before: after[0] }),
        });
        return cutPage(
          runs,
          query.limit,
          (run) => [run.id],
          (run) => run,
        );
      },
    }),
    route({
      method: 'get',
      path: '/runs/:runId',
      summary: 'One run.',
      permission: view,
      params: runParams,
      response: runBody,
      handler: async ({ params }, { principal }) => {
        const runId = await reachedRun(deps, principal, params);
        return reconciliation.getRun(principal.tenantId, runId);
      },
    }),
  ];
}

function changeRoutes(deps: RoutesDeps): Route[] {
  const { reconciliation } = deps;
  return [
    route({
      method: 'get',
      path: '/runs/:runId/changes',
      summary: 'The change rows of a run: the plan, and what became of each.',
      permission: view,
      params: runParams,
      query: z.strictObject({
        ...pageQuery,
        kind: z.enum(changeKinds).optional(),
        state: z.enum(changeStates).optional(),
      }),
      response: pageOf(changeBody),
      handler: async ({ params, query }, { principal }) => {
        const after = decodeCursor(query.cursor, z.tuple([z.int()]));
        const runId = await reachedRun(deps, principal, params);
        const changes = await reconciliation.listChanges(principal.tenantId, {
          runId,
          limit: query.limit + 1,
          ...(query.kind === undefined ? {} : { kind: query.kind }),
          ...(query.state === undefined ? {} : { state: query.state }),
          ...(after === null ? {} : { afterSeq: after[0] }),
        });
        return cutPage(
          changes,
          query.limit,
          (change) => [change.seq],
          (change) => change,
        );
      },
    }),
  ];
}

function actionRoutes(deps: RoutesDeps): Route[] {
  const { reconciliation, dispatch } = deps;
  return [
    route({
      method: 'post',
      path: '/runs/:runId/approve',
      summary: 'Approve the waiting plan of this digest; it is applied once everybody has who must (see approvals).',
      permission: full,
      params: runParams,
      body: z.strictObject({ digest: z.string().min(1) }),
      response: runBody,
      status: 202,
      handler: async ({ params, body }, { principal }) => {
        const runId = await reachedRun(deps, principal, params);
        const { isQueued } = await reconciliation.approveRun(principal.tenantId, runId, {
          actor: principal.actor,
          digest: body.digest,
        });
        const run = await reconciliation.getRun(principal.tenantId, runId);
        if (isQueued) await dispatch({ tenantId: principal.tenantId, runId, connectionId: run.connectionId });
        return run;
      },
    }),
    runAction(deps, 'discard', 'Throw the waiting plan away.', ({ tenantId, actor }, runId) =>
      reconciliation.discardRun(tenantId, runId, actor),
    ),
    runAction(deps, 'cancel', 'Stop a queued or running run; it writes nothing more.', ({ tenantId, actor }, runId) =>
      reconciliation.cancelRun(tenantId, runId, actor),
    ),
  ];
}

/** What a person does to a run without more words; answers the run as it stands then. */
function runAction(
  deps: RoutesDeps,
  name: 'discard' | 'cancel',
  summary: string,
  act: (principal: Principal, runId: RunId) => Promise<unknown>,
): Route {
  return route({
    method: 'post',
    path: `/runs/:runId/${name}`,
    summary,
    permission: full,
    params: runParams,
    response: runBody,
    handler: async ({ params }, { principal }) => {
      const runId = await reachedRun(deps, principal, params);
      await act(principal, runId);
      return deps.reconciliation.getRun(principal.tenantId, runId);
    },
  });
}
