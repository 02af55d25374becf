import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import type { Person } from '../../../test/fakes/memory-directory.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import { isRollcallError } from '../../core/errors.ts';

const database = useDatabase();

async function engineWith(
  count: number,
  document: Record<string, unknown> = {},
): Promise<Engine & { person: (n: number) => Person }> {
  const engine = await createEngine(database.db, { document });
  const person = (n: number): Person => ({
    id: `p${n}`,
    name: `Person ${n}`,
    username: `p${n}@${engine.tenant.builtInDomain}`,
    email: `p${n}@mail.test`,
  });
  for (let n = 1; n <= count; n += 1) engine.directory.put(person(n));
  return { ...engine, person };
}

describe('the first run', () => {
  test('stops at the plan and changes nobody until it is approved', async () => {
    const engine = await engineWith(3);
    const run = await engine.run();
    expect(run.status).toBe('planned');
    expect(run.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await engine.users()).toEqual([]);
    const applied = await engine.approve(run);
    expect(applied.status).toBe('succeeded');
    const users = await engine.users();
    expect(users.map((user) => [user.name, user.status, user.roles])).toEqual(
      ['Person 1', 'Person 2', 'Person 3'].map((name) => [name, 'active', [`user@${engine.tenant.slug}`]]),
    );
  });

  test('an approval of another digest is refused', async () => {
    const engine = await engineWith(1);
    const run = await engine.run();
    const wrong = engine.reconciliation.approveRun(engine.tenantId, run.id, { actor: 'test', digest: 'ff' });
    await expect(wrong).rejects.toSatisfy((error) => isRollcallError(error, 'digest_mismatch'));
  });

  test('the digest of two runs over the same input is the same, and the second plan stands for the first', async () => {
    const engine = await engineWith(5);
    const first = await engine.run('plan');
    const second = await engine.run('plan');
    expect(second.digest).toBe(first.digest);
    expect(second.status).toBe('superseded');
    expect((await engine.approve(first)).status).toBe('succeeded');
  });
});

describe('a second run over an unchanged directory', () => {
  test('has an empty plan and writes no row', async () => {
    const engine = await engineWith(20);
    engine.directory.team('g', 'Group', ['p1', 'p2']);
    await engine.sync();
    const before = await contents(engine);
    const run = await engine.run();
    expect(run.status).toBe('succeeded');
    expect(await engine.changes(run.id)).toEqual([]);
    expect(await contents(engine)).toEqual(before);
    expect(run.counts).toMatchObject({
      fetched: { users: 20, staged: 0 },
      mirrored: { objectsWritten: 0, edgesAdded: 0 },
    });
  });
});

/** Every row of what a run may write, with the transaction that wrote it. */
async function contents(engine: Engine): Promise<unknown> {
  return database.db.tenant(engine.tenantId, async (tx) => ({
    users: await tx.sql`select xmin::text, id from users order by id`,
    links: await tx.sql`select xmin::text, anchor from links order by connection_id, anchor`,
    grants: await tx.sql`select xmin::text, user_id, role from grants order by user_id, role, source`,
    mirror: await tx.sql`select xmin::text, anchor from mirror_objects order by connection_id, kind, anchor`,
    edges:
      await tx.sql`select xmin::text, member_anchor from mirror_edges order by connection_id, group_anchor, member_anchor`,
  }));
}

