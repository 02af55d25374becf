/** The leaver policy over days: grace, removal after suspension, rehire. Time passes by moving the past back. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { travel } from '../../../test/fakes/travel.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

/** Ann among ten others, all synced. */
async function createSynced(leaver: Record<string, unknown>): Promise<Engine> {
  const engine = await createEngine(database.db, { document: { leaver } });
  engine.directory.put({ id: 'ann', name: 'Ann', username: `ann@${engine.tenant.builtInDomain}` });
  for (let n = 1; n <= 10; n += 1) engine.directory.put({ id: `x${n}`, name: `Other ${n}` });
  const synced = await engine.sync();
  if (synced.error !== null) throw new Error(JSON.stringify(synced.error));
  return engine;
}

const ann = async (engine: Engine) => (await engine.users()).filter((user) => user.name?.startsWith('Ann'));

/** What one more run does, without anybody's approval. */
async function opsOf(engine: Engine): Promise<string[]> {
  const run = await engine.run();
  return (await engine.changes(run.id)).map((change) => change.op);
}

async function linkOf(engine: Engine) {
  const [row] = await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql<{ state: string; isWaiting: boolean }[]>`
      select state, leaving_since is not null as "isWaiting" from links where anchor = 'ann'`,
  );
  return row;
}

describe('days of grace', () => {
  test('a leaver waits as missing, every run leaves them alone, and the first run after the days acts', async () => {
    const engine = await createSynced({ graceDays: 10 });
    engine.directory.people.delete('ann');
    expect(await opsOf(engine)).toEqual([]);
    expect(await linkOf(engine)).toEqual({ state: 'missing', isWaiting: true });
    const { links } = await engine.reconciliation.explainUser(engine.tenantId, 'Ann');
    const days = (Date.parse(links[0]?.due?.at ?? '') - Date.now()) / 86_400_000;
    expect([links[0]?.due?.what, Math.round(days)]).toEqual(['suspend', 10]);
    await travel(database.db, engine.tenantId, 9);
    expect(await opsOf(engine)).toEqual([]);
    expect(await ann(engine)).toMatchObject([{ status: 'active' }]);
    await travel(database.db, engine.tenantId, 1);
    expect(await opsOf(engine)).toEqual(['suspend']);
    expect(await ann(engine)).toMatchObject([{ status: 'suspended' }]);
    expect(await opsOf(engine)).toEqual([]);
  });

  test('who is back before they are over kept everything, and a second absence counts from anew', async () => {
    const engine = await createSynced({ graceDays: 10, policy: 'remove' });
    const { directory } = engine;
    const person = directory.people.get('ann') ?? { id: 'ann' };
    directory.people.delete('ann');
    await engine.run();
    await travel(database.db, engine.tenantId, 6);
    directory.put(person);
    expect(await opsOf(engine)).toEqual([]);
    expect(await linkOf(engine)).toEqual({ state: 'linked', isWaiting: false });
    directory.people.delete('ann');
    await engine.run();
    await travel(database.db, engine.tenantId, 6);
    expect(await opsOf(engine)).toEqual([]);
    await travel(database.db, engine.tenantId, 4);
    expect(await opsOf(engine)).toEqual(['revoke', 'remove']);
  });

  test('that the admin shortens make the leaver due with the next run', async () => {
    const engine = await createSynced({ graceDays: 30 });
    engine.directory.people.delete('ann');
    await engine.run();
    const document = await engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId);
    await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, {
      ...document,
      leaver: {},
    });
    expect(await opsOf(engine)).toEqual(['suspend']);
  });

  test('count for an object that left the scope too', async () => {
    const engine = await createEngine(database.db, {
      document: { leaver: { graceDays: 5 }, scope: 'object.department != "Gone"' },
    });
    for (const id of ['ann', 'ben', 'cid']) engine.directory.put({ id, name: id, department: 'Here' });
    await engine.sync();
    engine.directory.put({ id: 'ann', department: 'Gone' });
    expect(await opsOf(engine)).toEqual([]);
    await travel(database.db, engine.tenantId, 5);
    expect(await opsOf(engine)).toEqual(['suspend']);
  });
});

