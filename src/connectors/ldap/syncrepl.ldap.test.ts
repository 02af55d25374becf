/**
 * Increments of OpenLDAP against a real slapd: after each of them the mirror is what a full read says, or the connector
 * asked for one. What syncrepl does not tell is here, each with what becomes of it.
 */
import { Attribute, Change, Client } from 'ldapts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OpenHandle } from '../../../test/servers/directory-handle.ts';
import { playHistory } from '../../../test/servers/follower.ts';
import {
  attributes,
  clock,
  connector,
  incrementSettings,
  startIncrementsFixture,
} from '../../../test/servers/openldap-increments.ts';
import type { IncrementsFixture } from '../../../test/servers/openldap-increments.ts';
import type { Openldap } from '../../../test/servers/openldap.ts';
import { Secret } from '../../platform/secrets.ts';
import type { Cursor, DirectoryEvent } from '../contract/contract.ts';

const replace = (client: Client, dn: string, type: string, values: string[]): Promise<void> =>
  client.modify(dn, new Change({ operation: 'replace', modification: new Attribute({ type, values }) }));
const reasonOf = (events: readonly DirectoryEvent[]): string =>
  events.flatMap((event) => (event.type === 'reset' ? [event.reason] : [])).join();
const upserted = (events: readonly DirectoryEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'upsert' ? [event.object.name] : []));
const typesOf = (events: readonly DirectoryEvent[]): string[] => [...new Set(events.map(({ type }) => type))];
const positionOf = (cursor: Cursor | null, cookie: string): Cursor => ({
  ...cursor,
  position: { by: 'syncrepl', cookie: Buffer.from(cookie).toString('base64') },
});

/** CSNs and creation times count in seconds: what is made now is later than what was made before. */
async function nextSecond(): Promise<void> {
  const second = Math.floor(Date.now() / 1_000);
  await expect.poll(() => Math.floor(Date.now() / 1_000), { interval: 20, timeout: 3_000 }).toBeGreaterThan(second);
}

