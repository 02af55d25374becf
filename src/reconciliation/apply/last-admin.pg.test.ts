/** The last active Admin and the Super Admin are out of reach of every directory (design.md promise 4). */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { addGrant, addUser, principalOf } from '../../../test/setup/people.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { createAccess } from '../../access/access.ts';
import type { RunId, UserId } from '../../core/ids.ts';
import { systemClock } from '../../platform/clock.ts';
import { shieldLastAdmin } from './last-admin.ts';

const database = useDatabase();

/** Two Admins by the group, and thirty users beside them. */
async function engineWithAdmins(leaver = 'suspend', admins: readonly string[] = ['a1', 'a2']): Promise<Engine> {
  const engine = await createEngine(database.db, {
    document: { roles: [{ everyone: 'user' }, { group: 'Admins', role: 'admin' }], leaver: { policy: leaver } },
  });
  for (let n = 1; n <= 30; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  for (const id of admins) engine.directory.put({ id, name: `Admin ${id}` });
  engine.directory.team('admins', 'Admins', admins);
  await engine.sync();
  return engine;
}

async function activeAdmins(engine: Engine): Promise<(string | null)[]> {
  return (await engine.users())
    .filter((user) => user.status === 'active' && user.roles.includes(`admin@${engine.tenant.slug}`))
    .map((user) => user.name);
}

async function idOf(engine: Engine, name: string): Promise<UserId> {
  return ((await engine.users()).find((user) => user.name === name)?.id ?? '') as UserId;
}

const openCases = async (engine: Engine) =>
  (await engine.reconciliation.listCases(engine.tenantId, 'open'))
    // the seat that nobody holds is a case of the organization, named like it
    .filter((found) => found.subject.startsWith('Admin'))
    .map((found) => [found.kind, found.subject]);

describe.each(['suspend', 'remove', 'revoke_roles'])('with the leaver policy %s, the last active Admin', (leaver) => {
  test('stays when the directory deletes it, and a person hears of it', async () => {
    const engine = await engineWithAdmins(leaver, ['a1']);
    engine.directory.people.delete('a1');
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a1']);
    expect(await openCases(engine)).toEqual([['no_super_admin', 'Admin a1']]);
  });

  test('stays when it is disabled', async () => {
    const engine = await engineWithAdmins(leaver, ['a1']);
    engine.directory.put({ id: 'a1', isActive: false });
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a1']);
  });

  test('is none of two who leave together: both stay', async () => {
    const engine = await engineWithAdmins(leaver);
    engine.directory.people.delete('a1');
    engine.directory.put({ id: 'a2', isActive: false });
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a1', 'Admin a2']);
  });

  test('may go while another Admin stays', async () => {
    const engine = await engineWithAdmins(leaver);
    engine.directory.people.delete('a1');
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a2']);
  });

  test('may go while an Admin by hand stays', async () => {
    const engine = await engineWithAdmins(leaver);
    const userId = await addUser(database.db, engine.tenantId, { name: 'By hand' });
    const { organizationId } = engine.tenant;
    await addGrant(database.db, engine.tenantId, { organizationId, userId, role: 'admin', source: 'manual' });
    for (const id of ['a1', 'a2']) engine.directory.people.delete(id);
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['By hand']);
  });

  test('goes as soon as another Admin is there, although the directory says nothing new', async () => {
    const engine = await engineWithAdmins(leaver, ['a1']);
    engine.directory.people.delete('a1');
    await engine.sync();
    const userId = await addUser(database.db, engine.tenantId, { name: 'By hand' });
    const { organizationId } = engine.tenant;
    await addGrant(database.db, engine.tenantId, { organizationId, userId, role: 'admin', source: 'manual' });
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['By hand']);
  });
});

describe('a group of Admins', () => {
  test('that is emptied takes the role from nobody, and again once there is another Admin', async () => {
    const engine = await engineWithAdmins('suspend', ['a1', 'a2']);
    engine.directory.team('admins', 'Admins', []);
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a1', 'Admin a2']);
    engine.directory.team('admins', 'Admins', ['p1']);
    await engine.sync();
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Person 1']);
  });

  test('passes from one to another, and the one who left goes in the end', async () => {
    const engine = await engineWithAdmins('suspend', ['a1']);
    engine.directory.team('admins', 'Admins', ['p1']);
    engine.directory.people.delete('a1');
    // the new Admin waits for a person, and while there is none the old one stays
    await engine.sync();
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Person 1']);
  });
});

