/** access/exclusions-store: the SQL of exclusions. One that is past its end counts for nothing. */
import { newId, type OrganizationId, type UserId } from '../core/ids.ts';
import { toIso, toIsoOrNull } from '../core/instant.ts';
import type { GrantableRole } from '../core/roles.ts';
import type { TenantTx } from '../db/db.ts';

export type Exclusion = {
  readonly id: string;
  readonly organizationId: OrganizationId;
  readonly userId: UserId;
  readonly userName: string;
  /** Null excludes from every role of the organization. */
  readonly role: GrantableRole | null;
  readonly reason: string;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly until: string | null;
};

export type NewExclusion = Omit<Exclusion, 'id' | 'createdAt' | 'userName'>;

export async function upsertExclusion(tx: TenantTx, input: NewExclusion): Promise<Exclusion> {
  const rows = await tx.sql<Exclusion[]>`
    insert into exclusions (tenant_id, id, organization_id, user_id, role, reason, created_by, until)
    values (${tx.tenantId}, ${newId()}, ${input.organizationId}, ${input.userId}, ${input.role}, ${input.reason},
      ${input.createdBy}, ${input.until}::timestamptz)
    on conflict (tenant_id, organization_id, user_id, role)
      do update set reason = excluded.reason, created_by = excluded.created_by, until = excluded.until
    returning ${columns(tx)}`;
  const [row] = rows.map(withIsoTimes);
  if (row === undefined) throw new Error('insert ... on conflict do update answered no row');
  return row;
}

/** Those that stand in the way of this role now. */
export async function findLiveExclusions(
  tx: TenantTx,
  key: { readonly organizationId: OrganizationId; readonly userId: UserId; readonly role: GrantableRole },
): Promise<Exclusion[]> {
  const rows = await tx.sql<Exclusion[]>`
    select ${columns(tx)} from exclusions
    where tenant_id = ${tx.tenantId} and organization_id = ${key.organizationId} and user_id = ${key.userId}
      and (role is null or role = ${key.role}) and (until is null or until > now())`;
  return rows.map(withIsoTimes);
}

export async function deleteExclusion(
  tx: TenantTx,
  organizationId: OrganizationId,
  id: string,
): Promise<Exclusion | null> {
  const rows = await tx.sql<Exclusion[]>`
    delete from exclusions
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId} and id = ${id}
    returning ${columns(tx)}`;
  return rows.map(withIsoTimes)[0] ?? null;
}

export async function selectExclusions(
  tx: TenantTx,
  organizationId: OrganizationId,
  afterId: string | null,
  limit: number,
): Promise<Exclusion[]> {
  const rows = await tx.sql<Exclusion[]>`
    select ${columns(tx)} from exclusions
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId}
      and (${afterId}::uuid is null or id > ${afterId}::uuid)
    order by id limit ${limit}`;
  return rows.map(withIsoTimes);
}

function columns(tx: TenantTx) {
  return tx.sql`id, organization_id as "organizationId", user_id as "userId", (
      select coalesce(u.display_name, u.username, u.id::text) from users u
      where u.tenant_id = exclusions.tenant_id and u.id = exclusions.user_id) as "userName", role, reason, created_by as "createdBy",
    created_at::text as "createdAt", until::text as "until"`;
}

function withIsoTimes(row: Exclusion): Exclusion {
  return { ...row, createdAt: toIso(row.createdAt), until: toIsoOrNull(row.until) };
}