describe('an increment by syncrepl', () => {
  let fixture: IncrementsFixture;
  let server: Openldap;
  let directory: OpenHandle;
  beforeAll(async () => {
    fixture = await startIncrementsFixture();
    ({ server, directory } = fixture);
  });
  afterAll(() => fixture.stop());

  test('begins with a full read that takes a position, and says nothing when nothing happened', async () => {
    await directory.addUsers('still-', 60);
    const follower = await fixture.follow();
    expect(follower.cursor).toMatchObject({ position: { by: 'syncrepl' } });
    const before = follower.cursor;
    const events = await follower.delta();
    expect(events).toMatchObject([{ type: 'complete', mode: 'delta' }]);
    expect(follower.cursor).toMatchObject({ position: before?.['position'] });
  });

  test('tells changed, cleared, disabled, renamed, new and deleted users, and nobody else', async () => {
    const [ann, bob, cid, dan] = [
      await directory.addUser({ name: 'Ann', email: 'ann@example.org' }),
      await directory.addUser({ name: 'Bob', email: 'bob@example.org' }),
      await directory.addUser({ name: 'Cid' }),
      await directory.addUser({ name: 'Dan' }),
    ];
    const follower = await fixture.follow();
    await directory.setEmail(ann, 'ann2@example.org');
    await directory.setEmail(bob, null);
    await directory.disableUser(cid);
    await directory.renameUser(cid, 'Cid After');
    await directory.deleteUser(dan);
    await directory.addUser({ name: 'Eva' });
    const events = await follower.expectInStep();
    expect(upserted(events).toSorted()).toEqual(['Ann', 'Bob', 'Cid After', 'Eva']);
    expect(events.some(({ type }) => type === 'sweep' || type === 'tombstone')).toBe(false);
    expect(events).toContainEqual({ type: 'absent', kind: 'user', anchor: dan });
    expect(follower.mirror.objects.get(cid)?.inactiveReason).toBe('locked by an administrator');
  });

  test('a change between the position and the end of the full read comes with the next increment', async () => {
    const anchor = await directory.addUser({ name: 'Meanwhile', email: 'before@example.org' });
    const reading = connector.read({
      settings: incrementSettings(server),
      secrets: { password: new Secret(server.password) },
      mode: 'full',
      cursor: null,
      attributes,
      signal: AbortSignal.timeout(30_000),
    });
    let cursor: Cursor | null = null;
    let isChanged = false;
    for await (const event of reading) {
      if (event.type === 'complete') ({ cursor } = event);
      if (isChanged) continue;
      isChanged = true;
      await directory.setEmail(anchor, 'after@example.org');
    }
    expect(upserted(await fixture.read('delta', cursor, {}))).toContain('Meanwhile');
  });

  test('tells members added and removed, new, renamed and deleted groups, and groups in groups', async () => {
    const anchors = await directory.addUsers('m-', 6);
    const [one, two, gone] = [
      await directory.addGroup('one'),
      await directory.addGroup('two'),
      await directory.addGroup('gone'),
    ];
    await directory.addMembers(one, anchors.slice(0, 3));
    const follower = await fixture.follow();
    await directory.addMembers(one, anchors.slice(3));
    await directory.removeMembers(one, anchors.slice(0, 1));
    await directory.addMembers(two, [one]);
    const fresh = await directory.addGroup('fresh');
    await directory.addMembers(fresh, anchors);
    await directory.deleteGroup(gone);
    await follower.expectInStep();
    expect(follower.mirror.membersOf(one)).toEqual(anchors.slice(1).toSorted());
    await directory.removeMembers(one, anchors.slice(1));
    await fixture.admin().modifyDN(directory.dnOf(two), `cn=two after,${server.groupsDn}`);
    await follower.expectInStep();
    expect(follower.mirror.membersOf(one)).toEqual([]);
    expect(follower.mirror.objects.get(two)?.name).toBe('two after');
  });

  test('a group with more members than are asked for one by one is told whole', async () => {
    const anchors = await directory.addUsers('many-', 620);
    const group = await directory.addGroup('many');
    const follower = await fixture.follow();
    await directory.addMembers(group, anchors);
    await fixture.admin().modify(
      directory.dnOf(group),
      new Change({
        operation: 'add',
        modification: new Attribute({ type: 'member', values: [`cn=nobody,${server.peopleDn}`, server.bindDn] }),
      }),
    );
    await follower.expectInStep();
    expect(follower.mirror.edgesOf(group).size).toBe(620);
  });

  test('a group of unique names is read like any other, also for who comes in later', async () => {
    const user = await directory.addUser({ name: 'Unique' });
    const dn = `cn=unique,${server.groupsDn}`;
    await fixture.admin().add(dn, { objectClass: 'groupOfUniqueNames', uniqueMember: directory.dnOf(user) });
    await replace(fixture.admin(), directory.dnOf(user), 'departmentNumber', ['Secret']);
    const follower = await fixture.follow({ userFilter: '(&(objectClass=inetOrgPerson)(!(departmentNumber=Secret)))' });
    await replace(fixture.admin(), directory.dnOf(user), 'departmentNumber', []);
    const events = await follower.expectInStep();
    expect(events).toContainEqual(expect.objectContaining({ type: 'members', change: 'add', memberAnchors: [user] }));
    await fixture.admin().del(dn);
    await follower.expectInStep();
  });

  test('who is moved out of the base, or changed out of the filter, is gone; and back, with the groups', async () => {
    const filter = { userFilter: '(&(objectClass=inetOrgPerson)(!(departmentNumber=Secret)))' };
    const [mover, hidden] = [await directory.addUser({ name: 'Mover' }), await directory.addUser({ name: 'Hidden' })];
    const group = await directory.addGroup('scope');
    await directory.addMembers(group, [hidden]);
    const follower = await fixture.follow(filter);
    const outside = `cn=Mover,${server.baseDn}`;
    await fixture.admin().modifyDN(directory.dnOf(mover), outside);
    await replace(fixture.admin(), directory.dnOf(hidden), 'departmentNumber', ['Secret']);
    const events = await follower.expectInStep();
    for (const anchor of [mover, hidden]) expect(events).toContainEqual({ type: 'absent', kind: 'user', anchor });
    const fresh = await fixture.follow(filter);
    expect(fresh.mirror.edgesOf(group).has(hidden)).toBe(false);
    await fixture.admin().modifyDN(outside, directory.dnOf(mover));
    await replace(fixture.admin(), directory.dnOf(hidden), 'departmentNumber', []);
    await follower.expectInStep();
    await fresh.expectInStep();
    expect(fresh.mirror.membersOf(group)).toEqual([hidden]);
  });

  test('an account that ends by its date becomes inactive without any change in the directory', async () => {
    const anchor = await directory.addUser({ name: 'Ending' });
    const rule = { kind: 'expires', attribute: 'employeeNumber', format: 'days' } as const;
    await replace(fixture.admin(), directory.dnOf(anchor), 'employeeNumber', [
      String(Math.floor(clock.ms / 86_400_000) + 2),
    ]);
    const follower = await fixture.follow({ disabledRule: rule });
    expect(upserted(await follower.expectInStep())).toEqual([]);
    clock.ms += 3 * 86_400_000;
    expect(upserted(await follower.expectInStep())).toEqual(['Ending']);
    clock.ms -= 3 * 86_400_000;
  });

  test('a lockout after wrong passwords is told as well', async () => {
    const anchor = await directory.addUser({ name: 'Locked Out' });
    const dn = directory.dnOf(anchor);
    await replace(fixture.admin(), dn, 'userPassword', ['right']);
    const follower = await fixture.follow({ lockedAccounts: 'inactive' });
    const stranger = new Client({ url: server.url });
    for (let attempt = 0; attempt < 3; attempt += 1) await expect(stranger.bind(dn, 'wrong')).rejects.toThrow();
    await stranger.unbind();
    await follower.expectInStep();
    expect(follower.mirror.objects.get(anchor)).toMatchObject({ isActive: false, inactiveReason: 'locked' });
  });

  test('a deleted user leaves its groups without a word about them, and the edges do not count', async () => {
    const user = await directory.addUser({ name: 'Leaver' });
    const group = await directory.addGroup('left');
    await directory.addMembers(group, [user]);
    const follower = await fixture.follow();
    await directory.deleteUser(user);
    const events = await follower.expectInStep();
    expect(events.filter((event) => event.type === 'members' && event.groupAnchor === group)).toEqual([]);
    expect(follower.mirror.membersOf(group)).toEqual([]);
  });

  test('a renamed unit with people below asks for a full read; a new one, and an empty one, do not', async () => {
    const unit = `ou=Unit,${server.peopleDn}`;
    const follower = await fixture.follow();
    await nextSecond();
    await fixture.admin().add(unit, { objectClass: 'organizationalUnit' });
    await fixture.admin().add(`cn=inside,${unit}`, { objectClass: 'inetOrgPerson', sn: 'x' });
    await fixture.admin().add(`ou=Empty,${server.peopleDn}`, { objectClass: 'organizationalUnit' });
    expect(upserted(await follower.expectInStep())).toEqual(['inside']);
    await fixture.admin().modifyDN(`ou=Empty,${server.peopleDn}`, `ou=Still Empty,${server.peopleDn}`);
    await follower.expectInStep();
    await fixture.admin().modifyDN(unit, `ou=Renamed,${server.peopleDn}`);
    const events = await follower.delta();
    expect(typesOf(events)).toEqual(['reset']);
    expect(reasonOf(events)).toContain('ou=Renamed');
  });

  test('a position of another tree, another filter or a far time asks for a full read', async () => {
    const follower = await fixture.follow();
    const cursor = follower.cursor ?? {};
    const stale = { ...cursor, at: new Date(clock.ms - 31 * 86_400_000).toISOString() };
    const foreign = { ...cursor, server: '00000000-0000-4000-8000-000000000000' };
    for (const [changed, more] of [
      [stale, {}],
      [foreign, {}],
      [{ v: 2 }, {}],
      [{ ...cursor, position: { by: 'usn', usn: '1' } }, { increments: 'syncrepl' }],
      [cursor, { userFilter: '(objectClass=person)' }],
      [cursor, { groupBaseDn: server.baseDn }],
    ] as const) {
      expect(typesOf(await fixture.read('delta', changed, more))).toEqual(['reset']);
    }
  });

  test('a cookie that is garbage, too old or ahead of the server asks for a full read', async () => {
    const { cursor } = await fixture.follow();
    for (const cookie of [
      'garbage',
      '',
      'rid=000,csn=20010101000000.000000Z#000000#000#000000',
      'rid=000,csn=20400101000000.000000Z#000000#000#000000',
    ]) {
      const events = await fixture.read('delta', positionOf(cursor, cookie), {});
      expect(typesOf(events)).toEqual(['reset']);
    }
    expect(
      reasonOf(
        await fixture.read('delta', positionOf(cursor, 'rid=000,csn=20400101000000.000000Z#000000#000#000000'), {}),
      ),
    ).toContain('consumer state is newer');
  });

  test('a restarted server forgot who was deleted: all ids are compared', async () => {
    const gone = await directory.addUser({ name: 'Gone Before Restart' });
    const changed = await directory.addUser({ name: 'Changed Before Restart' });
    const follower = await fixture.follow();
    await directory.deleteUser(gone);
    await directory.setEmail(changed, 'restart@example.org');
    await fixture.restart();
    const events = await follower.expectInStep();
    expect(events.some((event) => event.type === 'sweep')).toBe(true);
    expect(follower.mirror.objects.has(gone)).toBe(false);
    expect(upserted(events)).toEqual(['Changed Before Restart']);
    expect(typesOf(await follower.delta())).toEqual(['complete']);
  });

  test.each([1, 4])(
    'any history of changes, up to %d at once, ends where a full read ends',
    async (mostAtOnce) => {
      const name = `syncrepl${mostAtOnce}`;
      const users = [...(await directory.addUsers(`${name}-`, 8))];
      const wanderer = await directory.addUser({ name: `${name}-wanderer` });
      const first = await directory.addGroup(`${name}-first`);
      const groups = [first];
      for (let index = 0; index < 3; index += 1) groups.push(await directory.addGroup(`${name}-${index}`));
      await directory.addMembers(first, [wanderer]);
      const follower = await fixture.follow({
        userFilter: '(&(objectClass=inetOrgPerson)(!(departmentNumber=Secret)))',
      });
      const [hidden, nested] = [new Set<string>(), new Set<string>()];
      const places = [directory.dnOf(wanderer), `cn=${name}-away,${server.baseDn}`];
      const more = [
        () => fixture.restart(),
        async () => {
          // out of the base, or in again
          const [from = '', to = ''] = places;
          await fixture.admin().modifyDN(from, to);
          places.reverse();
        },
        async (user: string) => {
          const isHidden = hidden.delete(user);
          if (!isHidden) hidden.add(user);
          await replace(fixture.admin(), directory.dnOf(user), 'departmentNumber', isHidden ? [] : ['Secret']);
        },
        async (_user: string, group: string) => {
          if (group === first) return;
          if (nested.delete(group)) await directory.removeMembers(first, [group]);
          else {
            nested.add(group);
            await directory.addMembers(first, [group]);
          }
        },
      ];
      const steps = process.env['ROLLCALL_FULL'] === '1' ? 400 : 60;
      await playHistory(directory, follower, { users, groups }, { name, steps, mostAtOnce, more });
    },
    120_000,
  );

  test('more changes than the limits of the account let it see are no failure, but a full read', async () => {
    const base = `ou=few,${server.baseDn}`;
    const few = { baseDn: base, groupBaseDn: base, bindDn: server.limitedBindDn, password: server.limitedPassword };
    await fixture.admin().add(base, { objectClass: 'organizationalUnit' });
    const follower = await fixture.follow(few);
    await directory.addUsers('beyond-', 510);
    const events = await follower.delta();
    expect(reasonOf(events)).toContain('sizeLimitExceeded');
    expect(typesOf(events)).toEqual(['reset']);
  });
});

