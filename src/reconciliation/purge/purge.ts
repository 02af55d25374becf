/**
 * purge/: users who were removed longer ago than any run can be undone are deleted for good, and what is left of them
 * elsewhere (change rows, closed cases, tombstones in the mirror) loses what it says about the human. Batches of one
 * transaction each: what a batch did is done, and the rest comes with the next round.
 */
import { forgetUsers } from '../../access/access.ts';
import { recordEvent } from '../../audit/audit.ts';
import type { TenantId, UserId } from '../../core/ids.ts';
import type { UserStatus } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { deleteUsers } from '../../users/users.ts';

const usersAtOnce = 500;
/** Stands where a name stood. */
const nobody = '(purged)';

/** `keepDays`: how long runs can be undone; answers how many users went. */
export async function purgeRemovedUsers(
  deps: { readonly db: Db },
  keepDays: number,
  signal: AbortSignal,
): Promise<number> {
  const tenants = await deps.db.engine(
    (tx) => tx.sql<{ id: TenantId }[]>`select distinct tenant_id as id from organizations order by 1`,
  );
  let purged = 0;
  for (const { id } of tenants) {
    // each batch leaves fewer behind, so this ends
    for (let gone = usersAtOnce; gone === usersAtOnce && !signal.aborted; purged += gone) {
      gone = await deps.db.tenant(id, (tx) => purgeBatch(tx, keepDays));
    }
  }
  return purged;
}

async function purgeBatch(tx: TenantTx, keepDays: number): Promise<number> {
  const due = await selectDue(tx, keepDays);
  if (due.length === 0) return 0;
  const purged = await purgeUsers(tx, due, ['removed']);
  await recordEvent(tx, {
    actor: 'system',
    action: 'users.purged',
    target: `tenant:${tx.tenantId}`,
    details: { userIds: purged, removedForDays: keepDays },
  });
  return purged.length;
}

/** Of these users, who are locked, all that says who they are; answers who went: those of this standing. */
export async function purgeUsers(
  tx: TenantTx,
  userIds: readonly UserId[],
  standings: readonly UserStatus[],
): Promise<UserId[]> {
  await blank(tx, userIds);
  await tx.sql`delete from links where tenant_id = ${tx.tenantId} and user_id = any(${userIds as readonly string[] as string[]}::uuid[])`;
  await forgetUsers(tx, userIds);
  return deleteUsers(tx, userIds, standings);
}

/**
 * Removed for so many days by the clock of the database, which dates removals. Not while anything may still bring them
 * back or waits for a word about them: a link that is live or held, an open case, a plan.
 */
async function selectDue(tx: TenantTx, keepDays: number): Promise<UserId[]> {
  const rows = await tx.sql<{ id: UserId }[]>`
    select u.id from users u
    where u.tenant_id = ${tx.tenantId} and u.status = 'removed' and not u.is_protected
      and u.status_changed_at < now() - make_interval(days => ${keepDays})
      and not exists (select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id)
      and not exists (
        select 1 from links l
        where l.tenant_id = u.tenant_id and l.user_id = u.id and l.state in ('linked', 'missing', 'held', 'disputed'))
      and not exists (
        select 1 from cases k where k.tenant_id = u.tenant_id and k.status = 'open' and u.id = any(k.candidate_ids))
      and not exists (
        select 1 from changes c
        where c.tenant_id = u.tenant_id and c.user_id = u.id and c.state in ('planned', 'held'))
    order by u.id limit ${usersAtOnce} for update of u skip locked`;
  return rows.map((row) => row.id);
}

/** Rows stay, as evidence that something was done to somebody; who that was is gone. */
async function blank(tx: TenantTx, userIds: readonly UserId[]): Promise<void> {
  const ids = userIds as readonly string[] as string[];
  await tx.sql`
    update changes set subject = ${nobody}, before = null, after = null, prior = case when prior is not null then '{}'::jsonb end,
      reason = ${nobody}, error = null
    where tenant_id = ${tx.tenantId} and user_id = any(${ids}::uuid[])`;
  const ofThem = tx.sql`
    l.tenant_id = ${tx.tenantId} and l.user_id = any(${ids}::uuid[]) and x.tenant_id = l.tenant_id and x.connection_id = l.connection_id
      and x.anchor = l.anchor`;
  await tx.sql`
    update changes x set subject = ${nobody}, before = null, after = null, reason = ${nobody}, error = null
    from links l where ${ofThem} and x.user_id is null`;
  await tx.sql`
    update cases x set subject = ${nobody}, reason = ${nobody}, details = null
    where x.tenant_id = ${tx.tenantId} and x.status <> 'open'
      and (x.candidate_ids && ${ids}::uuid[] or exists (select 1 from links l where ${ofThem}))`;
  // what the directory still shows is its own to keep; a tombstone keeps the immutable id alone
  await tx.sql`
    update mirror_objects x set source = '{}', mapped = null, display_name = null, display_name_key = null, locator = null,
      user_name_key = null, external_id = null, email_key = null, employee_id_key = null, rule_ids = '{}', problem = null, content_hash = ''
    from links l where ${ofThem} and x.kind = 'user' and x.deleted_at is not null`;
}
