/** The purge: who was removed long ago is gone for good, and nothing that is left says who that was. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { travel } from '../../../test/fakes/travel.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { addGrant, addUser } from '../../../test/setup/people.ts';
import type { UserId } from '../../core/ids.ts';
import { purgeRemovedUsers } from '../reconciliation.ts';

const database = useDatabase();
const keepDays = 180;
const purge = () => purgeRemovedUsers({ db: database.db }, keepDays, new AbortController().signal);

/** Ann Arbor, who left under the policy `remove`, and Bob, who is there. */
async function withLeaver(): Promise<Engine & { readonly ann: UserId }> {
  const engine = await createEngine(database.db, {
    document: { roles: [{ everyone: 'user' }], leaver: { policy: 'remove' } },
  });
  engine.directory.put(
    {
      id: 'a',
      name: 'Ann Arbor',
      username: `ann@${engine.tenant.builtInDomain}`,
      email: 'ann@mail.test',
      department: 'Sales',
    },
    { id: 'b', name: 'Bob', department: 'Sales' },
  );
  await engine.sync();
  const ann = ((await engine.users()).find((user) => user.name === 'Ann Arbor')?.id ?? '') as UserId;
  engine.directory.people.delete('a');
  const run = await engine.sync();
  expect([run.status, (await engine.users()).map((user) => user.status).toSorted()]).toEqual([
    'succeeded',
    ['active', 'removed'],
  ]);
  return { ...engine, ann };
}

const names = async (engine: Engine) => (await engine.users()).map((user) => user.name);

/** Every table of the tenant that says who somebody is, as one text; messages and the audit have an end of their own. */
async function everything(engine: Engine): Promise<string> {
  const tables = [
    'users',
    'links',
    'mirror_objects',
    'changes',
    'cases',
    'grants',
    'memberships',
    'exclusions',
    'runs',
  ];
  return database.db.tenant(engine.tenantId, async (tx) => {
    const rows = [];
    for (const table of tables) rows.push(await tx.sql`select to_jsonb(t)::text as row from ${tx.sql(table)} t`);
    return JSON.stringify(rows);
  });
}

describe('a user who was removed', () => {
  test('stays for as long as runs can be undone, and is gone the day after with all that said who it was', async () => {
    const engine = await withLeaver();
    // somebody who was suspended as long ago, and may come back
    const { organizationId } = engine.tenant;
    const cem = await addUser(database.db, engine.tenantId, { name: 'Cem', status: 'suspended' });
    await addGrant(database.db, engine.tenantId, { organizationId, userId: cem, role: 'user', source: 'manual' });
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update users set status_changed_at = now() where id = ${cem}`,
    );
    await travel(database.db, engine.tenantId, keepDays - 1);
    expect(await purge()).toBe(0);
    expect(await names(engine)).toEqual(['Ann Arbor', 'Bob', 'Cem']);
    await travel(database.db, engine.tenantId, 2);
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        insert into exclusions (tenant_id, id, organization_id, user_id, reason, created_by)
        values (${engine.tenantId}, ${engine.ann}, ${engine.tenant.organizationId}, ${engine.ann}, 'Ann Arbor left', 'test')`,
    );
    await addGrant(database.db, engine.tenantId, {
      organizationId,
      userId: engine.ann,
      role: 'user',
      source: 'manual',
    });
    expect(await purge()).toBe(1);
    expect(await everything(engine)).not.toMatch(/ann/i);
    const roles = [`user@${engine.tenant.slug}`];
    expect(await engine.users()).toMatchObject([
      { name: 'Bob', roles },
      { name: 'Cem', status: 'suspended', roles },
    ]);
    expect(await purge()).toBe(0);
    const [told] = await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`select actor, details from audit_events where action = 'users.purged'`,
    );
    expect(told).toEqual({ actor: 'system', details: { userIds: [engine.ann], removedForDays: keepDays } });
  });

  test('and purged comes back as somebody new, and a further run finds nothing', async () => {
    const engine = await withLeaver();
    await travel(database.db, engine.tenantId, keepDays + 1);
    await purge();
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
    engine.directory.put({ id: 'a', name: 'Ann Arbor', username: `ann@${engine.tenant.builtInDomain}` });
    await engine.sync();
    const back = (await engine.users()).find((user) => user.name === 'Ann Arbor');
    expect([back?.status, back?.id === engine.ann]).toEqual(['active', false]);
  });

  test('is not purged while an undo holds the link, a plan waits that would bring them back, or they came back', async () => {
    const engine = await withLeaver();
    await travel(database.db, engine.tenantId, keepDays + 1);
    engine.directory.put({ id: 'a', name: 'Ann Arbor' });
    const plan = await engine.run('plan');
    expect(await purge()).toBe(0);
    await engine.approve(plan);
    expect(await purge()).toBe(0);
    expect(await names(engine)).toContain('Ann Arbor');
    const hold = (state: string) =>
      database.db.tenant(engine.tenantId, async (tx) => {
        await tx.sql`update users set status = 'removed', status_changed_at = now() - interval '1000 days' where id = ${engine.ann}`;
        await tx.sql`update links set state = ${state} where user_id = ${engine.ann}`;
      });
    await hold('held');
    expect(await purge()).toBe(0);
    await hold('removed');
    expect(await purge()).toBe(1);
  });

  test('in another tenant stays where nobody left', async () => {
    const [left, stays] = [await withLeaver(), await withLeaver()];
    await travel(database.db, left.tenantId, keepDays + 1);
    expect(await purge()).toBe(1);
    expect(await names(stays)).toEqual(['Ann Arbor', 'Bob']);
  });
});

test('a run that did something to somebody who was purged is undone for everybody else', async () => {
  const engine = await withLeaver();
  engine.directory.put({ id: 'b', department: 'Lab' }, { id: 'c', name: 'Cem' });
  await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql`update users set status_changed_at = now() - interval '1000 days' where id = ${engine.ann}`,
  );
  const [last] = await engine.reconciliation.listRuns(engine.tenantId, { limit: 1 });
  expect(await purge()).toBe(1);
  const undo = await engine.reconciliation.requestUndo({
    tenantId: engine.tenantId,
    runId: last?.id as Exclude<typeof last, undefined>['id'],
    requestedBy: 'test',
    mode: 'auto',
  });
  const done = await engine.reconciliation.executeRun(engine.tenantId, undo, { signal: new AbortController().signal });
  expect((await engine.changes(done.id)).map((row) => [row.op, row.reason])).toEqual([
    ['keep', expect.stringContaining('The user is purged.')],
  ]);
});
