/**
 * The days of a leaver, in sets: when the object of a live link was found gone, who was suspended long enough to be
 * removed, and whom a person edited since the last decision. Counted by the database's clock, which dates both ends.
 */
import type { ConnectionId } from '../../core/ids.ts';
import type { LeaverDays } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';

/** Notes on the affected links since when they wait; who is back waits no longer. `anchors` null: those of run_affected. */
export async function markLeaving(
  tx: TenantTx,
  connectionId: ConnectionId,
  graceDays: number,
  anchors: readonly string[] | null,
): Promise<void> {
  const affected =
    anchors === null
      ? tx.sql`select anchor from run_affected`
      : tx.sql`select unnest(${anchors as string[]}::text[]) collate "C" as anchor`;
  await tx.sql`
    update links l set leaving_since = case when m.is_gone then now() end, state = case when m.is_gone then 'missing' else l.state end
    from (
      select o.anchor, ${graceDays > 0} and (o.deleted_at is not null or not o.is_in_scope) as is_gone
      from (${affected}) a
      join mirror_objects o on o.tenant_id = ${tx.tenantId} and o.connection_id = ${connectionId} and o.kind = 'user' and o.anchor = a.anchor) m
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = m.anchor and l.state in ('linked', 'missing')
      and m.is_gone <> (l.leaving_since is not null)`;
}

/** Adds to run_affected whom only time, or a person's edit, makes due. Returns how many. */
export async function addDue(tx: TenantTx, connectionId: ConnectionId, leaver: LeaverDays): Promise<number> {
  const result = await tx.sql`
    insert into run_affected
    select due.anchor from (
      ${leaver.deleteAfterDays === null ? tx.sql`` : tx.sql`${removable(tx, connectionId, leaver.deleteAfterDays)} union`}
      select l.anchor from users u
      join links l on l.tenant_id = u.tenant_id and l.user_id = u.id and l.connection_id = ${connectionId} and l.state in ('linked', 'missing')
      where u.tenant_id = ${tx.tenantId} and u.last_run_id is null and u.status <> 'removed' and l.settled_user_version <> u.version) due
    where not exists (select 1 from run_affected a where a.anchor = due.anchor)`;
  return result.count;
}

function removable(tx: TenantTx, connectionId: ConnectionId, days: number) {
  return tx.sql`
    select l.anchor from links l
    join users u on u.tenant_id = l.tenant_id and u.id = l.user_id and u.status = 'suspended' and not u.is_protected
      and u.suspended_by = ${`connection:${connectionId}`}
    join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
      and (m.deleted_at is not null or not m.is_in_scope and m.problem is null)
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.state in ('suspended', 'gone', 'out_of_scope')
      and l.ended_at <= now() - make_interval(days => ${days})
      and not exists (select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id)
      and not exists (
        select 1 from links o
        join mirror_objects n on n.tenant_id = o.tenant_id and n.connection_id = o.connection_id and n.kind = 'user' and n.anchor = o.anchor
          and n.deleted_at is null and n.is_in_scope
        where o.tenant_id = u.tenant_id and o.user_id = u.id and o.connection_id <> l.connection_id
          and o.state in ('linked', 'missing', 'held'))`;
}