describe('without the overlays that keep references right', () => {
  let fixture: IncrementsFixture;
  beforeAll(async () => {
    fixture = await startIncrementsFixture({ without: ['references'] });
  });
  afterAll(() => fixture.stop());

  test('a deleted user leaves its name in the group, and whoever gets the name is a member', async () => {
    const { directory } = fixture;
    const user = await directory.addUser({ name: 'Name' });
    const group = await directory.addGroup('dangling');
    await directory.addMembers(group, [user]);
    const follower = await fixture.follow();
    await directory.deleteUser(user);
    await follower.expectInStep();
    expect(follower.mirror.membersOf(group)).toEqual([]);
    const heir = await directory.addUser({ name: 'Name' });
    await follower.expectInStep();
    expect(follower.mirror.membersOf(group)).toEqual([heir]);
  });

  test('a renamed user stays a member until the next full read, which finds the old name with nobody', async () => {
    const { directory } = fixture;
    const user = await directory.addUser({ name: 'Old Name' });
    const group = await directory.addGroup('stale');
    await directory.addMembers(group, [user]);
    const follower = await fixture.follow();
    await directory.renameUser(user, 'New Name');
    await follower.delta();
    expect(follower.mirror.membersOf(group)).toEqual([user]);
    await follower.full();
    expect(follower.mirror.membersOf(group)).toEqual([]);
  });
});
