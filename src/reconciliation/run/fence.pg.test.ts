/** The fence and the claim, alone: who may write for a run, and who waits for whom. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { RunId } from '../../core/ids.ts';
import { checkFence, claimRun } from './runs-store.ts';

const database = useDatabase();
const fenced = (error: unknown) => isRollcallError(error, 'fenced');

async function queuedRun(): Promise<{ readonly engine: Engine; readonly runId: RunId }> {
  const engine = await createEngine(database.db);
  engine.directory.put({ id: 'p1', name: 'Ann' });
  const runId = await engine.reconciliation.requestRun({
    tenantId: engine.tenantId,
    connectionId: engine.connectionId,
    read: 'full',
    mode: 'auto',
    requestedBy: 'test',
  });
  return { engine, runId };
}

const claim = (engine: Engine, runId: RunId) => database.db.tenant(engine.tenantId, (tx) => claimRun(tx, runId));
const enter = (engine: Engine, id: RunId, epoch: number) =>
  database.db.tenant(engine.tenantId, (tx) => checkFence(tx, { id, epoch }));

async function isAnyoneWaiting(): Promise<boolean> {
  const rows = await database.db.stage.sql`
    select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return rows.length > 0;
}

describe('the fence of a run', () => {
  test('lets only the worker write that claimed the run last', async () => {
    const { engine, runId } = await queuedRun();
    const first = await claim(engine, runId);
    await enter(engine, runId, first.epoch);
    const second = await claim(engine, runId);
    expect([first.epoch, second.epoch]).toEqual([1, 2]);
    await expect(enter(engine, runId, first.epoch)).rejects.toSatisfy(fenced);
    await enter(engine, runId, second.epoch);
  });

  test('lets nobody write once the run is canceled', async () => {
    const { engine, runId } = await queuedRun();
    const { epoch } = await claim(engine, runId);
    await engine.reconciliation.cancelRun(engine.tenantId, runId, 'test');
    await expect(enter(engine, runId, epoch)).rejects.toSatisfy(fenced);
  });

  test('holds off a new claim until the transaction inside it has ended', async () => {
    const { engine, runId } = await queuedRun();
    const { epoch } = await claim(engine, runId);
    let claiming: Promise<{ readonly epoch: number }> | undefined;
    let isClaimed = false;
    await database.db.tenant(engine.tenantId, async (tx) => {
      await checkFence(tx, { id: runId, epoch });
      claiming = claim(engine, runId).finally(() => {
        isClaimed = true;
      });
      await expect
        .poll(async () => isClaimed || (await isAnyoneWaiting()), { timeout: 10_000, interval: 10 })
        .toBe(true);
      expect(isClaimed).toBe(false);
    });
    expect((await claiming)?.epoch).toBe(epoch + 1);
  });
});

describe('a run', () => {
  test('is refused when the connection was changed before it began', async () => {
    const { engine, runId } = await queuedRun();
    const { reconciliation, tenantId, connectionId } = engine;
    const document = await reconciliation.exportConnection(tenantId, connectionId);
    await reconciliation.updateConnection('test', tenantId, connectionId, { ...document, priority: 5 });
    const run = await reconciliation.executeRun(tenantId, runId, { signal: new AbortController().signal });
    expect([run.status, run.error?.['code']]).toEqual(['failed', 'connection_state']);
    expect(await engine.users()).toEqual([]);
  });

  test('that was taken up again and again fails instead of ending one worker after the other', async () => {
    const { engine, runId } = await queuedRun();
    for (let n = 1; n <= 8; n += 1) await claim(engine, runId);
    const run = await engine.reconciliation.executeRun(engine.tenantId, runId, {
      signal: new AbortController().signal,
    });
    expect([run.status, run.epoch, run.error?.['code']]).toEqual(['failed', 9, 'internal']);
    expect(run.error?.['message']).toContain('was started 9 times');
  });
});
