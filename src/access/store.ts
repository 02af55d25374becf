/**
 * access/store: the SQL of memberships, grants, exclusions and the Super Admin.
 *
 * Locks, always in this order, so that no two transactions wait for each other: organizations by id, then users by id.
 * `for no key update` is enough against each other and does not stop the foreign keys of a running apply.
 */
import type { OrganizationId, UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import { roleRank, type GrantableRole, type Role } from '../core/roles.ts';
import type { UserStatus } from '../core/vocabulary.ts';
import type { TenantTx } from '../db/db.ts';

export async function lockOrganizations(tx: TenantTx, ids: readonly string[]): Promise<void> {
  const locked = await tx.sql`
    select id from organizations where tenant_id = ${tx.tenantId} and id = any(${[...ids]}::uuid[])
    order by id for no key update`;
  if (locked.length !== new Set(ids).size) throw notFound('organization');
}

export async function lockUser(tx: TenantTx, userId: UserId): Promise<UserStatus> {
  const [row] = await tx.sql<{ status: UserStatus }[]>`
    select status from users where tenant_id = ${tx.tenantId} and id = ${userId} for no key update`;
  if (row === undefined) throw notFound('user');
  return row.status;
}

/** Of many users at once, in id order; an id that does not exist is no error here. */
export async function lockUsers(tx: TenantTx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.sql`
    select 1 from users where tenant_id = ${tx.tenantId} and id = any(${[...new Set(ids)]}::uuid[])
    order by id for no key update`;
}

export async function userExists(tx: TenantTx, userId: UserId): Promise<boolean> {
  const rows = await tx.sql`select 1 from users where tenant_id = ${tx.tenantId} and id = ${userId}`;
  return rows.length > 0;
}

export async function findUserIdsByEmail(tx: TenantTx, emailKey: string): Promise<UserId[]> {
  const rows = await tx.sql<{ id: UserId }[]>`
    select id from users
    where tenant_id = ${tx.tenantId} and email_key = ${emailKey} and status <> 'removed' order by id limit 2`;
  return rows.map((row) => row.id);
}

export async function isDescendant(tx: TenantTx, ancestorId: string, descendantId: string): Promise<boolean> {
  const rows = await tx.sql`
    select 1 from organization_closure
    where tenant_id = ${tx.tenantId} and ancestor_id = ${ancestorId} and descendant_id = ${descendantId}`;
  return rows.length > 0;
}

export async function isMemberBelow(tx: TenantTx, organizationId: string, userId: UserId): Promise<boolean> {
  const rows = await tx.sql`
    select 1 from memberships m
    join organization_closure c on c.tenant_id = m.tenant_id and c.descendant_id = m.organization_id
    where m.tenant_id = ${tx.tenantId} and m.user_id = ${userId} and c.ancestor_id = ${organizationId} limit 1`;
  return rows.length > 0;
}

/** The lowest organization that is above (or is) every organization the user is a member of; the root for a member of none. */
export async function homeOfRecord(tx: TenantTx, userId: UserId): Promise<string> {
  const [row] = await tx.sql<{ id: string }[]>`
    with mine as (select organization_id from memberships where tenant_id = ${tx.tenantId} and user_id = ${userId})
    select c.ancestor_id as id
    from organization_closure c
    join mine on mine.organization_id = c.descendant_id
    join organizations o on o.tenant_id = c.tenant_id and o.id = c.ancestor_id
    where c.tenant_id = ${tx.tenantId}
    group by c.ancestor_id, o.depth
    having count(*) = (select count(*) from mine)
    order by o.depth desc limit 1`;
  return row?.id ?? tx.tenantId;
}

/** The highest role the user has in the organization, or anywhere in the tenant when null is given. */
export async function highestRoleIn(
  tx: TenantTx,
  userId: UserId,
  organizationId: OrganizationId | null,
): Promise<Role | null> {
  const rows = await tx.sql<{ role: Role }[]>`
    select distinct role from grants
    where tenant_id = ${tx.tenantId} and user_id = ${userId}
      and (${organizationId}::uuid is null or organization_id = ${organizationId}::uuid)
    union
    select 'super_admin' from super_admins
    where tenant_id = ${tx.tenantId} and user_id = ${userId}
      and (${organizationId}::uuid is null or organization_id = ${organizationId}::uuid)`;
  const ranked = rows.map((row) => row.role).toSorted((a, b) => roleRank(b) - roleRank(a));
  return ranked[0] ?? null;
}

type GrantKey = {
  readonly organizationId: OrganizationId;
  readonly userId: UserId;
  readonly role: GrantableRole;
};

/** True when the grant is new. The membership comes with it in the same statement's transaction. */
export async function insertGrant(tx: TenantTx, key: GrantKey, source: string): Promise<boolean> {
  const added = await tx.sql`
    insert into grants (tenant_id, organization_id, user_id, role, source)
    values (${tx.tenantId}, ${key.organizationId}, ${key.userId}, ${key.role}, ${source})
    on conflict do nothing returning 1`;
  await tx.sql`
    insert into memberships (tenant_id, organization_id, user_id)
    values (${tx.tenantId}, ${key.organizationId}, ${key.userId}) on conflict do nothing`;
  return added.length > 0;
}

/** Deletes a user's grants in an organization (of one role, or all of them) whatever gave them; answers what went. */
export async function deleteGrants(
  tx: TenantTx,
  key: { readonly organizationId: OrganizationId; readonly userId: UserId; readonly role: GrantableRole | null },
): Promise<{ role: GrantableRole; source: string }[]> {
  const gone = await tx.sql<{ role: GrantableRole; source: string }[]>`
    delete from grants
    where tenant_id = ${tx.tenantId} and organization_id = ${key.organizationId} and user_id = ${key.userId}
      and (${key.role}::text is null or role = ${key.role}::text)
    returning role, source`;
  await tx.sql`
    delete from memberships m
    where tenant_id = ${tx.tenantId} and organization_id = ${key.organizationId} and user_id = ${key.userId}
      and not exists (
        select 1 from grants g
        where g.tenant_id = m.tenant_id and g.organization_id = m.organization_id and g.user_id = m.user_id
      )`;
  return gone;
}

/** Active users with a live Admin grant of any source. Read it only with the organization locked. */
export async function activeAdmins(tx: TenantTx, organizationId: string): Promise<string[]> {
  const rows = await tx.sql<{ id: string }[]>`
    select distinct g.user_id as id from grants g
    join users u on u.tenant_id = g.tenant_id and u.id = g.user_id
    where g.tenant_id = ${tx.tenantId} and g.organization_id = ${organizationId} and g.role = 'admin'
      and u.status = 'active'`;
  return rows.map((row) => row.id);
}

export async function organizationsAdministeredBy(tx: TenantTx, userId: UserId): Promise<OrganizationId[]> {
  const rows = await tx.sql<{ id: OrganizationId }[]>`
    select distinct organization_id as id from grants
    where tenant_id = ${tx.tenantId} and user_id = ${userId} and role = 'admin' order by 1`;
  return rows.map((row) => row.id);
}

export async function superAdminOf(tx: TenantTx, organizationId: OrganizationId): Promise<UserId | null> {
  const [row] = await tx.sql<{ userId: UserId }[]>`
    select user_id as "userId" from super_admins
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId}`;
  return row?.userId ?? null;
}

/** True when the user now is the Super Admin; false when the organization already has one. */
export async function insertSuperAdmin(tx: TenantTx, organizationId: OrganizationId, userId: UserId): Promise<boolean> {
  const rows = await tx.sql`
    insert into super_admins (tenant_id, organization_id, user_id)
    values (${tx.tenantId}, ${organizationId}, ${userId}) on conflict do nothing returning 1`;
  return rows.length > 0;
}

/** Compare-and-swap: true only when `from` still was the holder. */
export async function swapSuperAdmin(
  tx: TenantTx,
  organizationId: OrganizationId,
  from: UserId,
  to: UserId,
): Promise<boolean> {
  const rows = await tx.sql`
    update super_admins set user_id = ${to}, since = now()
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId} and user_id = ${from} returning 1`;
  return rows.length > 0;
}
