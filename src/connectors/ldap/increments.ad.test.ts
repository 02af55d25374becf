/**
 * Increments of Active Directory against a real domain (Samba): after each of them the mirror is what a full read says,
 * or the connector asked for one. The blind spots of both feeds are here, each with what becomes of it.
 */
import type { Client } from 'ldapts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDirectoryHandle } from '../../../test/servers/directory-handle.ts';
import type { OpenHandle } from '../../../test/servers/directory-handle.ts';
import { Follower, playHistory } from '../../../test/servers/follower.ts';
import { startSamba } from '../../../test/servers/samba.ts';
import type { Samba } from '../../../test/servers/samba.ts';
import {
  addServiceAccount,
  bindAdmin,
  replaceValues,
  sambaDialect,
  servicePassword,
} from '../../../test/servers/samba-directory.ts';
import { Mirror } from '../../../test/servers/mirror.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import type { Cursor, DirectoryEvent } from '../contract/contract.ts';
import { ldapConnector } from './ldap.ts';
import type { LdapSettings } from './ldap.ts';
import { guidText } from './values.ts';

let clockMs = Date.now();
const connector = ldapConnector({
  dialer: createDialer({ allowPrivateRanges: ['127.0.0.0/8'] }),
  now: () => new Date(clockMs),
});
const attributes = ['mail', 'department'];

let server: Samba;
let admin: Client;
let directory: OpenHandle;
let syncDn: string;
let settings: LdapSettings;

beforeAll(async () => {
  server = await startSamba();
  const replicator = await addServiceAccount(server, 'svc-replicate');
  await server.allowReplication(replicator);
  await addServiceAccount(server, 'svc-ordinary');
  admin = await bindAdmin(server);
  syncDn = `OU=Sync,${server.baseDn}`;
  await admin.add(syncDn, { objectClass: 'organizationalUnit' });
  const access = { url: server.tlsUrl, dn: server.adminDn, password: server.adminPassword, caPem: server.caPem };
  directory = await openDirectoryHandle(
    access,
    sambaDialect(server, (value) => guidText(value) ?? '', syncDn),
  );
  settings = connector.settingsSchema.parse({
    host: server.host,
    caPem: server.caPem,
    bindDn: 'svc-replicate@ad.example.test',
    baseDn: syncDn,
    pageSize: 50,
    increments: 'auto',
  });
});
afterAll(async () => {
  await directory.close();
  await admin.unbind();
  await server.stop();
});

type Overrides = Partial<LdapSettings>;

async function read(mode: 'full' | 'delta', cursor: Cursor | null, overrides: Overrides): Promise<DirectoryEvent[]> {
  const events: DirectoryEvent[] = [];
  const request = {
    settings: { ...settings, ...overrides },
    secrets: { password: new Secret(servicePassword) },
    mode,
    cursor,
    attributes,
    signal: AbortSignal.timeout(30_000),
  };
  for await (const event of connector.read(request)) events.push(event);
  return events;
}

const means = [
  { name: 'DirSync', by: 'dirsync', overrides: {} as Overrides },
  { name: 'uSNChanged with an ordinary account', by: 'usn', overrides: { bindDn: 'svc-ordinary@ad.example.test' } },
] as const;

const follow = (overrides: Overrides): Promise<Follower<Overrides>> => new Follower(read, overrides).full();
const reasonOf = (events: readonly DirectoryEvent[]): string =>
  events.flatMap((event) => (event.type === 'reset' ? [event.reason] : [])).join();
const upserted = (events: readonly DirectoryEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'upsert' ? [event.object.name] : []));

