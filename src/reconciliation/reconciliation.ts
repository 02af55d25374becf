/**
 * reconciliation/: what each directory says (mirror), who that is (correlate), what should change (decide), whether
 * it may (guard), and doing it (apply). Every inlet ends here: a pull is a run over the objects that changed, a SCIM
 * push settles its object in the request's transaction.
 */
import type { TestStep } from '../connectors/contract/contract.ts';
import type { ConnectionId, RunId, TenantId } from '../core/ids.ts';
import type { CaseStatus } from '../core/vocabulary.ts';
import { fillSeat, type SeatChoice } from './cases/no-super-admin.ts';
import { listCases, resolveCase, type Case, type Resolution } from './cases/cases.ts';
import { selectChanges, type Change, type ChangeFilter } from './plan/changes.ts';
import {
  createConnection,
  exportConnection,
  findConnection,
  listConnections,
  pauseConnection,
  resumeConnection,
  testConnection,
  updateConnection,
} from './connections/connections.ts';
import type { Connection } from './connections/connections-store.ts';
import type { Principal } from '../platform/route.ts';
import { listUnmappedGroups, type UnmappedFilter, type UnmappedGroup } from './connections/unmapped-groups.ts';
import { previewObject, type ObjectPreview, type PreviewRequest } from './connections/preview.ts';
import { remindOfCredentials } from './connections/credential-reminders.ts';
import { explainObject, explainUser, type Explanation } from './explain/explain.ts';
import type { ObjectExplanation } from './explain/explain-object.ts';
import { provisionObject, type Provisioned, type ProvisionRequest } from './provision/provision.ts';
import { createPushes } from './push/push.ts';
import type { Pushes } from './push/push-types.ts';
import { createReach, type Reach } from './reach.ts';
import { cancelRun, discardRun, requestRun, retryConnection, type RunRequest } from './run/requests.ts';
import { listHeldLinks, releaseLinks, type HeldFilter, type HeldLink } from './undo/held-links.ts';
import { approveRun, type Approval, type Approved } from './run/approvals.ts';
import { watchPushedLeavers } from './push/leaver-watch.ts';
import { findPushedSince, requestUndo, type UndoRequest } from './undo/undo.ts';
import { executeRun, type ExecuteOptions, type RunDeps } from './run/run.ts';
import { eraseUser, type Erasure, type ErasureRequest } from './purge/erase.ts';
import { exportRun, type ExportFormat } from './run/export.ts';
import { listHistory, type HistoryFilter, type HistoryRow } from './run/history.ts';
import type { Stopped } from './run/stop-run.ts';
import { createRunWatcher, type RunState } from './run/watch-runs.ts';
import { mustFindRun, selectRuns, type RunFilter, type RunSummary } from './run/runs-store.ts';

export type { UndoRequest } from './undo/undo.ts';
export type { HeldFilter, HeldLink } from './undo/held-links.ts';
export type { Case, Resolution } from './cases/cases.ts';
export type { Change, ChangeFilter } from './plan/changes.ts';
export type { Connectors } from './connections/connections.ts';
export type { Connection } from './connections/connections-store.ts';
export type { UnmappedGroup } from './connections/unmapped-groups.ts';
export type { ObjectPreview, PreviewRequest } from './connections/preview.ts';
export type { Explanation } from './explain/explain.ts';
export type { ExplainStep, ObjectExplanation } from './explain/explain-object.ts';
export type { Provisioned } from './provision/provision.ts';
export { startingOver } from './push/whole-way.ts';
export type { Expectation, PushContext, PushedGroup, PushedUser, Pushes, Written } from './push/push-types.ts';
export type { Approval, Approved } from './run/approvals.ts';
export type { RunRequest } from './run/requests.ts';
export type { ExecuteOptions, Progress, RunDeps } from './run/run.ts';
export type { HistoryRow } from './run/history.ts';
export type { Erasure, ErasureRequest } from './purge/erase.ts';
export { purgeRemovedUsers } from './purge/purge.ts';
export { pruneHistory } from './run/retention.ts';
export type { Stopped } from './run/stop-run.ts';
export type { RunFilter, RunSummary } from './run/runs-store.ts';
export { createScheduledRuns, setNextSlots } from './run/scheduled-runs.ts';
export { sweepStages } from './mirror/stage.ts';

