/**
 * Users that are about to be written are locked first, in the order of their ids: two writers of overlapping sets can not
 * deadlock, and the statement that writes sees what whoever was waited for has saved (a Super Admin's seat is no column
 * of the user, so the write would not look at it again).
 */
import type { UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';

export async function lockUsers({ sql, tenantId }: TenantTx, ids: readonly UserId[]): Promise<void> {
  await sql`select 1 from users where tenant_id = ${tenantId} and id = any(${ids as UserId[]}::uuid[]) order by id for update`;
}
