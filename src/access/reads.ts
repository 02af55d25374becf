/** access/reads: who holds what. */
import { z } from 'zod';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { toIso } from '../core/instant.ts';
import { roles, type GrantableRole, type Role } from '../core/roles.ts';
import type { Db, TenantTx } from '../db/db.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { requireReach } from './permissions.ts';

export type GrantView = {
  readonly organizationId: OrganizationId;
  readonly userId: UserId;
  readonly displayName: string | null;
  readonly role: GrantableRole;
  /** `manual`, `invitation:<id>`, `rule:<role mapping>` ... */
  readonly source: string;
  readonly createdAt: string;
};

export type AccessReads = {
  listGrants(principal: Principal, organizationId: OrganizationId, page: PageRequest): Promise<Page<GrantView>>;
  /** Effective roles: the union of live grants, and super_admin for the holder; highest last. */
  rolesOf(tx: TenantTx, organizationId: OrganizationId, userId: UserId): Promise<Role[]>;
};

export function createReads(db: Db): AccessReads {
  return {
    listGrants: (principal, organizationId, page) => listGrants(db, principal, organizationId, page),
    rolesOf,
  };
}

const grantKey = z.tuple([z.uuid(), z.string(), z.string()]);

async function listGrants(
  db: Db,
  principal: Principal,
  organizationId: OrganizationId,
  page: PageRequest,
): Promise<Page<GrantView>> {
  const after = decodeCursor(page.cursor, grantKey);
  const rows = await db.tenant(principal.tenantId, async (tx) => {
    await requireReach(tx, principal, organizationId);
    const start =
      after === null ? tx.sql`` : tx.sql`and (g.user_id, g.role, g.source) > (${after[0]}, ${after[1]}, ${after[2]})`;
    return tx.sql<GrantView[]>`
      select g.organization_id as "organizationId", g.user_id as "userId", u.display_name as "displayName", g.role,
        g.source, g.created_at::text as "createdAt"
      from grants g
      join users u on u.tenant_id = g.tenant_id and u.id = g.user_id
      where g.tenant_id = ${tx.tenantId} and g.organization_id = ${organizationId} ${start}
      order by g.user_id, g.role, g.source limit ${page.limit + 1}`;
  });
  return cutPage(
    rows,
    page.limit,
    (row) => [row.userId, row.role, row.source],
    (row) => ({ ...row, createdAt: toIso(row.createdAt) }),
  );
}

async function rolesOf(tx: TenantTx, organizationId: OrganizationId, userId: UserId): Promise<Role[]> {
  const rows = await tx.sql<{ role: Role }[]>`
    select distinct role from grants
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId} and user_id = ${userId}
    union
    select 'super_admin' from super_admins
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId} and user_id = ${userId}`;
  const held = new Set(rows.map((row) => row.role));
  return roles.filter((role) => held.has(role));
}