export type Reconciliation = {
  createConnection(actor: string, tenantId: TenantId, document: unknown): Promise<Connection>;
  updateConnection(actor: string, tenantId: TenantId, id: ConnectionId, document: unknown): Promise<Connection>;
  listConnections(tenantId: TenantId): Promise<Connection[]>;
  /** By id or name; throws not_found. */
  findConnection(tenantId: TenantId, idOrName: string): Promise<Connection>;
  exportConnection(tenantId: TenantId, id: ConnectionId): Promise<Record<string, unknown>>;
  /** Stops runs under way that would apply something, at the edge of a chunk. */
  pauseConnection(
    actor: string,
    tenantId: TenantId,
    id: ConnectionId,
    reason: string,
  ): Promise<{ readonly stopped: readonly Stopped[] }>;
  resumeConnection(actor: string, tenantId: TenantId, id: ConnectionId): Promise<{ readonly heldLinks: number }>;
  testConnection(
    tenantId: TenantId,
    what: { readonly connectionId: ConnectionId } | { readonly document: unknown },
    signal: AbortSignal,
  ): AsyncIterable<TestStep>;

  /** Tells of credentials of connections that end soon, once per reminder; answers how many. */
  remindOfCredentials(signal: AbortSignal): Promise<number>;
  /** Tells of connections whose pushes took too many users within an hour; answers how many. */
  watchPushedLeavers(): Promise<number>;

  /** Queues a run; the caller dispatches it (schedule) or executes it in process. */
  requestRun(request: RunRequest): Promise<RunId>;
  /** Queues a try of a connection in quarantine. */
  retryConnection(request: Pick<RunRequest, 'tenantId' | 'connectionId' | 'requestedBy'>): Promise<RunId>;
  executeRun(tenantId: TenantId, runId: RunId, options: ExecuteOptions): Promise<RunSummary>;
  /** Queues the approved plan for apply; the caller dispatches or executes the same run again. */
  approveRun(tenantId: TenantId, runId: RunId, approval: Approval): Promise<Approved>;
  /** Queues the undo of a run, or of a part of it; the caller dispatches or executes it. */
  requestUndo(request: UndoRequest): Promise<RunId>;
  /** The days of pushes in which something was done since then, the latest first. */
  findPushedSince(tenantId: TenantId, connectionId: ConnectionId, since: string): Promise<RunId[]>;
  listHeldLinks(tenantId: TenantId, filter: HeldFilter, limit: number): Promise<HeldLink[]>;
  /** Of one undo or of one user; returns how many, throws not_found for none. */
  releaseLinks(actor: string, tenantId: TenantId, filter: HeldFilter): Promise<number>;
  /** Purges one user at once, when a second operator says so too. See `Erasure`. */
  eraseUser(request: ErasureRequest): Promise<Erasure>;
  discardRun(tenantId: TenantId, runId: RunId, actor: string): Promise<void>;
  cancelRun(tenantId: TenantId, runId: RunId, actor: string): Promise<Stopped>;
  listRuns(tenantId: TenantId, filter: RunFilter): Promise<RunSummary[]>;
  /** Throws not_found. */
  getRun(tenantId: TenantId, runId: RunId): Promise<RunSummary>;
  /** States of a run until it rests; null now and then while nothing happens. See `RunWatcher`. */
  watchRun(tenantId: TenantId, runId: RunId, signal: AbortSignal): AsyncIterable<RunState | null>;
  /** Which runs touched a user, and what each changed; newest first. */
  listHistory(tenantId: TenantId, filter: HistoryFilter): Promise<HistoryRow[]>;
  /** Every change of a run, as the pieces of a file. Throws not_found. */
  exportRun(tenantId: TenantId, runId: RunId, format: ExportFormat): Promise<AsyncIterable<string>>;
  listChanges(tenantId: TenantId, filter: ChangeFilter): Promise<Change[]>;

  /** By id, username, e-mail or full name. */
  explainUser(tenantId: TenantId, idOrName: string): Promise<Explanation>;
  /** Nothing is written; throws not_found, invalid_input. */
  previewObject(tenantId: TenantId, request: PreviewRequest): Promise<ObjectPreview>;
  /** A directory object, linked or not: by immutable id or any name. Changes nothing. */
  explainObject(tenantId: TenantId, connectionId: ConnectionId, reference: string): Promise<ObjectExplanation>;
  /** Reads one user from its directory now, decides and applies it. Throws not_found, run_live, connection_state, directory_*. */
  provisionObject(request: ProvisionRequest): Promise<Provisioned>;
  listUnmappedGroups(tenantId: TenantId, filter: UnmappedFilter): Promise<UnmappedGroup[]>;
  listCases(tenantId: TenantId, status: CaseStatus): Promise<Case[]>;
  /** Of an organization without a Super Admin: an Admin claims the seat, or it is assigned. Access decides who may. */
  fillSeat(principal: Principal, caseId: string, choice: SeatChoice): Promise<void>;
  resolveCase(actor: string, tenantId: TenantId, caseId: string, resolution: Resolution): Promise<void>;

  readonly pushes: Pushes;
  readonly reach: Reach;
};

