import { beforeAll, describe, expect, it } from 'vitest';
import { addGrant, addSubOrganization, addUser, principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { systemClock } from '../platform/clock.ts';
import { createAccess, removeRuleGrants, type Access } from './access.ts';
import { lockOrganizations } from './store.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });

let access: Access;
let tenant: TestTenant;

beforeAll(async () => {
  access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  tenant = await createTenant(database.db);
});

const operator = () => ({ ...principalOf(tenant.tenantId, 'super_admin'), actor: 'operator:test' });
const asUser = (userId: UserId, organizationId: OrganizationId) =>
  principalOf(tenant.tenantId, 'admin', { userId, organizationId });
const newOrganization = () => addSubOrganization(database.db, tenant.tenantId, tenant.organizationId);

async function people(count: number): Promise<UserId[]> {
  const made: UserId[] = [];
  for (let at = 0; at < count; at += 1) made.push(await addUser(database.db, tenant.tenantId));
  return made;
}

async function holders(organizationId: OrganizationId): Promise<string[]> {
  return database.db.tenant(tenant.tenantId, async ({ sql }) => {
    const rows = await sql<{ user_id: string }[]>`
      select user_id from super_admins where organization_id = ${organizationId}`;
    return rows.map((row) => row.user_id);
  });
}

async function isAnyoneWaiting(): Promise<boolean> {
  const rows = await database.db.stage.sql`
    select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return rows.length > 0;
}

const directoryAdmin = (organizationId: OrganizationId, userId: UserId) =>
  addGrant(database.db, tenant.tenantId, { organizationId, userId, role: 'admin', source: 'rule:a' });

describe('the Super Admin', () => {
  it('is the first Admin by hand, and only one of 20 first Admins at once', async () => {
    const organizationId = await newOrganization();
    const users = await people(20);
    const outcomes = await Promise.all(
      users.map((userId) => access.grantManually(operator(), { organizationId, userId, role: 'admin' })),
    );
    const winners = outcomes.filter((outcome) => outcome.isNowSuperAdmin);
    expect(winners).toHaveLength(1);
    expect(await holders(organizationId)).toEqual(winners.map((winner) => winner.userId));
  });

  it('is claimed by one of 20 active Admins of a directory at once', async () => {
    const organizationId = await newOrganization();
    const users = await people(20);
    for (const userId of users) await directoryAdmin(organizationId, userId);
    const results = await Promise.allSettled(
      users.map((userId) => access.claimSuperAdmin(asUser(userId, organizationId), organizationId)),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toEqual(refused('conflict'));
    expect(await holders(organizationId)).toHaveLength(1);
  });

  it('is transferred by one of 10 transfers at once, and the receiver gets an Admin grant by hand', async () => {
    const organizationId = await newOrganization();
    const [holder, ...others] = await people(11);
    if (holder === undefined) throw new Error('no user');
    await access.grantManually(operator(), { organizationId, userId: holder, role: 'admin' });
    for (const userId of others) await directoryAdmin(organizationId, userId);
    const results = await Promise.allSettled(
      others.map((to) => access.transferSuperAdmin(asUser(holder, organizationId), organizationId, to)),
    );
    const won = others.filter((_, at) => results[at]?.status === 'fulfilled');
    expect(won).toHaveLength(1);
    expect(await holders(organizationId)).toEqual(won);
    const back = access.transferSuperAdmin(asUser(holder, organizationId), organizationId, holder);
    await expect(back).rejects.toEqual(refused('forbidden'));
  });

  it('goes only to an active Admin of the organization, and a token without a person transfers nothing', async () => {
    const organizationId = await newOrganization();
    const [holder, plain] = await people(2);
    if (holder === undefined || plain === undefined) throw new Error('no users');
    const suspended = await addUser(database.db, tenant.tenantId, { status: 'suspended' });
    await access.grantManually(operator(), { organizationId, userId: holder, role: 'admin' });
    await access.grantManually(operator(), { organizationId, userId: plain, role: 'user' });
    await directoryAdmin(organizationId, suspended);
    for (const to of [plain, suspended]) {
      const attempt = access.transferSuperAdmin(asUser(holder, organizationId), organizationId, to);
      await expect(attempt).rejects.toEqual(refused('conflict'));
    }
    const byToken = access.transferSuperAdmin(
      principalOf(tenant.tenantId, 'admin', { organizationId }),
      organizationId,
      plain,
    );
    await expect(byToken).rejects.toEqual(refused('forbidden'));
  });

  it('goes to nobody whom a run takes the Admin role from at that moment', async () => {
    const organizationId = await newOrganization();
    const [holder, leaving] = await people(2);
    if (holder === undefined || leaving === undefined) throw new Error('no users');
    await access.grantManually(operator(), { organizationId, userId: holder, role: 'admin' });
    await directoryAdmin(organizationId, leaving);
    let transferring: Promise<unknown> | undefined;
    await database.db.tenant(tenant.tenantId, async (tx) => {
      // as a run does: the organization first, then the grant
      await lockOrganizations(tx, [organizationId]);
      await removeRuleGrants(tx, [{ seq: 1, userId: leaving, organizationId, role: 'admin', source: 'rule:a' }]);
      transferring = access
        .transferSuperAdmin(asUser(holder, organizationId), organizationId, leaving)
        .catch((error: unknown) => error);
      await expect.poll(isAnyoneWaiting, { timeout: 10_000, interval: 10 }).toBe(true);
    });
    expect(await transferring).toEqual(refused('conflict'));
    expect(await holders(organizationId)).toEqual([holder]);
  });

  it('is passed on by nobody who is suspended at that moment', async () => {
    const organizationId = await newOrganization();
    const [holder, next] = await people(2);
    if (holder === undefined || next === undefined) throw new Error('no users');
    await access.grantManually(operator(), { organizationId, userId: holder, role: 'admin' });
    await directoryAdmin(organizationId, next);
    let isOver = false;
    let transferring: Promise<unknown> | undefined;
    await database.db.tenant(tenant.tenantId, async (tx) => {
      // as a suspension by hand does: the organizations first, then the user
      await lockOrganizations(tx, [organizationId]);
      await tx.sql`update users set status = 'suspended' where tenant_id = ${tx.tenantId} and id = ${holder}`;
      transferring = access
        .transferSuperAdmin(asUser(holder, organizationId), organizationId, next)
        .catch((error: unknown) => error)
        .finally(() => {
          isOver = true;
        });
      await expect.poll(async () => isOver || (await isAnyoneWaiting()), { timeout: 10_000, interval: 10 }).toBe(true);
    });
    expect(await transferring).toEqual(refused('forbidden'));
    expect(await holders(organizationId)).toEqual([holder]);
  });

  it('can not lose its Admin grant, by our rules or in the database', async () => {
    const organizationId = await newOrganization();
    const [holder, second] = await people(2);
    if (holder === undefined || second === undefined) throw new Error('no users');
    await access.grantManually(operator(), { organizationId, userId: holder, role: 'admin' });
    await access.grantManually(operator(), { organizationId, userId: second, role: 'admin' });
    for (const role of ['admin', null] as const) {
      const attempt = access.revokeManually(operator(), { organizationId, userId: holder, role });
      await expect(attempt).rejects.toEqual(refused('conflict'));
    }
    const behindOurBack = database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`delete from grants where organization_id = ${organizationId} and user_id = ${holder}`;
    });
    await expect(behindOurBack).rejects.toMatchObject({ code: '23503' });
  });

  it('is reassigned by the operator or the parent only while the seat is empty or its holder suspended', async () => {
    const organizationId = await newOrganization();
    const [holder, next, parentHolder] = await people(3);
    if (holder === undefined || next === undefined || parentHolder === undefined) throw new Error('no users');
    await access.grantManually(operator(), { organizationId, userId: holder, role: 'admin' });
    await access.grantManually(operator(), { organizationId, userId: next, role: 'admin' });
    await access.grantManually(operator(), {
      organizationId: tenant.organizationId,
      userId: parentHolder,
      role: 'admin',
    });
    const early = access.assignSuperAdmin(operator(), organizationId, next);
    await expect(early).rejects.toEqual(refused('conflict'));
    await database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`update users set status = 'suspended' where id = ${holder}`;
    });
    const stranger = access.assignSuperAdmin(asUser(next, organizationId), organizationId, next);
    await expect(stranger).rejects.toEqual(refused('forbidden'));
    await access.assignSuperAdmin(asUser(parentHolder, tenant.organizationId), organizationId, next);
    expect(await holders(organizationId)).toEqual([next]);
  });
});
