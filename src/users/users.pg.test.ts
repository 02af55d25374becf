import { beforeAll, describe, expect, it } from 'vitest';
import { addGrant, addSubOrganization, addUser, principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { createAccess, type Access } from '../access/access.ts';
import { newId, type OrganizationId, type UserId } from '../core/ids.ts';
import { systemClock } from '../platform/clock.ts';
import type { Principal } from '../platform/route.ts';
import { createUsers, type Users } from './users.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });

let users: Users;
let access: Access;
let tenant: TestTenant;
let root: OrganizationId;

beforeAll(async () => {
  users = createUsers({ db: database.db });
  access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  tenant = await createTenant(database.db);
  root = tenant.organizationId;
});

const admin = (organizationId = root) => principalOf(tenant.tenantId, 'admin', { organizationId });
const operator = (): Principal => ({ ...principalOf(tenant.tenantId, 'super_admin'), actor: 'operator:test' });
const make = (fields: Parameters<Users['create']>[1] | object = {}) =>
  users.create(admin(), { organizationId: root, role: 'user', ...fields });
const sqlOf = <T extends object>(text: string, values: string[] = []) =>
  database.db.tenant(tenant.tenantId, ({ sql }) => sql.unsafe<T[]>(text, values));
const happenings = async (userId: string) => ({
  events: (
    await sqlOf<{ action: string }>('select action from audit_events where target = $1 order by seq', [
      `user:${userId}`,
    ])
  ).map((row) => row.action),
  messages: (
    await sqlOf<{ type: string }>("select type from outbox_messages where payload ->> 'userId' = $1 order by id", [
      userId,
    ])
  ).map((row) => row.type),
});

async function suspendByDirectory(userId: UserId): Promise<void> {
  await sqlOf(
    `update users set status = 'suspended', suspended_by = 'connection:c', version = version + 1 where id = $1`,
    [userId],
  );
}

describe('a user made by hand', () => {
  it('is a member with a role by hand, every field marked manual, told to audit and outbox', async () => {
    const user = await make({ displayName: 'Ada', email: 'Ada@x.example', attributes: { floor: '3' } });
    expect(user).toMatchObject({ displayName: 'Ada', status: 'active', version: 1, attributes: { floor: '3' } });
    expect(user.provenance).toEqual({ displayName: 'manual', email: 'manual', 'attributes.floor': 'manual' });
    const detail = await users.get(admin(), user.id);
    expect(detail.memberships).toEqual([{ organizationId: root, roles: ['user'] }]);
    expect(detail.grants).toMatchObject([{ role: 'user', source: 'manual' }]);
    expect(await happenings(user.id)).toEqual({
      events: ['user.created', 'grant.added'],
      messages: ['user.created', 'grant.added'],
    });
  });

  it('has a username only in a domain of the tenant, and only one that is free', async () => {
    const username = `Grace@${tenant.builtInDomain}`;
    await make({ username });
    await expect(make({ username: username.toUpperCase() })).rejects.toEqual(refused('conflict'));
    await expect(make({ username: 'grace@elsewhere.example' })).rejects.toEqual(refused('invalid_input'));
    const other = await createTenant(database.db);
    await expect(make({ username: `x@${other.builtInDomain}` })).rejects.toEqual(refused('invalid_input'));
  });
});

describe('an edit by hand', () => {
  it('raises the version, clears the run, marks what it wrote, and tells before and after', async () => {
    const user = await make({ displayName: 'Old', department: 'Kept' });
    await sqlOf('update users set last_run_id = $2 where id = $1', [user.id, newId()]);
    const edited = await users.edit(admin(), user.id, { version: 1, displayName: 'New', email: 'n@x.example' });
    expect(edited).toMatchObject({ version: 2, displayName: 'New', department: 'Kept' });
    const [row] = await sqlOf('select last_run_id, display_name_key, email_key from users where id = $1', [user.id]);
    expect(row).toEqual({ last_run_id: null, display_name_key: 'new', email_key: 'n@x.example' });
    const [event] = await sqlOf(`select details from audit_events where target = $1 and action = 'user.updated'`, [
      `user:${user.id}`,
    ]);
    expect(event).toMatchObject({ details: { changes: { displayName: { before: 'Old', after: 'New' } } } });
  });

  it('of a version that has passed is refused, so one of 10 edits at once wins', async () => {
    const user = await make({ displayName: 'Race' });
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, at) => users.edit(admin(), user.id, { version: 1, jobTitle: `T${at}` })),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toEqual(refused('version_mismatch'));
    }
    expect((await users.get(admin(), user.id)).version).toBe(2);
  });

  it('that changes nothing writes nothing', async () => {
    const user = await make({ displayName: 'Same' });
    const before = await happenings(user.id);
    expect(await users.edit(admin(), user.id, { version: 1, displayName: 'Same' })).toEqual(user);
    expect(await happenings(user.id)).toEqual(before);
  });

  it('of a removed user is refused', async () => {
    const id = await addUser(database.db, tenant.tenantId, { status: 'removed' });
    await expect(users.edit(admin(), id, { version: 1, email: null })).rejects.toEqual(refused('conflict'));
  });
});

