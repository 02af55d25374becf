/** users/store: the SQL of reading users. What lies outside of the reader's organizations is not read. */
import { z } from 'zod';
import type { ConnectionId, OrganizationId, UserId } from '../core/ids.ts';
import { toIso, toIsoOrNull } from '../core/instant.ts';
import type { GrantableRole, Role } from '../core/roles.ts';
import { textKey } from '../core/text-keys.ts';
import type { ConnectionKind, LinkState, UserStatus } from '../core/vocabulary.ts';
import type { TenantTx } from '../db/db.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';

export type Membership = { readonly organizationId: OrganizationId; readonly roles: Role[] };

export type UserSummary = {
  readonly id: UserId;
  readonly username: string | null;
  readonly email: string | null;
  readonly displayName: string | null;
  readonly status: UserStatus;
  readonly isProtected: boolean;
  readonly version: number;
  readonly updatedAt: string;
  readonly memberships: Membership[];
};

export type User = Omit<UserSummary, 'memberships'> & {
  readonly givenName: string | null;
  readonly familyName: string | null;
  readonly phone: string | null;
  readonly employeeId: string | null;
  readonly department: string | null;
  readonly jobTitle: string | null;
  readonly attributes: Record<string, unknown>;
  /** `manual` or `connection:<id>` while suspended. */
  readonly suspendedBy: string | null;
  readonly statusReason: string | null;
  readonly statusChangedAt: string | null;
  /** field or `attributes.<name>` -> `manual` or `connection:<id>`. */
  readonly provenance: Record<string, string>;
  readonly quotaHomeId: OrganizationId | null;
  readonly protectedReason: string | null;
  readonly protectedBy: string | null;
  readonly createdAt: string;
};

export type UserLink = {
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly connectionKind: ConnectionKind;
  readonly anchor: string;
  readonly state: LinkState;
  readonly reason: string | null;
  readonly matchedBy: string | null;
};

export type UserGrant = {
  readonly organizationId: OrganizationId;
  readonly role: GrantableRole;
  readonly source: string;
  readonly createdAt: string;
};

export type UserDetail = User & {
  readonly links: UserLink[];
  readonly grants: UserGrant[];
  readonly memberships: Membership[];
};

export type UserFilter = {
  readonly status?: UserStatus | undefined;
  readonly organizationId?: OrganizationId | undefined;
  readonly role?: Role | undefined;
  /** Beginning of an e-mail address, a display name or a username. */
  readonly search?: string | undefined;
  readonly sort?: 'id' | 'displayName' | undefined;
};

type Sql = TenantTx['sql'];

/** Members of the principal's organization or below; the root sees also users who are members of nothing. */
function inReach(sql: Sql, principal: Principal) {
  if (principal.organizationId === (principal.tenantId as string)) return sql``;
  return sql`and exists (
    select 1 from memberships m
    join organization_closure c on c.tenant_id = m.tenant_id and c.descendant_id = m.organization_id
    where m.tenant_id = u.tenant_id and m.user_id = u.id and c.ancestor_id = ${principal.organizationId})`;
}

function matching(sql: Sql, filter: UserFilter) {
  const { status, organizationId, role } = filter;
  const key = textKey(filter.search);
  return sql`
    ${status === undefined ? sql`and u.status <> 'removed'` : sql`and u.status = ${status}`}
    ${
      organizationId === undefined
        ? sql``
        : sql`and exists (select 1 from memberships m where m.tenant_id = u.tenant_id and m.user_id = u.id
            and m.organization_id = ${organizationId})`
    }
    ${role === undefined ? sql`` : holding(sql, role, organizationId)}
    ${
      key === null
        ? sql``
        : sql`and (starts_with(u.email_key, ${key}) or starts_with(u.display_name_key, ${key})
            or starts_with(u.username_key, ${key}))`
    }`;
}

