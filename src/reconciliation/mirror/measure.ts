/** The sums of a full read that the plausibility check compares (core/sanity). */
import type { ConnectionId } from '../../core/ids.ts';
import type { Baseline, Reading } from '../../core/sanity.ts';
import type { TenantTx } from '../../db/db.ts';
import type { FetchCounts } from './fetch.ts';

export type ReadingCounts = Pick<FetchCounts, 'users' | 'groups' | 'filled'>;

export async function measureReading(
  tx: TenantTx,
  connectionId: ConnectionId,
  counts: ReadingCounts,
  baseline: Baseline | null,
): Promise<Reading> {
  const groups = await tx.sql<{ anchor: string; name: string; members: number }[]>`
    select distinct g.anchor, coalesce(g.display_name, g.anchor) as name, (
      select count(*)::int from mirror_edges e
      where e.tenant_id = g.tenant_id and e.connection_id = g.connection_id and e.group_anchor = g.anchor) as members
    from role_mappings r
    join mirror_objects g on g.tenant_id = r.tenant_id and g.connection_id = r.connection_id and g.kind = 'group' and g.anchor = r.group_anchor
    where r.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId} and r.ended_at is null
      and g.deleted_at is null and g.absent_since is null`;
  return {
    users: counts.users,
    groups: counts.groups,
    filled: counts.filled,
    newUsers: await countNewUsers(tx, connectionId, baseline),
    unmapped: await selectUnmapped(tx, connectionId, Object.keys(baseline?.mappedGroups ?? {})),
    mappedGroups: Object.fromEntries(
      groups.map((group) => [group.anchor, { name: group.name, members: group.members }]),
    ),
  };
}

async function selectUnmapped(tx: TenantTx, connectionId: ConnectionId, anchors: readonly string[]): Promise<string[]> {
  if (anchors.length === 0) return [];
  const rows = await tx.sql<{ anchor: string }[]>`
    select a.anchor from unnest(${anchors as string[]}::text[]) as a(anchor)
    where not exists (
      select 1 from role_mappings r
      where r.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId} and r.group_anchor = a.anchor and r.ended_at is null)`;
  return rows.map((row) => row.anchor);
}

/**
 * New since the last good read, and not since the last read: a mirror that took over another directory's people in a
 * run that was held or died must not make them look familiar to the next one.
 */
async function countNewUsers(tx: TenantTx, connectionId: ConnectionId, baseline: Baseline | null): Promise<number> {
  if (baseline?.at === undefined) return 0;
  const [row] = await tx.sql<{ count: number }[]>`
    select count(*)::int as count from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'user' and created_at > ${baseline.at}
      and deleted_at is null and absent_since is null`;
  return row?.count ?? 0;
}
