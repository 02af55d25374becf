/** SQL of runs: requests, the claim and its fence, phases, results. */
import { RollcallError } from '../../core/errors.ts';
import type { ConnectionId, RunId, TenantId } from '../../core/ids.ts';
import type { PhaseProgress } from '../../core/progress.ts';
import type { RunKind, RunMode, RunPhase, RunStatus } from '../../core/vocabulary.ts';
import { databaseErrorCode } from '../../db/db.ts';
import type { EngineTx, TenantTx } from '../../db/db.ts';
import type { UndoneRun } from '../undo/undo-apply.ts';
import type { UndoScope } from '../undo/undo-plan.ts';

export type RunApproval = {
  readonly actor: string;
  readonly at: string;
  readonly digest: string;
  /** Why the host operator did without a second person. */
  readonly override: string | null;
};

export type RunSummary = {
  readonly tenantId: TenantId;
  readonly id: RunId;
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly connectionVersion: number;
  readonly kind: RunKind;
  readonly mode: RunMode;
  readonly status: RunStatus;
  readonly phase: RunPhase | null;
  readonly epoch: number;
  readonly requestedBy: string;
  readonly scheduledFor: string | null;
  readonly startedAt: string | null;
  readonly heartbeatAt: string | null;
  readonly finishedAt: string | null;
  readonly isFirst: boolean;
  readonly counts: Readonly<Record<string, unknown>>;
  /** Of the phase under way, while a worker has the run. */
  readonly progress: PhaseProgress | null;
  readonly digest: string | null;
  readonly guard: Readonly<Record<string, unknown>> | null;
  readonly approvedBy: string | null;
  /** Who said yes so far; two where the connection asks for two. */
  readonly approvals: readonly RunApproval[];
  /** Of an undo: the run it takes back, and what of it. */
  readonly undoOf: RunId | null;
  readonly undoScope: UndoScope | null;
  readonly error: Readonly<Record<string, unknown>> | null;
  readonly createdAt: string;
};

const selectList = (tx: TenantTx) => tx.sql`
  r.tenant_id as "tenantId", r.id, r.connection_id as "connectionId", n.name as "connectionName",
  r.connection_version as "connectionVersion", r.kind, r.mode, r.status, r.phase, r.epoch, r.requested_by as "requestedBy",
  r.scheduled_for as "scheduledFor", r.started_at as "startedAt", r.heartbeat_at as "heartbeatAt", r.finished_at as "finishedAt",
  r.is_first as "isFirst", r.counts, r.progress, r.digest, r.guard, r.approved_by as "approvedBy", r.approvals,
  r.undo_of as "undoOf", r.undo_scope as "undoScope", r.error, r.created_at as "createdAt"`;

export async function selectRun(tx: TenantTx, runId: RunId): Promise<RunSummary | null> {
  const [row] = await tx.sql<RunSummary[]>`
    select ${selectList(tx)} from runs r
    join connections n on n.tenant_id = r.tenant_id and n.id = r.connection_id
    where r.tenant_id = ${tx.tenantId} and r.id = ${runId}`;
  return row ?? null;
}

export type RunFilter = {
  readonly connectionId?: ConnectionId;
  /** Only runs of these. */
  readonly connectionIds?: readonly ConnectionId[];
  readonly status?: RunStatus;
  readonly limit: number;
  readonly before?: string;
};

/** Newest first. */
export function selectRuns(tx: TenantTx, filter: RunFilter): Promise<RunSummary[]> {
  return tx.sql<RunSummary[]>`
    select ${selectList(tx)} from runs r
    join connections n on n.tenant_id = r.tenant_id and n.id = r.connection_id
    where r.tenant_id = ${tx.tenantId} and r.kind <> 'push'
      and (${filter.connectionId ?? null}::uuid is null or r.connection_id = ${filter.connectionId ?? null}::uuid)
      and (${(filter.connectionIds as string[] | undefined) ?? null}::uuid[] is null
        or r.connection_id = any(${(filter.connectionIds as string[] | undefined) ?? null}::uuid[]))
      and (${filter.status ?? null}::text is null or r.status = ${filter.status ?? null}::text)
      and (${filter.before ?? null}::uuid is null or r.id < ${filter.before ?? null}::uuid)
    order by r.id desc limit ${filter.limit}`;
}

export type NewRun = {
  readonly id: RunId;
  readonly connectionId: ConnectionId;
  readonly connectionVersion: number;
  readonly kind: RunKind;
  readonly mode: RunMode;
  readonly requestedBy: string;
  readonly scheduledFor: string | null;
  readonly undo?: { readonly of: RunId; readonly scope: UndoScope };
};

