import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { newId, type ConnectionId, type RunId, type TenantId } from '../core/ids.ts';
import { createLogger } from '../platform/logger.ts';
import { createScheduledRuns, setNextSlots } from '../reconciliation/reconciliation.ts';
import {
  createSchedule,
  dispatchRun,
  installQueue,
  openRunQueue,
  startWorker,
  type RunLedger,
  type RunQueue,
} from './schedule.ts';

const database = useDatabase();
const lines: string[] = [];
const logger = createLogger({
  level: 'debug',
  fileDescriptor: 2,
  destination: { write: (line) => void lines.push(line) },
});
let queue: RunQueue;
const open: { close(timeoutMs: number): Promise<void> }[] = [];

beforeAll(async () => {
  const sql = postgres(database.url.replace(/\?.*/, ''), { ...socketOf(database.url), max: 1 });
  await installQueue(database.url, sql);
  await sql.end();
  queue = await openRunQueue({ url: database.url, logger, heartbeatSeconds: 10, isWorker: false });
});

afterEach(async () => {
  for (const resource of open.splice(0).toReversed()) await resource.close(500);
});

afterAll(async () => {
  await queue.close(500);
});

function socketOf(url: string): { host: string } | Record<string, never> {
  const host = new URL(url).searchParams.get('host');
  return host === null ? {} : { host };
}

const ledger: RunLedger = { createScheduledRuns, setNextSlots };

function scheduleAt(now: string, random = 0): ReturnType<typeof createSchedule> {
  return createSchedule({
    db: database.db,
    queue,
    ledger,
    clock: { now: () => new Date(now) },
    logger,
    heartbeatSeconds: 30,
    random: () => random,
  });
}

type Made = { readonly tenantId: TenantId; readonly connectionId: ConnectionId };

async function createConnection(fields: {
  nextRunAt: string | null;
  cron?: string | null;
  kind?: string;
  retries?: number;
  timeZone?: string;
  status?: string;
  jitterSeconds?: number;
}): Promise<Made> {
  const tenant = await createTenant(database.db);
  const connectionId = newId<ConnectionId>();
  await database.db.tenant(
    tenant.tenantId,
    (tx) => tx.sql`
      insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, status, cron,
        time_zone, jitter_seconds, next_run_at, quarantined_at, quarantine_retries, created_by)
      values (${tenant.tenantId}, ${connectionId}, ${tenant.tenantId}, ${fields.kind ?? 'ldap'}, 'c', 'c', '{}', '{}',
        ${fields.status ?? 'active'}, ${fields.cron === undefined ? '0 * * * *' : fields.cron}, ${fields.timeZone ?? 'UTC'},
        ${fields.jitterSeconds ?? 0}, ${fields.nextRunAt}, ${fields.status === 'quarantined' ? '2026-03-01T08:00:00Z' : null},
        ${fields.retries ?? 0}, 'system')`,
  );
  return { tenantId: tenant.tenantId, connectionId };
}

async function runsOf(made: Made): Promise<{ id: RunId; status: string; scheduled_for: string | null }[]> {
  return database.db.engine(
    (tx) =>
      tx.sql`select id, status, scheduled_for from runs where connection_id = ${made.connectionId} order by created_at`,
  );
}

async function nextSlotOf(made: Made): Promise<string | null> {
  const [row] = await database.db.engine(
    (tx) => tx.sql`select next_run_at from connections where id = ${made.connectionId}`,
  );
  const value: unknown = row?.['next_run_at'];
  return typeof value === 'string' ? new Date(value).toISOString() : null;
}

async function jobsOf(made: Made): Promise<number> {
  const [row] = await database.db.engine(
    (tx) =>
      tx.sql`select count(*)::int as jobs from pgboss.job where singleton_key = ${made.connectionId} and state < 'completed'`,
  );
  return Number(row?.['jobs']);
}

/** Ends what is live of this connection; `retire` takes it out of the way of the tests that follow. */
async function retire(made: Made): Promise<void> {
  await finish(made);
  await database.db.engine(
    (tx) => tx.sql`update connections set status = 'paused', quarantined_at = null where id = ${made.connectionId}`,
  );
}

async function finish(made: Made): Promise<void> {
  await database.db.engine(
    (tx) => tx.sql`update runs set status = 'succeeded' where connection_id = ${made.connectionId}`,
  );
  await database.db.engine((tx) => tx.sql`delete from pgboss.job where singleton_key = ${made.connectionId}`);
}

