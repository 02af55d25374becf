/** How users are in groups: the shortest way up through nested groups. Cycles end; what is read is bounded. */
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

export type GroupPaths = {
  /** Names of the groups from the user's own up to the given one, e.g. `Berlin > Germany > All Staff`; null: not in it. */
  pathTo(anchor: string, groupAnchor: string): string | null;
  /** Names of the groups the user is a direct member of. */
  directOf(anchor: string): readonly string[];
};

type Edge = { readonly member: string; readonly groupAnchor: string; readonly name: string };

const maxEdges = 5_000;

export async function selectGroupPaths(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchors: readonly string[],
): Promise<GroupPaths> {
  const edges = await tx.sql<Edge[]>`
    with recursive above as (
      select e.member_anchor, e.group_anchor from mirror_edges e
      where e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.member_anchor = any(${[...anchors]})
      union
      select e.member_anchor, e.group_anchor from above
      join mirror_edges e on e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.member_anchor = above.group_anchor
    )
    select above.member_anchor as member, above.group_anchor as "groupAnchor", coalesce(g.display_name, g.anchor) as name from above
    join mirror_objects g on g.tenant_id = ${tx.tenantId} and g.connection_id = ${connectionId} and g.kind = 'group'
      and g.anchor = above.group_anchor and g.deleted_at is null
    limit ${maxEdges}`;
  const upwards = Map.groupBy(edges, (edge) => edge.member);
  return {
    pathTo: (anchor, groupAnchor) => shortestPath(upwards, anchor, groupAnchor),
    directOf: (anchor) => (upwards.get(anchor) ?? []).map((edge) => edge.name).toSorted(),
  };
}

function shortestPath(upwards: ReadonlyMap<string, readonly Edge[]>, from: string, to: string): string | null {
  const seen = new Set([from]);
  let frontier: { readonly at: string; readonly names: readonly string[] }[] = [{ at: from, names: [] }];
  while (frontier.length > 0) {
    const next: typeof frontier = [];
    for (const { at, names } of frontier) {
      for (const edge of upwards.get(at) ?? []) {
        if (seen.has(edge.groupAnchor)) continue;
        seen.add(edge.groupAnchor);
        const path = [...names, edge.name];
        if (edge.groupAnchor === to) return path.join(' > ');
        next.push({ at: edge.groupAnchor, names: path });
      }
    }
    frontier = next;
  }
  return null;
}
