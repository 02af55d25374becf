/**
 * Which subjects a run must decide, found in sets. Level-triggered: an object is open while its version differs from
 * the one its link was settled at, and while the grants it should give differ from those it gave. So a run that
 * crashed, was held or was discarded loses nothing: the next one finds the same differences.
 */
import type { PendingQuery, Row } from 'postgres';
import type { ConnectionId } from '../../core/ids.ts';
import type { GrantableRole } from '../../core/roles.ts';
import type { TenantTx } from '../../db/db.ts';
import type { Comparison } from './comparison.ts';
import { addRehomed } from './quota-homes.ts';

/**
 * Makes the temporary tables run_rules, run_desired (anchor, rule_id) and run_affected (anchor); returns how many are
 * affected. Where not all is compared (comparison.ts), the other rules are asked only for objects that are open.
 */
export async function selectAffected(
  tx: TenantTx,
  connectionId: ConnectionId,
  grantable: readonly GrantableRole[],
  comparison: Comparison,
): Promise<number> {
  await selectRules(tx, connectionId, grantable, comparison);
  // made by its query, because only so PostgreSQL reads both tables with several processes at once
  await tx.sql`
    create temporary table run_affected on commit drop as
    select m.anchor from mirror_objects m
    left join links l on l.tenant_id = m.tenant_id and l.connection_id = m.connection_id and l.anchor = m.anchor
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'user'
      and case when l.anchor is null
        then m.deleted_at is null and m.absent_since is null and m.is_in_scope and (m.is_active or m.problem is not null)
        else l.settled_version <> m.version end`;
  await tx.sql`create temporary table run_desired (anchor text collate "C", rule_id uuid) on commit drop`;
  const [compared] = await tx.sql`select 1 from run_rules where is_compared limit 1`;
  if (compared !== undefined) {
    await selectDesired(tx, connectionId);
    await addUnequal(tx, connectionId);
    await addRehomed(tx, connectionId);
  }
  const [row] = await tx.sql<{ count: string }[]>`select count(*) from run_affected`;
  const count = Number(row?.count ?? 0);
  if (count > 0) {
    // only now is anything looked up by anchor
    await tx.sql`create unique index on run_affected (anchor)`;
    await tx.sql`create index on run_desired (anchor)`;
    await tx.sql`analyze run_affected`;
  }
  return count;
}

/** All role mappings the connection ever had, analyzed: the planner must know that a few of them match everybody. */
async function selectRules(
  tx: TenantTx,
  connectionId: ConnectionId,
  grantable: readonly GrantableRole[],
  { isWhole, groupsSince }: Comparison,
): Promise<void> {
  await tx.sql`
    create temporary table run_rules on commit drop as
    with recursive written as (
      select anchor from mirror_objects
      where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'group' and updated_at >= ${groupsSince}::timestamptz
      union
      select e.group_anchor from written
      join mirror_edges e on e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.member_anchor = written.anchor
    )
    select id, organization_id, role, group_anchor, ended_at, 'rule:' || id as source, role = any(${grantable as string[]}) as is_grantable,
      organization_id <> tenant_id as is_sub, precedence,
      ${isWhole} or organization_id <> tenant_id or predicate is null and (${groupsSince === null} or group_anchor in (select anchor from written))
        as is_compared
    from role_mappings where tenant_id = ${tx.tenantId} and connection_id = ${connectionId}`;
  await tx.sql`analyze run_rules`;
}

/** Role mappings x members, through nested groups (`union` ends cycles). */
async function selectDesired(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  await tx.sql`
    insert into run_desired
    with recursive reach as (
      select r.id as rule_id, g.anchor as group_anchor from run_rules r
      join mirror_objects g on g.tenant_id = ${tx.tenantId} and g.connection_id = ${connectionId} and g.kind = 'group'
        and g.anchor = r.group_anchor and g.deleted_at is null
      where r.ended_at is null and r.is_compared
      union
      select reach.rule_id, e.member_anchor from reach
      join mirror_edges e on e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.group_anchor = reach.group_anchor
      join mirror_objects g on g.tenant_id = ${tx.tenantId} and g.connection_id = ${connectionId} and g.kind = 'group'
        and g.anchor = e.member_anchor and g.deleted_at is null
    )
    select distinct e.member_anchor, reach.rule_id from reach
    join mirror_edges e on e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.group_anchor = reach.group_anchor
    join mirror_objects u on u.tenant_id = ${tx.tenantId} and u.connection_id = ${connectionId} and u.kind = 'user'
      and u.anchor = e.member_anchor and u.deleted_at is null and u.is_in_scope
      and u.absent_since is null and u.problem is null`;
  const [predicates] = await tx.sql`
    select 1 from run_rules where is_compared and ended_at is null and group_anchor is null limit 1`;
  // a rule is a group's or a predicate's, so nothing is named twice
  if (predicates !== undefined) await addPredicates(tx, connectionId, tx.sql`r.is_compared`);
  await tx.sql`analyze run_desired`;
}