describe.each(means)('an increment by $name', ({ by, overrides }) => {
  test('begins with a full read that takes a position, and says nothing when nothing happened', async () => {
    const follower = await follow(overrides);
    expect(follower.cursor).toMatchObject({ position: { by } });
    const events = await follower.delta();
    expect(events.filter(({ type }) => type !== 'sweep')).toMatchObject([{ type: 'complete', mode: 'delta' }]);
  });

  test('tells changed, cleared, disabled, renamed, new and deleted users', async () => {
    const [ann, bob, cid, dan] = [
      await directory.addUser({ name: `Ann ${by}`, email: 'ann@example.org' }),
      await directory.addUser({ name: `Bob ${by}`, email: 'bob@example.org' }),
      await directory.addUser({ name: `Cid ${by}` }),
      await directory.addUser({ name: `Dan ${by}` }),
    ];
    const follower = await follow(overrides);
    await directory.setEmail(ann, 'ann2@example.org');
    await directory.setEmail(bob, null);
    await directory.disableUser(cid);
    await directory.renameUser(cid, `Cid After ${by}`);
    await directory.deleteUser(dan);
    await directory.addUser({ name: `Eva ${by}` });
    const events = await follower.expectInStep();
    expect(upserted(events).toSorted()).toEqual([`Ann ${by}`, `Bob ${by}`, `Cid After ${by}`, `Eva ${by}`]);
    expect(follower.mirror.objects.has(dan)).toBe(false);
    expect(follower.mirror.objects.get(cid)?.inactiveReason).toBe('disabled');
  });

  test('tells members added and removed, new, renamed and deleted groups, and groups in groups', async () => {
    const anchors = await directory.addUsers(`m-${by}-`, 6);
    const [one, two, gone] = [
      await directory.addGroup(`one ${by}`),
      await directory.addGroup(`two ${by}`),
      await directory.addGroup(`gone ${by}`),
    ];
    await directory.addMembers(one, anchors.slice(0, 3));
    const follower = await follow(overrides);
    await directory.addMembers(one, anchors.slice(3));
    await directory.removeMembers(one, anchors.slice(0, 1));
    await directory.addMembers(two, [one]);
    const fresh = await directory.addGroup(`fresh ${by}`);
    await directory.addMembers(fresh, anchors);
    await directory.deleteGroup(gone);
    await follower.expectInStep();
    expect(follower.mirror.membersOf(one)).toEqual(anchors.slice(1).toSorted());
    await directory.removeMembers(one, anchors.slice(1));
    await follower.expectInStep();
    expect(follower.mirror.membersOf(one)).toEqual([]);
  });

  test('tells a primary group, which stands in no list of members', async () => {
    const [user, group] = [await directory.addUser({ name: `Prim ${by}` }), await directory.addGroup(`primary ${by}`)];
    await directory.addMembers(group, [user]);
    const follower = await follow(overrides);
    const { searchEntries } = await admin.search(directory.dnOf(group), {
      scope: 'base',
      attributes: ['primaryGroupToken'],
    });
    await replaceValues(admin, directory.dnOf(user), 'primaryGroupID', [
      String(searchEntries[0]?.['primaryGroupToken']),
    ]);
    await follower.expectInStep();
    expect(follower.mirror.membersOf(group)).toEqual([user]);
    const other = await directory.addUser({ name: `Second ${by}` });
    await directory.addMembers(group, [other]);
    await follower.expectInStep();
    await replaceValues(admin, directory.dnOf(user), 'primaryGroupID', ['513']);
    await follower.expectInStep();
    await directory.removeMembers(group, [user]);
    await follower.expectInStep();
    expect(follower.mirror.membersOf(group)).toEqual([other]);
  });

  test('who is moved out of the base, or changed out of the filter, is gone from the mirror; and back', async () => {
    const filter = { ...overrides, userFilter: '(&(sAMAccountType=805306368)(!(department=Secret)))' };
    const [mover, hidden] = [
      await directory.addUser({ name: `Mover ${by}` }),
      await directory.addUser({ name: `Hidden ${by}` }),
    ];
    const follower = await follow(filter);
    await admin.modifyDN(directory.dnOf(mover), `CN=Mover ${by},${server.usersDn}`);
    await replaceValues(admin, directory.dnOf(hidden), 'department', ['Secret']);
    await follower.expectInStep();
    expect([mover, hidden].some((anchor) => follower.mirror.objects.has(anchor))).toBe(false);
    await admin.modifyDN(`CN=Mover ${by},${server.usersDn}`, directory.dnOf(mover));
    await replaceValues(admin, directory.dnOf(hidden), 'department', []);
    await follower.expectInStep();
    expect([mover, hidden].every((anchor) => follower.mirror.objects.has(anchor))).toBe(true);
  });

  test('an account that ends by its date becomes inactive without any change in the directory', async () => {
    const anchor = await directory.addUser({ name: `Ending ${by}` });
    const ends = new Date(clockMs + 3_600_000);
    const ticks = (BigInt(ends.getTime()) + 11_644_473_600_000n) * 10_000n;
    await replaceValues(admin, directory.dnOf(anchor), 'accountExpires', [String(ticks)]);
    const follower = await follow(overrides);
    expect(follower.mirror.objects.get(anchor)?.isActive).toBe(true);
    expect(upserted(await follower.expectInStep())).toEqual([]);
    clockMs += 2 * 3_600_000;
    expect(upserted(await follower.expectInStep())).toContain(`Ending ${by}`);
    expect(follower.mirror.objects.get(anchor)).toMatchObject({ isActive: false, inactiveReason: 'expired' });
    clockMs -= 2 * 3_600_000;
  });

  test('a deleted user leaves its groups without a word about them, and the edges do not count', async () => {
    const user = await directory.addUser({ name: `Leaver ${by}` });
    const group = await directory.addGroup(`left ${by}`);
    await directory.addMembers(group, [user]);
    const follower = await follow(overrides);
    await directory.deleteUser(user);
    const events = await follower.expectInStep();
    expect(events.filter((event) => event.type === 'members' && event.groupAnchor === group)).toEqual([]);
  });

  test('a renamed organizational unit, which changes nobody below it, asks for a full read; a new one does not', async () => {
    const unit = `OU=Unit ${by},${syncDn}`;
    const follower = await follow(overrides);
    await admin.add(unit, { objectClass: 'organizationalUnit' });
    await admin.add(`CN=inside ${by},${unit}`, { objectClass: 'user', sAMAccountName: `in${by}` });
    expect(upserted(await follower.expectInStep())).toEqual([`inside ${by}`]);
    await admin.modifyDN(unit, `OU=Renamed ${by},${syncDn}`);
    const events = await follower.delta();
    expect(events.map(({ type }) => type)).toEqual(['reset']);
    expect(reasonOf(events)).toContain(`Renamed ${by}`);
  });

  test('a position of another server, another filter or a far time asks for a full read', async () => {
    const follower = await follow(overrides);
    const cursor = follower.cursor ?? {};
    const stale = { ...cursor, at: new Date(clockMs - 31 * 86_400_000).toISOString() };
    const foreign = { ...cursor, server: '00000000-0000-4000-8000-000000000000' };
    for (const [changed, more] of [
      [stale, {}],
      [foreign, {}],
      [{ v: 2 }, {}],
      [cursor, { userFilter: '(objectClass=user)' }],
      [cursor, { groupBaseDn: server.usersDn }],
    ] as const) {
      const events = await read('delta', changed, { ...overrides, ...more });
      expect(events.map(({ type }) => type)).toEqual(['reset']);
    }
  });

  test('any history of changes ends where a full read ends', { timeout: 120_000 }, async () => {
    const users = [...(await directory.addUsers(`r-${by}-`, 8))];
    const groups: string[] = [];
    for (let index = 0; index < 4; index += 1) groups.push(await directory.addGroup(`r${index} ${by}`));
    const follower = await follow(overrides);
    const steps = process.env['ROLLCALL_FULL'] === '1' ? 120 : 24;
    await playHistory(directory, follower, { users, groups }, { name: by, steps });
  });
});

