/**
 * schedule/: when a run is due, and who carries it out.
 *
 * Once a minute each worker picks the connections whose `next_run_at` has come, has their runs written, sends one job
 * each and stores the next slot, all in one transaction with the connections locked: so replicas make one run,
 * downtime gives one catch-up run, and a clock change neither loses nor doubles a slot. The run rows are the truth; a
 * job only says "look after this connection". What a crash leaves behind (a queued run without a job, a running one
 * without a heartbeat) is sent again by the same minute; reconciliation's fence makes that safe.
 */
import { nextSlot, parseCron } from '../core/cron.ts';
import type { ConnectionId, RunId, TenantId } from '../core/ids.ts';
import { quarantineDelayMs } from '../core/quarantine.ts';
import type { Db, EngineTx } from '../db/db.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { RunJob, RunQueue } from './queue.ts';
import { selectDueConnections, selectForgottenRuns, selectLiveRun, type DueConnection } from './store.ts';

export { installQueue, openRunQueue, type RunJob, type RunQueue } from './queue.ts';
export { startWorker, type PeriodicJob, type Worker, type WorkerOptions } from './worker.ts';

export type ScheduledRun = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** The slot, RFC 3339. */
  readonly scheduledFor: string;
};

export type NextSlot = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** RFC 3339; null where the schedule has no further slot. */
  readonly nextRunAt: string | null;
};

/** What reconciliation writes for us: runs and connections are its tables. */
export type RunLedger = {
  /** Writes queued runs; answers those it made. A connection with a live run gets none: that run serves the slot. */
  createScheduledRuns(
    tx: EngineTx,
    runs: readonly ScheduledRun[],
  ): Promise<readonly { readonly tenantId: TenantId; readonly connectionId: ConnectionId; readonly runId: RunId }[]>;
  setNextSlots(tx: EngineTx, slots: readonly NextSlot[]): Promise<void>;
};

export type ScheduleOptions = {
  readonly db: Db;
  readonly queue: Pick<RunQueue, 'send'>;
  readonly ledger: RunLedger;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
  readonly heartbeatSeconds: number;
  /** In [0, 1); spreads the connections that share a slot. */
  readonly random: () => number;
};

export type TickResult = { readonly due: number; readonly created: number; readonly resent: number };

export type Work = {
  readonly runId: RunId;
  /** 0: it wants a worker. Otherwise it has one, who counts as dead when it stays silent for so long from now. */
  readonly freeInMs: number;
};

export type Schedule = {
  /** One look at what is due; safe to call from any number of processes at once. */
  tick(): Promise<TickResult>;
  /** The live run of this connection, or null. */
  findWork(job: RunJob): Promise<Work | null>;
};

/** Connections handled in one transaction; the rest follows in the next. */
const batchSize = 200;
const maxBatches = 500;
/** A schedule that can not be read is tried again after this long; it must not stop the others. */
const faultyScheduleRetryMs = 3_600_000;

export function createSchedule(options: ScheduleOptions): Schedule {
  return {
    tick: () => tick(options),
    findWork: (job) => findWork(options, job),
  };
}

/**
 * Sends a job for a run that was just written. A failure is told and swallowed: the run is committed, so the caller must
 * not hear that it failed, and the next tick sends the job again.
 */
export async function dispatchRun(
  deps: { readonly db: Db; readonly queue: Pick<RunQueue, 'send'>; readonly logger: Pick<Logger, 'warn'> },
  job: RunJob,
): Promise<void> {
  try {
    await deps.db.engine((tx) => deps.queue.send(tx, [job]));
  } catch (error) {
    deps.logger.warn({ connectionId: job.connectionId, err: error }, 'a run was not dispatched; the next tick does it');
  }
}

async function tick(options: ScheduleOptions): Promise<TickResult> {
  let due = 0;
  let created = 0;
  for (let batch = 0; batch < maxBatches; batch += 1) {
    const counts = await options.db.engine((tx) => startDueRuns(tx, options));
    due += counts.due;
    created += counts.created;
    if (counts.due < batchSize) break;
  }
  const resent = await options.db.engine((tx) => resendForgotten(tx, options));
  return { due, created, resent };
}

async function startDueRuns(
  tx: EngineTx,
  { ledger, queue, clock, logger, random }: ScheduleOptions,
): Promise<{ readonly due: number; readonly created: number }> {
  const now = clock.now();
  const due = await selectDueConnections(tx, now, batchSize);
  if (due.length === 0) return { due: 0, created: 0 };
  const created = await ledger.createScheduledRuns(
    tx,
    due.map(({ tenantId, connectionId, nextRunAt }) => ({ tenantId, connectionId, scheduledFor: nextRunAt })),
  );
  await ledger.setNextSlots(
    tx,
    due.map((connection) => ({
      tenantId: connection.tenantId,
      connectionId: connection.connectionId,
      nextRunAt: nextRunAt(connection, now, random, logger),
    })),
  );
  await queue.send(tx, created);
  for (const { connectionId, runId } of created) logger.debug({ connectionId, runId }, 'scheduled run');
  return { due: due.length, created: created.length };
}

function nextRunAt(connection: DueConnection, now: Date, random: () => number, logger: Logger): string | null {
  // a clock that was set back must not offer the slot again that was just served
  const servedMs = Math.max(now.getTime(), Date.parse(connection.nextRunAt));
  // should this try end without a word (its worker dies), the one after it still comes later than this one did
  const pauseMs = connection.isQuarantined ? quarantineDelayMs(connection.quarantineRetries + 1, random) : 0;
  const after = new Date(servedMs + pauseMs);
  if (connection.cron === null) return after.toISOString();
  try {
    const slot = nextSlot(parseCron(connection.cron), connection.timeZone, after);
    if (slot === null) return null;
    return new Date(slot.getTime() + Math.floor(random() * connection.jitterSeconds * 1000)).toISOString();
  } catch (error) {
    logger.error({ connectionId: connection.connectionId, err: error }, 'the schedule of a connection is faulty');
    return new Date(now.getTime() + faultyScheduleRetryMs).toISOString();
  }
}

async function findWork(options: ScheduleOptions, job: RunJob): Promise<Work | null> {
  const live = await options.db.engine((tx) => selectLiveRun(tx, job));
  if (live === null) return null;
  if (live.seenAt === null) return { runId: live.runId, freeInMs: 0 };
  const silentMs = Date.parse(live.seenAt) - staleBefore(options).getTime();
  return { runId: live.runId, freeInMs: Math.max(0, silentMs) };
}

/** The queue refuses a second job for a connection, so this sends only what is really missing. */
async function resendForgotten(tx: EngineTx, options: ScheduleOptions): Promise<number> {
  const forgotten = await selectForgottenRuns(tx, staleBefore(options), batchSize);
  if (forgotten.length === 0) return 0;
  return options.queue.send(tx, forgotten);
}

function staleBefore({ clock, heartbeatSeconds }: ScheduleOptions): Date {
  return new Date(clock.now().getTime() - heartbeatSeconds * 1000);
}
