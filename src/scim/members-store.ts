/** Which of the members a request names are not there (yet). */
import type { TenantTx } from '../db/db.ts';
import type { Place } from './store.ts';

/** How many of the ids belong to nobody who lives in this connection, and the first few of them. */
export async function findUnknown(
  tx: TenantTx,
  { tenantId, connectionId }: Place,
  ids: readonly string[],
): Promise<{ readonly count: number; readonly examples: readonly string[] }> {
  if (ids.length === 0) return { count: 0, examples: [] };
  const [row] = await tx.sql<{ count: number; examples: string[] | null }[]>`
    select count(*)::int as count, (array_agg(w.id order by w.id))[1:5] as examples
    from unnest(${ids as string[]}::text[]) as w(id)
    where not exists (
      select 1 from mirror_objects o
      where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind in ('user', 'group')
        and o.anchor = w.id collate "C" and o.deleted_at is null)`;
  return { count: row?.count ?? 0, examples: row?.examples ?? [] };
}
