/** What a directory does to one user while somebody else changes what that user is. */
import { expect, it } from 'vitest';
import { addGrant, addUser } from '../../test/setup/people.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { newId, type ConnectionId, type RunId } from '../core/ids.ts';
import { applyUserChanges } from './users.ts';

const database = useDatabase();

it('a suspension that waits for the one who makes the user Super Admin suspends nobody', async () => {
  const { db } = database;
  const { tenantId, organizationId } = await createTenant(db);
  const userId = await addUser(db, tenantId);
  await addGrant(db, tenantId, { organizationId, userId, role: 'admin', source: 'manual' });
  const isLocked = Promise.withResolvers<undefined>();
  const isSeated = Promise.withResolvers<undefined>();
  const seating = db.tenant(tenantId, async ({ sql }) => {
    await sql`select 1 from users where tenant_id = ${tenantId} and id = ${userId} for no key update`;
    isLocked.resolve(undefined);
    await isSeated.promise;
    await sql`insert into super_admins (tenant_id, organization_id, user_id) values (${tenantId}, ${organizationId}, ${userId})`;
  });
  await isLocked.promise;
  const run = { runId: newId<RunId>(), connectionId: newId<ConnectionId>() };
  const change = {
    seq: 1,
    op: 'suspend',
    userId,
    after: {},
    expectedVersion: 1,
    reason: 'gone',
    source: null,
  } as const;
  const suspending = db.tenant(tenantId, (tx) => applyUserChanges(tx, run, [change]));
  const isWaiting = async () => {
    const rows = await db.stage.sql`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    return rows.length > 0;
  };
  await expect.poll(isWaiting).toBe(true);
  isSeated.resolve(undefined);
  await seating;
  expect(await suspending).toEqual([]);
  const [user] = await db.tenant(tenantId, ({ sql }) => sql`select status from users where id = ${userId}`);
  expect(user?.['status']).toBe('active');
});
