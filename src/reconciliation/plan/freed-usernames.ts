/**
 * Usernames that a removal of the same plan frees: whoever wants one gets it right after the removal, as the last step
 * of the class `remove`, and with it everybody further down the chain. Held together, because a guard that holds the
 * leavers holds what follows them (guards.ts). Works on run_wants (plan.ts).
 */
import type { RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { shieldLastAdmin } from '../apply/last-admin.ts';

/** run_freed: users whom this plan removes and whose username somebody wants. */
export async function noteFreed(tx: TenantTx, runId: RunId): Promise<void> {
  const freed = await tx.sql`
    create temporary table run_freed on commit drop as
    select distinct c.user_id from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.op = 'remove'
      and c.user_id in (select w.owner_id from run_wants w where w.owner_id is not null)`;
  if (freed.count === 0) return;
  // a last Admin is not removed, and frees nothing
  await shieldLastAdmin(tx, runId);
  await tx.sql`
    delete from run_freed f where not exists (
      select 1 from changes c
      where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.op = 'remove' and c.user_id = f.user_id)`;
}

/** After the rows of usernames are settled: those that wait for a removal take their place behind it, the nearest first. */
export async function followRemovals(tx: TenantTx, runId: RunId): Promise<void> {
  await tx.sql`create temporary table run_following (user_id uuid primary key, depth int not null) on commit drop`;
  let found = await tx.sql`
    insert into run_following
    select distinct w.user_id, 1 from run_wants w join run_freed f on f.user_id = w.owner_id`;
  for (let depth = 1; found.count > 0; depth += 1) {
    found = await tx.sql`
      insert into run_following
      select distinct w.user_id, ${depth + 1}::int from run_wants w
      join run_following f on f.user_id = w.owner_id and f.depth = ${depth}
      on conflict do nothing`;
  }
  await tx.sql`
    update changes c set class = 'remove', seq = n.new_seq, reason = c.reason || ' It becomes free when its owner is removed.'
    from (
      select k.seq, (row_number() over (order by f.depth, k.seq))::int + (
        select max(seq) from changes where tenant_id = ${tx.tenantId} and run_id = ${runId}) as new_seq
      from run_following f
      join changes k on k.tenant_id = ${tx.tenantId} and k.run_id = ${runId} and k.class = 'key' and k.user_id = f.user_id) n
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.seq = n.seq`;
}