describe('at the same moment', () => {
  test('an Admin by directory leaves and the other one is taken by hand: one stays', async () => {
    for (let round = 0; round < 5; round += 1) {
      const engine = await engineWithAdmins();
      const access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
      const { organizationId } = engine.tenant;
      const userId = await idOf(engine, 'Admin a2');
      const operator = { ...principalOf(engine.tenantId, 'super_admin'), actor: 'operator:test' };
      engine.directory.people.delete('a1');
      await Promise.allSettled([
        engine.sync(),
        access.revokeManually(operator, { organizationId, userId, role: 'admin' }),
      ]);
      expect((await activeAdmins(engine)).length).toBeGreaterThan(0);
    }
  });

  test('two directories each lose one of two Admins: one stays', async () => {
    for (let round = 0; round < 5; round += 1) {
      const engine = await engineWithAdmins('suspend', ['a1']);
      const second = await engine.connect({ roles: [{ group: 'Admins', role: 'admin' }] });
      for (let n = 1; n <= 30; n += 1) second.directory.put({ id: `q${n}`, name: `Other ${n}` });
      second.directory.put({ id: 'b1', name: 'Admin b1' });
      second.directory.team('admins', 'Admins', ['b1']);
      await second.sync();
      expect(await activeAdmins(engine)).toEqual(['Admin a1', 'Admin b1']);
      engine.directory.put({ id: 'a1', isActive: false });
      second.directory.put({ id: 'b1', isActive: false });
      await Promise.all([engine.sync(), second.sync()]);
      expect(await activeAdmins(engine)).toHaveLength(1);
    }
  });
});

describe('between plan and apply', () => {
  test('who is the last one by the time of the apply stays', async () => {
    const engine = await engineWithAdmins();
    engine.directory.people.delete('a1');
    const plan = await engine.run('plan');
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        delete from grants where tenant_id = ${tx.tenantId} and user_id = (select id from users where display_name = 'Admin a2')`,
    );
    await engine.approve(plan);
    expect(await activeAdmins(engine)).toEqual(['Admin a1']);
    expect(await openCases(engine)).toEqual([['no_super_admin', 'Admin a1']]);
  });

  test('who takes the seat between plan and apply is not suspended', async () => {
    const engine = await engineWithAdmins();
    engine.directory.people.delete('a1');
    const plan = await engine.run('plan');
    const access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
    const { organizationId } = engine.tenant;
    const userId = await idOf(engine, 'Admin a1');
    await access.claimSuperAdmin(principalOf(engine.tenantId, 'admin', { organizationId, userId }), organizationId);
    await engine.approve(plan);
    expect(await activeAdmins(engine)).toEqual(['Admin a1', 'Admin a2']);
  });

  test('of two applies the second one waits, and counts what the first one left', async () => {
    const engine = await engineWithAdmins('suspend', ['a1', 'a2']);
    const plans: { readonly runId: RunId; readonly seqs: number[]; readonly userId: UserId }[] = [];
    for (const id of ['a1', 'a2']) {
      for (const other of ['a1', 'a2']) engine.directory.put({ id: other, isActive: other !== id });
      const { id: runId } = await engine.run('plan');
      const rows = (await engine.changes(runId)).filter((row) => row.op === 'suspend');
      plans.push({ runId, seqs: rows.map((row) => row.seq), userId: await idOf(engine, `Admin ${id}`) });
      // the second plan supersedes the first; as if both had been approved at once
      await database.db.tenant(
        engine.tenantId,
        (tx) => tx.sql`update changes set state = 'planned' where tenant_id = ${tx.tenantId} and op = 'suspend'`,
      );
    }
    const [first, second] = plans;
    if (first === undefined || second === undefined) throw new Error('no plans');
    let late: Promise<number> | undefined;
    await database.db.tenant(engine.tenantId, async (tx) => {
      expect(await shieldLastAdmin(tx, first.runId, first.seqs)).toBe(0);
      await tx.sql`update users set status = 'suspended' where tenant_id = ${tx.tenantId} and id = ${first.userId}`;
      late = database.db.tenant(engine.tenantId, (other) => shieldLastAdmin(other, second.runId, second.seqs));
      await expect.poll(isAnyoneWaiting, { timeout: 10_000, interval: 10 }).toBe(true);
    });
    expect(await late).toBe(1);
  });
});

async function isAnyoneWaiting(): Promise<boolean> {
  const rows = await database.db.stage.sql`
    select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return rows.length > 0;
}

describe.each(['suspend', 'remove', 'revoke_roles'])('with the leaver policy %s, the Super Admin', (leaver) => {
  test('survives a disable and a deletion with the role, and a person hears of it', async () => {
    const engine = await engineWithAdmins(leaver);
    const access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
    const { organizationId } = engine.tenant;
    const userId = await idOf(engine, 'Admin a1');
    await access.claimSuperAdmin(principalOf(engine.tenantId, 'admin', { organizationId, userId }), organizationId);
    engine.directory.put({ id: 'a1', isActive: false });
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a1', 'Admin a2']);
    expect(await openCases(engine)).toEqual([['privileged_match', 'Admin a1']]);
    engine.directory.people.delete('a1');
    await engine.sync();
    expect(await activeAdmins(engine)).toEqual(['Admin a1', 'Admin a2']);
  });
});
