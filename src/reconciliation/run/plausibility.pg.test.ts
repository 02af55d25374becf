/** A reading that is not plausible: held as a whole, accepted by a person's word, and then the measure of the next. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

async function engineWith(count: number): Promise<Engine> {
  const engine = await createEngine(database.db);
  for (let n = 1; n <= count; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  await engine.sync();
  return engine;
}

describe('a directory that shrank', () => {
  test('is held with everything it says, and the next run says the same plan again', async () => {
    const engine = await engineWith(40);
    for (let n = 1; n <= 20; n += 1) engine.directory.people.delete(`p${n}`);
    engine.directory.put({ id: 'p40', department: 'Sales' });
    const run = await engine.run();
    expect(run.status).toBe('held');
    expect(run.guard).toMatchObject({ implausible: [{ check: 'shrunk' }] });
    expect((await engine.users()).filter((user) => user.status !== 'active' || user.department !== null)).toEqual([]);
    expect(await engine.run()).toMatchObject({ status: 'superseded', digest: run.digest });
  });

  test('is, once approved, what later readings are compared with', async () => {
    const engine = await engineWith(40);
    for (let n = 1; n <= 20; n += 1) engine.directory.people.delete(`p${n}`);
    const run = await engine.run();
    expect((await engine.approve(run)).status).toBe('succeeded');
    expect((await engine.users()).filter((user) => user.status === 'suspended')).toHaveLength(20);
    expect(await engine.run()).toMatchObject({ status: 'succeeded', guard: null });
  });

  test('can be accepted even where nothing is proven and nobody changes', async () => {
    const engine = await engineWith(40);
    for (let n = 1; n <= 20; n += 1) engine.directory.hidden.add(`p${n}`);
    engine.directory.verdict = 'unknown';
    const run = await engine.run();
    expect(run).toMatchObject({ status: 'held', guard: { implausible: [{ check: 'shrunk' }] } });
    expect(await engine.changes(run.id)).toEqual([]);
    expect((await engine.approve(run)).status).toBe('succeeded');
    expect(await engine.run()).toMatchObject({ status: 'succeeded', guard: null });
    expect((await engine.users()).every((user) => user.status === 'active')).toBe(true);
  });
});

describe('another directory behind the same address', () => {
  test('is held, and stays strange to every later read until a person approves', async () => {
    const engine = await engineWith(40);
    engine.directory.people.clear();
    for (let n = 1; n <= 40; n += 1) engine.directory.put({ id: `q${n}`, name: `Stranger ${n}` });
    for (const run of [await engine.run(), await engine.run()]) {
      expect(run.guard).toMatchObject({ implausible: [{ check: 'swapped' }] });
    }
    expect((await engine.users()).map((user) => user.status)).toEqual(Array.from({ length: 40 }, () => 'active'));
  });
});
