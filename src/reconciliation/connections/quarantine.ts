/**
 * Quarantine: a connection that fails is left alone for longer and longer, and a person is told once. It stays there
 * until a run of it succeeds, or a person resumes it. Every function here runs in the transaction that records the run,
 * which holds the row of the run: runs are locked before connections everywhere.
 */
import { recordEvent } from '../../audit/audit.ts';
import { adviceOf, type RollcallError } from '../../core/errors.ts';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { policySchema } from '../../core/policy.ts';
import { judgeFailure, quarantineDelayMs } from '../../core/quarantine.ts';
import type { TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';
import { queueObjectRun } from '../run/object-runs.ts';
import { selectConnection, updateConnectionRow, type ConnectionRow } from './connections-store.ts';

export type QuarantineDeps = {
  readonly nextSlot: (cron: string, timeZone: string, after: Date) => string;
  readonly now: () => Date;
  /** In [0, 1); spreads the tries of connections that failed together. */
  readonly random?: () => number;
};

export type FailedRun = {
  readonly runId: RunId;
  readonly connectionId: ConnectionId;
  readonly error: RollcallError;
};

/** Columns of a connection that is not in quarantine. */
export const noQuarantine = { failedRuns: 0, quarantinedAt: null, quarantineRetries: 0 } as const;

/** Counts the failure. True: a person was told about the quarantine, now or when it began; the failure is no news. */
export async function noteFailure(tx: TenantTx, deps: QuarantineDeps, failed: FailedRun): Promise<boolean> {
  const row = await lockConnection(tx, failed.connectionId);
  if (row === null) return false;
  const verdict = judgeFailure(failed.error.code, row.failedRuns, policySchema.parse(row.policy).quarantine);
  if (verdict === 'ignore') return false;
  const failedRuns = row.failedRuns + 1;
  if (row.status === 'quarantined') {
    await prolong(tx, deps, row, failed, failedRuns);
    return true;
  }
  if (row.status === 'active' && verdict === 'quarantine') {
    await begin(tx, deps, row, failed, failedRuns);
    return true;
  }
  await updateConnectionRow(tx, failed.connectionId, { failedRuns, ...putOff(deps, row, failed.error) });
  return false;
}

/** A run that read its directory to the end and did what it may: what failed before is over. */
export async function noteSuccess(
  tx: TenantTx,
  deps: QuarantineDeps,
  done: { readonly runId: RunId; readonly connectionId: ConnectionId },
): Promise<void> {
  const row = await selectConnection(tx, done.connectionId);
  if (row === null || (row.failedRuns === 0 && row.status !== 'quarantined')) return;
  const locked = await lockConnection(tx, done.connectionId);
  if (locked?.status !== 'quarantined') {
    await updateConnectionRow(tx, done.connectionId, { failedRuns: 0 });
    return;
  }
  await updateConnectionRow(tx, done.connectionId, {
    ...noQuarantine,
    status: 'active',
    statusReason: null,
    nextRunAt: locked.cron === null ? null : deps.nextSlot(locked.cron, locked.timeZone, deps.now()),
  });
  // a push that came between its plan and now wrote the mirror only
  if (locked.kind === 'scim') await queueObjectRun(tx, done.connectionId, locked.version);
  const { quarantinedAt, failedRuns } = locked;
  await tell(tx, locked, 'connection.recovered', { runId: done.runId, quarantinedAt, failedRuns });
}

/** To whoever listens, and to the audit. */
async function tell(
  tx: TenantTx,
  { id, name }: ConnectionRow,
  action: 'connection.quarantined' | 'connection.recovered',
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  await enqueue(tx, action, { connectionId: id, connection: name, ...facts });
  await recordEvent(tx, { actor: 'system', action, target: `connection:${id}`, details: facts });
}

async function begin(
  tx: TenantTx,
  deps: QuarantineDeps,
  row: ConnectionRow,
  failed: FailedRun,
  failedRuns: number,
): Promise<void> {
  const statusReason = reasonOf(failed.error);
  const nextRunAt = nextTryAt(deps, row, 0, failed.error);
  await updateConnectionRow(tx, failed.connectionId, {
    status: 'quarantined',
    statusReason,
    failedRuns,
    quarantinedAt: deps.now().toISOString(),
    quarantineRetries: 0,
    nextRunAt,
  });
  const { code } = failed.error;
  const facts = { runId: failed.runId, code, reason: statusReason, failedRuns, nextRunAt };
  await tell(tx, row, 'connection.quarantined', facts);
}

/** A try by hand costs no patience: only those of the schedule lengthen the pause. */
async function prolong(
  tx: TenantTx,
  deps: QuarantineDeps,
  row: ConnectionRow,
  failed: FailedRun,
  failedRuns: number,
): Promise<void> {
  const [run] = await tx.sql<{ requestedBy: string }[]>`
    select requested_by as "requestedBy" from runs where tenant_id = ${tx.tenantId} and id = ${failed.runId}`;
  const quarantineRetries = row.quarantineRetries + (run?.requestedBy === 'schedule' ? 1 : 0);
  await updateConnectionRow(tx, failed.connectionId, {
    failedRuns,
    quarantineRetries,
    statusReason: reasonOf(failed.error),
    nextRunAt: nextTryAt(deps, row, quarantineRetries, failed.error),
  });
}

/**
 * The first slot of the schedule after the pause: a connection in quarantine is never tried more often than its schedule
 * asks for. One that is pushed to has no schedule and is tried when the pause ends; any other without one, by hand.
 */
function nextTryAt(deps: QuarantineDeps, row: ConnectionRow, retries: number, error: RollcallError): string | null {
  const askedMs = (error.retryAfterSeconds ?? 0) * 1000;
  const pauseMs = Math.max(quarantineDelayMs(retries, deps.random ?? Math.random), askedMs);
  const after = new Date(deps.now().getTime() + pauseMs);
  if (row.cron !== null) return deps.nextSlot(row.cron, row.timeZone, after);
  return row.kind === 'scim' ? after.toISOString() : null;
}

/** A directory that asked for time gets it: the slots in between are passed over. */
function putOff(deps: QuarantineDeps, row: ConnectionRow, error: RollcallError): { readonly nextRunAt?: string } {
  if (error.retryAfterSeconds === undefined || row.cron === null || row.nextRunAt === null) return {};
  const until = new Date(deps.now().getTime() + error.retryAfterSeconds * 1000);
  if (Date.parse(row.nextRunAt) >= until.getTime()) return {};
  return { nextRunAt: deps.nextSlot(row.cron, row.timeZone, until) };
}

function reasonOf(error: RollcallError): string {
  return error.raw === undefined ? adviceOf(error) : `${adviceOf(error)} [${error.raw}]`;
}

async function lockConnection(tx: TenantTx, id: ConnectionId): Promise<ConnectionRow | null> {
  await tx.sql`select 1 from connections where tenant_id = ${tx.tenantId} and id = ${id} for no key update`;
  return selectConnection(tx, id);
}
