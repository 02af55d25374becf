/**
 * The set-based door of access for reconciliation: grants that role mappings give or take, with the memberships that
 * follow from them. Only grants of the named source are ever touched.
 */
import type { OrganizationId, RunId, UserId } from '../core/ids.ts';
import type { GrantableRole } from '../core/roles.ts';
import { rowsOf, type TenantTx, type Write } from '../db/db.ts';

export type GrantChange = {
  readonly seq: number;
  readonly userId: UserId;
  readonly organizationId: OrganizationId;
  readonly role: GrantableRole;
  /** `rule:<role mapping>` */
  readonly source: string;
  /** Of a grant that an undo gives back: the run that gave it at first, and when. */
  readonly first?: { readonly runId: string | null; readonly createdAt: string } | undefined;
};

/** Gives grants; returns the seqs that now stand. A user removed, protected or excluded meanwhile is left out. */
export async function addRuleGrants(tx: TenantTx, runId: RunId, rows: readonly GrantChange[]): Promise<number[]> {
  if (rows.length === 0) return [];
  const wanted = rowsOf(tx.sql, {
    seq: ['int', rows.map((row) => row.seq)],
    userId: ['uuid', rows.map((row) => row.userId)],
    organizationId: ['uuid', rows.map((row) => row.organizationId)],
    role: ['text', rows.map((row) => row.role)],
    source: ['text', rows.map((row) => row.source)],
    first: ['jsonb', rows.map((row) => (row.first === undefined ? null : JSON.stringify(row.first)))],
  });
  const allowed = await tx.sql<{ seq: number }[]>`
    with wanted as (
      select r.* from ${wanted}
      join users u on u.tenant_id = ${tx.tenantId} and u.id = r."userId" and u.status <> 'removed' and not u.is_protected
      where not exists (
        select 1 from exclusions x
        where x.tenant_id = ${tx.tenantId} and x.organization_id = r."organizationId" and x.user_id = r."userId"
          and (x.role is null or x.role = r.role) and (x.until is null or x.until > now()))
    ), given as (
      insert into grants (tenant_id, organization_id, user_id, role, source, run_id, created_at)
      select ${tx.tenantId}::uuid, "organizationId", "userId", role, source,
        case when first is null then ${runId}::uuid else (first ->> 'runId')::uuid end, coalesce((first ->> 'createdAt')::timestamptz, now())
      from wanted order by 2, 3, 4, 5
      on conflict do nothing
    ), joined as (
      insert into memberships (tenant_id, organization_id, user_id)
      select distinct ${tx.tenantId}::uuid, "organizationId", "userId" from wanted order by 2, 3
      on conflict do nothing
    )
    select seq from wanted`;
  return allowed.map((row) => row.seq);
}

/**
 * Grants of users whom the same transaction makes, with their memberships: nobody else can have seen, protected or excluded
 * them, so there is nothing to lock and nothing to look up.
 */
export function firstRuleGrantWrites(tx: TenantTx, runId: RunId, rows: readonly GrantChange[]): Write[] {
  if (rows.length === 0) return [];
  const members = [...new Map(rows.map((row) => [`${row.organizationId} ${row.userId}`, row])).values()];
  const usersOf = (changes: readonly GrantChange[]) => ({
    organizationId: ['uuid', changes.map((row) => row.organizationId)] as const,
    userId: ['uuid', changes.map((row) => row.userId)] as const,
  });
  const granted = rowsOf(tx.sql, {
    ...usersOf(rows),
    role: ['text', rows.map((row) => row.role)],
    source: ['text', rows.map((row) => row.source)],
  });
  const grants = tx.sql`
    insert into grants (tenant_id, organization_id, user_id, role, source, run_id)
    select ${tx.tenantId}::uuid, r."organizationId", r."userId", r.role, r.source, ${runId}::uuid from ${granted} order by 2, 3, 4, 5`;
  const memberships = tx.sql`
    insert into memberships (tenant_id, organization_id, user_id)
    select ${tx.tenantId}::uuid, r."organizationId", r."userId" from ${rowsOf(tx.sql, usersOf(members))} order by 2, 3`;
  return [
    { table: 'grants', sql: grants },
    { table: 'memberships', sql: memberships },
  ];
}

/** Takes grants; one that is gone already counts as done. A membership ends with its last grant. */
export async function removeRuleGrants(tx: TenantTx, rows: readonly GrantChange[]): Promise<number[]> {
  if (rows.length === 0) return [];
  const payload = JSON.stringify(rows);
  await tx.sql`
    delete from grants g
    using jsonb_to_recordset(${payload}::jsonb) as r("userId" uuid, "organizationId" uuid, role text, source text)
    where g.tenant_id = ${tx.tenantId} and g.organization_id = r."organizationId" and g.user_id = r."userId" and g.role = r.role
      and g.source = r.source and g.source like 'rule:%'`;
  await tx.sql`
    delete from memberships m
    using (select distinct "userId", "organizationId" from jsonb_to_recordset(${payload}::jsonb) as r("userId" uuid, "organizationId" uuid)) r
    where m.tenant_id = ${tx.tenantId} and m.organization_id = r."organizationId" and m.user_id = r."userId"
      and not exists (
        select 1 from grants g
        where g.tenant_id = m.tenant_id and g.organization_id = m.organization_id and g.user_id = m.user_id)`;
  return rows.map((row) => row.seq);
}
