import { beforeAll, describe, expect, it } from 'vitest';
import { addGrant, addSubOrganization, addUser, principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import type { OrganizationId, UserId } from '../core/ids.ts';
import type { Role } from '../core/roles.ts';
import { systemClock } from '../platform/clock.ts';
import { createAccess, withoutLosingLastAdmin, type Access } from './access.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });

let access: Access;
let tenant: TestTenant;
let root: OrganizationId;

beforeAll(async () => {
  access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  tenant = await createTenant(database.db);
  root = tenant.organizationId;
});

const as = (role: Role, options: { userId?: UserId; organizationId?: OrganizationId } = {}) =>
  principalOf(tenant.tenantId, role, options);
const operator = () => ({ ...as('super_admin'), actor: 'operator:test' });
const person = (name = 'P') => addUser(database.db, tenant.tenantId, { name });
const count = (table: 'memberships' | 'grants' | 'exclusions', userId: UserId) =>
  database.db.tenant(tenant.tenantId, async ({ sql }) => {
    const [row] = await sql<{ n: number }[]>`
      select count(*)::int as n from ${sql(table)} where user_id = ${userId}`;
    return row?.n;
  });
const rolesOf = (userId: UserId, organizationId = root) =>
  database.db.tenant(tenant.tenantId, (tx) => access.rolesOf(tx, organizationId, userId));

describe('a membership exists exactly while a live grant does', () => {
  it('comes with the first grant and goes with the last', async () => {
    const userId = await person();
    await access.grantManually(operator(), { organizationId: root, userId, role: 'user' });
    await access.grantManually(operator(), { organizationId: root, userId, role: 'billing_admin' });
    await access.revokeManually(operator(), { organizationId: root, userId, role: 'user' });
    expect(await count('memberships', userId)).toBe(1);
    await access.revokeManually(operator(), { organizationId: root, userId, role: 'billing_admin' });
    expect(await count('memberships', userId)).toBe(0);
  });

  it('holds while grants and revocations of one user race', async () => {
    const userId = await person();
    await access.grantManually(operator(), { organizationId: root, userId, role: 'user' });
    const moves = Array.from({ length: 20 }, (_, at) =>
      at % 2 === 0
        ? access.grantManually(operator(), { organizationId: root, userId, role: 'view_only_admin' })
        : access.revokeManually(operator(), { organizationId: root, userId, role: null }),
    );
    for (const move of await Promise.allSettled(moves)) {
      if (move.status === 'rejected') expect(move.reason).toEqual(refused('not_found'));
    }
    const grants = await count('grants', userId);
    expect(await count('memberships', userId)).toBe(grants === 0 ? 0 : 1);
  });
});

describe('what a person takes away stays away', () => {
  it('writes an exclusion when a directory had given the role, and none when a person had', async () => {
    const [byRule, byHand] = [await person(), await person()];
    await addGrant(database.db, tenant.tenantId, {
      organizationId: root,
      userId: byRule,
      role: 'user',
      source: 'rule:r',
    });
    await access.grantManually(operator(), { organizationId: root, userId: byHand, role: 'user' });
    const outcome = await access.revokeManually(operator(), { organizationId: root, userId: byRule, role: 'user' });
    expect(outcome.removed).toEqual([{ role: 'user', source: 'rule:r' }]);
    expect(outcome.exclusionIds).toHaveLength(1);
    expect(await count('exclusions', byRule)).toBe(1);
    await access.revokeManually(operator(), { organizationId: root, userId: byHand, role: 'user' });
    expect(await count('exclusions', byHand)).toBe(0);
  });

  it('lets a later grant by hand lift the exclusion of that role, but not one from the whole organization', async () => {
    const userId = await person();
    const exclusion = { organizationId: root, userId, reason: 'left the team' };
    await access.addExclusion(operator(), { ...exclusion, role: 'user' });
    await access.grantManually(operator(), { organizationId: root, userId, role: 'user' });
    expect(await count('exclusions', userId)).toBe(0);
    const whole = await access.addExclusion(operator(), { ...exclusion, role: null });
    const listed = await access.listExclusions(operator(), root, { limit: 100 });
    // people read names, not ids
    expect(listed.items.find((one) => one.id === whole.id)).toMatchObject({ userId, userName: 'P' });
    expect(await count('memberships', userId)).toBe(0);
    const again = access.grantManually(operator(), { organizationId: root, userId, role: 'user' });
    await expect(again).rejects.toEqual(refused('conflict'));
    await access.removeExclusion(operator(), root, whole.id);
    await access.grantManually(operator(), { organizationId: root, userId, role: 'user' });
  });
});

describe('ranks', () => {
  it('an Admin gives Admin, but never touches another Admin or the Super Admin', async () => {
    const [boss, peer, plain] = [await person(), await person(), await person()];
    const sub = await addSubOrganization(database.db, tenant.tenantId, root);
    const admin = as('admin', { organizationId: sub });
    await access.grantManually(operator(), { organizationId: sub, userId: boss, role: 'admin' });
    await access.grantManually(operator(), { organizationId: sub, userId: peer, role: 'admin' });
    await access.grantManually(operator(), { organizationId: sub, userId: plain, role: 'user' });
    for (const userId of [boss, peer]) {
      const attempt = access.revokeManually(admin, { organizationId: sub, userId, role: 'admin' });
      await expect(attempt).rejects.toEqual(refused('forbidden'));
    }
    await access.grantManually(admin, { organizationId: sub, userId: plain, role: 'admin' });
    const lower = access.grantManually(as('view_only_admin', { organizationId: sub }), {
      organizationId: sub,
      userId: plain,
      role: 'admin',
    });
    await expect(lower).rejects.toEqual(refused('forbidden'));
  });

  it('a sub-organization is view-only from its parent, and its parent does not exist for it', async () => {
    const sub = await addSubOrganization(database.db, tenant.tenantId, root);
    const userId = await person();
    await access.grantManually(operator(), { organizationId: sub, userId, role: 'user' });
    const page = await access.listGrants(as('admin'), sub, { limit: 10 });
    expect(page.items.map((grant) => grant.userId)).toEqual([userId]);
    const fromAbove = access.grantManually(as('super_admin'), { organizationId: sub, userId, role: 'admin' });
    await expect(fromAbove).rejects.toEqual(refused('forbidden'));
    const fromBelow = access.listGrants(as('admin', { organizationId: sub }), root, { limit: 10 });
    await expect(fromBelow).rejects.toEqual(refused('not_found'));
  });
});

describe('the last active Admin', () => {
  it('of an organization can not be removed by hand, nor both of two by two hands at once', async () => {
    const sub = await addSubOrganization(database.db, tenant.tenantId, root);
    const users = [await person(), await person()];
    for (const userId of users) {
      const grant = { organizationId: sub, userId, role: 'admin', source: 'rule:x' } as const;
      await addGrant(database.db, tenant.tenantId, grant);
    }
    const moves = users.map((userId) => access.revokeManually(operator(), { organizationId: sub, userId, role: null }));
    const results = await Promise.allSettled(moves);
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    expect(results.find((result) => result.status === 'rejected')?.reason).toEqual(refused('conflict'));
  });

  it('can not be suspended, nor both of two at once', async () => {
    const sub = await addSubOrganization(database.db, tenant.tenantId, root);
    const users = [await person(), await person()];
    for (const userId of users) await access.grantManually(operator(), { organizationId: sub, userId, role: 'admin' });
    const suspend = (userId: UserId) =>
      database.db.tenant(tenant.tenantId, (tx) =>
        withoutLosingLastAdmin(tx, userId, async () => {
          await tx.sql`update users set status = 'suspended' where id = ${userId}`;
        }),
      );
    const results = await Promise.allSettled(users.map(suspend));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });
});

describe('tenants', () => {
  it('a user of another tenant does not exist here, by id or by e-mail', async () => {
    const other = await createTenant(database.db);
    const userId = await addUser(database.db, other.tenantId, { email: 'x@other.example' });
    for (const whom of [{ userId }, { email: 'x@other.example' }]) {
      const attempt = access.grantManually(operator(), { organizationId: root, role: 'user', ...whom });
      await expect(attempt).rejects.toEqual(refused('not_found'));
    }
  });

  it('the database refuses a grant of a user in another tenant', async () => {
    const other = await createTenant(database.db);
    const userId = await addUser(database.db, other.tenantId);
    const attempt = addGrant(database.db, tenant.tenantId, {
      organizationId: root,
      userId,
      role: 'user',
      source: 'manual',
    });
    await expect(attempt).rejects.toMatchObject({ code: '23503' });
  });

  it('finds one user by exact e-mail, and refuses to guess between two', async () => {
    const userId = await addUser(database.db, tenant.tenantId, { email: 'One@example.com' });
    const found = await access.grantManually(operator(), {
      organizationId: root,
      role: 'user',
      email: 'ONE@example.com',
    });
    expect(found.userId).toBe(userId);
    expect(await rolesOf(userId)).toEqual(['user']);
    await addUser(database.db, tenant.tenantId, { email: 'one@example.com' });
    const again = access.grantManually(operator(), { organizationId: root, role: 'user', email: 'one@example.com' });
    await expect(again).rejects.toEqual(refused('conflict'));
  });
});
