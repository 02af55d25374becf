/** Look-ups of users that only one use case needs. */
import { textKey } from '../core/text-keys.ts';
import type { TenantTx } from '../db/db.ts';
import type { Place } from './store.ts';

/** The id of the inactive user of this connection who has this name. */
export async function findInactive(tx: TenantTx, place: Place, userName: string): Promise<string | null> {
  const [row] = await tx.sql<{ anchor: string }[]>`
    select o.anchor from mirror_objects o
    where o.tenant_id = ${place.tenantId} and o.connection_id = ${place.connectionId} and o.kind = 'user' and o.is_pushed
      and o.deleted_at is null and o.user_name_key = ${textKey(userName)} and not o.is_active`;
  return row?.anchor ?? null;
}