describe('deletions', () => {
  test('are found by a sweep of all ids until the account may see deleted objects, then told by DirSync', async () => {
    const [first, second] = [
      await directory.addUser({ name: 'First Gone' }),
      await directory.addUser({ name: 'Second Gone' }),
    ];
    const follower = await follow({});
    await directory.deleteUser(first);
    const swept = await follower.expectInStep();
    expect(swept.some((event) => event.type === 'tombstone')).toBe(false);
    expect(swept.some((event) => event.type === 'sweep')).toBe(true);
    await server.showDeletedObjects();
    await directory.deleteUser(second);
    const told = await follower.expectInStep();
    expect(told.filter((event) => event.type === 'tombstone')).toMatchObject([{ kind: 'user', anchor: second }]);
    expect(told.some((event) => event.type === 'sweep')).toBe(false);
  });

  test('a sweep that shows far fewer than there were asks for a full read', async () => {
    const ordinary = { bindDn: 'svc-ordinary@ad.example.test', increments: 'usn' } as const;
    const follower = await follow(ordinary);
    const events = await read('delta', { ...follower.cursor, users: 1_000 }, ordinary);
    expect(events.at(-1)).toMatchObject({ type: 'reset', reason: expect.stringContaining('of 1000 users') as string });
  });

  test('the whole history again, told by DirSync alone', async () => {
    const users = [...(await directory.addUsers('told-', 5))];
    const group = await directory.addGroup('told group');
    await directory.addMembers(group, users);
    const follower = await follow({});
    for (const user of users) {
      await directory.deleteUser(user);
      await directory.addUser({ name: `after ${user}` });
      const events = await follower.expectInStep();
      expect(events.some((event) => event.type === 'sweep')).toBe(false);
    }
    await directory.deleteGroup(group);
    const mover = await directory.addUser({ name: 'Told Mover' });
    await follower.expectInStep();
    // nobody sweeps here: that it left the base has to be told
    await admin.modifyDN(directory.dnOf(mover), `CN=Told Mover,${server.usersDn}`);
    const events = await follower.expectInStep();
    expect(events.filter((event) => event.type === 'absent')).toEqual([
      { type: 'absent', kind: 'user', anchor: mover },
    ]);
  });
});

