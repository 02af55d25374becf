/**
 * The queue: pg-boss in schema pgboss. Policy `exclusive` with the connection as key: at most one job per connection
 * waits or is worked on, over all replicas. A job carries no run: its worker asks for what the connection needs.
 */
import { PgBoss, type Job } from 'pg-boss';
import type postgres from 'postgres';
import { RollcallError } from '../core/errors.ts';
import type { ConnectionId, TenantId } from '../core/ids.ts';
import { translateFailure, type EngineTx } from '../db/db.ts';
import type { Logger } from '../platform/logger.ts';

export type RunJob = { readonly tenantId: TenantId; readonly connectionId: ConnectionId };

const schema = 'pgboss';
const queueName = 'runs';
const deadLetterName = 'runs-dead';

/** Sweeps and signs of life in one heartbeat: a silent worker is noticed soon after it, and hardly before. */
const beatsPerHeartbeat = 6;

/** Longest a job may be active; a run of a million users takes minutes, a throttled one hours. */
const expireInSeconds = 23 * 3600;

export type WorkOptions = {
  readonly concurrency: number;
  readonly pollSeconds: number;
  readonly handle: (job: RunJob, signal: AbortSignal) => Promise<void>;
};

export type RunQueue = {
  /** Joins the caller's transaction. Answers how many jobs were new; a connection that has one keeps it. */
  send(tx: EngineTx, jobs: readonly RunJob[]): Promise<number>;
  work(options: WorkOptions): Promise<void>;
  /** Waits for the jobs in hand for `timeoutMs`; what is left goes back to the queue. */
  close(timeoutMs: number): Promise<void>;
};

export type QueueOptions = {
  readonly url: string;
  readonly logger: Logger;
  readonly heartbeatSeconds: number;
  /** Only a worker supervises the queue; others just send. */
  readonly isWorker: boolean;
};

/**
 * Makes or upgrades schema pgboss and the queues. Runs as the owner, under the migration's advisory lock: pg-boss's own
 * set-up and ours must not meet another replica's. The engine role then works without owning anything.
 */
export async function installQueue(url: string, sql: postgres.Sql): Promise<void> {
  const boss = new PgBoss({
    ...connectionOf(url),
    max: 1,
    supervise: false,
    schedule: false,
    application_name: 'rollcall migrate',
  });
  const failures: unknown[] = [];
  boss.on('error', (error) => failures.push(error));
  try {
    await boss.start();
    await boss.createQueue(deadLetterName, { policy: 'standard', deleteAfterSeconds: 30 * 86_400 });
    await boss.createQueue(queueName, { policy: 'exclusive', deadLetter: deadLetterName });
    await boss.updateQueue(queueName, {
      deadLetter: deadLetterName,
      expireInSeconds,
      retryLimit: 5,
      retryDelay: 5,
      retryBackoff: true,
      retryDelayMax: 600,
      deleteAfterSeconds: 86_400,
    });
  } catch (error) {
    throw translateFailure(error);
  } finally {
    await boss.stop({ graceful: false, close: true });
  }
  if (failures.length > 0) throw translateFailure(failures[0]);
  await sql.unsafe(`
    grant usage on schema ${schema} to rollcall_engine;
    grant select, insert, update, delete on all tables in schema ${schema} to rollcall_engine;
    grant usage, select on all sequences in schema ${schema} to rollcall_engine;
    grant execute on all functions in schema ${schema} to rollcall_engine;`);
}

export async function openRunQueue(options: QueueOptions): Promise<RunQueue> {
  const beatSeconds = options.heartbeatSeconds / beatsPerHeartbeat;
  const boss = new PgBoss({
    ...connectionOf(options.url),
    options: '-c role=rollcall_engine',
    max: options.isWorker ? 3 : 1,
    application_name: 'rollcall queue',
    migrate: false,
    createSchema: false,
    schedule: false,
    supervise: options.isWorker,
    // a silent worker is noticed within its heartbeat plus one such interval
    superviseIntervalSeconds: Math.floor(beatSeconds),
    monitorIntervalSeconds: Math.floor(beatSeconds),
    reindex: false,
    monitorVacuum: false,
  });
  const report = createFailureReport(options.logger);
  boss.on('error', report);
  try {
    await boss.start();
  } catch (error) {
    throw translateFailure(error);
  }
  return {
    send: (tx, jobs) => send(boss, tx, jobs, options.heartbeatSeconds),
    work: (work) => startWorking(boss, work, beatSeconds),
    close: (timeoutMs) => boss.stop({ graceful: true, close: true, timeout: timeoutMs }),
  };
}

async function send(boss: PgBoss, tx: EngineTx, jobs: readonly RunJob[], heartbeatSeconds: number): Promise<number> {
  if (jobs.length === 0) return 0;
  const inserted = await boss.insert(
    queueName,
    jobs.map(({ tenantId, connectionId }) => ({
      singletonKey: connectionId,
      heartbeatSeconds,
      // the job of a dead worker comes back when its run counts as forgotten: sooner, there would be nothing to do
      retryDelay: Math.ceil(heartbeatSeconds / beatsPerHeartbeat) + 1,
      data: { tenantId, connectionId },
    })),
    {
      returnId: true,
      db: {
        executeSql: async (text, values) => ({
          rows: await tx.sql.unsafe(text, (values ?? []).map(toParameter)),
        }),
      },
    },
  );
  return inserted?.length ?? 0;
}

/** pg-boss sends its jobs as one JSON text; anything else would be a change of its statements. */
function toParameter(value: unknown): string | number | boolean | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  throw new RollcallError('internal', `pg-boss sent a ${typeof value} where text was expected.`);
}

async function startWorking(boss: PgBoss, work: WorkOptions, beatSeconds: number): Promise<void> {
  await boss.work<RunJob>(
    queueName,
    {
      localConcurrency: work.concurrency,
      pollingIntervalSeconds: work.pollSeconds,
      batchSize: 1,
      heartbeatRefreshSeconds: beatSeconds,
    },
    async (jobs: Job<RunJob>[]) => {
      for (const job of jobs) await work.handle(job.data, job.signal);
    },
  );
}

/** pg reads the same URL as we do; `uselibpqcompat` gives its sslmode the meaning libpq has. */
function connectionOf(url: string): { readonly connectionString: string } {
  const address = new URL(url);
  if (address.searchParams.has('sslmode')) address.searchParams.set('uselibpqcompat', 'true');
  return { connectionString: address.toString() };
}

const reportEveryMs = 60_000;

/** A lost database is one event, not one line per poll. */
function createFailureReport(logger: Logger): (error: unknown) => void {
  let lastAtMs = Number.NEGATIVE_INFINITY;
  return (error) => {
    const nowMs = performance.now();
    if (nowMs - lastAtMs < reportEveryMs) {
      logger.debug({ err: error }, 'the queue has trouble');
      return;
    }
    lastAtMs = nowMs;
    logger.warn({ err: translateFailure(error) }, 'the queue has trouble; it goes on trying');
  };
}
