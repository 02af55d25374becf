/** The plan of an undo: grants given back or taken, links that began or ended. Works on the tables of undo-plan. */
import type { TenantTx } from '../../db/db.ts';
import type { UndoPlanOptions } from './undo-plan.ts';

/** A grant stands or does not; it is changed only where it still is as the run left it. */
export async function planGrants(tx: TenantTx, { grantable }: UndoPlanOptions): Promise<void> {
  await tx.sql`
    create temporary table undo_grants on commit drop as
    with folded as (
      select distinct on (r.user_id, r.organization_id, r.role, r.grant_source) r.user_id, r.organization_id, r.role, r.grant_source, r.anchor,
        first_value(r.op) over w = 'revoke' as was, last_value(r.op) over w = 'grant' as left_standing,
        first_value(r.prior -> 'grant') over w as first_grant, first_value(coalesce(r.before, r.after)) over w as what, array_agg(r.seq) over w as seqs
      from undo_rows r where r.op in ('grant', 'revoke')
      window w as (partition by r.user_id, r.organization_id, r.role, r.grant_source order by r.pos
        rows between unbounded preceding and unbounded following)
    ), compared as (
      select f.*, u.subject, u.is_created, u.status, g.user_id is not null as stands, exists (
          select 1 from exclusions x
          where x.tenant_id = ${tx.tenantId} and x.organization_id = f.organization_id and x.user_id = f.user_id
            and (x.role is null or x.role = f.role) and (x.until is null or x.until > now())) as is_excluded
      from folded f
      join undo_users u on u.user_id = f.user_id and u.kept is null
      left join grants g on g.tenant_id = ${tx.tenantId} and g.organization_id = f.organization_id and g.user_id = f.user_id
        and g.role = f.role and g.source = f.grant_source
    )
    select *, case
        when stands = was then 'same'
        when stands <> left_standing then 'The role ' || role || ' was changed after the run; it stays as it is.'
        when was and is_excluded then 'The role ' || role || ' is not given back: a person excluded the user from it.'
        when was and role <> all(${grantable as string[]}) then 'The role ' || role || ' is not given back: it is above the ceiling of the connection now.'
        else 'undo' end as verdict
    from compared`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, organization_id, role, grant_source, before, after, reason, cause, restore)
    select case when was then 'grant' else 'revoke' end, case when was then 'grant' else 'revoke' end,
      case when is_created then 'leaver' else 'mover' end, anchor, user_id, subject, organization_id, role, grant_source,
      case when was then null else what end, case when was then what end,
      case when was then 'Taken by the run that is undone.' else 'Given by the run that is undone.' end,
      case when was then 'undo:revoke' else 'undo:grant' end, jsonb_build_object('undoes', seqs, 'grant', first_grant)
    from undo_grants where verdict = 'undo'`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, organization_id, role, reason, cause)
    select 'conflict', 'keep', 'conflict', anchor, user_id, subject, organization_id, role, verdict, 'undo:changed'
    from undo_grants where verdict not in ('same', 'undo')`;
}

/** The link itself is written when the first row of its subject is applied (undo-apply); these rows say so to the reader. */
export async function planLinks(tx: TenantTx, { undoOf, connectionId }: UndoPlanOptions): Promise<void> {
  await tx.sql`
    create temporary table undo_links on commit drop as
    with folded as (
      select distinct on (r.anchor) r.anchor, r.user_id, first_value(r.op) over w = 'unlink' as was_live, array_agg(r.seq) over w as seqs
      from undo_rows r where r.op in ('link', 'unlink')
      window w as (partition by r.anchor order by r.pos rows between unbounded preceding and unbounded following)
    )
    select f.*, u.subject, case
        when l.state = 'held' and l.held_run_id = ${undoOf} then 'undo'
        when l.user_id is distinct from f.user_id then 'The object belongs to another user by now; its link stays as it is.'
        when (l.state in ('linked', 'missing', 'held')) = f.was_live then 'same'
        when f.was_live and exists (
          select 1 from links o
          where o.tenant_id = l.tenant_id and o.connection_id = l.connection_id and o.user_id = f.user_id and o.anchor <> f.anchor
            and o.state in ('linked', 'missing', 'held')) then 'The user is linked to another object of this connection by now.'
        else 'undo' end as verdict
    from folded f
    join undo_users u on u.user_id = f.user_id and u.kept is null and not u.is_created
    join links l on l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = f.anchor`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, reason, cause, restore)
    select case when was_live then 'link' else 'remove' end, case when was_live then 'link' else 'unlink' end, 'mover', anchor, user_id, subject,
      case when was_live then 'Its link was ended by the run that is undone.' else 'Linked by the run that is undone.' end,
      case when was_live then 'undo:unlink' else 'undo:link' end, jsonb_build_object('undoes', seqs)
    from undo_links where verdict = 'undo'`;
  await tx.sql`
    insert into undo_plan (class, op, kind, anchor, user_id, subject, reason, cause)
    select 'conflict', 'keep', 'conflict', anchor, user_id, subject, verdict, 'undo:changed'
    from undo_links where verdict not in ('same', 'undo')`;
}