describe('the choice between the ways', () => {
  test('DirSync refused without its right: uSNChanged is taken, unless DirSync is asked for by name', async () => {
    const ordinary = { bindDn: 'svc-ordinary@ad.example.test' };
    expect((await follow(ordinary)).cursor).toMatchObject({ position: { by: 'usn' } });
    const events = await read('full', null, { ...ordinary, increments: 'dirsync' });
    expect(events.at(-1)).toMatchObject({ type: 'complete', mode: 'full', cursor: null });
    expect(events.find((event) => event.type === 'notice')).toMatchObject({
      code: 'increments_unavailable',
      message: expect.stringContaining('Replicating Directory Changes') as string,
    });
  });

  test('the right taken away, or a cookie the server can not read, asks for a full read', async () => {
    const follower = await follow({});
    expect(reasonOf(await follower.delta({ bindDn: 'svc-ordinary@ad.example.test' }))).toContain('(50)');
    const broken = { ...follower.cursor, position: { by: 'dirsync', cookie: Buffer.from('no').toString('base64') } };
    expect(reasonOf(await read('delta', broken, {}))).toContain('does not take the stored position');
  });

  test('a filter by memberOf, which changes without a sign, is read in full each time, and a notice says so', async () => {
    const userFilter = `(memberOf=CN=Domain Admins,${server.usersDn})`;
    const events = await read('full', null, { userFilter });
    expect(events.at(-1)).toMatchObject({ cursor: null });
    expect(events.find((event) => event.type === 'notice' && event.code === 'increments_unavailable')).toBeDefined();
  });

  test('off is off: no position, and a delta request is answered by a full read', async () => {
    const full = await read('full', null, { increments: 'off' });
    expect(full.at(-1)).toMatchObject({ mode: 'full', cursor: null });
    const delta = await read('delta', (await follow({})).cursor, { increments: 'off' });
    expect(delta.at(-1)).toMatchObject({ mode: 'full', cursor: null });
  });
});

describe('a full read', () => {
  test('shows everybody whose primary group is Domain Users as a member of it', async () => {
    const user = await directory.addUser({ name: 'Everyday User' });
    const mirror = new Mirror();
    mirror.apply(await read('full', null, { baseDn: server.baseDn, increments: 'off' }));
    const [domainUsers] = [...mirror.objects.values()].filter(({ name }) => name === 'Domain Users');
    expect(mirror.membersOf(domainUsers?.anchor ?? '')).toContain(user);
    const [builtIn] = [...mirror.objects.values()].filter(({ name }) => name === 'Users');
    expect(mirror.membersOf(builtIn?.anchor ?? '')).not.toContain(user);
  });
});
