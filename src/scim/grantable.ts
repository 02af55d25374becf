/**
 * /Roles and /Entitlements in Okta's shape: what the portal has to give, for identity providers that let an admin choose
 * from a list. A role is one up to the ceiling of the connection; an entitlement is such a role in one of the
 * organizations at or below the connection's. Naming one in `roles` or `entitlements` of a user gives nothing by itself:
 * the role mappings of the connection decide (rule 10).
 */
import { grantableRoles, isWithinCeiling, type GrantableRole } from '../core/roles.ts';
import type { Db, TenantTx } from '../db/db.ts';
import type { JsonObject } from './json.ts';
import { listResponse } from './list.ts';
import { defaultCount, maxCount } from './list-query.ts';
import { entitlementUrn, roleUrn } from './portal-schema.ts';
import type { Handler, ScimRequest } from './request.ts';
import { badRequest, notFound } from './scim-error.ts';

type Grantable = {
  readonly id: string;
  readonly displayName: string;
  readonly type: string;
  readonly description: string;
};

type Page = { readonly total: number; readonly items: readonly Grantable[] };

type Kind = {
  readonly name: 'Role' | 'Entitlement';
  readonly endpoint: 'Roles' | 'Entitlements';
  readonly urn: string;
  readonly read: (tx: TenantTx, request: ScimRequest, page: { skip: number; limit: number }) => Promise<Page>;
};

const roles: Kind = { name: 'Role', endpoint: 'Roles', urn: roleUrn, read: readRoles };
const entitlements: Kind = {
  name: 'Entitlement',
  endpoint: 'Entitlements',
  urn: entitlementUrn,
  read: readEntitlements,
};

export function createGrantable(
  db: Db,
): Record<'roles' | 'entitlements', { readonly list: Handler; readonly get: Handler }> {
  return { roles: handlersOf(db, roles), entitlements: handlersOf(db, entitlements) };
}

function handlersOf(db: Db, kind: Kind): { readonly list: Handler; readonly get: Handler } {
  const read = (request: ScimRequest, skip: number, limit: number) =>
    db.tenant(request.context.tenantId, (tx) => kind.read(tx, request, { skip, limit }));
  return {
    list: async (request) => {
      if (request.query.has('filter')) throw badRequest('invalidFilter', `${kind.endpoint} can not be filtered.`);
      const startIndex = Math.max(1, readNumber(request, 'startindex', 1));
      const count = Math.min(maxCount, Math.max(0, readNumber(request, 'count', defaultCount)));
      const { total, items } = await read(request, startIndex - 1, count);
      const resources = items.map((item) => present(kind, item, request));
      return { status: 200, body: listResponse(resources, total, startIndex) };
    },
    get: async (request) => {
      // short enough to be looked through: an organization tree times four roles
      const { items } = await read(request, 0, 100_000);
      const item = items.find(({ id }) => id === request.id);
      if (item === undefined) throw notFound();
      return { status: 200, body: present(kind, item, request) };
    },
  };
}

function readNumber(request: ScimRequest, name: string, otherwise: number): number {
  const text = request.query.get(name)?.trim() ?? '';
  if (text === '') return otherwise;
  if (!/^-?\d{1,9}$/.test(text)) throw badRequest('invalidValue', `"${name}" is a whole number.`);
  return Number(text);
}

function present({ name, endpoint, urn }: Kind, item: Grantable, { base }: ScimRequest): JsonObject {
  return {
    schemas: [urn],
    ...item,
    meta: { resourceType: name, location: `${base}/${endpoint}/${encodeURIComponent(item.id)}` },
  };
}

const words: Record<GrantableRole, { readonly displayName: string; readonly description: string }> = {
  user: { displayName: 'User', description: 'Uses the portal.' },
  view_only_admin: { displayName: 'View-only Admin', description: 'Sees what an Admin sees and changes nothing.' },
  billing_admin: { displayName: 'Billing Admin', description: 'Looks after billing.' },
  admin: { displayName: 'Admin', description: 'Manages the organization.' },
};

async function allowedRoles({ sql, tenantId }: TenantTx, { context }: ScimRequest): Promise<GrantableRole[]> {
  const [row] = await sql<{ ceiling: GrantableRole }[]>`
    select ceiling from connections where tenant_id = ${tenantId} and id = ${context.connectionId}`;
  return row === undefined ? [] : grantableRoles.filter((role) => isWithinCeiling(role, row.ceiling));
}

async function readRoles(tx: TenantTx, request: ScimRequest, page: { skip: number; limit: number }): Promise<Page> {
  const all = (await allowedRoles(tx, request)).map((role) => ({ id: role, type: 'role', ...words[role] }));
  return { total: all.length, items: all.slice(page.skip, page.skip + page.limit) };
}

async function readEntitlements(
  tx: TenantTx,
  request: ScimRequest,
  page: { skip: number; limit: number },
): Promise<Page> {
  const allowed = await allowedRoles(tx, request);
  const rows = await tx.sql<{ id: string; name: string; role: GrantableRole; total: number }[]>`
    select o.id, o.name, r.role, (count(*) over ())::int as total
    from connections n
    join organization_closure c on c.tenant_id = n.tenant_id and c.ancestor_id = n.organization_id
    join organizations o on o.tenant_id = c.tenant_id and o.id = c.descendant_id
    cross join unnest(${allowed}::text[]) with ordinality as r(role, place)
    where n.tenant_id = ${tx.tenantId} and n.id = ${request.context.connectionId}
    order by c.depth, o.name, o.id, r.place offset ${page.skip} limit ${Math.max(1, page.limit)}`;
  const items = rows.map(({ id, name, role }) => ({
    id: `${role}@${id}`,
    displayName: `${words[role].displayName} in ${name}`,
    type: 'role in an organization',
    description: words[role].description,
  }));
  return { total: rows[0]?.total ?? 0, items: page.limit === 0 ? [] : items };
}
