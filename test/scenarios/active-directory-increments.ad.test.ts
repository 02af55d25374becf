/** Increments of a real Active Directory domain through the whole engine: joiner, mover, leaver without a full read. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ldapConnector } from '../../src/connectors/ldap/ldap.ts';
import { guidText } from '../../src/connectors/ldap/values.ts';
import { createDialer } from '../../src/platform/dialer.ts';
import { createEngine } from '../fakes/engine.ts';
import { openDirectoryHandle } from '../servers/directory-handle.ts';
import type { OpenHandle } from '../servers/directory-handle.ts';
import { startSamba } from '../servers/samba.ts';
import type { Samba } from '../servers/samba.ts';
import { addServiceAccount, bindAdmin, sambaDialect, servicePassword } from '../servers/samba-directory.ts';
import { useDatabase } from '../setup/database.ts';

const database = useDatabase();
let server: Samba;
let directory: OpenHandle;
const unit = (): string => `OU=Sync,${server.baseDn}`;

beforeAll(async () => {
  server = await startSamba();
  await server.allowReplication(await addServiceAccount(server, 'svc-replicate'));
  await addServiceAccount(server, 'svc-ordinary');
  const client = await bindAdmin(server);
  await client.add(unit(), { objectClass: 'organizationalUnit' });
  await client.unbind();
  const access = { url: server.tlsUrl, dn: server.adminDn, password: server.adminPassword, caPem: server.caPem };
  directory = await openDirectoryHandle(
    access,
    sambaDialect(server, (value) => guidText(value) ?? '', unit()),
  );
});
afterAll(async () => {
  await directory.close();
  await server.stop();
});

test.each([
  ['dirsync', 'svc-replicate'],
  ['usn', 'svc-ordinary'],
])('by %s: who came, moved and left is known without a full read', async (by, account) => {
  const [ann, bob, cid] = [
    await directory.addUser({ name: `Ann ${by}`, email: 'ann@example.org' }),
    await directory.addUser({ name: `Bob ${by}` }),
    await directory.addUser({ name: `Cid ${by}` }),
  ];
  const auditors = await directory.addGroup(`Auditors ${by}`);
  await directory.addMembers(auditors, [ann]);
  const settings = { host: server.host, caPem: server.caPem, baseDn: unit(), increments: 'auto' };
  const engine = await createEngine(database.db, {
    connector: ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.0/8'] }) }),
    document: {
      settings: { ...settings, bindDn: `${account}@ad.example.test`, userFilter: `(&(objectClass=user)(cn=*${by}*))` },
      secrets: { password: servicePassword },
      roles: [{ everyone: 'user' }, { group: `Auditors ${by}`, role: 'view_only_admin' }],
      guards: { leaversSmall: { count: 50 }, groupLoss: { count: 50 }, adminGrants: 50, joiners: { count: 50 } },
    },
  });
  await engine.sync();
  const rolesOf = async () =>
    Object.fromEntries((await engine.users()).map(({ name, status, roles }) => [name, `${status} ${roles.length}`]));
  expect(await rolesOf()).toEqual({ [`Ann ${by}`]: 'active 2', [`Bob ${by}`]: 'active 1', [`Cid ${by}`]: 'active 1' });

  await directory.deleteUser(bob);
  await directory.addUser({ name: `Dan ${by}` });
  await directory.removeMembers(auditors, [ann]);
  await directory.addMembers(auditors, [cid]);
  await directory.disableUser(ann);
  let run = await engine.run('auto', 'delta');
  if (run.status === 'planned' || run.status === 'held') run = await engine.approve(run);
  expect([run.kind, run.status]).toEqual(['delta', 'succeeded']);
  const after = await rolesOf();
  expect(after[`Ann ${by}`]).toContain('suspended');
  expect(after[`Bob ${by}`]).toContain('suspended');
  expect(after[`Cid ${by}`]).toBe('active 2');
  expect(after[`Dan ${by}`]).toBe('active 1');
  // and a full read finds nothing to do
  const full = await engine.run('auto', 'full');
  expect([full.kind, full.status, await engine.changes(full.id)]).toEqual(['full', 'succeeded', []]);
});
