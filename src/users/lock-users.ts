/** Users that are about to be written are locked in the order of their ids, so that two writers of overlapping sets can not deadlock. */
import type { UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';

/** One alone needs no order: the statement that writes it locks it. */
export async function lockUsers({ sql, tenantId }: TenantTx, ids: readonly UserId[]): Promise<void> {
  if (ids.length < 2) return;
  await sql`select 1 from users where tenant_id = ${tenantId} and id = any(${ids as UserId[]}::uuid[]) order by id for update`;
}
