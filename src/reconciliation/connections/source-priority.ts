/**
 * A new priority of a connection decides its users of several directories anew: first in a plan of this connection, and
 * once that was applied, with the next runs of the others. Until then the others go by the priority that was approved.
 */
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import type { ConnectionRow } from './connections-store.ts';

/** What else changes on the connection's row; links of shared users are opened, so nothing is lost if no run follows soon. */
export async function changePriority(
  tx: TenantTx,
  before: ConnectionRow,
  priority: number,
): Promise<Partial<Pick<ConnectionRow, 'approvedPriority' | 'approvedVersion'>>> {
  if (before.priority === priority) return {};
  const id = before.id as ConnectionId;
  const shared = await openSharedLinks(tx, id, 'own');
  if (shared === 0) return { approvedPriority: priority };
  if (before.kind === 'scim') {
    // what is pushed has no plan to approve
    await openSharedLinks(tx, id, 'other');
    return { approvedPriority: priority };
  }
  return { approvedPriority: before.approvedPriority ?? before.priority, approvedVersion: null };
}

/** The plan that shows the priority was applied: from now on everybody goes by it. */
export async function approvePriority(tx: TenantTx, id: ConnectionId): Promise<void> {
  const [changed] = await tx.sql<{ before: number | null }[]>`
    update connections c set approved_priority = c.priority
    from (select id, approved_priority as before from connections where tenant_id = ${tx.tenantId} and id = ${id} for update) b
    where c.tenant_id = ${tx.tenantId} and c.id = b.id and b.before is distinct from c.priority
    returning b.before`;
  if (changed !== undefined && changed.before !== null) await openSharedLinks(tx, id, 'other');
}

/** Links of users whom this connection shares with another one; returns how many are decided anew. */
async function openSharedLinks(tx: TenantTx, id: ConnectionId, whose: 'own' | 'other'): Promise<number> {
  const result = await tx.sql`
    update links l set settled_version = 0
    from links s
    where s.tenant_id = ${tx.tenantId} and s.user_id = l.user_id and s.connection_id <> l.connection_id
      and s.state in ('linked', 'missing', 'held') and l.tenant_id = ${tx.tenantId} and l.state in ('linked', 'missing')
      and ${whose === 'own' ? tx.sql`l.connection_id = ${id}` : tx.sql`s.connection_id = ${id}`}`;
  return result.count;
}
