/**
 * The plan of an undo, in sets over the change rows of the run that is undone. A run of pushes may have changed the same
 * value several times, so each value, standing, grant and link counts once: what it was before the first row, what the
 * last row left, what stands now. Where the last two differ, somebody changed it later, and it is kept.
 */
import { userAttributes } from '../../core/targets.ts';
import type { GrantableRole } from '../../core/roles.ts';
import type { ConnectionId, RunId, UserId } from '../../core/ids.ts';
import { changeClasses, changeOps, type ChangeOp } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { shieldLastAdmin } from '../apply/last-admin.ts';
import { linkOf, standingOf } from '../plan/prior.ts';
import { planGrants, planLinks } from './undo-plan-grants.ts';

/** What of a run is taken back; all null: all of it. */
export type UndoScope = {
  readonly userId: UserId | null;
  readonly requestId: string | null;
  /** ISO 8601: what was done from then on. Missing in what older versions stored. */
  readonly since?: string | null;
  /** The connection goes on: only for a part, whose links are held anyway. */
  readonly keepsRunning: boolean;
};

export type UndoPlanOptions = {
  readonly runId: RunId;
  readonly undoOf: RunId;
  readonly connectionId: ConnectionId;
  readonly scope: UndoScope;
  /** Roles up to the connection's ceiling, which may have been lowered since. */
  readonly grantable: readonly GrantableRole[];
};

const undoable = new Set<ChangeOp>([
  'create',
  'update',
  'key',
  'reactivate',
  'suspend',
  'remove',
  'link',
  'unlink',
  'grant',
  'revoke',
  'quota_home',
]);
export const undoableOps: readonly string[] = changeOps.filter((op) => undoable.has(op));

/** Writes the rows in the caller's transaction; returns how many users are concerned. */
export async function writeUndoPlan(tx: TenantTx, options: UndoPlanOptions): Promise<number> {
  await selectUndone(tx, options);
  const users = await selectUsers(tx, options);
  await tx.sql`
    create temporary table undo_plan (class text, op text, kind text, anchor text, user_id uuid, subject text, organization_id uuid, role text,
      grant_source text, before jsonb, after jsonb, reason text, cause text, restore jsonb) on commit drop`;
  await selectValues(tx);
  await keepCreated(tx);
  await planRemovals(tx, options);
  await planValues(tx);
  await planStandings(tx);
  await planQuotaHomes(tx);
  await planGrants(tx, options);
  await planLinks(tx, options);
  await planKept(tx);
  await freeUsernames(tx);
  await insertPlan(tx, options);
  await keepTakenUsernames(tx, options.runId);
  await shieldLastAdmin(tx, options.runId);
  return users;
}

/** The rows that were applied, in the order in which they were. */
async function selectUndone(tx: TenantTx, { undoOf, scope }: UndoPlanOptions): Promise<void> {
  await tx.sql`
    create temporary table undo_rows on commit drop as
    select c.seq, c.op, c.anchor, c.user_id, c.subject, c.organization_id, c.role, c.grant_source, c.before, c.after, c.prior,
      row_number() over (order by case when r.kind = 'push' then 0 else array_position(${changeClasses as unknown as string[]}::text[], c.class) end,
        c.seq)::int as pos
    from changes c
    join runs r on r.tenant_id = c.tenant_id and r.id = c.run_id
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${undoOf} and c.state = 'applied' and c.op = any(${undoableOps as string[]})
      and c.user_id is not null
      and (${scope.userId}::uuid is null or c.user_id = ${scope.userId}::uuid)
      and (${scope.requestId}::uuid is null or c.request_id = ${scope.requestId}::uuid)
      and (${scope.since ?? null}::timestamptz is null or c.applied_at >= ${scope.since ?? null}::timestamptz)`;
  await tx.sql`create index on undo_rows (user_id)`;
  await tx.sql`analyze undo_rows`;
}

