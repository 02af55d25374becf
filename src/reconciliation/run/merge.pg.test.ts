/** Two directories of one tenant: who decides, what passes on, and how an object finds its user. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Connected, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

type Pair = Engine & { readonly second: Connected; readonly ann: string };

/** The first directory has priority 100, the second 50; Ann is in both under the same username. */
async function createPair(more: Record<string, unknown> = {}): Promise<Pair> {
  const engine = await createEngine(database.db, { document: more });
  const second = await engine.connect({ priority: 50, ...more });
  const ann = `ann@${engine.tenant.builtInDomain}`;
  engine.directory.put({ id: 'a1', name: 'Ann', username: ann, department: 'First' });
  second.directory.put({ id: 'b1', name: 'Ann', username: ann, department: 'Second' });
  for (let n = 1; n <= 10; n += 1) {
    engine.directory.put({ id: `x${n}`, name: `First ${n}` });
    second.directory.put({ id: `y${n}`, name: `Second ${n}` });
  }
  return { ...engine, second, ann };
}

async function anns(engine: Engine) {
  return (await engine.users()).filter((user) => user.name === 'Ann');
}

async function grantSources(engine: Engine): Promise<number> {
  const [row] = await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql<{ count: number }[]>`
      select count(*)::int as count from grants g join users u on u.tenant_id = g.tenant_id and u.id = g.user_id
      where u.display_name = 'Ann'`,
  );
  return row?.count ?? 0;
}

describe('a user in two directories', () => {
  test('is one user, and the directory of lower priority number decides the values, whichever runs last', async () => {
    const pair = await createPair();
    await pair.sync();
    await pair.second.sync();
    expect(await anns(pair)).toMatchObject([{ department: 'Second' }]);
    pair.directory.put({ id: 'a1', department: 'First again' });
    await pair.sync();
    expect(await anns(pair)).toMatchObject([{ department: 'Second' }]);
    pair.second.directory.put({ id: 'b1', department: null });
    await pair.second.sync();
    expect(await anns(pair)).toMatchObject([{ department: 'First again' }]);
  });

  test('has roles of both, and each takes only its own', async () => {
    const pair = await createPair({ roles: [{ group: 'Staff', role: 'user' }] });
    pair.directory.team('s1', 'Staff', ['a1']);
    pair.second.directory.team('s2', 'Staff', ['b1']);
    await pair.sync();
    await pair.second.sync();
    expect(await grantSources(pair)).toBe(2);
    pair.directory.team('s1', 'Staff', ['x1']);
    await pair.sync();
    expect(await grantSources(pair)).toBe(1);
    expect(await anns(pair)).toMatchObject([{ roles: [`user@${pair.tenant.slug}`] }]);
    pair.second.directory.team('s2', 'Staff', ['y1']);
    await pair.second.sync();
    expect(await anns(pair)).toMatchObject([{ roles: [] }]);
  });

  test.each(['keep', 'suspend', 'revoke_roles', 'remove'])(
    'who leaves one of them is handed over, with leaver policy %s',
    async (policy) => {
      const pair = await createPair({ leaver: { policy } });
      await pair.sync();
      await pair.second.sync();
      pair.second.directory.people.delete('b1');
      const run = await pair.second.sync();
      const rows = await pair.changes(run.id);
      expect(rows.map((row) => [row.op, row.kind])).toEqual([
        ['update', 'mover'],
        ['revoke', 'mover'],
        ['unlink', 'mover'],
      ]);
      expect(await anns(pair)).toMatchObject([
        { status: 'active', department: 'First', roles: [`user@${pair.tenant.slug}`] },
      ]);
      expect(await pair.changes((await pair.run()).id)).toEqual([]);
    },
  );

  test('who is disabled in the one that does not decide stays, and is suspended when that one remains', async () => {
    const pair = await createPair();
    await pair.sync();
    await pair.second.sync();
    pair.directory.put({ id: 'a1', isActive: false });
    await pair.sync();
    expect(await anns(pair)).toMatchObject([{ status: 'active' }]);
    pair.second.directory.people.delete('b1');
    await pair.second.sync();
    expect(await anns(pair)).toMatchObject([{ status: 'suspended' }]);
    pair.directory.put({ id: 'a1', isActive: true });
    await pair.sync();
    expect(await anns(pair)).toMatchObject([{ status: 'active' }]);
  });

  test('who was suspended by the one that decides is back when it ends and the other has the user enabled', async () => {
    const pair = await createPair();
    await pair.sync();
    await pair.second.sync();
    pair.second.directory.put({ id: 'b1', isActive: false });
    await pair.second.sync();
    expect(await anns(pair)).toMatchObject([{ status: 'suspended' }]);
    pair.second.directory.people.delete('b1');
    await pair.second.sync();
    expect(await anns(pair)).toMatchObject([{ status: 'active' }]);
  });
});