/** Inserts a queued run; throws run_live when the connection has one already (runs_one_live). */
export async function insertRun(tx: TenantTx | EngineTx, tenantId: TenantId, run: NewRun): Promise<void> {
  try {
    await tx.sql`
      insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by, scheduled_for,
        undo_of, undo_scope)
      values (${tenantId}, ${run.id}, ${run.connectionId}, ${run.connectionVersion}, ${run.kind}, ${run.mode}, 'queued', ${run.requestedBy},
        ${run.scheduledFor}, ${run.undo?.of ?? null}, ${run.undo === undefined ? null : JSON.stringify(run.undo.scope)}::jsonb)`;
  } catch (cause) {
    if (databaseErrorCode(cause) !== '23505') throw cause;
    throw new RollcallError('run_live', 'A run of this connection is queued or running already.', {
      cause,
      remedy: 'Wait for it (rollcall runs watch), or cancel it.',
    });
  }
}

export type ClaimedRun = {
  readonly tenantId: TenantId;
  readonly id: RunId;
  readonly connectionId: ConnectionId;
  readonly connectionVersion: number;
  readonly kind: RunKind;
  readonly mode: RunMode;
  readonly epoch: number;
  readonly phase: RunPhase | null;
  readonly isApproved: boolean;
  /** Of an undo: the run whose changes are taken back. */
  readonly undone: UndoneRun | null;
  readonly counts: Readonly<Record<string, unknown>>;
};

/** A run that was claimed this often kills its workers; it is failed instead of tried for ever. */
const maxEpoch = 8;

/**
 * Raises the epoch and takes the run; the holder of the old epoch writes nothing any more. A run that is `running`
 * may be taken over only by a caller that knows its worker is dead (stale heartbeat); the queue and sweeper see to it.
 */
export async function claimRun(tx: TenantTx, runId: RunId): Promise<ClaimedRun> {
  // waits for a transaction of the former holder that is inside the fence
  await lockRun(tx, runId);
  const [row] = await tx.sql<ClaimedRun[]>`
    update runs set epoch = epoch + 1, status = 'running', started_at = coalesce(started_at, now()), heartbeat_at = now(),
      phase = coalesce(phase, 'claim'),
      -- what pushes left open goes by the rules of now; a plan that was approved or begun stands for those it was made by
      connection_version = case when kind = 'object' and approved_at is null and coalesce(phase, 'claim') not in ('apply', 'record')
        then (select c.version from connections c where c.tenant_id = runs.tenant_id and c.id = runs.connection_id) else connection_version end
    where tenant_id = ${tx.tenantId} and id = ${runId} and status in ('queued', 'running')
    returning tenant_id as "tenantId", id, connection_id as "connectionId", connection_version as "connectionVersion", kind, mode, epoch,
      phase, approved_at is not null as "isApproved", counts, case when undo_of is null then null else jsonb_build_object('id', undo_of,
        'scope', undo_scope, 'actor', coalesce(approved_by, requested_by), 'isUndo', exists (
          select 1 from runs o where o.tenant_id = runs.tenant_id and o.id = runs.undo_of and o.kind = 'undo')) end as undone`;
  if (row === undefined) {
    throw new RollcallError('run_state', `Run ${runId} is not waiting to be executed.`, {
      remedy: 'See: rollcall runs show',
    });
  }
  return row;
}

async function lockRun(tx: TenantTx, runId: RunId): Promise<void> {
  await tx.sql`select 1 from runs where tenant_id = ${tx.tenantId} and id = ${runId} for update`;
}

/** True when the run was taken up so often that something in it must be ending its workers. */
export function isPoisonous(run: { readonly epoch: number }): boolean {
  return run.epoch > maxEpoch;
}

/**
 * The fence: first statement of every transaction of a run. Its key-share lock holds off a new claim until the
 * transaction ends, and lets the heartbeat pass.
 */
export async function checkFence(tx: TenantTx, run: { readonly id: RunId; readonly epoch: number }): Promise<void> {
  const rows = await tx.sql`
    select 1 from runs where tenant_id = ${tx.tenantId} and id = ${run.id} and epoch = ${run.epoch} and status = 'running' for key share`;
  if (rows.length === 1) return;
  throw new RollcallError(
    'fenced',
    `Run ${run.id} was canceled or taken over by another worker; this one stops without writing.`,
  );
}