/** One row per user, with why nothing of it may be touched, where that is so. */
async function selectUsers(tx: TenantTx, { connectionId }: UndoPlanOptions): Promise<number> {
  await tx.sql`
    create temporary table undo_users on commit drop as
    select r.*, u.version, u.status, u.suspended_by, u.username, u.username_key,
      exists (select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id) as is_super_admin,
      case
        when u.id is null then 'The user is purged.'
        when u.is_protected then 'The user is protected now.'
        when r.is_created and exists (select 1 from jsonb_each_text(u.provenance) p where p.value = 'manual')
          then 'Created by this run, and edited by hand since.'
        when r.is_created and exists (
          select 1 from grants g
          where g.tenant_id = u.tenant_id and g.user_id = u.id and not exists (
            select 1 from undo_rows gave
            where gave.user_id = u.id and gave.op = 'grant' and gave.organization_id = g.organization_id and gave.role = g.role
              and gave.grant_source = g.source)) then 'Created by this run, and given other roles since.'
        when r.is_created and exists (
          select 1 from links l
          where l.tenant_id = u.tenant_id and l.user_id = u.id and l.connection_id <> ${connectionId} and l.state in ('linked', 'missing', 'held'))
          then 'Created by this run, and linked to another directory since.'
      end as kept
    from (
      select user_id, (array_agg(anchor order by pos))[1] as anchor, (array_agg(subject order by pos))[1] as subject,
        bool_or(op = 'create') as is_created, array_agg(seq) filter (where op not in ('grant', 'revoke')) as seqs
      from undo_rows group by user_id) r
    left join users u on u.tenant_id = ${tx.tenantId} and u.id = r.user_id`;
  await tx.sql`create unique index on undo_users (user_id)`;
  await tx.sql`analyze undo_users`;
  const [row] = await tx.sql<{ count: string }[]>`select count(*) from undo_users`;
  return Number(row?.count ?? 0);
}

/** Attribute by attribute: was, left, stands now. `remove` takes the username without saying so in its row. */
async function selectValues(tx: TenantTx): Promise<void> {
  await tx.sql`
    create temporary table undo_values on commit drop as
    with steps as (
      select r.user_id, e.key collate "C" as target, e.value as left_value,
        case when e.key = 'username' then r.prior -> 'user' ->> 'username' else r.before ->> e.key end as was_value, r.prior -> 'user' as was, r.pos, r.seq,
        r.prior -> 'restore' -> 'provenance' ->> e.key = 'manual' as left_manual
      from undo_rows r
      cross join lateral jsonb_each_text(r.after) e
      where r.op in ('create', 'update', 'key') and (e.key = any(${userAttributes as unknown as string[]}) or e.key like 'attributes.%')
      union all
      select r.user_id, 'username', null, r.prior -> 'user' ->> 'username', r.prior -> 'user', r.pos, r.seq,
        r.prior -> 'user' -> 'provenance' ->> 'username' = 'manual'
      from undo_rows r where r.op = 'remove' and r.prior -> 'user' ->> 'username' is not null
    ), folded as (
      select distinct on (user_id, target) user_id, target, first_value(was_value) over w as was_value, first_value(was) over w as was,
        last_value(left_value) over w as left_value, coalesce(last_value(left_manual) over w, false) as left_manual, array_agg(seq) over w as seqs
      from steps
      window w as (partition by user_id, target order by pos rows between unbounded preceding and unbounded following)
    )
    select f.*, now.value as now_value,
      case
        when now.value is not distinct from f.was_value then 'same'
        when now.value is not distinct from f.left_value and (f.left_manual or u.provenance ->> f.target is distinct from 'manual') then 'undo'
        else 'kept'
      end as verdict
    from folded f
    join users u on u.tenant_id = ${tx.tenantId} and u.id = f.user_id
    cross join lateral (select case f.target
      when 'username' then u.username when 'email' then u.email when 'displayName' then u.display_name when 'givenName' then u.given_name
      when 'familyName' then u.family_name when 'phone' then u.phone when 'employeeId' then u.employee_id when 'department' then u.department
      when 'jobTitle' then u.job_title else u.attributes ->> substring(f.target from 12) end as value) now`;
  await tx.sql`analyze undo_values`;
}

/** A user the run created goes only as it was made: whoever is somebody else by now stays. */
async function keepCreated(tx: TenantTx): Promise<void> {
  await tx.sql`
    update undo_users u set kept = 'Created by this run, and changed since.'
    where u.is_created and u.kept is null and u.status <> 'removed'
      and (u.status <> 'active' or exists (
        select 1 from undo_values v where v.user_id = u.user_id and v.now_value is distinct from v.left_value))`;
}

