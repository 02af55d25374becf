/** Look-ups of users that only one use case needs. */
import { textKey } from '../core/text-keys.ts';
import type { TenantTx } from '../db/db.ts';
import type { Place } from './store.ts';

/** A live user of this connection who has a userName or an externalId that somebody else wants. */
export type Holder = {
  readonly id: string;
  readonly userName: string;
  readonly isActive: boolean;
  readonly hasName: boolean;
  /** The open case about the one who has it, while it is linked to nobody. */
  readonly caseId: string | null;
};

/** Who has the name first, then who has the externalId. */
export async function findHolders(
  { sql }: TenantTx,
  { tenantId, connectionId }: Place,
  wanted: { readonly userName: string; readonly externalId: string | null },
): Promise<Holder[]> {
  const nameKey = textKey(wanted.userName);
  return sql<Holder[]>`
    select o.anchor as id, coalesce(o.locator, '') as "userName", o.is_active as "isActive",
      coalesce(o.user_name_key = ${nameKey}, false) as "hasName", (
        select k.id from links l
        join cases k on k.tenant_id = l.tenant_id and k.connection_id = l.connection_id and k.anchor = l.anchor and k.status = 'open'
        where l.tenant_id = o.tenant_id and l.connection_id = o.connection_id and l.anchor = o.anchor and l.state = 'disputed'
        order by k.id limit 1) as "caseId"
    from mirror_objects o
    where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = 'user' and o.is_pushed
      and o.deleted_at is null and (o.user_name_key = ${nameKey} or o.external_id = ${wanted.externalId})
    order by 4 desc`;
}
