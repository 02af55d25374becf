/** Cancel and pause: at the edge of a chunk, with a word about how much was done, and nothing lost. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { newId, type RunId } from '../../core/ids.ts';
import type { RunSummary, Stopped } from '../reconciliation.ts';

const database = useDatabase();
const chunkRows = 2000;
/** Three chunks of creates, of which two are under way at once, and three of grants. */
const people = 3 * chunkRows;

async function createCrowd(): Promise<Engine & { waiting: RunSummary }> {
  const engine = await createEngine(database.db);
  for (let n = 0; n < people; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  return { ...engine, waiting: await engine.run() };
}

async function approve(engine: Engine, run: RunSummary): Promise<void> {
  await engine.reconciliation.approveRun(engine.tenantId, run.id, { actor: 'test', digest: run.digest ?? '' });
}

async function statesOf(engine: Engine, runId: RunId): Promise<Record<string, number>> {
  const rows = await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql<{ state: string; rows: number }[]>`
      select class || ' ' || state as state, count(*)::int as rows from changes
      where tenant_id = ${engine.tenantId} and run_id = ${runId} group by 1`,
  );
  return Object.fromEntries(rows.map((row) => [row.state, row.rows]));
}

const usersOf = async (engine: Engine): Promise<number> => (await engine.users()).length;

/** Approves what is left, and then finds nothing more to do. */
async function expectFinished(engine: Engine): Promise<void> {
  await engine.sync();
  const users = await engine.users();
  expect(users).toHaveLength(people);
  expect(users.every((user) => user.status === 'active' && user.roles.length === 1)).toBe(true);
  const idle = await engine.run();
  expect([idle.status, await engine.changes(idle.id)]).toEqual(['succeeded', []]);
}

test('a run that is not live can not be canceled, and one that is not there is not found', async () => {
  const engine = await createEngine(database.db);
  engine.directory.put({ id: 'p1', name: 'Ann' });
  const run = await engine.run();
  const cancel = (id: RunId) => engine.reconciliation.cancelRun(engine.tenantId, id, 'test');
  await expect(cancel(run.id)).rejects.toMatchObject({ code: 'run_state', remedy: expect.stringContaining('discard') });
  await expect(cancel(newId<RunId>())).rejects.toMatchObject({ code: 'not_found' });
});

describe('a run that is stopped in the middle of its apply', () => {
  test('by a cancel leaves whole chunks, says how many, and the next run finishes it', async () => {
    const engine = await createCrowd();
    await approve(engine, engine.waiting);
    let canceling: Promise<Stopped> | undefined;
    const run = await engine.reconciliation.executeRun(engine.tenantId, engine.waiting.id, {
      signal: new AbortController().signal,
      onProgress: ({ phase, done }) => {
        if (phase !== 'apply' || done < chunkRows) return;
        canceling ??= engine.reconciliation.cancelRun(engine.tenantId, engine.waiting.id, 'operator:ada');
      },
    });
    const stopped = await canceling;
    expect(run.status).toBe('canceled');
    expect(stopped?.applied).toBeGreaterThanOrEqual(chunkRows);
    expect(stopped?.applied).toBeLessThan(2 * people);
    expect((stopped?.applied ?? 1) % chunkRows).toBe(0);
    expect(await usersOf(engine)).toBe((await statesOf(engine, run.id))['create applied']);
    const left = 2 * people - (stopped?.applied ?? 0);
    expect(stopped).toMatchObject({ left });
    const states = await statesOf(engine, run.id);
    expect(Object.keys(states).every((state) => / (?:applied|skipped)$/.test(state))).toBe(true);
    const { error } = await engine.reconciliation.getRun(engine.tenantId, run.id);
    expect(error).toMatchObject({ code: 'canceled', message: stopped?.message });
    expect(stopped?.message).toMatch(
      /^Canceled by operator:ada: (?:2|4|6|8|10),000 of 12,000 changes were applied and stay\. The next run plans the rest again\.$/,
    );
    await expectFinished(engine);
  }, 120_000);

  test('by a pause waits for the chunk under way, and applies nothing until the connection is resumed', async () => {
    const engine = await createCrowd();
    await approve(engine, engine.waiting);
    const { reconciliation, tenantId, connectionId } = engine;
    const holding = Promise.withResolvers<void>();
    const isHeld = Promise.withResolvers<void>();
    // the first two chunks can not write their users before we let go
    const holder = database.db.stage.sql.begin(async (sql) => {
      await sql`lock table users in share mode`;
      isHeld.resolve();
      await holding.promise;
    });
    await isHeld.promise;
    const executing = reconciliation.executeRun(tenantId, engine.waiting.id, { signal: new AbortController().signal });
    await expect.poll(() => countWaiting('insert into users'), { timeout: 30_000 }).toBe(2);
    let isPaused = false;
    const pausing = reconciliation.pauseConnection('operator:ada', tenantId, connectionId, 'Migration');
    void pausing.then(() => {
      isPaused = true;
    });
    await expect.poll(() => countWaiting('from runs'), { timeout: 30_000 }).toBe(1);
    expect(isPaused).toBe(false);
    holding.resolve();
    await holder;
    const { stopped } = await pausing;
    const run = await executing;
    expect([run.status, stopped.length]).toEqual(['canceled', 1]);
    expect(stopped[0]).toMatchObject({ applied: 2 * chunkRows, left: 2 * people - 2 * chunkRows });
    expect(await usersOf(engine)).toBe(2 * chunkRows);
    await expect(engine.run()).rejects.toThrow(/is paused: Migration/);
    await reconciliation.resumeConnection('operator:ada', tenantId, connectionId);
    await expectFinished(engine);
  }, 120_000);
});