async function planRemovals(tx: TenantTx, { connectionId }: UndoPlanOptions): Promise<void> {
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, after, reason, cause, restore)
    select 'remove', 'remove', 'leaver', anchor, user_id, subject, jsonb_build_object('status', status), '{"status": "removed"}',
      'Created by the run that is undone.', 'undo:create',
      jsonb_build_object('undoes', seqs, 'standing', jsonb_build_object('status', 'removed', 'suspendedBy', ${`connection:${connectionId}`}::text,
        'statusReason', 'Created by a run that was undone.'))
    from undo_users where is_created and kept is null and status = 'active'`;
}

/** One row for the attributes of a user and one for the username, as in any plan; one more for what is kept. */
async function planValues(tx: TenantTx): Promise<void> {
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, after, reason, cause, restore)
    select p.op, p.op, 'mover', u.anchor, u.user_id, u.subject, p.before, p.after, 'As before the run that is undone.', 'undo:' || p.op, p.restore
    from (
      select user_id, case when target = 'username' then 'key' else 'update' end as op, jsonb_object_agg(target, now_value) as before,
        jsonb_object_agg(target, was_value) as after,
        jsonb_build_object('undoes', jsonb_agg(seqs),
          'provenance', jsonb_object_agg(target, was -> 'provenance' ->> target),
          'absent', coalesce(jsonb_agg(target) filter (where target like 'attributes.%' and not was -> 'attributes' ? substring(target from 12)), '[]'),
          'usernameKey', max(was ->> 'usernameKey') filter (where target = 'username')) as restore
      from undo_values where verdict = 'undo' group by 1, 2) p
    join undo_users u on u.user_id = p.user_id and u.kept is null and not u.is_created`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, reason, cause)
    select 'conflict', 'keep', 'conflict', u.anchor, u.user_id, u.subject, jsonb_object_agg(v.target, v.now_value),
      'Changed after the run: ' || string_agg(v.target, ', ' order by v.target) || '. It stays as it is.', 'undo:changed'
    from undo_values v
    join undo_users u on u.user_id = v.user_id and u.kept is null and not u.is_created
    where v.verdict = 'kept' group by u.anchor, u.user_id, u.subject`;
}

/** Status, who suspended, and why. */
async function planStandings(tx: TenantTx): Promise<void> {
  await tx.sql`
    create temporary table undo_standings on commit drop as
    with folded as (
      select distinct on (r.user_id) r.user_id, first_value(r.prior -> 'user') over w as was, last_value(r.op) over w as left_op,
        last_value(r.after ->> 'suspendedBy') over w as left_by, array_agg(r.seq) over w as seqs
      from undo_rows r where r.op in ('reactivate', 'suspend', 'remove')
      window w as (partition by r.user_id order by r.pos rows between unbounded preceding and unbounded following)
    )
    select u.*, f.was, f.seqs as standing_seqs, f.was ->> 'status' as was_status,
      case
        when (u.status, u.suspended_by) is not distinct from (f.was ->> 'status', f.was ->> 'suspendedBy') then 'same'
        when u.status <> case f.left_op when 'reactivate' then 'active' when 'suspend' then 'suspended' else 'removed' end
          or (f.left_op = 'suspend' and u.suspended_by is distinct from coalesce(f.left_by, u.suspended_by)) then 'changed'
        when u.is_super_admin and f.was ->> 'status' <> 'active' then 'super_admin'
        else 'undo'
      end as verdict
    from folded f
    join undo_users u on u.user_id = f.user_id and u.kept is null and not u.is_created`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, after, reason, cause, restore)
    -- who was removed stands again before roles are given back: nobody who is removed is given any
    select case when was_status = 'active' or status = 'removed' then 'update' when was_status = 'suspended' then 'suspend' else 'remove' end,
      case was_status when 'active' then 'reactivate' when 'suspended' then 'suspend' else 'remove' end,
      case when status = 'active' then 'leaver' else 'mover' end, anchor, user_id, subject,
      jsonb_build_object('status', status, 'suspendedBy', suspended_by),
      jsonb_build_object('status', was_status, 'suspendedBy', was ->> 'suspendedBy'), 'As before the run that is undone.', 'undo:status',
      jsonb_build_object('undoes', standing_seqs, 'standing', jsonb_build_object('status', was_status, 'suspendedBy', was ->> 'suspendedBy',
        'statusReason', was ->> 'statusReason'))
    from undo_standings where verdict = 'undo'`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, reason, cause)
    select 'conflict', 'keep', 'conflict', anchor, user_id, subject, jsonb_build_object('status', status),
      case verdict when 'super_admin' then 'Holds Super Admin now, and can not be ' || was_status || '; transfer it first.'
        else 'The status was changed after the run; it stays ' || status || '.' end, 'undo:changed'
    from undo_standings where verdict in ('changed', 'super_admin')`;
}

async function planQuotaHomes(tx: TenantTx): Promise<void> {
  await tx.sql`
    create temporary table undo_homes on commit drop as
    with folded as (
      select distinct on (r.user_id) r.user_id, first_value(r.prior -> 'user') over w as was, last_value(r.after ->> 'quotaHome') over w as left_home,
        first_value(r.before) over w as before, last_value(r.after) over w as after, array_agg(r.seq) over w as home_seqs,
        coalesce(last_value(r.prior -> 'restore' -> 'provenance' ->> 'quotaHome') over w = 'manual', false) as left_manual
      from undo_rows r where r.op = 'quota_home'
      window w as (partition by r.user_id order by r.pos rows between unbounded preceding and unbounded following)
    )
    select u.anchor, u.user_id, u.subject, f.was, f.before, f.after, f.home_seqs,
      case
        when now.quota_home_id::text is not distinct from f.was ->> 'quotaHomeId' then 'same'
        when now.quota_home_id::text is not distinct from f.left_home
          and (f.left_manual or now.provenance ->> 'quotaHome' is distinct from 'manual') then 'undo'
        else 'kept'
      end as verdict
    from folded f
    join undo_users u on u.user_id = f.user_id and u.kept is null and not u.is_created
    join users now on now.tenant_id = ${tx.tenantId} and now.id = f.user_id`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, after, reason, cause, restore)
    select 'update', 'quota_home', 'mover', anchor, user_id, subject, after - 'source', before, 'As before the run that is undone.', 'undo:quota_home',
      jsonb_build_object('undoes', home_seqs, 'quotaHome', jsonb_build_object('id', was ->> 'quotaHomeId'),
        'provenance', jsonb_build_object('quotaHome', was -> 'provenance' ->> 'quotaHome'))
    from undo_homes where verdict = 'undo'`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, reason, cause)
    select 'conflict', 'keep', 'conflict', anchor, user_id, subject, after - 'source', 'The quota home was changed after the run; it stays as it is.',
      'undo:changed'
    from undo_homes where verdict = 'kept'`;
}

/** Users of whom nothing is touched. */
async function planKept(tx: TenantTx): Promise<void> {
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, reason, cause)
    select 'conflict', 'keep', 'conflict', anchor, user_id, subject, kept || ' The user stays as it is.', 'undo:changed'
    from undo_users where kept is not null`;
}