describe('an e-mail address', () => {
  test('finds a user only inside the proven domains of the tenant', async () => {
    const engine = await createEngine(database.db);
    const second = await engine.connect();
    const inside = `ann@${engine.tenant.builtInDomain}`;
    engine.directory.put({ id: 'a1', name: 'Ann', email: inside }, { id: 'a2', name: 'Bob', email: 'bob@free.test' });
    await engine.sync();
    second.directory.put(
      { id: 'b1', name: 'Ann', email: inside.toUpperCase() },
      { id: 'b2', name: 'Bob', email: 'bob@free.test' },
    );
    await second.sync();
    expect((await engine.users()).map((user) => user.name)).toEqual(['Ann', 'Bob', 'Bob']);
  });
});

describe('two objects that match one user', () => {
  async function disputed(): Promise<{ engine: Engine; second: Connected; cases: Map<string, string> }> {
    const engine = await createEngine(database.db);
    const second = await engine.connect();
    const email = `ann@${engine.tenant.builtInDomain}`;
    engine.directory.put({ id: 'a1', name: 'Ann', email });
    await engine.sync();
    second.directory.put(
      { id: 'b1', name: 'Ann One', email },
      { id: 'b2', name: 'Ann Two', email },
      { id: 'b3', name: 'Cid' },
    );
    await second.sync();
    const cases = await engine.reconciliation.listCases(engine.tenantId, 'open');
    return { engine, second, cases: new Map(cases.map((found) => [found.subject, found.id])) };
  }
  const names = async (engine: Engine) => (await engine.users()).map((user) => user.name);

  test('are both disputed, nobody is touched, and the rest goes on', async () => {
    const { engine, second, cases } = await disputed();
    expect([...cases.keys()].toSorted()).toEqual(['Ann One', 'Ann Two']);
    expect(await names(engine)).toEqual(['Ann', 'Cid']);
    expect(await engine.changes((await second.run()).id)).toEqual([]);
  });

  test('become what a person says, with the next run and not before', async () => {
    const { engine, second, cases } = await disputed();
    const userId = (await engine.users()).find((user) => user.name === 'Ann')?.id ?? '';
    const resolve = (subject: string, resolution: Parameters<Engine['reconciliation']['resolveCase']>[3]) =>
      engine.reconciliation.resolveCase('test', engine.tenantId, cases.get(subject) ?? '', resolution);
    const before = await engine.users();
    await resolve('Ann One', { action: 'link', userId: userId as never });
    await resolve('Ann Two', { action: 'create' });
    expect(await engine.users()).toEqual(before);
    await second.sync();
    // of equal priorities the first connection decides Ann's name; nothing of hers is in the user made for the other
    expect(await names(engine)).toEqual(['Ann', 'Ann Two', 'Cid']);
    const [link] = await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql<{ userId: string }[]>`
        select user_id as "userId" from links where connection_id = ${second.connectionId} and anchor = 'b1'`,
    );
    expect(link?.userId).toBe(userId);
    const made = (await engine.users()).find((user) => user.name === 'Ann Two');
    expect(made).toMatchObject({ status: 'active', roles: [`user@${engine.tenant.slug}`] });
    expect(await engine.changes((await second.run()).id)).toEqual([]);
  });

  test('stay away for good when a person says ignore, whatever the directory says later', async () => {
    const { engine, second, cases } = await disputed();
    for (const id of cases.values())
      await engine.reconciliation.resolveCase('test', engine.tenantId, id, { action: 'ignore' });
    second.directory.put({ id: 'b1', department: 'New' }, { id: 'b2', email: null });
    await second.sync();
    expect(await names(engine)).toEqual(['Ann', 'Cid']);
    expect(await engine.reconciliation.listCases(engine.tenantId, 'open')).toEqual([]);
  });

  test('a match by hand leaves what a person had set by hand', async () => {
    const { engine, second, cases } = await disputed();
    const userId = (await engine.users()).find((user) => user.name === 'Ann')?.id ?? '';
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update users set department = 'By hand', provenance = provenance || '{"department":"manual"}',
        version = version + 1, last_run_id = null where id = ${userId}`,
    );
    second.directory.put({ id: 'b1', department: 'Directory' });
    const resolution = { action: 'link', userId: userId as never } as const;
    await engine.reconciliation.resolveCase('test', engine.tenantId, cases.get('Ann One') ?? '', resolution);
    await second.sync();
    expect((await engine.users()).find((user) => user.id === userId)?.department).toBe('By hand');
    second.directory.put({ id: 'b1', department: 'News' });
    await second.sync();
    expect((await engine.users()).find((user) => user.id === userId)?.department).toBe('News');
  });
});
