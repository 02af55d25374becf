/** The schedule's questions to the database. It writes nothing: runs and connections belong to reconciliation. */
import type { ConnectionId, RunId, TenantId } from '../core/ids.ts';
import { toIso } from '../core/instant.ts';
import type { EngineTx } from '../db/db.ts';
import type { RunJob } from './queue.ts';

export type DueConnection = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** Null: no schedule; what is due is the end of a quarantine's pause. */
  readonly cron: string | null;
  readonly timeZone: string;
  readonly jitterSeconds: number;
  /** RFC 3339. */
  readonly nextRunAt: string;
  readonly isQuarantined: boolean;
  /** Tries since the quarantine began. */
  readonly quarantineRetries: number;
};

/** Locks what it answers; connections another tick holds are left to it. */
export async function selectDueConnections(tx: EngineTx, now: Date, limit: number): Promise<DueConnection[]> {
  const rows = await tx.sql<DueConnection[]>`
    select tenant_id as "tenantId", id as "connectionId", cron, time_zone as "timeZone",
      jitter_seconds as "jitterSeconds", next_run_at as "nextRunAt", status = 'quarantined' as "isQuarantined",
      quarantine_retries as "quarantineRetries"
    from connections
    where status in ('active', 'quarantined') and next_run_at is not null and next_run_at <= ${now.toISOString()}
      and (cron is not null or status = 'quarantined')
    order by next_run_at
    limit ${limit}
    for update skip locked`;
  return rows.map((row) => ({ ...row, nextRunAt: toIso(row.nextRunAt) }));
}

/** Runs that want a worker: queued, or running without a sign of life. Pushes are no work of ours. */
export async function selectForgottenRuns(tx: EngineTx, staleBefore: Date, limit: number): Promise<RunJob[]> {
  const stale = staleBefore.toISOString();
  return tx.sql<RunJob[]>`
    select distinct tenant_id as "tenantId", connection_id as "connectionId"
    from runs
    where kind <> 'push'
      and (status = 'queued'
        or (status = 'running' and coalesce(heartbeat_at, started_at, created_at) < ${stale}))
    limit ${limit}`;
}

export type LiveRun = {
  readonly runId: RunId;
  /** RFC 3339: its worker's last sign of life; null where it waits for a worker. */
  readonly seenAt: string | null;
};

/** The oldest run of one connection that waits for a worker; where none does, the one that a worker has. */
export async function selectLiveRun(tx: EngineTx, job: RunJob): Promise<LiveRun | null> {
  const [row] = await tx.sql<LiveRun[]>`
    select id as "runId", case when status = 'running' then coalesce(heartbeat_at, started_at, created_at) end as "seenAt"
    from runs
    where tenant_id = ${job.tenantId} and connection_id = ${job.connectionId} and kind <> 'push'
      and status in ('queued', 'running')
    order by status = 'running', created_at, id
    limit 1`;
  return row ?? null;
}
