/** Members of groups by their ids alone: which are not there (yet), and how many a page of groups would show. */
import type { TenantTx } from '../db/db.ts';
import type { ResourceModel } from './schema-model.ts';
import { readPage, type PageRequest, type Place } from './store.ts';

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

/** A page that shows members holds about this many in memory: one group of them all, or a thousand small ones. */
export const maxMembersOfPage = 50_000;

/**
 * How many groups of a page may be shown with their members; at least one. A page may be shorter than asked for
 * (RFC 7644 section 3.4.2.4), but a list of large groups must not be built in memory as a whole.
 */
export async function limitByMembers(
  tx: TenantTx,
  place: Place,
  model: ResourceModel,
  page: Omit<PageRequest, 'relations'>,
): Promise<number> {
  const groups = await readPage(tx, place, model, { ...page, relations: false });
  const anchors = groups.map(({ anchor }) => anchor);
  const rows = await tx.sql<{ anchor: string; count: number }[]>`
    select g.anchor, (
      select count(*)::int from (
        select 1 from mirror_edges e
        where e.tenant_id = ${place.tenantId} and e.connection_id = ${place.connectionId} and e.group_anchor = g.anchor
        limit ${maxMembersOfPage + 1}
      ) as shown) as count
    from unnest(${anchors}::text[]) as g(anchor)`;
  const counts = new Map(rows.map(({ anchor, count }) => [anchor, count]));
  let sum = 0;
  const fitting = anchors.findIndex((anchor) => (sum += counts.get(anchor) ?? 0) > maxMembersOfPage);
  return fitting < 0 ? page.limit : Math.max(1, fitting);
}