function holding(sql: Sql, role: Role, organizationId: OrganizationId | undefined) {
  const where = organizationId === undefined ? sql`` : sql`and g.organization_id = ${organizationId}`;
  return role === 'super_admin'
    ? sql`and exists (select 1 from super_admins g where g.tenant_id = u.tenant_id and g.user_id = u.id ${where})`
    : sql`and exists (
        select 1 from grants g where g.tenant_id = u.tenant_id and g.user_id = u.id and g.role = ${role} ${where})`;
}

const idKey = z.tuple([z.uuid()]);
const nameKey = z.tuple([z.string().nullable(), z.uuid()]);

type SummaryRow = Omit<UserSummary, 'memberships'> & { readonly displayNameKey: string | null };

export async function selectUsers(
  tx: TenantTx,
  principal: Principal,
  request: PageRequest & UserFilter,
): Promise<Page<UserSummary>> {
  const isByName = request.sort === 'displayName';
  const rows = isByName ? await rowsByName(tx, principal, request) : await rowsById(tx, principal, request);
  const memberships = await membershipsOf(
    tx,
    principal,
    rows.map((row) => row.id),
  );
  return cutPage(
    rows,
    request.limit,
    (row) => (isByName ? [row.displayNameKey, row.id] : [row.id]),
    ({ id, username, email, displayName, status, isProtected, version, updatedAt }) => ({
      id,
      username,
      email,
      displayName,
      status,
      isProtected,
      version,
      updatedAt: toIso(updatedAt),
      memberships: memberships.get(id) ?? [],
    }),
  );
}

const always = (sql: Sql) => sql`and true`;
type Fragment = ReturnType<typeof always>;

function rowsWhere(
  tx: TenantTx,
  principal: Principal,
  filter: UserFilter,
  range: { readonly where: Fragment; readonly orderBy: Fragment; readonly limit: number },
) {
  return tx.sql<SummaryRow[]>`
    select u.id, u.username, u.email, u.display_name as "displayName", u.display_name_key as "displayNameKey", u.status,
      u.is_protected as "isProtected", u.version::float8 as version, u.updated_at::text as "updatedAt"
    from users u
    where u.tenant_id = ${tx.tenantId} ${inReach(tx.sql, principal)} ${matching(tx.sql, filter)} ${range.where}
    order by ${range.orderBy} limit ${range.limit}`;
}

async function rowsById(tx: TenantTx, principal: Principal, request: PageRequest & UserFilter): Promise<SummaryRow[]> {
  const { sql } = tx;
  const after = decodeCursor(request.cursor, idKey);
  const where = after === null ? always(sql) : sql`and u.id > ${after[0]}`;
  return rowsWhere(tx, principal, request, { where, orderBy: sql`u.id`, limit: request.limit + 1 });
}

/**
 * Users with a name by name, then those without by id: two ranges, because "greater, or null" is no range of an index
 * and page 10,000 would read all pages before it.
 */
async function rowsByName(
  tx: TenantTx,
  principal: Principal,
  request: PageRequest & UserFilter,
): Promise<SummaryRow[]> {
  const { sql } = tx;
  const wanted = request.limit + 1;
  const [name, id] = decodeCursor(request.cursor, nameKey) ?? ['', null];
  const named =
    name === null
      ? []
      : await rowsWhere(tx, principal, request, {
          where: sql`and u.display_name_key >= ${name}
            ${id === null ? sql`` : sql`and (u.display_name_key > ${name} or u.id > ${id})`}`,
          orderBy: sql`u.display_name_key, u.id`,
          limit: wanted,
        });
  if (named.length === wanted) return [...named];
  const nameless = await rowsWhere(tx, principal, request, {
    where: sql`and u.display_name_key is null ${name === null && id !== null ? sql`and u.id > ${id}` : sql``}`,
    orderBy: sql`u.id`,
    limit: wanted - named.length,
  });
  return [...named, ...nameless];
}

