/**
 * The staged memberships -> mirror, as a difference of sets: only what was added or removed is written, and whoever it
 * is about is decided by the run. What a rule's group gives follows from its members alone, so that the groups need not
 * be compared again (decision 0021).
 */
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import type { StageTables } from './stage.ts';

export type EdgeCounts = { readonly added: number; readonly removed: number };

/** The last word about each (group, member) after the group's last `set`; groups never set keep what was not named. */
export async function mergeEdges(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<EdgeCounts> {
  await selectEdgeChanges(tx, connectionId, tables);
  const removed = await tx.sql`
    delete from mirror_edges m using edge_changes c
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId}
      and m.group_anchor = c.group_anchor and m.member_anchor = c.member_anchor and not c.is_added`;
  const added = await tx.sql`
    insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
    select ${tx.tenantId}::uuid, ${connectionId}::uuid, group_anchor, member_anchor from edge_changes where is_added
    on conflict do nothing`;
  if (added.count + removed.count > 0) await openMembers(tx, connectionId);
  await noteMembers(tx, connectionId, tables);
  return { added: added.count, removed: removed.count };
}

/** Makes the temporary table edge_changes (group_anchor, member_anchor, is_added). */
async function selectEdgeChanges(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<void> {
  const { sql } = tx;
  // a full read says of each group who is in it, and nothing twice: what need not be put in order is not
  const [touched] = await sql`select 1 from ${sql(tables.group_sets)} where not is_set limit 1`;
  const groups = sql`
    (select group_anchor, max(seq) filter (where is_set) as set_seq from ${sql(tables.group_sets)} group by 1)`;
  const said = sql`
    from ${sql(tables.edges)} e join ${groups} g on g.group_anchor = e.group_anchor
    where (g.set_seq is null or e.seq >= g.set_seq)`;
  const words =
    touched === undefined
      ? sql`(select e.group_anchor, e.member_anchor, g.set_seq, e.op ${said})`
      : sql`(select distinct on (e.group_anchor, e.member_anchor) e.group_anchor, e.member_anchor, g.set_seq, e.op ${said}
          order by e.group_anchor, e.member_anchor, e.seq desc)`;
  const edges = sql`m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId}`;
  await sql`
    create temporary table edge_changes on commit drop as
    select coalesce(w.group_anchor, m.group_anchor) as group_anchor, coalesce(w.member_anchor, m.member_anchor) as member_anchor,
      m.group_anchor is null as is_added
    from (select group_anchor, member_anchor from ${words} w where set_seq is not null and op = '+') w
    full join (
      select m.group_anchor, m.member_anchor from mirror_edges m join ${groups} g on g.group_anchor = m.group_anchor
      where ${edges} and g.set_seq is not null) m
      on m.group_anchor = w.group_anchor and m.member_anchor = w.member_anchor
    where w.group_anchor is null or m.group_anchor is null`;
  if (touched !== undefined) {
    // by key: one word about a large group must not cost the group
    await sql`
      insert into edge_changes
      select w.group_anchor, w.member_anchor, w.op = '+' from ${words} w
      where w.set_seq is null and (w.op = '-') = exists (
        select 1 from mirror_edges m where ${edges} and m.group_anchor = w.group_anchor and m.member_anchor = w.member_anchor)`;
  }
  await sql`create index on edge_changes (member_anchor) where not is_added`;
  await sql`analyze edge_changes`;
}

/**
 * Opens the links of those who came to or left a group from which a role follows, or one within such a group: the run
 * decides them as if they had changed themselves. Where the next plan compares all anyway (a connection's first run),
 * there is nothing to open.
 */
async function openMembers(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  const [settled] = await tx.sql`
    select 1 from connections where tenant_id = ${tx.tenantId} and id = ${connectionId} and settled is not null`;
  if (settled === undefined) return;
  const place = tx.sql`e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId}`;
  await tx.sql`
    with recursive above as (
      select distinct group_anchor as changed, group_anchor from edge_changes
      union
      select above.changed, e.group_anchor from above
      cross join lateral (
        select e.group_anchor from mirror_edges e where ${place} and e.member_anchor = above.group_anchor
        union all
        -- a group that left another one in this very read took its former members with it
        select c.group_anchor from edge_changes c where not c.is_added and c.member_anchor = above.group_anchor) e
    ), below as (
      select c.member_anchor as anchor from edge_changes c
      where c.group_anchor in (
        select above.changed from above
        join role_mappings r on r.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId} and r.ended_at is null
          and r.group_anchor = above.group_anchor)
      union
      select e.member_anchor from below
      join mirror_objects g on g.tenant_id = ${tx.tenantId} and g.connection_id = ${connectionId} and g.kind = 'group' and g.anchor = below.anchor
      join mirror_edges e on ${place} and e.group_anchor = g.anchor
    )
    update links l set settled_version = 0
    from below
    join mirror_objects m on m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'user' and m.anchor = below.anchor
      and m.problem is null and m.absent_since is null
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = below.anchor and l.state in ('linked', 'missing')`;
}

/** What the next read compares its groups with; the groups themselves were not written. */
async function noteMembers(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<void> {
  await tx.sql`
    update mirror_objects m set members_hash = g.members_hash, member_count = g.member_count
    from (
      select group_anchor, (array_agg(members_hash) filter (where members_hash is not null))[1] as members_hash,
        max(member_count) as member_count
      from ${tx.sql(tables.group_sets)} group by 1) g
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'group' and m.anchor = g.group_anchor
      and (m.members_hash is distinct from g.members_hash or m.member_count is distinct from g.member_count)`;
}
