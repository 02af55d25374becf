/** A value edited by hand against what the directory says, by conflict policy; through the engine and the case queue. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

async function createSynced(document: Record<string, unknown>): Promise<Engine> {
  const engine = await createEngine(database.db, { document });
  engine.directory.put({ id: 'ann', name: 'Ann', department: 'A' }, { id: 'ben', name: 'Ben', department: 'A' });
  await engine.sync();
  return engine;
}

/** As the use case of users writes it: marked as manual, by nobody's run. */
async function edit(engine: Engine, department: string | null): Promise<void> {
  await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql`
      update users set department = ${department}, provenance = provenance || '{"department": "manual"}', version = version + 1,
        last_run_id = null, updated_at = now()
      where display_name = 'Ann'`,
  );
}

async function opsOf(engine: Engine): Promise<string[]> {
  const run = await engine.run();
  expect(run.error).toBeNull();
  return (await engine.changes(run.id)).map((change) => change.op);
}

const department = async (engine: Engine) => (await engine.users()).find((user) => user.name === 'Ann')?.department;
const openCases = (engine: Engine) => engine.reconciliation.listCases(engine.tenantId, 'open');

async function decide(engine: Engine, action: 'source' | 'local' | 'ignore'): Promise<void> {
  const [found] = await openCases(engine);
  await engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', { action });
}

describe('conflict policy review', () => {
  test('an edit opens one case with both values, changes nothing, and is told once', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    expect(await opsOf(engine)).toEqual(['dispute']);
    expect(await openCases(engine)).toMatchObject([
      {
        kind: 'drift',
        subject: 'Ann',
        details: { department: { local: 'Local', source: 'A' } },
        candidates: [{ name: 'Ann' }],
      },
    ]);
    expect(await department(engine)).toBe('Local');
    expect(await opsOf(engine)).toEqual([]);
  });

  test('a change of the source meanwhile shows in the same case', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    await engine.run();
    engine.directory.put({ id: 'ann', department: 'B' });
    expect(await opsOf(engine)).toEqual(['dispute']);
    expect(await openCases(engine)).toMatchObject([{ details: { department: { local: 'Local', source: 'B' } } }]);
  });

  test('decided for the source, its value comes with the next run and is its own again', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    await engine.run();
    await decide(engine, 'source');
    expect(await opsOf(engine)).toEqual(['update']);
    expect(await department(engine)).toBe('A');
    engine.directory.put({ id: 'ann', department: 'B' });
    expect(await opsOf(engine)).toEqual(['update']);
    await edit(engine, 'Local');
    expect(await opsOf(engine)).toEqual(['dispute']);
  });

  test('decided for the local value, it stays until either side changes again', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    await engine.run();
    await decide(engine, 'local');
    expect(await opsOf(engine)).toEqual([]);
    engine.directory.put({ id: 'ann', department: 'B' });
    expect(await opsOf(engine)).toEqual(['dispute']);
    expect(await department(engine)).toBe('Local');
  });

  test('ignored, the link goes on as before', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    await engine.run();
    await decide(engine, 'ignore');
    engine.directory.put({ id: 'ann', name: 'Ann Other' });
    expect(await opsOf(engine)).toContain('update');
  });

  test('a case of which nothing stands any more closes itself', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    await engine.run();
    await edit(engine, 'A');
    await engine.run();
    expect(await openCases(engine)).toEqual([]);
  });

  test('cannot be decided as if it were about a match', async () => {
    const engine = await createSynced({ conflict: 'review' });
    await edit(engine, 'Local');
    await engine.run();
    const [found] = await openCases(engine);
    await expect(
      engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', { action: 'create' }),
    ).rejects.toMatchObject({ code: 'invalid_input', remedy: 'Decide it by one of: source, local, ignore.' });
  });
});

test('by local, an edit outlives every change of the source until it is cleared here', async () => {
  const engine = await createSynced({ conflict: 'local' });
  await edit(engine, 'Local');
  engine.directory.put({ id: 'ann', department: 'B' });
  expect(await opsOf(engine)).toEqual([]);
  expect(await department(engine)).toBe('Local');
  await edit(engine, null);
  expect(await opsOf(engine)).toEqual(['update']);
  expect(await department(engine)).toBe('B');
});

test('a mapping may have another conflict policy than its connection', async () => {
  const engine = await createSynced({
    conflict: 'review',
    mappings: [
      { target: 'displayName', expression: 'object.displayName' },
      { target: 'department', expression: 'object.department', conflict: 'source' },
    ],
  });
  await edit(engine, 'Local');
  expect(await opsOf(engine)).toEqual([]);
  engine.directory.put({ id: 'ann', department: 'B' });
  expect(await opsOf(engine)).toEqual(['update']);
});