/** Gives the run back to the queue, where it stands: another worker goes on with it. False: it is no longer ours. */
export async function handOver(tx: TenantTx, run: { readonly id: RunId; readonly epoch: number }): Promise<boolean> {
  const result = await tx.sql`
    update runs set status = 'queued'
    where tenant_id = ${tx.tenantId} and id = ${run.id} and epoch = ${run.epoch} and status = 'running'`;
  return result.count === 1;
}

/** With what changed since the beat before; null leaves it as it is. */
export async function beat(
  tx: TenantTx,
  run: { readonly id: RunId; readonly epoch: number },
  progress: PhaseProgress | null = null,
): Promise<boolean> {
  const text = progress === null ? null : JSON.stringify(progress);
  const result = await tx.sql`
    update runs set heartbeat_at = now(), progress = coalesce(${text}::jsonb, progress)
    where tenant_id = ${tx.tenantId} and id = ${run.id} and epoch = ${run.epoch} and status = 'running'`;
  return result.count === 1;
}

export async function setPhase(
  tx: TenantTx,
  runId: RunId,
  phase: RunPhase,
  counts: Readonly<Record<string, unknown>>,
): Promise<void> {
  await tx.sql`
    update runs set phase = ${phase}, heartbeat_at = now(), counts = counts || ${JSON.stringify(counts)}::jsonb
    where tenant_id = ${tx.tenantId} and id = ${runId}`;
}

export type RunResult = {
  readonly status: RunStatus;
  readonly counts: Readonly<Record<string, unknown>>;
  readonly digest: string | null;
  readonly guard: Readonly<Record<string, unknown>> | null;
  readonly error: Readonly<Record<string, unknown>> | null;
};

export async function finishRun(tx: TenantTx, runId: RunId, result: RunResult): Promise<void> {
  await tx.sql`
    update runs set status = ${result.status}, counts = counts || ${JSON.stringify(result.counts)}::jsonb, digest = ${result.digest},
      guard = ${result.guard === null ? null : JSON.stringify(result.guard)}::jsonb,
      error = ${result.error === null ? null : JSON.stringify(result.error)}::jsonb,
      finished_at = now(), heartbeat_at = now(), progress = null
    where tenant_id = ${tx.tenantId} and id = ${runId}`;
}

/** An approval is for the plan as it was read; after this it is too old to be meant. */
export const approvalHours = 72;

/**
 * Runs of the connection that wait for a person; `isExpired`: nobody can approve them any more. An undo and a plan from the directory do not stand for each other, nor
 * do undos of different things.
 */
export function selectWaiting(tx: TenantTx, connectionId: ConnectionId, except: RunId): Promise<Waiting[]> {
  return tx.sql<Waiting[]>`
    select r.id, r.digest, coalesce(r.finished_at, r.created_at) < now() - make_interval(hours => ${approvalHours}) as "isExpired" from runs r
    join runs o on o.tenant_id = r.tenant_id and o.id = ${except} and o.undo_of is not distinct from r.undo_of
      and o.undo_scope is not distinct from r.undo_scope
    where r.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId} and r.id <> ${except} and r.status in ('planned', 'held')
    order by r.id desc`;
}

type Waiting = { readonly id: RunId; readonly digest: string | null; readonly isExpired: boolean };

/** A newer plan says something else: the older ones can not be approved any more. */
export async function supersedeRuns(tx: TenantTx, ids: readonly RunId[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.sql`
    update runs set status = 'superseded' where tenant_id = ${tx.tenantId} and id = any(${ids as RunId[] as string[]}::uuid[])`;
  await tx.sql`
    update changes set state = 'skipped'
    where tenant_id = ${tx.tenantId} and run_id = any(${ids as RunId[] as string[]}::uuid[]) and state in ('planned', 'held')`;
}

export async function mustFindRun(tx: TenantTx, runId: RunId): Promise<RunSummary> {
  const run = await selectRun(tx, runId);
  if (run !== null) return run;
  throw new RollcallError('not_found', `There is no run ${runId}.`, { remedy: 'List them with: rollcall runs list' });
}

/** A run that waits for a person's word, locked; throws not_found, run_state. */
export async function lockWaiting(tx: TenantTx, runId: RunId): Promise<RunSummary> {
  await lockRun(tx, runId);
  const run = await mustFindRun(tx, runId);
  if (run.status !== 'planned' && run.status !== 'held') {
    throw new RollcallError('run_state', `Run ${runId} does not wait for approval: it is ${run.status}.`, {
      remedy: 'Only planned and held runs can be approved or discarded.',
    });
  }
  return run;
}