describe('removal after suspension', () => {
  test('is found by a later run of an unchanged directory, once', async () => {
    const engine = await createSynced({ deleteAfterDays: 30 });
    engine.directory.people.delete('ann');
    expect(await opsOf(engine)).toEqual(['suspend']);
    await travel(database.db, engine.tenantId, 29);
    expect(await opsOf(engine)).toEqual([]);
    await travel(database.db, engine.tenantId, 1);
    expect(await opsOf(engine)).toEqual(['revoke', 'remove']);
    expect(await ann(engine)).toMatchObject([{ status: 'removed', username: null, roles: [] }]);
    expect(await opsOf(engine)).toEqual([]);
  });

  test('spares whom a person protected, and the one who came back', async () => {
    const engine = await createSynced({ deleteAfterDays: 30 });
    const person = engine.directory.people.get('ann') ?? { id: 'ann' };
    engine.directory.people.delete('ann');
    await engine.run();
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update users set is_protected = true where display_name = 'Ann'`,
    );
    await travel(database.db, engine.tenantId, 31);
    expect(await opsOf(engine)).toEqual([]);
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update users set is_protected = false where display_name = 'Ann'`,
    );
    engine.directory.put(person);
    expect(await opsOf(engine)).toEqual(['link', 'reactivate']);
  });
});

describe('a rehire', () => {
  const review = { rehire: 'review', reviewAfterDays: 30 };

  async function createLeft(days: number, leaver: Record<string, unknown> = review) {
    const engine = await createSynced(leaver);
    const person = engine.directory.people.get('ann') ?? { id: 'ann' };
    engine.directory.people.delete('ann');
    await engine.run();
    await travel(database.db, engine.tenantId, days);
    return { ...engine, person };
  }
  const openCases = async (engine: Engine) =>
    (await engine.reconciliation.listCases(engine.tenantId, 'open')).map(({ id, kind, candidates }) => ({
      id,
      kind,
      candidates,
    }));

  test('after 10 days is relinked, with the user as they were', async () => {
    const engine = await createLeft(10);
    engine.directory.put(engine.person);
    expect(await opsOf(engine)).toEqual(['link', 'reactivate']);
    expect(await ann(engine)).toMatchObject([{ status: 'active' }]);
  });

  test('after 100 days is a case, told once; a person says it is the same one, and the next run relinks', async () => {
    const engine = await createLeft(100);
    engine.directory.put(engine.person);
    expect(await opsOf(engine)).toEqual(['dispute']);
    expect(await opsOf(engine)).toEqual([]);
    const [found] = await openCases(engine);
    const [before] = await ann(engine);
    expect(found).toMatchObject({ kind: 'rehire', candidates: [{ id: before?.id }] });
    await engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', {
      action: 'link',
      userId: found?.candidates[0]?.id as never,
    });
    expect(await opsOf(engine)).toEqual(['link', 'reactivate']);
    expect(await ann(engine)).toMatchObject([{ id: before?.id, status: 'active' }]);
  });

  test('whom a person calls somebody new becomes a user of their own, and the old one stays as left', async () => {
    const engine = await createLeft(100);
    engine.directory.put({ ...engine.person, username: `ann2@${engine.tenant.builtInDomain}`, name: 'Ann the second' });
    await engine.run();
    const [found] = await openCases(engine);
    await engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', { action: 'create' });
    expect(await opsOf(engine)).toEqual(['create', 'grant']);
    expect(await ann(engine)).toMatchObject([{ status: 'suspended' }, { name: 'Ann the second', status: 'active' }]);
    expect(await opsOf(engine)).toEqual([]);
  });

  test('under a new immutable id is the same question, asked of the user it matches', async () => {
    const engine = await createLeft(100);
    engine.directory.put({ ...engine.person, id: 'ann-new' });
    expect(await opsOf(engine)).toEqual(['dispute']);
    const [found] = await openCases(engine);
    expect(found?.kind).toBe('rehire');
    await engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', {
      action: 'link',
      userId: found?.candidates[0]?.id as never,
    });
    expect(await opsOf(engine)).toEqual(['reactivate']);
  });

  test('of a removed user is a case at once', async () => {
    const engine = await createLeft(0, { ...review, policy: 'remove' });
    engine.directory.put(engine.person);
    expect(await opsOf(engine)).toEqual(['dispute']);
    const [found] = await openCases(engine);
    await engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', { action: 'ignore' });
    engine.directory.put({ id: 'ann', department: 'Elsewhere' });
    expect(await opsOf(engine)).toEqual([]);
  });
});

test('a user whom a person edited is decided anew, and nothing follows where nothing differs', async () => {
  const engine = await createSynced({});
  await database.db.tenant(
    engine.tenantId,
    (tx) =>
      tx.sql`update users set version = version + 1, last_run_id = null, updated_at = now() where display_name = 'Ann'`,
  );
  const run = await engine.run();
  expect(run.counts['subjects']).toBe(1);
  expect(await engine.changes(run.id)).toEqual([]);
  expect((await engine.run()).counts['subjects']).toBe(0);
});
