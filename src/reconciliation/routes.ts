/** reconciliation/routes: connections, runs with their changes, approvals, cases, explain. */
import { z } from 'zod';
import type { ConnectionId, RunId, UserId } from '../core/ids.ts';
import { requireId } from '../core/require-id.ts';
import { grantableRoles } from '../core/roles.ts';
import {
  caseKinds,
  caseStatuses,
  changeClasses,
  changeKinds,
  changeOps,
  changeStates,
  connectionKinds,
  connectionStatuses,
  runKinds,
  runModes,
  runPhases,
  runStatuses,
} from '../core/vocabulary.ts';
import { pageOf, pageQuery, cutPage, decodeCursor } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import type { Reconciliation } from './reconciliation.ts';

const view = { object: 'directories', level: 'view' } as const;
const full = { object: 'directories', level: 'full' } as const;
const connectionParams = z.strictObject({ connectionId: z.string() });
const runParams = z.strictObject({ runId: z.string() });
const textOrNull = z.string().nullable();
const facts = z.record(z.string(), z.unknown());

const connectionBody = z.object({
  id: z.string(),
  organizationId: z.string(),
  kind: z.enum(connectionKinds),
  name: z.string(),
  status: z.enum(connectionStatuses),
  statusReason: textOrNull,
  cron: textOrNull,
  timeZone: z.string(),
  nextRunAt: textOrNull,
  priority: z.int(),
  ceiling: z.enum(grantableRoles),
  version: z.int(),
  lastFullAt: textOrNull,
});

const runBody = z.object({
  id: z.string(),
  connectionId: z.string(),
  connectionName: z.string(),
  connectionVersion: z.int(),
  kind: z.enum(runKinds),
  mode: z.enum(runModes),
  status: z.enum(runStatuses),
  phase: z.enum(runPhases).nullable(),
  requestedBy: z.string(),
  scheduledFor: textOrNull,
  startedAt: textOrNull,
  finishedAt: textOrNull,
  isFirst: z.boolean(),
  counts: facts,
  digest: textOrNull,
  guard: facts.nullable(),
  approvedBy: textOrNull,
  error: facts.nullable(),
  createdAt: z.string(),
});

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

const caseBody = z.object({
  id: z.string(),
  connectionId: textOrNull,
  connectionName: textOrNull,
  kind: z.enum(caseKinds),
  status: z.enum(caseStatuses),
  subject: z.string(),
  reason: z.string(),
  candidates: z.array(z.object({ id: z.string(), name: z.string() })),
  createdAt: z.string(),
  resolvedBy: textOrNull,
});

export type RoutesDeps = {
  readonly reconciliation: Reconciliation;
  /** Hands a queued run to a worker. */
  readonly dispatch: (run: {
    readonly tenantId: string;
    readonly runId: RunId;
    readonly connectionId: string;
  }) => Promise<void>;
};

export function reconciliationRoutes(deps: RoutesDeps): Route[] {
  return [
    ...connectionRoutes(deps),
    ...runRoutes(deps),
    ...changeRoutes(deps),
    ...waitingRoutes(deps),
    ...caseRoutes(deps),
  ];
}

function connectionRoutes({ reconciliation, dispatch }: RoutesDeps): Route[] {
  return [
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

function runRoutes({ reconciliation }: RoutesDeps): Route[] {
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
        const runId = requireId<RunId>(params.runId, 'run');
        await reconciliation.reach.requireRun(principal, runId);
        return reconciliation.getRun(principal.tenantId, runId);
      },
    }),
  ];
}

function changeRoutes({ reconciliation }: RoutesDeps): Route[] {
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
        const runId = requireId<RunId>(params.runId, 'run');
        await reconciliation.reach.requireRun(principal, runId);
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

function waitingRoutes({ reconciliation, dispatch }: RoutesDeps): Route[] {
  return [
    route({
      method: 'post',
      path: '/runs/:runId/approve',
      summary: 'Approve the waiting plan of this digest and apply it.',
      permission: full,
      params: runParams,
      body: z.strictObject({ digest: z.string().min(1) }),
      response: runBody,
      status: 202,
      handler: async ({ params, body }, { principal }) => {
        const runId = requireId<RunId>(params.runId, 'run');
        await reconciliation.reach.requireRun(principal, runId);
        await reconciliation.approveRun(principal.tenantId, runId, { actor: principal.actor, digest: body.digest });
        const run = await reconciliation.getRun(principal.tenantId, runId);
        await dispatch({ tenantId: principal.tenantId, runId, connectionId: run.connectionId });
        return run;
      },
    }),
    route({
      method: 'post',
      path: '/runs/:runId/discard',
      summary: 'Throw the waiting plan away.',
      permission: full,
      params: runParams,
      response: runBody,
      handler: async ({ params }, { principal }) => {
        const runId = requireId<RunId>(params.runId, 'run');
        await reconciliation.reach.requireRun(principal, runId);
        await reconciliation.discardRun(principal.tenantId, runId, principal.actor);
        return reconciliation.getRun(principal.tenantId, runId);
      },
    }),
    route({
      method: 'post',
      path: '/runs/:runId/cancel',
      summary: 'Stop a queued or running run; it writes nothing more.',
      permission: full,
      params: runParams,
      response: runBody,
      handler: async ({ params }, { principal }) => {
        const runId = requireId<RunId>(params.runId, 'run');
        await reconciliation.reach.requireRun(principal, runId);
        await reconciliation.cancelRun(principal.tenantId, runId, principal.actor);
        return reconciliation.getRun(principal.tenantId, runId);
      },
    }),
  ];
}

function caseRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    route({
      method: 'get',
      path: '/cases',
      summary: 'What a person must decide.',
      permission: view,
      query: z.strictObject({ status: z.enum(caseStatuses).default('open') }),
      response: z.object({ items: z.array(caseBody) }),
      handler: async ({ query }, { principal }) => {
        const inReach = new Set<string | null>(await reconciliation.reach.connections(principal));
        const all = await reconciliation.listCases(principal.tenantId, query.status);
        return { items: all.filter((found) => inReach.has(found.connectionId)) };
      },
    }),
    route({
      method: 'post',
      path: '/cases/:caseId/resolve',
      summary: 'Close a case: link to a user, create a user, give the role asked for, or ignore the object.',
      permission: full,
      params: z.strictObject({ caseId: z.string() }),
      body: z.discriminatedUnion('action', [
        z.strictObject({ action: z.literal('link'), userId: z.uuid() }),
        z.strictObject({ action: z.literal('create') }),
        z.strictObject({ action: z.literal('grant') }),
        z.strictObject({ action: z.literal('ignore') }),
      ]),
      response: z.object({ ok: z.literal(true) }),
      handler: async ({ params, body }, { principal }) => {
        const caseId = requireId<string>(params.caseId, 'case');
        const resolution = body.action === 'link' ? { action: body.action, userId: body.userId as UserId } : body;
        await reconciliation.reach.requireCase(principal, caseId);
        await reconciliation.resolveCase(principal.actor, principal.tenantId, caseId, resolution);
        return { ok: true as const };
      },
    }),
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
  ];
}
