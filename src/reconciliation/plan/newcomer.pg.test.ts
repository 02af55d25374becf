/** Someone leaves and someone comes under the same username, in one read. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

async function createSynced(document: Record<string, unknown>): Promise<Engine & { readonly username: string }> {
  const engine = await createEngine(database.db, { document });
  const username = `ann@${engine.tenant.builtInDomain}`;
  for (let n = 1; n <= 10; n += 1) engine.directory.put({ id: `x${n}`, name: `Other ${n}` });
  engine.directory.put({ id: 'a', name: 'Ann', username, employeeId: '1' });
  await engine.sync();
  return { ...engine, username };
}

async function rowsOf(engine: Engine): Promise<unknown[]> {
  const run = await engine.run();
  expect(run.error).toBeNull();
  return (await engine.changes(run.id)).map((row) => [row.op, row.anchor, row.kind, row.state]);
}

const anns = async (engine: Engine) => (await engine.users()).filter((user) => user.name?.startsWith('Ann'));

describe('an account that was deleted and made anew', () => {
  test.each([
    { policy: 'keep' },
    { policy: 'suspend' },
    { policy: 'revoke_roles' },
    { policy: 'remove' },
    { graceDays: 9 },
  ])('keeps its user, whatever the leaver policy: %j', async (leaver) => {
    const engine = await createSynced({ leaver });
    const before = await anns(engine);
    engine.directory.people.delete('a');
    engine.directory.put({ id: 'b', name: 'Ann', username: engine.username, employeeId: '1' });
    expect(await rowsOf(engine)).toEqual([
      ['link', 'b', 'mover', 'applied'],
      ['unlink', 'a', 'mover', 'applied'],
    ]);
    expect(await anns(engine)).toEqual(before);
    expect(await rowsOf(engine)).toEqual([]);
  });
});

test('an object with a fault and a role that it lacks is told once, not by every run', async () => {
  const engine = await createSynced({ roles: [{ group: 'Staff', role: 'user' }] });
  const document = await engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId);
  await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, {
    ...document,
    mappings: [{ target: 'displayName', expression: 'object.displayName + object.department' }],
  });
  engine.directory.team('staff', 'Staff', ['a']);
  await engine.sync();
  const run = await engine.run();
  expect(run.counts['subjects']).toBe(0);
});

test('an object run that waited while its connection was changed goes by the new rules', async () => {
  const engine = await createSynced({});
  const { db } = database;
  const [queued] = await db.tenant(
    engine.tenantId,
    (tx) => tx.sql<{ id: string }[]>`
      insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by)
      values (${tx.tenantId}, gen_random_uuid(), ${engine.connectionId}, 1, 'object', 'auto', 'queued', 'push') returning id`,
  );
  const document = await engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId);
  await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, {
    ...document,
    ceiling: 'user',
  });
  const { signal } = new AbortController();
  const run = await engine.reconciliation.executeRun(engine.tenantId, queued?.id as never, { signal });
  expect([run.error, run.connectionVersion]).toEqual([null, 2]);
});
