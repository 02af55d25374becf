/** The only hard delete of users: of those who were removed, once nothing can bring them back (reconciliation/purge). */
import type { UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';

/** Whoever is not removed stays, whatever the caller thinks; answers who went. */
export async function deleteRemovedUsers(tx: TenantTx, userIds: readonly UserId[]): Promise<UserId[]> {
  const rows = await tx.sql<{ id: UserId }[]>`
    delete from users
    where tenant_id = ${tx.tenantId} and id = any(${userIds as readonly string[] as string[]}::uuid[]) and status = 'removed'
    returning id`;
  return rows.map((row) => row.id);
}
