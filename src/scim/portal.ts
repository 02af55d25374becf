/**
 * What the portal made of a pushed user, as a read-only extension of User: answers otherwise say what the identity
 * provider said (scim.md rule 1). Only where `attributes` names it, because it costs a join and no client expects it.
 */
import type { TenantTx } from '../db/db.ts';
import type { JsonObject } from './json.ts';
import type { Projection } from './projection.ts';
import { portalUrn } from './portal-schema.ts';
import type { Place, StoredObject } from './store.ts';

/** The objects with their extension; untouched where nobody asked. */
export async function withPortal(
  tx: TenantTx,
  place: Place,
  projection: Projection,
  objects: readonly StoredObject[],
): Promise<StoredObject[]> {
  if (!asksForPortal(projection) || objects.length === 0) return [...objects];
  const found = await readPortal(
    tx,
    place,
    objects.map(({ anchor }) => anchor),
  );
  return objects.map((object) => {
    const content = found.get(object.anchor);
    if (content === undefined) return object;
    const { schemas } = object.resource;
    const resource: JsonObject = {
      ...object.resource,
      ...(Array.isArray(schemas) ? { schemas: [...schemas, portalUrn] } : {}),
      [portalUrn]: content,
    };
    return { ...object, resource };
  });
}

export function asksForPortal({ include }: Projection): boolean {
  return include?.some((path) => path.extension === portalUrn) === true;
}

type Row = {
  readonly anchor: string;
  readonly state: string;
  readonly userId: string | null;
  readonly caseId: string | null;
  readonly status: string | null;
  readonly quotaHome: JsonObject | null;
  readonly roles: JsonObject[] | null;
  readonly organizations: JsonObject[] | null;
};

async function readPortal(tx: TenantTx, place: Place, anchors: readonly string[]): Promise<Map<string, JsonObject>> {
  const { sql } = tx;
  const { tenantId, connectionId } = place;
  const rows = await sql<Row[]>`
    select l.anchor, l.state, l.user_id as "userId", u.status,
      (select c.id from cases c
        where c.tenant_id = l.tenant_id and c.connection_id = l.connection_id and c.anchor = l.anchor and c.status = 'open'
        order by c.id limit 1) as "caseId",
      (select jsonb_build_object('value', o.id, 'display', o.name) from organizations o
        where o.tenant_id = u.tenant_id and o.id = coalesce(u.quota_home_id, u.tenant_id)) as "quotaHome",
      (select jsonb_agg(jsonb_build_object('value', g.role, 'organization', g.organization_id, 'display', g.name)
          order by g.name, g.role)
        from (select distinct g.role, g.organization_id, o.name from grants g
          join organizations o on o.tenant_id = g.tenant_id and o.id = g.organization_id
          where g.tenant_id = u.tenant_id and g.user_id = u.id) g) as roles,
      (select jsonb_agg(jsonb_build_object('value', o.id, 'display', o.name) order by o.name) from memberships m
        join organizations o on o.tenant_id = m.tenant_id and o.id = m.organization_id
        where m.tenant_id = u.tenant_id and m.user_id = u.id) as organizations
    from links l
    left join users u on u.tenant_id = l.tenant_id and u.id = l.user_id
    where l.tenant_id = ${tenantId} and l.connection_id = ${connectionId} and l.anchor = any(${anchors as string[]})`;
  return new Map(rows.map((row) => [row.anchor, toContent(row)]));
}

function toContent({ state, userId, caseId, status, quotaHome, roles, organizations }: Row): JsonObject {
  return {
    state,
    ...(userId === null ? {} : { userId }),
    ...(caseId === null ? {} : { caseId }),
    effectiveActive: status === 'active',
    ...(roles === null ? {} : { effectiveRoles: roles }),
    ...(organizations === null ? {} : { organizations }),
    ...(quotaHome === null || userId === null ? {} : { quotaHome }),
  };
}
