import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

async function settledEngine(...roles: readonly object[]): Promise<Engine> {
  const engine = await createEngine(database.db, {
    tenant: await createTenant(database.db, { name: 'Contoso' }),
    document: {
      roles: [{ everyone: 'user' }, { group: 'Staff', role: 'user' }, ...roles],
      guards: { adminGrants: 100 },
    },
  });
  for (let n = 1; n <= 4; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  engine.directory.team('g', 'Staff', ['p1', 'p2']);
  await engine.sync();
  return engine;
}

async function comparedAll(engine: Engine): Promise<unknown> {
  const run = await engine.run();
  expect(run.status).toBe('succeeded');
  return (run.counts['compared'] as { isWhole: boolean }).isWhole;
}

async function rolesOf(engine: Engine, name: string): Promise<readonly string[] | undefined> {
  return (await engine.users()).find((user) => user.name === name)?.roles;
}

describe('a connection whose last run left nothing open', () => {
  test('compares in whole only what changed', async () => {
    const engine = await settledEngine();
    expect(await comparedAll(engine)).toBe(false);
  });

  test('compares all again once a day, after a change of its document, and after a plan that left something open', async () => {
    const engine = await settledEngine();
    await database.db.tenant(
      engine.tenantId,
      (tx) =>
        tx.sql`update connections set settled = settled || jsonb_build_object('wholeAt', now() - interval '25 hours')`,
    );
    expect(await comparedAll(engine)).toBe(true);
    expect(await comparedAll(engine)).toBe(false);
    await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, {
      ...(await engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId)),
      roles: [{ everyone: 'user' }],
    });
    await engine.sync();
    expect(await comparedAll(engine)).toBe(false);
  });

  test('takes the role from whom a person excluded, and gives it back when the exclusion ends', async () => {
    const engine = await settledEngine();
    // in no mapped group: those are compared in any case
    const user = (await engine.users()).find(({ name }) => name === 'Person 4');
    const { organizationId } = engine.tenant;
    await database.db.tenant(engine.tenantId, async ({ sql }) => {
      await sql`
        insert into exclusions (tenant_id, id, organization_id, user_id, role, reason, created_by)
        values (${engine.tenantId}, gen_random_uuid(), ${organizationId}, ${user?.id ?? ''}, 'user', 'test', 'test')`;
    });
    await engine.sync();
    expect(await rolesOf(engine, 'Person 4')).toEqual([]);
    await database.db.tenant(engine.tenantId, async ({ sql }) => {
      await sql`update exclusions set until = now() - interval '1 second' where tenant_id = ${engine.tenantId}`;
    });
    await engine.sync();
    expect(await rolesOf(engine, 'Person 4')).toEqual([`user@${engine.tenant.slug}`]);
  });

  test('sees who joined and left a group, and a new person with all roles', async () => {
    const engine = await settledEngine();
    engine.directory.team('g', 'Staff', ['p2', 'p3', 'p9']);
    engine.directory.put({ id: 'p9', name: 'Person 9' });
    const run = await engine.sync();
    const changes = await engine.changes(run.id);
    expect(changes.map((change) => `${change.subject}: ${change.op}`).toSorted()).toEqual([
      'Person 1: revoke',
      'Person 3: grant',
      'Person 9: create',
      'Person 9: grant',
      'Person 9: grant',
    ]);
  });

  test('asks of groups nobody wrote only for whom it decides: a person who changed keeps what they give', async () => {
    const engine = await settledEngine();
    engine.directory.put({ id: 'p1', name: 'Person One' });
    const run = await engine.run();
    expect(run.counts['compared']).toMatchObject({ isWhole: false });
    expect((await engine.changes(run.id)).map((change) => change.op)).toEqual(['update']);
  });

  test('sees who joined and left a group that lies in a mapped one', async () => {
    const engine = await settledEngine({ group: 'All', role: 'view_only_admin' });
    engine.directory.team('all', 'All', ['mid']);
    engine.directory.team('mid', 'Mid', ['inner']);
    engine.directory.team('inner', 'Inner', ['p3']);
    await engine.sync();
    engine.directory.team('inner', 'Inner', ['p4']);
    const run = await engine.run();
    expect(run.counts['compared']).toMatchObject({ isWhole: false });
    const changes = await engine.changes(run.id);
    expect(changes.map((change) => `${change.subject}: ${change.op} ${change.role}`)).toEqual([
      'Person 3: revoke view_only_admin',
      'Person 4: grant view_only_admin',
    ]);
  });

  test('compares a group that others lie in when one of those is deleted', async () => {
    const engine = await settledEngine({ group: 'All', role: 'view_only_admin' });
    engine.directory.team('all', 'All', ['inner']);
    engine.directory.team('inner', 'Inner', ['p3']);
    await engine.sync();
    engine.directory.teams.delete('inner');
    const run = await engine.run();
    expect((await engine.changes(run.id)).map((change) => `${change.subject}: ${change.op} ${change.role}`)).toEqual([
      'Person 3: revoke view_only_admin',
    ]);
  });

  test('sees who came and went with a group that joined or left a mapped one in the same read', async () => {
    const engine = await settledEngine({ group: 'All', role: 'view_only_admin' });
    engine.directory.team('all', 'All', ['mid']);
    engine.directory.team('mid', 'Mid', ['inner']);
    engine.directory.team('inner', 'Inner', ['p2', 'p3']);
    engine.directory.team('other', 'Other', ['p1']);
    await engine.sync();
    engine.directory.team('all', 'All', ['other']);
    engine.directory.team('mid', 'Mid', []);
    engine.directory.team('inner', 'Inner', ['p4']);
    const run = await engine.run();
    expect(run.counts['compared']).toMatchObject({ isWhole: false });
    expect((await engine.changes(run.id)).map((change) => `${change.subject}: ${change.op} ${change.role}`)).toEqual([
      'Person 1: grant view_only_admin',
      'Person 2: revoke view_only_admin',
      'Person 3: revoke view_only_admin',
    ]);
  });

  test('compares a group with its former members when it is deleted, and when it is back', async () => {
    const engine = await settledEngine();
    engine.directory.teams.delete('g');
    const gone = await engine.sync();
    expect(gone.counts['compared']).toMatchObject({ isWhole: false });
    expect((await engine.changes(gone.id)).map((change) => `${change.subject}: ${change.op}`)).toEqual([
      'Person 1: revoke',
      'Person 2: revoke',
    ]);
    engine.directory.team('g', 'Staff', ['p1', 'p2']);
    const back = await engine.sync();
    expect((await engine.changes(back.id)).map((change) => `${change.subject}: ${change.op}`)).toEqual([
      'Person 1: grant',
      'Person 2: grant',
    ]);
  });

  test('decides only who joined or left a group, not its other members', async () => {
    const engine = await settledEngine();
    engine.directory.team('g', 'Staff', ['p2', 'p3']);
    const run = await engine.run();
    expect(run.counts['subjects']).toBe(2);
    expect((await engine.changes(run.id)).map((change) => `${change.subject}: ${change.op}`)).toEqual([
      'Person 1: revoke',
      'Person 3: grant',
    ]);
  });

  test('compares all when a role mapping has found the group of its name only now', async () => {
    const engine = await settledEngine({ group: 'Later', role: 'view_only_admin' });
    expect(await comparedAll(engine)).toBe(false);
    engine.directory.team('g', 'Later', ['p1', 'p2']);
    const run = await engine.sync();
    expect(run.counts['compared']).toMatchObject({ isWhole: true });
    expect((await engine.changes(run.id)).map((change) => `${change.subject}: ${change.op} ${change.role}`)).toEqual([
      'Person 1: grant view_only_admin',
      'Person 2: grant view_only_admin',
    ]);
  });

  test('asks an unwritten group again after a plan that was discarded', async () => {
    const engine = await settledEngine();
    engine.directory.team('g', 'Staff', ['p1', 'p3']);
    const planned = await engine.run('plan');
    await engine.reconciliation.discardRun(engine.tenantId, planned.id, 'test');
    const run = await engine.run();
    expect((await engine.changes(run.id)).map((change) => `${change.subject}: ${change.op}`).toSorted()).toEqual([
      'Person 2: revoke',
      'Person 3: grant',
    ]);
  });
});
