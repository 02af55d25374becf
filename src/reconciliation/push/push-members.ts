/** Memberships of pushed groups: rows, so that a change costs what changed and never what the group holds. */
import { RollcallError } from '../../core/errors.ts';
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

export type MemberChange = {
  readonly add?: readonly string[];
  readonly remove?: readonly string[];
  readonly replace?: readonly string[];
};

export type MembersChanged = {
  readonly added: number;
  readonly removed: number;
  readonly version: number;
  readonly updatedAt: string;
  /** Those who are new in it. */
  readonly came: readonly string[];
  /** Members whose membership changed. */
  readonly touched: readonly string[];
};

export async function writeEdges(
  tx: TenantTx,
  connectionId: ConnectionId,
  groupAnchor: string,
  change: MemberChange,
): Promise<MembersChanged> {
  const wanted = change.replace ?? change.add ?? [];
  const kept = new Set(wanted);
  const goes = changesGoing(tx, change, kept);
  // one statement: what goes, what comes, and the version, which grows only where something did
  const [row] = await tx.sql<Row[]>`
    with gone as (
      delete from mirror_edges
      where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and group_anchor = ${groupAnchor} and ${goes}
      returning member_anchor as anchor
    ), come as (
      insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
      select ${tx.tenantId}::uuid, ${connectionId}::uuid, ${groupAnchor}::text, anchor from unnest(${wanted as string[]}::text[]) as w(anchor)
      -- of a whole group named anew almost all are there: asked in one pass, not tried one by one
      where ${change.replace === undefined} or not exists (
        select 1 from mirror_edges e
        where e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.group_anchor = ${groupAnchor}
          and e.member_anchor = w.anchor collate "C")
      order by anchor
      on conflict do nothing
      returning member_anchor as anchor
    ), counted as (
      select array(select anchor from gone) as removed, array(select anchor from come) as added
    )
    update mirror_objects set version = version + case when cardinality(removed) + cardinality(added) > 0 then 1 else 0 end,
      updated_at = case when cardinality(removed) + cardinality(added) > 0 then now() else updated_at end
    from counted
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'group' and anchor = ${groupAnchor} and deleted_at is null
    returning version::int as version, updated_at as "updatedAt", removed, added`;
  if (row === undefined) throw new RollcallError('not_found', `There is no group ${groupAnchor} in this connection.`);
  const { added, removed, ...group } = row;
  return {
    added: added.length,
    removed: removed.length,
    ...group,
    came: added,
    touched: [...new Set([...removed, ...added])],
  };
}

type Row = {
  readonly version: number;
  readonly updatedAt: string;
  readonly added: readonly string[];
  readonly removed: readonly string[];
};

/** Who is both taken and given stays: within one statement the insert would not see the delete. */
function changesGoing(tx: TenantTx, change: MemberChange, kept: ReadonlySet<string>) {
  if (change.replace !== undefined) {
    return tx.sql`member_anchor not in (select unnest(${change.replace as string[]}::text[]) collate "C")`;
  }
  const going = (change.remove ?? []).filter((anchor) => !kept.has(anchor));
  return going.length === 0 ? tx.sql`false` : tx.sql`member_anchor = any(${going})`;
}

/** The users among these anchors and below the groups among them, in order; cycles end. */
export async function membersBelow(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchors: readonly string[],
): Promise<string[]> {
  const rows = await tx.sql<{ anchor: string }[]>`
    with recursive below as (
      select anchor collate "C" as anchor from unnest(${anchors as string[]}::text[]) as a(anchor)
      union
      -- offset and limit keep one look-up each: a plan for any connection would read all memberships and every user there is
      select e.member_anchor from below
      cross join lateral (
        select e.member_anchor from mirror_edges e
        where e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.group_anchor = below.anchor offset 0) e
    )
    select m.anchor from below
    cross join lateral (
      select m.anchor from mirror_objects m
      where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'user' and m.anchor = below.anchor
      limit 1) m
    order by m.anchor`;
  return rows.map((row) => row.anchor);
}