describe('standing', () => {
  it('suspended by hand ends the tokens that the user made, and reactivates by hand', async () => {
    const user = await make({ displayName: 'S' });
    const { text } = await access.createToken(
      { ...admin(), actor: `user:${user.id}` },
      { kind: 'api', organizationId: root, role: 'user', name: user.id },
    );
    const suspended = await users.suspend(admin(), user.id, { reason: 'left' });
    expect(suspended).toMatchObject({ status: 'suspended', suspendedBy: 'manual', statusReason: 'left', version: 2 });
    expect(await access.authenticate(text)).toMatchObject({ kind: 'refused' });
    expect(await users.suspend(admin(), user.id, {})).toEqual(suspended);
    const back = await users.reactivate(admin(), user.id, {});
    expect(back).toMatchObject({ status: 'active', suspendedBy: null, version: 3 });
    expect((await happenings(user.id)).messages).toEqual([
      'user.created',
      'grant.added',
      'user.suspended',
      'user.reactivated',
    ]);
  });

  it('suspended by a directory is not reactivated by hand unless the user is protected', async () => {
    const user = await make({ displayName: 'D' });
    await suspendByDirectory(user.id);
    await expect(users.reactivate(admin(), user.id, {})).rejects.toEqual(refused('conflict'));
    await users.setProtection(admin(), user.id, true);
    expect((await users.reactivate(admin(), user.id, {})).status).toBe('active');
  });

  it('suspended by a directory can be taken over by hand', async () => {
    const user = await make({ displayName: 'T' });
    await suspendByDirectory(user.id);
    expect((await users.suspend(admin(), user.id, {})).suspendedBy).toBe('manual');
  });

  it('of the last active Admin stays: not even the operator suspends them', async () => {
    const sub = await addSubOrganization(database.db, tenant.tenantId, root);
    const id = await addUser(database.db, tenant.tenantId);
    await access.grantManually(operator(), { organizationId: sub, userId: id, role: 'admin' });
    await expect(users.suspend(operator(), id, {})).rejects.toEqual(refused('conflict'));
    expect((await users.get(operator(), id)).status).toBe('active');
  });

  it('of an Admin is out of an Admin’s reach', async () => {
    const id = await addUser(database.db, tenant.tenantId);
    await addGrant(database.db, tenant.tenantId, { organizationId: root, userId: id, role: 'admin', source: 'rule:x' });
    await expect(users.suspend(admin(), id, {})).rejects.toEqual(refused('forbidden'));
    await expect(users.setProtection(admin(), id, true)).rejects.toEqual(refused('forbidden'));
  });
});

describe('reach', () => {
  it('ends at the tenant: users of another one do not exist', async () => {
    const other = await createTenant(database.db);
    const stranger = await addUser(database.db, other.tenantId);
    for (const id of [stranger, newId<UserId>()]) {
      await expect(users.get(admin(), id)).rejects.toEqual(refused('not_found'));
      await expect(users.suspend(admin(), id, {})).rejects.toEqual(refused('not_found'));
      await expect(users.edit(operator(), id, { version: 1, email: null })).rejects.toEqual(refused('not_found'));
    }
  });

  it('from a sub-organization ends at its own tree; from above a user below is view-only', async () => {
    const a = await addSubOrganization(database.db, tenant.tenantId, root);
    const b = await addSubOrganization(database.db, tenant.tenantId, root);
    const id = await addUser(database.db, tenant.tenantId, { name: 'Below' });
    await access.grantManually(operator(), { organizationId: a, userId: id, role: 'user' });
    await expect(users.get(admin(b), id)).rejects.toEqual(refused('not_found'));
    expect((await users.list(admin(b), { limit: 50 })).items).toEqual([]);
    expect((await users.get(admin(), id)).memberships).toEqual([{ organizationId: a, roles: ['user'] }]);
    await expect(users.suspend(admin(), id, {})).rejects.toEqual(refused('forbidden'));
    expect((await users.suspend(admin(a), id, {})).status).toBe('suspended');
    // a member of both is managed from the lowest organization above both, and each sees only its own part
    await access.grantManually(operator(), { organizationId: b, userId: id, role: 'user' });
    await expect(users.reactivate(admin(a), id, {})).rejects.toEqual(refused('forbidden'));
    expect((await users.get(admin(a), id)).memberships).toEqual([{ organizationId: a, roles: ['user'] }]);
    expect((await users.reactivate(admin(), id, {})).status).toBe('active');
  });
});

