/**
 * The end of a run, in one transaction: what waits, what was applied, which older plan still stands. A plan that
 * waits already under the same digest goes on waiting under its own id, so that the run a person was shown stays the
 * one to approve, and nobody is told twice.
 */
import { recordEvent } from '../../audit/audit.ts';
import { describeError, type RollcallError } from '../../core/errors.ts';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import type { RunPhase } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';
import type { ApplyScope } from '../apply/apply.ts';
import { closeSettledDrifts } from '../cases/drift.ts';
import { countChanges, deleteChanges, digestPlan, skipOpenChanges, type ChangeCount } from '../plan/changes.ts';
import { updateConnectionRow } from '../connections/connections-store.ts';
import { approvePriority } from '../connections/source-priority.ts';
import { noteFailure, type QuarantineDeps } from '../connections/quarantine.ts';
import type { UndoneRun } from '../undo/undo-apply.ts';
import { finishRun, selectWaiting, supersedeRuns } from './runs-store.ts';

export type Plan = {
  readonly counts: readonly ChangeCount[];
  readonly digest: string | null;
  readonly guard: Readonly<Record<string, unknown>> | null;
  readonly isHeld: boolean;
};

type Seconds = Readonly<Record<string, number>>;

/** A run that stops before its first write. */
export async function recordPlan(tx: TenantTx, scope: ApplyScope, plan: Plan, seconds: Seconds): Promise<void> {
  const sameAs = await supersedeOthers(tx, scope.connectionId, scope.runId, plan.digest);
  const summary = { changes: plan.counts, seconds };
  const result = { digest: plan.digest, guard: plan.guard, error: null };
  if (sameAs !== null) {
    await deleteChanges(tx, scope.runId);
    await finishRun(tx, scope.runId, { ...result, status: 'superseded', counts: { ...summary, sameAs } });
    return;
  }
  await finishRun(tx, scope.runId, { ...result, status: plan.isHeld ? 'held' : 'planned', counts: summary });
  await enqueue(tx, plan.isHeld ? 'run.held' : 'run.planned', {
    runId: scope.runId,
    connection: scope.connectionName,
    digest: plan.digest,
    guard: plan.guard,
    changes: plan.counts,
  });
}

/** A run that applied what no guard held. */
export async function recordApplied(
  tx: TenantTx,
  scope: ApplyScope,
  connectionVersion: number,
  seconds: Seconds,
): Promise<void> {
  await closeSettledDrifts(tx, scope.connectionId);
  const digest = await digestPlan(tx, scope.runId);
  const sameAs = await supersedeOthers(tx, scope.connectionId, scope.runId, digest);
  if (sameAs !== null) await leaveToOther(tx, scope.runId, sameAs);
  const counts = await countChanges(tx, scope.runId);
  const isHeld = counts.some((row) => row.state === 'held');
  const isPartly = counts.some((row) => row.state === 'failed' || row.state === 'stale');
  const [stored] = await tx.sql<{ guard: Record<string, unknown> | null }[]>`
    select guard from runs where tenant_id = ${tx.tenantId} and id = ${scope.runId}`;
  await finishRun(tx, scope.runId, {
    status: isHeld ? 'held' : isPartly ? 'partly' : 'succeeded',
    counts: { changes: counts, seconds, ...(sameAs === null ? {} : { sameAs }) },
    digest: sameAs === null ? digest : null,
    guard: stored?.guard ?? null,
    error: null,
  });
  if (!isHeld && sameAs === null) {
    await updateConnectionRow(tx, scope.connectionId, { approvedVersion: connectionVersion });
    await approvePriority(tx, scope.connectionId);
  }
  if (!(await isNews(tx, scope.runId, counts))) return;
  await enqueue(tx, isHeld ? 'run.held' : 'run.applied', {
    runId: scope.runId,
    connection: scope.connectionName,
    changes: counts,
    ...(isHeld ? { guard: stored?.guard ?? null } : {}),
  });
}

