/** A new priority of a connection: decided anew, shown first, and for the others once it was applied. */
import { expect, test } from 'vitest';
import { createEngine, type Connected, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

type Pair = Engine & { readonly second: Connected };

/** Ann is in both; the second directory goes first (50 before 100). */
async function createPair(): Promise<Pair> {
  const engine = await createEngine(database.db);
  const second = await engine.connect({ priority: 50 });
  const username = `ann@${engine.tenant.builtInDomain}`;
  engine.directory.put({ id: 'a1', name: 'Ann', username, department: 'First' });
  second.directory.put({ id: 'b1', name: 'Ann', username, department: 'Second' });
  for (let n = 1; n <= 10; n += 1) {
    engine.directory.put({ id: `x${n}`, name: `First ${n}` });
    second.directory.put({ id: `y${n}`, name: `Second ${n}` });
  }
  await engine.sync();
  await second.sync();
  return { ...engine, second };
}

const ann = async (pair: Pair) => (await pair.users()).find((user) => user.name === 'Ann');

async function setPriority(pair: Pair, which: Connected, priority: number): Promise<void> {
  const document = await pair.reconciliation.exportConnection(pair.tenantId, which.connectionId);
  await pair.reconciliation.updateConnection('test', pair.tenantId, which.connectionId, { ...document, priority });
}

async function provenance(pair: Pair): Promise<unknown> {
  const [row] = await database.db.tenant(
    pair.tenantId,
    (tx) => tx.sql<{ by: string }[]>`select provenance ->> 'department' as by from users where display_name = 'Ann'`,
  );
  return row?.by;
}

test('the users of several directories are decided anew in a plan that waits, by the connection that changed', async () => {
  const pair = await createPair();
  await setPriority(pair, pair.second, 200);
  const run = await pair.second.run();
  expect(run.status).toBe('planned');
  expect((await pair.changes(run.id)).map((change) => [change.op, change.after])).toEqual([
    ['update', { department: 'First' }],
  ]);
  expect((await ann(pair))?.department).toBe('Second');
  await pair.second.approve(run);
  expect((await ann(pair))?.department).toBe('First');
  expect(await provenance(pair)).toBe(`connection:${pair.connectionId}`);
});

test('until then the other connection goes by the old priority, and by the new one from then on', async () => {
  const pair = await createPair();
  await setPriority(pair, pair.second, 200);
  pair.directory.put({ id: 'a1', department: 'First again' });
  await pair.sync();
  expect((await ann(pair))?.department).toBe('Second');
  await pair.second.sync();
  expect((await ann(pair))?.department).toBe('First again');
});

test('who decides about the status is decided anew too: with the next run of the other connection', async () => {
  const pair = await createPair();
  pair.second.directory.put({ id: 'b1', isActive: false });
  await pair.second.sync();
  expect((await ann(pair))?.status).toBe('suspended');
  await setPriority(pair, pair.second, 200);
  await pair.second.sync();
  await pair.sync();
  const suspended = await ann(pair);
  expect(suspended?.department).toBe('First');
  expect((await pair.run()).counts['subjects']).toBe(0);
});

test('who is disabled only in the directory that goes first now is suspended in the plan of the new order, by its word', async () => {
  const pair = await createPair();
  pair.directory.put({ id: 'a1', isActive: false });
  await pair.sync();
  expect((await ann(pair))?.status).toBe('active');
  await setPriority(pair, pair.second, 200);
  const run = await pair.second.run();
  expect((await pair.changes(run.id)).map((change) => change.op)).toEqual(['update', 'suspend']);
  await pair.second.approve(run);
  expect((await ann(pair))?.status).toBe('suspended');
  expect(await pair.changes((await pair.run()).id)).toEqual([]);
  expect(await pair.changes((await pair.second.run()).id)).toEqual([]);
  // it was that directory's word, so its word brings them back
  pair.directory.put({ id: 'a1', isActive: true });
  await pair.sync();
  expect((await ann(pair))?.status).toBe('active');
});

test('where the directory that was raised has somebody disabled, its next run suspends them', async () => {
  const pair = await createPair();
  pair.directory.put({ id: 'a1', isActive: false });
  await pair.sync();
  await setPriority(pair, pair, 10);
  const run = await pair.run();
  expect((await pair.changes(run.id)).map((change) => change.op)).toEqual(['update', 'suspend']);
  await pair.approve(run);
  expect((await ann(pair))?.status).toBe('suspended');
  expect(await pair.changes((await pair.second.run()).id)).toEqual([]);
});

test('a priority that nobody shares changes nothing and asks nobody', async () => {
  const engine = await createEngine(database.db);
  engine.directory.put({ id: 'a1', name: 'Ann' });
  await engine.sync();
  const document = await engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId);
  await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, {
    ...document,
    priority: 7,
  });
  expect((await engine.run()).status).toBe('succeeded');
});

test('a user who is no longer protected is decided anew', async () => {
  const engine = await createEngine(database.db);
  engine.directory.put({ id: 'a1', name: 'Ann', department: 'A' });
  await engine.sync();
  const protect = (isProtected: boolean) =>
    database.db.tenant(
      engine.tenantId,
      (tx) =>
        tx.sql`update users set is_protected = ${isProtected}, version = version + 1, last_run_id = null, updated_at = now()`,
    );
  await protect(true);
  engine.directory.put({ id: 'a1', department: 'B' });
  expect(await engine.changes((await engine.run()).id)).toEqual([]);
  await protect(false);
  expect((await engine.changes((await engine.run()).id)).map((change) => change.op)).toEqual(['update']);
  engine.directory.people.delete('a1');
});

test('whom the directory suspended that went first is back when the one that goes first now has them enabled', async () => {
  const pair = await createPair();
  pair.second.directory.put({ id: 'b1', isActive: false });
  await pair.second.sync();
  expect((await ann(pair))?.status).toBe('suspended');
  await setPriority(pair, pair.second, 200);
  await pair.second.sync();
  expect((await ann(pair))?.status).toBe('active');
  expect(await pair.changes((await pair.second.run()).id)).toEqual([]);
});
