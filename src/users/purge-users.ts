/** The only hard delete of users, once nothing is to bring them back (reconciliation/purge). */
import type { UserId } from '../core/ids.ts';
import type { UserStatus } from '../core/vocabulary.ts';
import type { TenantTx } from '../db/db.ts';

/** Only those of this standing, whatever the caller thinks; answers who went. */
export async function deleteUsers(
  tx: TenantTx,
  userIds: readonly UserId[],
  standings: readonly UserStatus[],
): Promise<UserId[]> {
  const rows = await tx.sql<{ id: UserId }[]>`
    delete from users
    where tenant_id = ${tx.tenantId} and id = any(${userIds as readonly string[] as string[]}::uuid[])
      and status = any(${standings as readonly string[] as string[]})
    returning id`;
  return rows.map((row) => row.id);
}