/**
 * Nobody is told twice: rows that wait in an older run already, and conflicts whose case is open already (a last Admin
 * who can not leave), are found again by every run.
 */
async function isNews(tx: TenantTx, runId: RunId, counts: readonly ChangeCount[]): Promise<boolean> {
  if (counts.some((row) => row.state !== 'skipped' && (row.state !== 'applied' || row.op !== 'dispute'))) return true;
  const opened = await tx.sql`select 1 from cases where tenant_id = ${tx.tenantId} and run_id = ${runId} limit 1`;
  return opened.length > 0;
}

/** An undo that applied what it planned. Nothing is settled by it: the directory said nothing. */
export async function recordUndone(
  tx: TenantTx,
  scope: ApplyScope,
  undone: UndoneRun,
  seconds: Seconds,
): Promise<void> {
  const counts = await countChanges(tx, scope.runId);
  const has = (...states: readonly string[]) => counts.some((row) => states.includes(row.state));
  const [stored] = await tx.sql<{ guard: Record<string, unknown> | null }[]>`
    select guard from runs where tenant_id = ${tx.tenantId} and id = ${scope.runId}`;
  await finishRun(tx, scope.runId, {
    status: has('failed', 'stale', 'conflict', 'skipped') ? 'partly' : 'succeeded',
    counts: { changes: counts, seconds },
    digest: null,
    guard: stored?.guard ?? null,
    error: null,
  });
  if (!has('applied')) return;
  await tx.sql`
    update runs set counts = counts || ${JSON.stringify({ undoneBy: scope.runId })}::jsonb
    where tenant_id = ${tx.tenantId} and id = ${undone.id}`;
  const { actor, scope: part } = undone;
  await recordEvent(tx, {
    actor,
    action: 'run.undone',
    target: `run:${undone.id}`,
    details: { by: scope.runId, userId: part.userId, requestId: part.requestId },
  });
  await enqueue(tx, 'run.undone', {
    runId: undone.id,
    by: scope.runId,
    connection: scope.connectionName,
    changes: counts,
  });
}

export type Failure = { readonly phase: RunPhase; readonly seconds: Seconds; readonly error: RollcallError };

/** What was applied before the fault stands, row by row; the rest of the plan is made anew by the next run. */
export async function recordFailure(
  tx: TenantTx,
  deps: QuarantineDeps,
  run: { readonly id: RunId; readonly connectionId: ConnectionId },
  { phase, seconds, error }: Failure,
): Promise<void> {
  await skipOpenChanges(tx, run.id, 'The run failed before it came to this.');
  const counts = await countChanges(tx, run.id);
  await finishRun(tx, run.id, {
    status: 'failed',
    counts: { changes: counts, seconds },
    digest: null,
    guard: null,
    error: {
      code: error.code,
      message: error.message,
      remedy: error.remedy ?? null,
      raw: error.raw ?? null,
      phase,
      retryAfterSeconds: error.retryAfterSeconds ?? null,
    },
  });
  const isTold = await noteFailure(tx, deps, { runId: run.id, connectionId: run.connectionId, error });
  if (isTold) return;
  await enqueue(tx, 'run.failed', { runId: run.id, code: error.code, message: describeError(error) });
}

/** Older plans that say something else can not be approved any more; returns the one that says the same and still can. */
async function supersedeOthers(
  tx: TenantTx,
  connectionId: ConnectionId,
  runId: RunId,
  digest: string | null,
): Promise<RunId | null> {
  const waiting = await selectWaiting(tx, connectionId, runId);
  const same = digest === null ? undefined : waiting.find((run) => run.digest === digest && !run.isExpired);
  await supersedeRuns(
    tx,
    waiting.filter((run) => run !== same).map((run) => run.id),
  );
  return same?.id ?? null;
}

async function leaveToOther(tx: TenantTx, runId: RunId, other: RunId): Promise<void> {
  await tx.sql`
    update changes set state = 'skipped', error = ${`The same change waits for approval in run ${other}.`}
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and state = 'held'`;
}
