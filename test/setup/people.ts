/** Users, grants and sub-organizations as plain SQL, for tests of the rooms that stand on them. */
import { pino } from 'pino';
import { newId, type OrganizationId, type TenantId, type UserId } from '../../src/core/ids.ts';
import type { GrantableRole, Role } from '../../src/core/roles.ts';
import { textKey } from '../../src/core/text-keys.ts';
import type { UserStatus } from '../../src/core/vocabulary.ts';
import type { Db } from '../../src/db/db.ts';
import type { Principal } from '../../src/platform/route.ts';

export async function addUser(
  db: Db,
  tenantId: TenantId,
  options: { readonly name?: string; readonly email?: string; readonly status?: UserStatus } = {},
): Promise<UserId> {
  const id = newId<UserId>();
  const name = options.name ?? 'Somebody';
  const email = options.email ?? null;
  await db.tenant(tenantId, async ({ sql }) => {
    await sql`insert into users (tenant_id, id, display_name, display_name_key, email, email_key, status)
      values (${tenantId}, ${id}, ${name}, ${textKey(name)}, ${email}, ${textKey(email)}, ${options.status ?? 'active'})`;
  });
  return id;
}

/** A grant with its membership, as apply leaves them. */
export async function addGrant(
  db: Db,
  tenantId: TenantId,
  grant: {
    readonly organizationId: OrganizationId;
    readonly userId: UserId;
    readonly role: GrantableRole;
    readonly source: string;
  },
): Promise<void> {
  await db.tenant(tenantId, async ({ sql }) => {
    await sql`insert into grants (tenant_id, organization_id, user_id, role, source)
      values (${tenantId}, ${grant.organizationId}, ${grant.userId}, ${grant.role}, ${grant.source})`;
    await sql`insert into memberships (tenant_id, organization_id, user_id)
      values (${tenantId}, ${grant.organizationId}, ${grant.userId}) on conflict do nothing`;
  });
}

export async function addSubOrganization(
  db: Db,
  tenantId: TenantId,
  parentId: OrganizationId,
): Promise<OrganizationId> {
  const id = newId<OrganizationId>();
  await db.tenant(tenantId, async ({ sql }) => {
    await sql`insert into organizations (tenant_id, id, parent_id, name, name_key, slug, depth, created_by)
      select ${tenantId}, ${id}, id, 'Sub', 'sub', ${id}, depth + 1, 'system' from organizations where id = ${parentId}`;
    await sql`insert into organization_closure (tenant_id, ancestor_id, descendant_id, depth)
      select tenant_id, ancestor_id, ${id}, depth + 1 from organization_closure where descendant_id = ${parentId}
      union all select ${tenantId}::uuid, ${id}::uuid, ${id}::uuid, 0`;
  });
  return id;
}

export function principalOf(
  tenantId: TenantId,
  role: Role,
  options: { readonly organizationId?: OrganizationId; readonly userId?: UserId } = {},
): Principal {
  return {
    actor: options.userId === undefined ? 'token:test' : `user:${options.userId}`,
    tenantId,
    organizationId: options.organizationId ?? (tenantId as string as OrganizationId),
    userId: options.userId ?? null,
    role,
  };
}

/** For what must log somewhere and is not asked what. */
export const silentLogger = pino({ level: 'silent' });