/** Effective roles per organization in the reader's reach: one query for a whole page of users. */
async function membershipsOf(
  tx: TenantTx,
  principal: Principal,
  userIds: readonly string[],
): Promise<Map<string, Membership[]>> {
  const rows = await tx.sql<{ userId: string; organizationId: OrganizationId; roles: Role[] }[]>`
    select held.user_id as "userId", held.organization_id as "organizationId", array_agg(held.role order by held.role) as roles
    from (
      select user_id, organization_id, role from grants
      where tenant_id = ${tx.tenantId} and user_id = any(${[...userIds]}::uuid[])
      union
      select user_id, organization_id, 'super_admin' from super_admins
      where tenant_id = ${tx.tenantId} and user_id = any(${[...userIds]}::uuid[])
    ) held
    join organization_closure c on c.tenant_id = ${tx.tenantId} and c.descendant_id = held.organization_id
      and c.ancestor_id = ${principal.organizationId}
    group by 1, 2 order by 1, 2`;
  const byUser = Map.groupBy(rows, (row) => row.userId);
  return new Map(
    [...byUser].map(([userId, list]) => [userId, list.map(({ organizationId, roles }) => ({ organizationId, roles }))]),
  );
}

export async function selectUser(tx: TenantTx, id: UserId): Promise<User | null> {
  const [row] = await tx.sql<User[]>`
    select id, username, email, display_name as "displayName", given_name as "givenName", family_name as "familyName",
      phone, employee_id as "employeeId", department, job_title as "jobTitle", attributes, status,
      suspended_by as "suspendedBy", status_reason as "statusReason", status_changed_at::text as "statusChangedAt",
      is_protected as "isProtected", provenance, quota_home_id as "quotaHomeId",
      protected_reason as "protectedReason", protected_by as "protectedBy", version::float8 as version,
      created_at::text as "createdAt", updated_at::text as "updatedAt"
    from users where tenant_id = ${tx.tenantId} and id = ${id}`;
  if (row === undefined) return null;
  const statusChangedAt = toIsoOrNull(row.statusChangedAt);
  return { ...row, statusChangedAt, createdAt: toIso(row.createdAt), updatedAt: toIso(row.updatedAt) };
}

export async function selectDetail(tx: TenantTx, principal: Principal, id: UserId): Promise<UserDetail | null> {
  const user = await selectUser(tx, id);
  if (user === null) return null;
  const links = await tx.sql<UserLink[]>`
    select l.connection_id as "connectionId", c.name as "connectionName", c.kind as "connectionKind", l.anchor, l.state,
      l.reason, l.matched_by as "matchedBy"
    from links l
    join connections c on c.tenant_id = l.tenant_id and c.id = l.connection_id
    where l.tenant_id = ${tx.tenantId} and l.user_id = ${id} order by l.created_at, l.connection_id, l.anchor`;
  const grants = await tx.sql<UserGrant[]>`
    select g.organization_id as "organizationId", g.role, g.source, g.created_at::text as "createdAt"
    from grants g
    join organization_closure c on c.tenant_id = g.tenant_id and c.descendant_id = g.organization_id
      and c.ancestor_id = ${principal.organizationId}
    where g.tenant_id = ${tx.tenantId} and g.user_id = ${id} order by g.organization_id, g.role, g.source`;
  const memberships = (await membershipsOf(tx, principal, [id])).get(id) ?? [];
  return {
    ...user,
    links: [...links],
    grants: grants.map((grant) => ({ ...grant, createdAt: toIso(grant.createdAt) })),
    memberships,
  };
}

/** At most two, so that a caller sees that a name is not unique. */
export async function selectIdsByName(tx: TenantTx, principal: Principal, name: string): Promise<UserId[]> {
  const key = textKey(name);
  const rows = await tx.sql<{ id: UserId }[]>`
    select u.id from users u
    where u.tenant_id = ${tx.tenantId} ${inReach(tx.sql, principal)} and u.status <> 'removed'
      and (u.username_key = ${key} or u.email_key = ${key})
    order by u.id limit 2`;
  return rows.map((row) => row.id);
}
