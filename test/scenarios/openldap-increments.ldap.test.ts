/** Increments of a real OpenLDAP through the whole engine: joiner, mover, leaver without a full read, also after a restart. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEngine } from '../fakes/engine.ts';
import { connector, startIncrementsFixture } from '../servers/openldap-increments.ts';
import type { IncrementsFixture } from '../servers/openldap-increments.ts';
import { useDatabase } from '../setup/database.ts';

const database = useDatabase();
let fixture: IncrementsFixture;

beforeAll(async () => {
  fixture = await startIncrementsFixture();
});
afterAll(() => fixture.stop());

test('who came, moved and left is known without a full read, also when the server forgot who was deleted', async () => {
  const { directory, server } = fixture;
  const [ann, bob, cid, eve] = [
    await directory.addUser({ name: 'Ann', email: 'ann@example.org' }),
    await directory.addUser({ name: 'Bob' }),
    await directory.addUser({ name: 'Cid' }),
    await directory.addUser({ name: 'Eve' }),
  ];
  const auditors = await directory.addGroup('Auditors');
  await directory.addMembers(auditors, [ann]);
  const { host, tlsPort: port, caPem, bindDn, peopleDn: baseDn, groupsDn: groupBaseDn, password } = server;
  const engine = await createEngine(database.db, {
    connector,
    document: {
      settings: { host, port, caPem, bindDn, baseDn, groupBaseDn, increments: 'auto' },
      secrets: { password },
      roles: [{ everyone: 'user' }, { group: 'Auditors', role: 'view_only_admin' }],
      guards: { leaversSmall: { count: 50 }, groupLoss: { count: 50 }, adminGrants: 50, joiners: { count: 50 } },
    },
  });
  await engine.sync();
  const rolesOf = async () =>
    Object.fromEntries((await engine.users()).map(({ name, status, roles }) => [name, `${status} ${roles.length}`]));
  const increment = async (): Promise<string> => {
    let run = await engine.run('auto', 'delta');
    if (run.status === 'planned' || run.status === 'held') run = await engine.approve(run);
    return `${run.kind} ${run.status} ${(await engine.changes(run.id)).length > 0 ? 'changes' : 'nothing'}`;
  };
  expect(await rolesOf()).toEqual({ Ann: 'active 2', Bob: 'active 1', Cid: 'active 1', Eve: 'active 1' });
  expect(await increment()).toBe('delta succeeded nothing');

  await directory.deleteUser(bob);
  await directory.addUser({ name: 'Dan' });
  await directory.removeMembers(auditors, [ann]);
  await directory.addMembers(auditors, [cid]);
  await directory.disableUser(ann);
  expect(await increment()).toBe('delta succeeded changes');
  const after = await rolesOf();
  expect(after['Ann']).toContain('suspended');
  expect(after['Bob']).toContain('suspended');
  expect(after['Cid']).toBe('active 2');
  expect(after['Dan']).toBe('active 1');

  await directory.deleteUser(eve);
  await fixture.restart();
  expect(await increment()).toBe('delta succeeded changes');
  expect((await rolesOf())['Eve']).toContain('suspended');
  expect(await increment()).toBe('delta succeeded nothing');
  // and a full read finds nothing to do
  const full = await engine.run('auto', 'full');
  expect([full.kind, full.status, await engine.changes(full.id)]).toEqual(['full', 'succeeded', []]);
});
