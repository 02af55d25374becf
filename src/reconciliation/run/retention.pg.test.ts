/** What is remembered of old runs, and what is not; and the history of one user. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import type { RunId, UserId } from '../../core/ids.ts';
import { pruneHistory } from '../reconciliation.ts';

const database = useDatabase();
const { signal } = new AbortController();
const prune = () => pruneHistory({ db: database.db, now: () => new Date() }, 180, signal);

async function age(engine: Engine, runIds: readonly RunId[], days: number): Promise<void> {
  await database.db.tenant(engine.tenantId, async (tx) => {
    const at = `${days} days`;
    await tx.sql`
      update runs set created_at = now() - ${at}::interval, finished_at = now() - ${at}::interval
      where tenant_id = ${engine.tenantId} and id = any(${[...runIds]}::uuid[])`;
    await tx.sql`
      update changes set created_at = created_at - ${at}::interval, applied_at = applied_at - ${at}::interval
      where tenant_id = ${engine.tenantId} and run_id = any(${[...runIds]}::uuid[])`;
  });
}

/** Ann, who joined in Sales, moved to Marketing, then to Legal: three runs, all of them old. */
async function withHistory(): Promise<{ engine: Engine; runs: RunId[]; userId: UserId }> {
  const engine = await createEngine(database.db);
  const runs: RunId[] = [];
  for (const department of ['Sales', 'Marketing', 'Legal']) {
    engine.directory.put({ id: 'p1', name: 'Ann', department });
    runs.push((await engine.sync()).id);
  }
  for (const [n, runId] of runs.entries()) await age(engine, [runId], 300 - n);
  const [ann] = await engine.users();
  return { engine, runs, userId: (ann?.id ?? '') as UserId };
}

const rowsOf = async (engine: Engine, runId: RunId) => (await engine.changes(runId)).map((row) => row.op);

describe('the rows of old runs', () => {
  test('go, except those that explain a value or a role that is still there', async () => {
    const { engine, runs, userId } = await withHistory();
    const [joined, moved, last] = runs as [RunId, RunId, RunId];
    const before = await engine.reconciliation.explainUser(engine.tenantId, userId);
    expect((await prune()).rows).toBeGreaterThan(0);
    const after = await engine.reconciliation.explainUser(engine.tenantId, userId);
    expect([after.attributes, after.grants]).toEqual([before.attributes, before.grants]);
    expect((await rowsOf(engine, joined)).toSorted()).toEqual(['create', 'grant']);
    expect(await rowsOf(engine, last)).toEqual(['update']);
    await expect(engine.reconciliation.getRun(engine.tenantId, moved)).rejects.toThrow(/There is no run/);
  });

  test('go altogether once their user is removed', async () => {
    const { engine, runs, userId } = await withHistory();
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update users set status = 'removed' where tenant_id = ${engine.tenantId} and id = ${userId}`,
    );
    await prune();
    for (const runId of runs) expect(await rowsOf(engine, runId)).toEqual([]);
  });

  test('stay while they are younger than the days that are kept', async () => {
    const { engine, runs } = await withHistory();
    const [, moved] = runs as [RunId, RunId, RunId];
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        update runs set finished_at = now() - interval '179 days' where tenant_id = ${engine.tenantId} and id = ${moved}`,
    );
    await prune();
    expect(await rowsOf(engine, moved)).toEqual(['update']);
  });

  test('stay while an open case rests on their run', async () => {
    const { engine, runs } = await withHistory();
    const [, moved] = runs as [RunId, RunId, RunId];
    const setCase = (status: string) =>
      database.db.tenant(
        engine.tenantId,
        (tx) => tx.sql`
          insert into cases (tenant_id, id, connection_id, kind, status, anchor, subject, reason, run_id)
          values (${engine.tenantId}, '00000000-0000-7000-8000-000000000009', ${engine.connectionId}, 'drift', ${status}, 'p1', 'Ann', 'x', ${moved})
          on conflict (tenant_id, id) do update set status = ${status}`,
      );
    await setCase('open');
    await prune();
    expect(await rowsOf(engine, moved)).toEqual(['update']);
    await setCase('resolved');
    await prune();
    expect(await rowsOf(engine, moved)).toEqual([]);
  });

  test('of a run of which some are gone can not be undone: a part of it would be', async () => {
    const { engine, runs } = await withHistory();
    const [joined] = runs as [RunId, RunId, RunId];
    await prune();
    const undo = engine.reconciliation.requestUndo({
      tenantId: engine.tenantId,
      runId: joined,
      mode: 'plan',
      requestedBy: 'test',
    });
    await expect(undo).rejects.toThrow(/older than history is kept/);
  });

  test('of another tenant are judged by that tenant alone, and a second round finds nothing more', async () => {
    const { engine } = await withHistory();
    const young = await createEngine(database.db);
    young.directory.put({ id: 'p1', name: 'Ann' });
    const run = await young.sync();
    await prune();
    expect(await rowsOf(young, run.id)).toHaveLength(2);
    expect(await prune()).toEqual({ rows: 0, runs: 0 });
    expect(engine.tenantId).not.toBe(young.tenantId);
  });
});

describe('the history of a user', () => {
  test('names the runs that touched them and what each changed, newest first, page by page', async () => {
    const { engine, runs, userId } = await withHistory();
    const { reconciliation, tenantId } = engine;
    const all = await reconciliation.listHistory(tenantId, { userId, limit: 10 });
    expect(all.map((row) => row.runId).filter((id, index, ids) => ids.indexOf(id) === index)).toEqual(
      runs.toReversed(),
    );
    expect(all[0]).toMatchObject({ op: 'update', before: { department: 'Marketing' }, after: { department: 'Legal' } });
    const walked: typeof all = [];
    for (let row = all[0]; row !== undefined && walked.length < 10;) {
      walked.push(row);
      const before = { at: row.at, runId: row.runId, seq: row.seq };
      [row] = await reconciliation.listHistory(tenantId, { userId, limit: 1, before });
    }
    expect(walked).toEqual(all);
  });
});