describe('the users list', () => {
  it('walks every user once in pages, by id and by name, users without a name last', async () => {
    const place = await createTenant(database.db);
    const asThere = principalOf(place.tenantId, 'admin');
    for (const name of ['b', 'a', '', 'B', 'c', '']) {
      await addUser(database.db, place.tenantId, { name });
    }
    for (const sort of ['id', 'displayName'] as const) {
      const seen: (string | null)[] = [];
      const ids = new Set<string>();
      let cursor: string | undefined;
      for (let page = 0; page < 10; page += 1) {
        const answer = await users.list(asThere, { limit: 2, cursor, sort });
        for (const item of answer.items) ids.add(item.id);
        seen.push(...answer.items.map((item) => item.displayName));
        cursor = answer.nextCursor ?? undefined;
        if (cursor === undefined) break;
      }
      expect(ids.size).toBe(6);
      expect(seen).toEqual(sort === 'id' ? ['b', 'a', '', 'B', 'c', ''] : ['a', 'b', 'B', 'c', '', '']);
    }
  });

  it('filters by status, organization, role and the beginning of a name or address', async () => {
    const place = await createTenant(database.db);
    const asThere = principalOf(place.tenantId, 'admin');
    const sub = await addSubOrganization(database.db, place.tenantId, place.organizationId);
    const [ada, grace] = [
      await addUser(database.db, place.tenantId, { name: 'Ada Lovelace', email: 'al@x.example' }),
      await addUser(database.db, place.tenantId, { name: 'Grace', email: 'Hopper@x.example', status: 'suspended' }),
    ];
    await addUser(database.db, place.tenantId, { name: 'Gone', status: 'removed' });
    await addGrant(database.db, place.tenantId, { organizationId: sub, userId: ada, role: 'admin', source: 'manual' });
    const ids = async (filter: object) =>
      (await users.list(asThere, { limit: 50, ...filter })).items.map((item) => item.id);
    expect(await ids({})).toEqual([ada, grace]);
    expect(await ids({ status: 'suspended' })).toEqual([grace]);
    expect(await ids({ status: 'removed' })).toHaveLength(1);
    expect(await ids({ organizationId: sub })).toEqual([ada]);
    expect(await ids({ role: 'admin' })).toEqual([ada]);
    expect(await ids({ role: 'super_admin' })).toEqual([]);
    expect(await ids({ search: 'ADA L' })).toEqual([ada]);
    expect(await ids({ search: 'hopper@' })).toEqual([grace]);
    expect(await ids({ search: '%' })).toEqual([]);
  });

  it('refuses a cursor of another list', async () => {
    const { nextCursor } = await users.list(operator(), { limit: 1 });
    expect(nextCursor).not.toBeNull();
    const wrong = users.list(operator(), { limit: 1, sort: 'displayName', cursor: nextCursor ?? '' });
    await expect(wrong).rejects.toEqual(refused('invalid_input'));
  });

  it('finds one user by username or e-mail and refuses to guess between two', async () => {
    const email = 'twin@x.example';
    const user = await make({ email });
    expect((await users.find(admin(), 'TWIN@x.example')).id).toBe(user.id);
    expect((await users.find(admin(), user.id)).id).toBe(user.id);
    await make({ email });
    await expect(users.find(admin(), email)).rejects.toEqual(refused('conflict'));
    await expect(users.find(admin(), 'nobody')).rejects.toEqual(refused('not_found'));
  });
});

describe('protection', () => {
  it('by hand keeps who did it and why, ends with it, and is audited', async () => {
    const user = await make({ displayName: 'Break Glass' });
    const made = await users.setProtection(admin(), user.id, true, 'Works while the directory is down');
    expect(made).toMatchObject({
      isProtected: true,
      protectedBy: 'token:test',
      protectedReason: 'Works while the directory is down',
    });
    const ended = await users.setProtection(admin(), user.id, false, 'Over');
    expect(ended).toMatchObject({ isProtected: false, protectedBy: null, protectedReason: null });
    const { events } = await happenings(user.id);
    expect(events.slice(-2)).toEqual(['user.protected', 'user.unprotected']);
  });
});

describe('a quota home', () => {
  const sub = () => addSubOrganization(database.db, tenant.tenantId, root);

  it('of a user made in a sub-organization is that one; of one made in the root, the root', async () => {
    const organizationId = await sub();
    const below = await users.create(admin(organizationId), { organizationId, role: 'user' });
    expect(below.quotaHomeId).toBe(organizationId);
    expect((await make()).quotaHomeId).toBeNull();
  });

  it('is chosen by hand only where the user is a member, stays manual, is audited, and is given back', async () => {
    const organizationId = await sub();
    const user = await make();
    const choose = (choice: Parameters<Users['chooseQuotaHome']>[2]) =>
      users.chooseQuotaHome(operator(), user.id, choice);
    await expect(choose({ organizationId })).rejects.toEqual(refused('conflict'));
    await addGrant(database.db, tenant.tenantId, { organizationId, userId: user.id, role: 'user', source: 'manual' });
    const chosen = await choose({ organizationId });
    expect(chosen).toMatchObject({ quotaHomeId: organizationId, version: user.version + 1 });
    expect(chosen.provenance['quotaHome']).toBe('manual');
    expect((await happenings(user.id)).events).toContain('user.quota_home_moved');
    const back = await choose({ automatic: true });
    expect(back.quotaHomeId).toBeNull();
    expect(back.provenance['quotaHome']).toBe('first');
  });

  it('does not move with the membership of a creator (C5)', async () => {
    const user = await make();
    const organizationId = await sub();
    await access.grantManually(operator(), { organizationId, userId: user.id, role: 'admin' });
    expect((await users.chooseQuotaHome(operator(), user.id, { automatic: true })).quotaHomeId).toBeNull();
  });
});