describe('changes in the directory', () => {
  test('a mover is updated, a joiner created, a leaver suspended after proof', async () => {
    const engine = await engineWith(40);
    await engine.sync();
    engine.directory.put({ id: 'p1', department: 'Sales' }, engine.person(41));
    engine.directory.people.delete('p2');
    const run = await engine.run();
    expect(run.status).toBe('succeeded');
    const rows = await engine.changes(run.id);
    expect(rows.map((row) => [row.op, row.kind, row.subject, row.state])).toEqual([
      ['update', 'mover', 'Person 1', 'applied'],
      ['suspend', 'leaver', 'Person 2', 'applied'],
      ['create', 'joiner', 'Person 41', 'applied'],
      ['grant', 'joiner', 'Person 41', 'applied'],
    ]);
    const users = await engine.users();
    expect(users.find((user) => user.name === 'Person 1')?.department).toBe('Sales');
    expect(users.find((user) => user.name === 'Person 2')?.status).toBe('suspended');
  });

  test('absence without proof changes nobody', async () => {
    const engine = await engineWith(40);
    await engine.sync();
    engine.directory.hidden.add('p1');
    engine.directory.verdict = 'unknown';
    const run = await engine.run();
    expect(await engine.changes(run.id)).toEqual([]);
    engine.directory.verdict = null;
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
    expect((await engine.users()).every((user) => user.status === 'active')).toBe(true);
  });

  test('who comes back is re-activated, because the suspension was ours', async () => {
    const engine = await engineWith(40);
    await engine.sync();
    engine.directory.people.delete('p7');
    await engine.sync();
    engine.directory.put(engine.person(7));
    await engine.sync();
    const user = (await engine.users()).find((found) => found.name === 'Person 7');
    expect([user?.status, user?.roles]).toEqual(['active', [`user@${engine.tenant.slug}`]]);
  });

  test('a username handed over, swapped or taken by a newcomer changes in one run', async () => {
    const engine = await engineWith(60);
    await engine.sync();
    const name = (n: number) => engine.person(n).username ?? null;
    engine.directory.put(
      { id: 'p1', username: name(2) },
      { id: 'p2', username: name(1) },
      { id: 'p3', username: `new3@${engine.tenant.builtInDomain}` },
      { id: 'p61', name: 'Newcomer', username: name(3) },
    );
    const run = await engine.sync();
    expect(run.status).toBe('succeeded');
    const users = new Map((await engine.users()).map((user) => [user.name, user.username]));
    expect([users.get('Person 1'), users.get('Person 2'), users.get('Newcomer')]).toEqual([name(2), name(1), name(3)]);
  });

  test('one bad object stops only itself', async () => {
    const engine = await engineWith(40);
    await engine.sync();
    engine.directory.put({ id: 'x', name: 'Thief', username: engine.person(1).username ?? null }, engine.person(41));
    const run = await engine.run();
    const rows = await engine.changes(run.id);
    expect(rows.map((row) => [row.op, row.subject])).toEqual([
      ['create', 'Person 41'],
      ['grant', 'Person 41'],
      ['dispute', 'Thief'],
    ]);
    const cases = await engine.reconciliation.listCases(engine.tenantId, 'open');
    expect(cases.map((open) => [open.subject, open.candidates.map((user) => user.name)])).toEqual([
      ['Thief', ['Person 1']],
    ]);
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });
});

describe('groups', () => {
  const roles = { roles: [{ group: 'Staff', role: 'user' }] };

  test('a role mapping follows nested groups through a cycle, and takes back only what it gave', async () => {
    const engine = await engineWith(30, roles);
    const everyone = Array.from({ length: 30 }, (_, n) => `p${n + 1}`);
    engine.directory.team('staff', 'Staff', ['inner', ...everyone.slice(0, 28)]);
    engine.directory.team('inner', 'Inner', ['staff', 'p29']);
    await engine.sync();
    const withRole = async () => (await engine.users()).filter((user) => user.roles.length > 0).length;
    expect(await withRole()).toBe(29);
    engine.directory.team('inner', 'Inner', ['staff', 'p30']);
    const run = await engine.sync();
    expect((await engine.changes(run.id)).map((row) => [row.op, row.subject, row.reason])).toEqual([
      ['revoke', 'Person 29', 'Left the group Staff.'],
      ['grant', 'Person 30', 'In the group Staff.'],
    ]);
    expect(await withRole()).toBe(29);
  });

  test('a privileged role is held until a person approves', async () => {
    const engine = await engineWith(5, { roles: [{ group: 'Admins', role: 'admin' }] });
    engine.directory.team('admins', 'Admins', []);
    await engine.sync();
    engine.directory.team('admins', 'Admins', ['p1']);
    const run = await engine.run();
    expect(run.status).toBe('held');
    expect((await engine.users()).filter((user) => user.roles.length > 0)).toEqual([]);
    await engine.approve(run);
    expect((await engine.users()).find((user) => user.name === 'Person 1')?.roles).toEqual([
      `admin@${engine.tenant.slug}`,
    ]);
  });

  test('a manual grant survives, and what a person removed by hand stays removed', async () => {
    const engine = await engineWith(5, roles);
    engine.directory.team('staff', 'Staff', ['p1', 'p2']);
    await engine.sync();
    const user = (await engine.users()).find((found) => found.name === 'Person 1');
    await database.db.tenant(engine.tenantId, async (tx) => {
      await tx.sql`insert into grants (tenant_id, organization_id, user_id, role, source)
        values (${engine.tenantId}, ${engine.tenantId}, ${user?.id ?? ''}, 'billing_admin', 'manual')`;
      await tx.sql`insert into exclusions (tenant_id, id, organization_id, user_id, role, reason, created_by)
        values (${engine.tenantId}, gen_random_uuid(), ${engine.tenantId}, ${user?.id ?? ''}, 'user', 'asked to', 'test')`;
    });
    await engine.sync();
    expect((await engine.users()).find((found) => found.name === 'Person 1')?.roles).toEqual([
      `billing_admin@${engine.tenant.slug}`,
    ]);
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });
});