/** A created user whose username somebody gets back gives it up in the same statement. */
async function freeUsernames(tx: TenantTx): Promise<void> {
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, before, after, reason, cause, restore)
    select 'key', 'key', 'leaver', u.anchor, u.user_id, u.subject, jsonb_build_object('username', u.username), '{"username": null}',
      'The username goes back to whom it was taken from.', 'undo:key', '{"undoes": []}'
    from undo_users u
    where u.is_created and u.kept is null and u.status = 'active'
      and u.username_key in (select p.restore ->> 'usernameKey' from undo_plan p where p.op = 'key' and p.user_id <> u.user_id)`;
}

async function insertPlan(tx: TenantTx, { runId, connectionId }: UndoPlanOptions): Promise<void> {
  await tx.sql`
    insert into changes (tenant_id, run_id, connection_id, seq, class, op, kind, anchor, user_id, subject, organization_id, role, grant_source,
      before, after, prior, expected_version, reason, cause)
    select ${tx.tenantId}::uuid, ${runId}::uuid, ${connectionId}::uuid, r.seq, class, op, kind, anchor, r.user_id, subject, organization_id, role,
      grant_source, before, after, jsonb_build_object('user', ${standingOf(tx)}, 'link', ${linkOf(tx, connectionId)}, 'restore', restore,
        'grant', case when op = 'revoke' then (
          select jsonb_build_object('runId', g.run_id, 'createdAt', g.created_at) from grants g
          where g.tenant_id = ${tx.tenantId} and g.organization_id = r.organization_id and g.user_id = r.user_id and g.role = r.role
            and g.source = r.grant_source) end),
      case when op in ('grant', 'revoke') then null else u.version end, reason, cause
    from (
      select p.*, row_number() over (order by array_position(${changeClasses as unknown as string[]}::text[], class), anchor, user_id, op,
        organization_id, role, grant_source)::int as seq
      from undo_plan p) r
    left join (select user_id, version from undo_users) u on u.user_id = r.user_id`;
}

/** A username that somebody else has by now, and does not give up in this plan, is not taken from them. */
async function keepTakenUsernames(tx: TenantTx, runId: RunId): Promise<void> {
  for (;;) {
    const kept = await tx.sql`
      update changes c set class = 'conflict', op = 'keep', kind = 'conflict', cause = 'undo:changed',
        reason = 'The username ' || (c.after ->> 'username') || ' belongs to another user now.'
      from users u
      where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.op = 'key'
        and u.tenant_id = c.tenant_id and u.username_key = c.prior -> 'restore' ->> 'usernameKey' and u.id <> c.user_id
        and not exists (
          select 1 from changes o where o.tenant_id = c.tenant_id and o.run_id = c.run_id and o.op = 'key' and o.user_id = u.id)`;
    if (kept.count === 0) return;
  }
}
