/** Quota homes: what a decision about them needs, and which users a changed role mapping moves. */
import type { PendingQuery, Row } from 'postgres';
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

/** A jsonb expression over a user `u`: a `QuotaHome`. Needs `quotaHomeJoins`. */
export function quotaHomeOf(tx: TenantTx, connectionId: ConnectionId): PendingQuery<Row[]> {
  return tx.sql`jsonb_build_object('id', u.quota_home_id, 'name', home.name, 'source', u.provenance ->> 'quotaHome',
      'first', jsonb_build_object('id', u.first_organization_id, 'name', first.name),
      'elsewhere', coalesce((
        select jsonb_agg(jsonb_build_object('ruleId', r.id, 'organizationId', o.id, 'organizationName', o.name, 'isSubOrganization', true,
          'precedence', r.precedence) order by r.precedence, r.id)
        from grants g
        join role_mappings r on r.tenant_id = g.tenant_id and 'rule:' || r.id = g.source and r.connection_id <> ${connectionId}
        join organizations o on o.tenant_id = g.tenant_id and o.id = g.organization_id
        where g.tenant_id = u.tenant_id and g.user_id = u.id and g.organization_id <> g.tenant_id), '[]'))`;
}

export function quotaHomeJoins(tx: TenantTx): PendingQuery<Row[]> {
  return tx.sql`
    join organizations home on home.tenant_id = u.tenant_id and home.id = coalesce(u.quota_home_id, u.tenant_id)
    join organizations first on first.tenant_id = u.tenant_id and first.id = coalesce(u.first_organization_id, u.tenant_id)`;
}

/**
 * Adds to run_affected whose quota home is not where the mappings put it: a precedence was changed, a person gave the
 * choice back. Reads run_rules and run_desired. Where another connection's mapping decides, nobody is added.
 */
export async function addRehomed(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  const subs = await tx.sql`select 1 from run_rules where is_sub limit 1`;
  if (subs.length === 0) return;
  await tx.sql`
    with homes as (
      select distinct on (d.anchor) d.anchor, r.organization_id, r.precedence, r.id from run_desired d
      join run_rules r on r.id = d.rule_id and r.is_grantable and r.is_sub
      join links l on l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = d.anchor
      where not exists (
        select 1 from exclusions x
        where x.tenant_id = ${tx.tenantId} and x.organization_id = r.organization_id and x.user_id = l.user_id
          and (x.role is null or x.role = r.role) and (x.until is null or x.until > now()))
      order by d.anchor, r.precedence, r.id
    )
    insert into run_affected
    select l.anchor from links l
    join users u on u.tenant_id = l.tenant_id and u.id = l.user_id and u.status <> 'removed' and not u.is_protected
      and (u.provenance ->> 'quotaHome') is distinct from 'manual'
    join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
      and m.problem is null and m.absent_since is null
    left join homes h on h.anchor = l.anchor
    left join role_mappings o on o.tenant_id = l.tenant_id and o.connection_id <> ${connectionId} and o.ended_at is null
      and 'rule:' || o.id = u.provenance ->> 'quotaHome'
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.state in ('linked', 'missing')
      and case when h.anchor is null
        then u.provenance ->> 'quotaHome' in (select source from run_rules)
          and u.quota_home_id is distinct from u.first_organization_id
        else u.quota_home_id is distinct from h.organization_id and (o.id is null or (h.precedence, h.id) < (o.precedence, o.id)) end
      and not exists (select 1 from run_affected a where a.anchor = l.anchor)`;
}