export function createReconciliation(deps: RunDeps): Reconciliation {
  const { db } = deps;
  const watcher = createRunWatcher(deps);
  const getRun = (tenantId: TenantId, runId: RunId): Promise<RunSummary> =>
    db.tenant(tenantId, (tx) => mustFindRun(tx, runId));
  return {
    createConnection: (actor, tenantId, document) => createConnection(deps, actor, tenantId, document),
    updateConnection: (actor, tenantId, id, document) => updateConnection(deps, actor, tenantId, id, document),
    listConnections: (tenantId) => listConnections(deps, tenantId),
    findConnection: (tenantId, idOrName) => findConnection(deps, tenantId, idOrName),
    exportConnection: (tenantId, id) => exportConnection(deps, tenantId, id),
    pauseConnection: (actor, tenantId, id, reason) => pauseConnection(deps, actor, tenantId, id, reason),
    resumeConnection: (actor, tenantId, id) => resumeConnection(deps, actor, tenantId, id),
    testConnection: (tenantId, what, signal) => testConnection(deps, tenantId, what, signal),
    remindOfCredentials: (signal) => remindOfCredentials(deps, signal),
    watchPushedLeavers: () => watchPushedLeavers(db),
    requestRun: (request) => requestRun(db, request),
    retryConnection: (request) => retryConnection(db, request),
    executeRun: (tenantId, runId, options) => executeRun(deps, tenantId, runId, options),
    approveRun: (tenantId, runId, approval) => approveRun(db, tenantId, runId, approval),
    requestUndo: (request) => requestUndo(db, request),
    findPushedSince: (tenantId, connectionId, since) =>
      db.tenant(tenantId, (tx) => findPushedSince(tx, connectionId, since)),
    listHeldLinks: (tenantId, filter, limit) => listHeldLinks(db, tenantId, filter, limit),
    releaseLinks: (actor, tenantId, filter) => releaseLinks(db, actor, tenantId, filter),
    eraseUser: (request) => eraseUser(db, request),
    discardRun: (tenantId, runId, actor) => discardRun(db, tenantId, runId, actor),
    cancelRun: (tenantId, runId, actor) => cancelRun(db, tenantId, runId, actor),
    listRuns: (tenantId, filter) => db.tenant(tenantId, (tx) => selectRuns(tx, filter)),
    getRun,
    watchRun: (tenantId, runId, signal) => watcher.watch(tenantId, runId, signal),
    listHistory: (tenantId, filter) => listHistory(db, tenantId, filter),
    exportRun: async (tenantId, runId, format) => exportRun(db, tenantId, await getRun(tenantId, runId), format),
    listChanges: (tenantId, filter) => db.tenant(tenantId, (tx) => selectChanges(tx, filter)),
    explainUser: (tenantId, idOrName) => explainUser(deps, tenantId, idOrName),
    previewObject: (tenantId, request) => previewObject(deps, tenantId, request),
    explainObject: (tenantId, connectionId, reference) => explainObject(deps, tenantId, connectionId, reference),
    provisionObject: (request) => provisionObject(deps, request),
    listUnmappedGroups: (tenantId, filter) => listUnmappedGroups(db, tenantId, filter),
    listCases: (tenantId, status) => listCases(db, tenantId, status),
    fillSeat: (principal, caseId, choice) => fillSeat(db, principal, caseId, choice),
    resolveCase: (actor, tenantId, caseId, resolution) => resolveCase(db, actor, tenantId, caseId, resolution),
    pushes: createPushes(deps),
    reach: createReach(deps),
  };
}
