/** Groups that no role mapping names, so that nothing follows from them: a list for the admin, not a case. */
import type { ConnectionId, TenantId } from '../../core/ids.ts';
import type { Db } from '../../db/db.ts';

export type UnmappedGroup = {
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly anchor: string;
  readonly name: string;
  readonly locator: string | null;
  /** Direct members, users and groups. */
  readonly members: number;
  /** It lies below a mapped group, so its members have a role through that one. */
  readonly isNested: boolean;
};

export type UnmappedFilter = {
  readonly connectionIds: readonly ConnectionId[];
  readonly limit: number;
};

/** The largest first. Groups below a mapped one are named as such. */
export function listUnmappedGroups(db: Db, tenantId: TenantId, filter: UnmappedFilter): Promise<UnmappedGroup[]> {
  const ids = [...filter.connectionIds];
  return db.tenant(
    tenantId,
    (tx) => tx.sql<UnmappedGroup[]>`
      with recursive mapped as (
        select r.connection_id, r.group_anchor as anchor from role_mappings r
        where r.tenant_id = ${tenantId} and r.connection_id = any(${ids}::uuid[]) and r.ended_at is null and r.group_anchor is not null
      ), below as (
        select connection_id, anchor from mapped
        union
        select e.connection_id, e.member_anchor from below
        join mirror_edges e on e.tenant_id = ${tenantId} and e.connection_id = below.connection_id and e.group_anchor = below.anchor
        join mirror_objects m on m.tenant_id = e.tenant_id and m.connection_id = e.connection_id and m.kind = 'group' and m.anchor = e.member_anchor
      )
      select n.id as "connectionId", n.name as "connectionName", g.anchor, coalesce(g.display_name, g.anchor) as name, g.locator,
        coalesce(c.members, 0)::int as members,
        exists (select 1 from below b where b.connection_id = g.connection_id and b.anchor = g.anchor) as "isNested"
      from mirror_objects g
      join connections n on n.tenant_id = g.tenant_id and n.id = g.connection_id
      left join (
        select connection_id, group_anchor, count(*) as members from mirror_edges
        where tenant_id = ${tenantId} and connection_id = any(${ids}::uuid[]) group by 1, 2) c
        on c.connection_id = g.connection_id and c.group_anchor = g.anchor
      where g.tenant_id = ${tenantId} and g.connection_id = any(${ids}::uuid[]) and g.kind = 'group' and g.deleted_at is null
        and g.absent_since is null
        and not exists (select 1 from mapped m where m.connection_id = g.connection_id and m.anchor = g.anchor)
      order by members desc, name, g.anchor limit ${filter.limit}`,
  );
}
