/** access/forget-users: what access knows of users who are purged. Only for users who were removed long ago. */
import type { UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';

/** Roles given by hand may have outlived the user; exclusions concern nobody any more. */
export async function forgetUsers(tx: TenantTx, userIds: readonly UserId[]): Promise<void> {
  const ids = userIds as readonly string[] as string[];
  await tx.sql`delete from exclusions where tenant_id = ${tx.tenantId} and user_id = any(${ids}::uuid[])`;
  await tx.sql`delete from memberships where tenant_id = ${tx.tenantId} and user_id = any(${ids}::uuid[])`;
  await tx.sql`delete from grants where tenant_id = ${tx.tenantId} and user_id = any(${ids}::uuid[])`;
}