describe('guards and plausibility', () => {
  test('too many leavers are held and the rest is applied', async () => {
    const engine = await engineWith(40);
    await engine.sync();
    for (let n = 1; n <= 6; n += 1) engine.directory.put({ id: `p${n}`, isActive: false });
    for (let n = 7; n <= 12; n += 1) engine.directory.people.delete(`p${n}`);
    engine.directory.put({ id: 'p20', department: 'Sales' });
    const run = await engine.run();
    expect(run.status).toBe('held');
    expect(run.guard).toMatchObject({ breaches: [{ guard: 'leavers', count: 12, of: 40 }] });
    const users = await engine.users();
    expect(users.filter((user) => user.status !== 'active')).toEqual([]);
    expect(users.find((user) => user.name === 'Person 20')?.department).toBe('Sales');
    expect((await engine.approve(run)).status).toBe('succeeded');
    expect((await engine.users()).filter((user) => user.status === 'suspended')).toHaveLength(12);
  });

  test('what waits goes on waiting under the run a person was shown, and nobody is told twice', async () => {
    const engine = await engineWith(40);
    await engine.sync();
    for (let n = 1; n <= 12; n += 1) engine.directory.put({ id: `p${n}`, isActive: false });
    const shown = await engine.run();
    engine.directory.put({ id: 'p20', department: 'Sales' });
    const later = await engine.run();
    expect([shown.status, later.status, later.counts['sameAs']]).toEqual(['held', 'succeeded', shown.id]);
    expect((await engine.users()).find((user) => user.name === 'Person 20')?.department).toBe('Sales');
    const told = await database.db.engine(
      (tx) => tx.sql`select 1 from outbox_messages where tenant_id = ${engine.tenantId} and type = 'run.held'`,
    );
    expect(told).toHaveLength(1);
    await engine.approve(shown);
    expect((await engine.users()).filter((user) => user.status === 'suspended')).toHaveLength(12);
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });

  test('an empty directory changes nothing and says why', async () => {
    const engine = await engineWith(30);
    await engine.sync();
    engine.directory.people.clear();
    const run = await engine.run();
    expect(run.status).toBe('held');
    expect(JSON.stringify(run.guard)).toContain('answered with no users; the last good read had 30');
    expect((await engine.users()).every((user) => user.status === 'active')).toBe(true);
  });

  test('a half-read directory fails the run and changes nothing', async () => {
    const engine = await engineWith(30);
    await engine.sync();
    engine.directory.put(engine.person(31));
    engine.directory.failAfter = 15;
    const run = await engine.run();
    expect([run.status, run.error?.['code']]).toEqual(['failed', 'directory_incomplete']);
    expect(await engine.users()).toHaveLength(30);
    engine.directory.failAfter = null;
    await engine.sync();
    expect(await engine.users()).toHaveLength(31);
  });
});

describe('tenants', () => {
  test('two tenants with equal directories never touch each other', async () => {
    const one = await createEngine(database.db, { tenant: await createTenant(database.db, { name: 'Same' }) });
    const two = await createEngine(database.db, { tenant: await createTenant(database.db, { name: 'Same' }) });
    for (const engine of [one, two])
      engine.directory.put({ id: 'p1', name: 'Ann', email: 'ann@same.test', employeeId: '1' });
    await one.sync();
    expect(await two.users()).toEqual([]);
    await two.sync();
    one.directory.put({ id: 'p1', name: 'Anna' });
    await one.sync();
    expect([(await one.users())[0]?.name, (await two.users())[0]?.name]).toEqual(['Anna', 'Ann']);
  });
});