/** Adds to run_affected whose grants are not what the compared rules give. */
async function addUnequal(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  await tx.sql`
    insert into run_affected
    select unequal.anchor from (
      select d.anchor from run_desired d
      join run_rules r on r.id = d.rule_id and r.is_grantable
      join links l on l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = d.anchor and l.state in ('linked', 'missing')
      join users u on u.tenant_id = l.tenant_id and u.id = l.user_id and u.status <> 'removed' and not u.is_protected
      left join grants g on g.tenant_id = l.tenant_id and g.organization_id = r.organization_id and g.user_id = l.user_id and g.role = r.role
        and g.source = r.source
      where g.user_id is null and not exists (
          select 1 from exclusions x
          where x.tenant_id = l.tenant_id and x.organization_id = r.organization_id and x.user_id = l.user_id
            and (x.role is null or x.role = r.role) and (x.until is null or x.until > now()))
      union
      select l.anchor from run_rules r
      join grants g on g.tenant_id = ${tx.tenantId} and g.source = r.source and r.is_compared
      join links l on l.tenant_id = g.tenant_id and l.connection_id = ${connectionId} and l.user_id = g.user_id and l.state in ('linked', 'missing')
      join users u on u.tenant_id = l.tenant_id and u.id = l.user_id and not u.is_protected
      join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
        and m.problem is null and m.absent_since is null
      left join run_desired d on d.rule_id = r.id and d.anchor = l.anchor
      where r.ended_at is not null or not r.is_grantable or d.anchor is null
        or exists (
            select 1 from exclusions x
            where x.tenant_id = l.tenant_id and x.organization_id = r.organization_id and x.user_id = l.user_id
              and (x.role is null or x.role = r.role) and (x.until is null or x.until > now()))) unequal
    where not exists (select 1 from run_affected a where a.anchor = unequal.anchor)`;
}

/** What the rules that were not compared give to the affected objects: predicates, and groups from each member upwards. */
export async function completeDesired(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  await addPredicates(
    tx,
    connectionId,
    tx.sql`not r.is_compared`,
    tx.sql`and m.anchor in (select anchor from run_affected)`,
  );
  await tx.sql`
    insert into run_desired
    with recursive above as (
      select u.anchor, e.group_anchor from run_affected a
      join mirror_objects u on u.tenant_id = ${tx.tenantId} and u.connection_id = ${connectionId} and u.kind = 'user' and u.anchor = a.anchor
        and u.deleted_at is null and u.is_in_scope and u.absent_since is null and u.problem is null
      join mirror_edges e on e.tenant_id = u.tenant_id and e.connection_id = u.connection_id and e.member_anchor = u.anchor
      join mirror_objects g on g.tenant_id = e.tenant_id and g.connection_id = e.connection_id and g.kind = 'group'
        and g.anchor = e.group_anchor and g.deleted_at is null
      union
      select above.anchor, e.group_anchor from above
      join mirror_edges e on e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.member_anchor = above.group_anchor
      join mirror_objects g on g.tenant_id = e.tenant_id and g.connection_id = e.connection_id and g.kind = 'group'
        and g.anchor = e.group_anchor and g.deleted_at is null
    )
    select above.anchor, r.id from above
    join run_rules r on r.group_anchor = above.group_anchor and r.ended_at is null and not r.is_compared`;
}

async function addPredicates(
  tx: TenantTx,
  connectionId: ConnectionId,
  which: PendingQuery<Row[]>,
  whose: PendingQuery<Row[]> = tx.sql``,
): Promise<void> {
  await tx.sql`
    insert into run_desired
    select given.anchor, given.rule_id from (
      select m.anchor, unnest(m.rule_ids) as rule_id from mirror_objects m
      where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'user'
        and m.deleted_at is null and m.is_in_scope and m.absent_since is null and m.problem is null and m.rule_ids <> '{}' ${whose}) given
    join run_rules r on r.id = given.rule_id and r.ended_at is null and ${which}`;
}

/** The next affected anchors in order, after `last`. */
export async function nextAffected(tx: TenantTx, last: string, limit: number): Promise<string[]> {
  const rows = await tx.sql<
    { anchor: string }[]
  >`select anchor from run_affected where anchor > ${last} order by anchor limit ${limit}`;
  return rows.map((row) => row.anchor);
}

export type DesiredRow = { readonly anchor: string; readonly ruleId: string };

export async function desiredOfRun(tx: TenantTx, anchors: readonly string[]): Promise<DesiredRow[]> {
  return tx.sql<DesiredRow[]>`
    select anchor, rule_id as "ruleId" from run_desired where anchor = any(${anchors as string[]}) order by anchor, rule_id`;
}

/**
 * The same for a few pushed objects: upwards from each user through its groups. One look-up after the other (`offset 0`
 * keeps the joins apart): a plan that is made for any connection takes a large one for an average one, and reads its
 * memberships whole.
 */
export function desiredOfAnchors(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchors: readonly string[],
): PendingQuery<DesiredRow[]> {
  const groupsOf = (member: PendingQuery<Row[]>) => tx.sql`
    cross join lateral (
      select e.group_anchor from mirror_edges e
      where e.tenant_id = ${tx.tenantId} and e.connection_id = ${connectionId} and e.member_anchor = ${member} offset 0) e
    cross join lateral (
      select 1 from mirror_objects g
      where g.tenant_id = ${tx.tenantId} and g.connection_id = ${connectionId} and g.kind = 'group' and g.anchor = e.group_anchor
        and g.deleted_at is null limit 1) g`;
  return tx.sql<DesiredRow[]>`
    with recursive live as (
      select w.anchor collate "C" as anchor, m.rule_ids from unnest(${anchors as string[]}::text[]) w(anchor)
      cross join lateral (
        select m.rule_ids from mirror_objects m
        where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'user' and m.anchor = w.anchor collate "C"
          and m.deleted_at is null and m.is_in_scope limit 1) m
    ), above as (
      select live.anchor, e.group_anchor from live ${groupsOf(tx.sql`live.anchor`)}
      union
      select above.anchor, e.group_anchor from above ${groupsOf(tx.sql`above.group_anchor`)}
    )
    select above.anchor, r.id as "ruleId" from above
    join role_mappings r on r.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId} and r.group_anchor = above.group_anchor
      and r.ended_at is null
    union
    select live.anchor, r.id from live
    cross join lateral unnest(live.rule_ids) as given(id)
    join role_mappings r on r.tenant_id = ${tx.tenantId} and r.id = given.id and r.ended_at is null
    order by 1, 2`;
}
