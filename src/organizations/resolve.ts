/** organizations/resolve: how the host operator names an organization, before any tenant is chosen. */
import { RollcallError } from '../core/errors.ts';
import { isUuid, type OrganizationId, type TenantId } from '../core/ids.ts';
import type { Db, EngineTx } from '../db/db.ts';

export type Found = {
  readonly tenantId: TenantId;
  readonly organizationId: OrganizationId;
  readonly name: string;
  /** Slugs from the root, joined by `/`. */
  readonly path: string;
};

export async function findOrganization(db: Db, reference: string): Promise<Found> {
  const found = await db.engine((tx) =>
    isUuid(reference) ? selectById(tx, reference) : selectByPath(tx, reference.split('/')),
  );
  if (found !== null) return found;
  throw new RollcallError('not_found', `There is no organization "${reference}".`, {
    remedy: 'Name it by its id, or by slugs from the root such as contoso/emea. `rollcall orgs list` shows them.',
  });
}

async function selectById(tx: EngineTx, id: string): Promise<Found | null> {
  const [row] = await tx.sql<Found[]>`
    with recursive up as (
      select tenant_id, id, parent_id, name, slug::text as path from organizations where id = ${id}
      union all
      select up.tenant_id, up.id, p.parent_id, up.name, p.slug || '/' || up.path
      from up join organizations p on p.tenant_id = up.tenant_id and p.id = up.parent_id
    )
    select tenant_id as "tenantId", id as "organizationId", name, path from up where parent_id is null`;
  return row ?? null;
}

/** Each step must be a child of the one before: a slug alone would accept a path that leads elsewhere. */
async function selectByPath(tx: EngineTx, slugs: readonly string[]): Promise<Found | null> {
  let place: { tenantId: TenantId; id: OrganizationId; name: string } | undefined;
  for (const slug of slugs.slice(0, 9)) {
    const parent: typeof place = place;
    [place] =
      parent === undefined
        ? await tx.sql<[typeof place]>`
            select tenant_id as "tenantId", id, name from organizations where slug = ${slug} and parent_id is null`
        : await tx.sql<[typeof place]>`
            select tenant_id as "tenantId", id, name from organizations
            where tenant_id = ${parent.tenantId} and slug = ${slug} and parent_id = ${parent.id}`;
    if (place === undefined) return null;
  }
  if (place === undefined || slugs.length > 9) return null;
  return { tenantId: place.tenantId, organizationId: place.id, name: place.name, path: slugs.join('/') };
}

export async function selectTenants(tx: EngineTx): Promise<Found[]> {
  return tx.sql<Found[]>`
    select tenant_id as "tenantId", id as "organizationId", name, slug as path from organizations
    where parent_id is null order by slug`;
}