describe('the tick', () => {
  it('makes one run and one job when several replicas tick at the same moment', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await Promise.all(Array.from({ length: 6 }, () => scheduleAt('2026-03-01T10:00:05Z').tick()));
    expect(await runsOf(made)).toHaveLength(1);
    expect(await jobsOf(made)).toBe(1);
    expect(await nextSlotOf(made)).toBe('2026-03-01T11:00:00.000Z');
    await retire(made);
  });

  it('after an hour-long stop of many slots makes one catch-up run', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z', cron: '*/5 * * * *' });
    for (let minute = 1; minute <= 3; minute += 1) await scheduleAt(`2026-03-01T12:0${minute}:00Z`).tick();
    expect(await runsOf(made)).toHaveLength(1);
    expect(await nextSlotOf(made)).toBe('2026-03-01T12:05:00.000Z');
    await retire(made);
  });

  it('neither loses nor doubles a slot when the clock is set back or jumps ahead', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    await finish(made);
    await scheduleAt('2026-03-01T09:30:00Z').tick();
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    expect(await runsOf(made)).toHaveLength(1);
    await scheduleAt('2026-03-01T13:30:00Z').tick();
    expect(await runsOf(made)).toHaveLength(2);
    expect(await nextSlotOf(made)).toBe('2026-03-01T14:00:00.000Z');
    await retire(made);
  });

  it('gives no second run to a connection whose run is live, and still moves its slot on', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    await scheduleAt('2026-03-01T11:00:01Z').tick();
    expect(await runsOf(made)).toHaveLength(1);
    expect(await nextSlotOf(made)).toBe('2026-03-01T12:00:00.000Z');
    await retire(made);
  });

  it('tries a quarantined connection when its pause is over, and plans the next try later than the next slot', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z', status: 'quarantined', retries: 2 });
    await scheduleAt('2026-03-01T09:59:59Z').tick();
    expect(await runsOf(made)).toHaveLength(0);
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    expect(await runsOf(made)).toHaveLength(1);
    // two hours for the third retry, then the first slot of the hourly schedule
    expect(await nextSlotOf(made)).toBe('2026-03-01T13:00:00.000Z');
    await retire(made);
  });

  it('tries one without a schedule that is pushed to, with a run over what waited', async () => {
    const fields = { nextRunAt: '2026-03-01T10:00:00Z', status: 'quarantined', cron: null, kind: 'scim' };
    const made = await createConnection(fields);
    await scheduleAt('2026-03-01T10:00:00Z').tick();
    const [run] = await database.db.engine(
      (tx) => tx.sql<{ kind: string }[]>`select kind from runs where connection_id = ${made.connectionId}`,
    );
    expect(run?.kind).toBe('object');
    expect(await nextSlotOf(made)).toBe('2026-03-01T10:30:00.000Z');
    await retire(made);
  });

  it('leaves paused connections and those without a slot alone', async () => {
    const paused = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z', status: 'paused' });
    const unscheduled = await createConnection({ nextRunAt: null });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    expect([await runsOf(paused), await runsOf(unscheduled)]).toEqual([[], []]);
  });

  it('spreads runs by their jitter', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z', jitterSeconds: 600 });
    await scheduleAt('2026-03-01T10:00:01Z', 0.5).tick();
    expect(await nextSlotOf(made)).toBe('2026-03-01T11:05:00.000Z');
    await retire(made);
  });

  it('goes on past a connection whose schedule can not be read, and says which', async () => {
    const faulty = await createConnection({ nextRunAt: '2026-03-01T09:00:00Z', cron: 'whenever' });
    const fine = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    expect(await runsOf(fine)).toHaveLength(1);
    expect(lines.join('')).toContain(faulty.connectionId);
    await retire(faulty);
    await retire(fine);
  });

  it('leaves nothing behind when the transaction fails: no run, no job, the same slot', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    const failing = createSchedule({
      db: database.db,
      queue: {
        send: async (tx, jobs) => {
          await queue.send(tx, jobs);
          throw new Error('cut');
        },
      },
      ledger,
      clock: { now: () => new Date('2026-03-01T10:00:01Z') },
      logger,
      heartbeatSeconds: 30,
      random: () => 0,
    });
    await expect(failing.tick()).rejects.toThrow('cut');
    expect([await runsOf(made), await jobsOf(made), await nextSlotOf(made)]).toEqual([
      [],
      0,
      '2026-03-01T10:00:00.000Z',
    ]);
    await retire(made);
  });

  it('sends forgotten runs again: queued without a job, running without a heartbeat; and no live one', async () => {
    const queued = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    const silent = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    const live = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    const beat = (made: Made, at: string) =>
      database.db.engine(
        (tx) =>
          tx.sql`update runs set status = 'running', heartbeat_at = ${at} where connection_id = ${made.connectionId}`,
      );
    await beat(silent, '2026-03-01T10:00:10Z');
    await beat(live, '2026-03-01T10:00:50Z');
    await database.db.engine((tx) => tx.sql`delete from pgboss.job`);
    expect((await scheduleAt('2026-03-01T10:01:00Z').tick()).resent).toBe(2);
    expect([await jobsOf(queued), await jobsOf(silent), await jobsOf(live)]).toEqual([1, 1, 0]);
    expect((await scheduleAt('2026-03-01T10:01:01Z').tick()).resent).toBe(0);
    for (const made of [queued, silent, live]) await retire(made);
  });
});