/** Statements with this text that wait for a lock. */
async function countWaiting(text: string): Promise<number> {
  const rows = await database.db.stage.sql`
    select 1 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like ${`%${text}%`}`;
  return rows.length;
}

describe('a paused connection', () => {
  test('lets nobody approve a plan, and applies it after it was resumed', async () => {
    const engine = await createEngine(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const waiting = await engine.run();
    const { reconciliation, tenantId, connectionId } = engine;
    await reconciliation.pauseConnection('test', tenantId, connectionId, 'Migration');
    await expect(approve(engine, waiting)).rejects.toThrow(/is paused: Migration/);
    expect((await reconciliation.getRun(tenantId, waiting.id)).status).toBe('planned');
    await reconciliation.resumeConnection('test', tenantId, connectionId);
    expect((await engine.approve(waiting)).status).toBe('succeeded');
  });

  test('stops a run that was approved and not yet begun, and lets a plan go on', async () => {
    const engine = await createEngine(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const waiting = await engine.run();
    await approve(engine, waiting);
    const { reconciliation, tenantId, connectionId } = engine;
    const { stopped } = await reconciliation.pauseConnection('test', tenantId, connectionId, 'Migration');
    expect(stopped).toMatchObject([{ runId: waiting.id, applied: 0, left: 2 }]);
    expect(await engine.users()).toEqual([]);
    expect((await engine.run('plan')).status).toBe('planned');
  });

  test('makes a run that was asked for at the same moment end before it applies anything', async () => {
    const engine = await createEngine(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const { reconciliation, tenantId, connectionId } = engine;
    await engine.sync();
    engine.directory.put({ id: 'p1', name: 'Ann B' });
    await reconciliation.pauseConnection('test', tenantId, connectionId, 'Migration');
    await database.db.tenant(
      tenantId,
      (tx) => tx.sql`
        insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by)
        select tenant_id, gen_random_uuid(), id, version, 'full', 'auto', 'queued', 'test' from connections
        where tenant_id = ${tenantId} and id = ${connectionId}`,
    );
    const [late] = await reconciliation.listRuns(tenantId, { connectionId, status: 'queued', limit: 1 });
    if (late === undefined) throw new Error('no run is queued');
    const run = await reconciliation.executeRun(tenantId, late.id, { signal: new AbortController().signal });
    expect([run.status, run.error?.['code']]).toEqual(['failed', 'connection_state']);
    expect((await engine.users()).map((user) => user.name)).toEqual(['Ann']);
    expect((await reconciliation.findConnection(tenantId, connectionId)).failedRuns).toBe(0);
  });
});
