/** A person and a run at the same user at the same moment: each order of their steps that a lock must rule out. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addGrant, addUser, principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { newId, type RunId, type UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';
import { systemClock } from '../platform/clock.ts';
import { addRuleGrants, createAccess, removeRuleGrants, type Access } from './access.ts';

const database = useDatabase();

let access: Access;
let tenant: TestTenant;
let userId: UserId;

beforeAll(async () => {
  access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  tenant = await createTenant(database.db);
});

beforeEach(async () => {
  userId = await addUser(database.db, tenant.tenantId);
});

const operator = () => ({ ...principalOf(tenant.tenantId, 'super_admin'), actor: 'operator:test' });
const ruleGrant = () => ({
  seq: 1,
  userId,
  organizationId: tenant.organizationId,
  role: 'user' as const,
  source: 'rule:r',
});

async function isAnyoneWaiting(): Promise<boolean> {
  const rows = await database.db.engine(({ sql }) => sql`select 1 from pg_locks where not granted`);
  return rows.length > 0;
}

/** Runs `first` in a transaction, starts `second` before it commits, and commits once `second` waits or is through. */
async function interleave(first: (tx: TenantTx) => Promise<unknown>, second: () => Promise<unknown>): Promise<void> {
  let isSettled = false;
  let started: Promise<unknown> | undefined;
  await database.db.tenant(tenant.tenantId, async (tx) => {
    await first(tx);
    started = second().finally(() => {
      isSettled = true;
    });
    for (let look = 0; look < 500 && !isSettled && !(await isAnyoneWaiting()); look += 1);
  });
  await started;
}

async function standing() {
  return database.db.tenant(tenant.tenantId, async ({ sql }) => {
    const [row] = await sql<{ grants: number; memberships: number }[]>`
      select (select count(*)::int from grants where user_id = ${userId}) as grants,
        (select count(*)::int from memberships where user_id = ${userId}) as memberships`;
    return row;
  });
}

describe('a membership exists exactly while a grant does', () => {
  it('when a run gives a role while a person takes the last other one', async () => {
    const { organizationId } = tenant;
    await access.grantManually(operator(), { organizationId, userId, role: 'view_only_admin' });
    await interleave(
      (tx) => addRuleGrants(tx, newId<RunId>(), [ruleGrant()]),
      () => access.revokeManually(operator(), { organizationId, userId, role: 'view_only_admin' }),
    );
    expect(await standing()).toEqual({ grants: 1, memberships: 1 });
  });

  it('when a run takes the last role while a person gives one', async () => {
    const { organizationId } = tenant;
    await addGrant(database.db, tenant.tenantId, ruleGrant());
    await interleave(
      (tx) => removeRuleGrants(tx, [ruleGrant()]),
      () => access.grantManually(operator(), { organizationId, userId, role: 'view_only_admin' }),
    );
    expect(await standing()).toEqual({ grants: 1, memberships: 1 });
  });

  it('when a person gives a role while a run takes the last other one', async () => {
    const { organizationId } = tenant;
    await addGrant(database.db, tenant.tenantId, ruleGrant());
    const { giveManualGrantUnchecked } = await import('./access.ts');
    await interleave(
      (tx) => giveManualGrantUnchecked(tx, 'operator:test', { organizationId, userId, role: 'view_only_admin' }),
      () => database.db.tenant(tenant.tenantId, (tx) => removeRuleGrants(tx, [ruleGrant()])),
    );
    expect(await standing()).toEqual({ grants: 1, memberships: 1 });
  });
});

describe('what a person takes away stays away', () => {
  it('when a run is about to give it at that moment', async () => {
    const { organizationId } = tenant;
    await addGrant(database.db, tenant.tenantId, ruleGrant());
    const { upsertExclusion } = await import('./exclusions-store.ts');
    const { takeGrants } = await import('./grants.ts');
    const { lockOrganizations, lockUser } = await import('./store.ts');
    await interleave(
      async (tx) => {
        await lockOrganizations(tx, [organizationId]);
        await lockUser(tx, userId);
        await takeGrants(tx, 'operator:test', ruleGrant());
        await upsertExclusion(tx, { ...ruleGrant(), reason: 'x', createdBy: 'operator:test', until: null });
      },
      () => database.db.tenant(tenant.tenantId, (tx) => addRuleGrants(tx, newId<RunId>(), [ruleGrant()])),
    );
    expect(await standing()).toEqual({ grants: 0, memberships: 0 });
  });
});