describe('the worker', () => {
  async function start(
    executeRun: (tenantId: TenantId, runId: RunId, o: { signal: AbortSignal }) => Promise<unknown>,
    schedule = scheduleAt('2026-01-01T00:00:00Z'),
  ) {
    const own = await openRunQueue({ url: database.url, logger, heartbeatSeconds: 10, isWorker: true });
    const worker = await startWorker({
      schedule,
      queue: own,
      executeRun,
      periodic: [],
      concurrency: 2,
      pollSeconds: 0.5,
      clock: {
        now: () => new Date(),
        sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
      },
      logger,
    });
    open.push(worker);
    return worker;
  }

  it('carries a dispatched run out once, however often it is dispatched', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    const executed: RunId[] = [];
    const done = Promise.withResolvers<void>();
    await start(async (_tenantId, runId) => {
      executed.push(runId);
      await database.db.engine((tx) => tx.sql`update runs set status = 'succeeded' where id = ${runId}`);
      done.resolve();
    });
    await dispatchRun({ db: database.db, queue, logger }, made);
    await done.promise;
    const [run] = await runsOf(made);
    expect(executed).toEqual([run?.id]);
    await retire(made);
  });

  /** Its worker was seen `silentMs` ago, and its job comes to us. */
  async function takeOver(silentMs: number): Promise<{ made: Made; executed: RunId[] }> {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    await database.db.engine(
      (tx) => tx.sql`
        update runs set status = 'running', heartbeat_at = now() - make_interval(secs => ${silentMs / 1000})
        where connection_id = ${made.connectionId}`,
    );
    const schedule = createSchedule({
      db: database.db,
      queue,
      ledger,
      clock: { now: () => new Date() },
      logger,
      heartbeatSeconds: 2,
      random: () => 0,
    });
    const executed: RunId[] = [];
    await start(async (_tenantId, runId) => {
      executed.push(runId);
      await database.db.engine((tx) => tx.sql`update runs set status = 'succeeded' where id = ${runId}`);
    }, schedule);
    return { made, executed };
  }

  it('whose job comes before the worker it is taken from counts as dead takes the run over as soon as it does', async () => {
    const { made, executed } = await takeOver(1000);
    await vi.waitFor(async () => expect(await jobsOf(made)).toBe(0), { timeout: 10_000, interval: 50 });
    expect(executed).toEqual((await runsOf(made)).map(({ id }) => id));
    await retire(made);
  });

  it('leaves a run alone whose worker shows itself again', async () => {
    const { made, executed } = await takeOver(1000);
    const beating = setInterval(() => {
      void database.db.engine(
        (tx) => tx.sql`update runs set heartbeat_at = now() where connection_id = ${made.connectionId}`,
      );
    }, 200);
    await vi.waitFor(async () => expect(await jobsOf(made)).toBe(0), { timeout: 10_000, interval: 50 });
    clearInterval(beating);
    expect(executed).toEqual([]);
    expect((await runsOf(made)).map(({ status }) => status)).toEqual(['running']);
    await retire(made);
  });

  it('tells a run to stop, waits for it, and gives its job back', async () => {
    const made = await createConnection({ nextRunAt: '2026-03-01T10:00:00Z' });
    await scheduleAt('2026-03-01T10:00:01Z').tick();
    const started = Promise.withResolvers<void>();
    let hasStopped = false;
    const worker = await start(async (_tenantId, _runId, { signal }) => {
      started.resolve();
      await delay(30_000, undefined, { signal }).catch(() => undefined);
      hasStopped = true;
      signal.throwIfAborted();
    });
    await started.promise;
    open.splice(0);
    await worker.close(2000);
    expect(hasStopped).toBe(true);
    expect(await jobsOf(made)).toBe(1);
    await retire(made);
  });
});
