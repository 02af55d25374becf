/** organizations/store: the SQL of the tree. */
import { z } from 'zod';
import type { OrganizationId, TenantId, UserId } from '../core/ids.ts';
import { toIso } from '../core/instant.ts';
import { textKey } from '../core/text-keys.ts';
import type { TenantTx } from '../db/db.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';

export type Organization = {
  readonly tenantId: TenantId;
  readonly id: OrganizationId;
  readonly parentId: OrganizationId | null;
  readonly name: string;
  readonly slug: string;
  /** 0 for the root. */
  readonly depth: number;
  readonly createdBy: string;
  readonly createdAt: string;
};

type NewOrganization = {
  readonly id: string;
  readonly parent: Pick<Organization, 'id' | 'depth'> | null;
  readonly name: string;
  readonly slug: string;
  readonly createdBy: string;
};

/** The organization with its closure rows; null when the slug is taken. */
export async function insertOrganization(tx: TenantTx, input: NewOrganization): Promise<Organization | null> {
  const { id, parent } = input;
  const rows = await tx.sql<Organization[]>`
    insert into organizations as o (tenant_id, id, parent_id, name, name_key, slug, depth, created_by)
    values (${tx.tenantId}, ${id}, ${parent?.id ?? null}, ${input.name}, ${textKey(input.name)}, ${input.slug},
      ${parent === null ? 0 : parent.depth + 1}, ${input.createdBy})
    on conflict do nothing
    returning ${columns(tx)}`;
  const [row] = rows.map(withIsoTimes);
  if (row === undefined) return null;
  await tx.sql`
    insert into organization_closure (tenant_id, ancestor_id, descendant_id, depth)
    select tenant_id, ancestor_id, ${id}::uuid, depth + 1 from organization_closure
    where tenant_id = ${tx.tenantId} and descendant_id = ${parent?.id ?? null}
    union all
    select ${tx.tenantId}::uuid, ${id}::uuid, ${id}::uuid, 0`;
  return row;
}

export async function selectOrganization(tx: TenantTx, id: OrganizationId): Promise<Organization | null> {
  const rows = await tx.sql<Organization[]>`
    select ${columns(tx)} from organizations o where tenant_id = ${tx.tenantId} and id = ${id}`;
  return rows.map(withIsoTimes)[0] ?? null;
}

const treeKey = z.tuple([z.number().int(), z.string(), z.uuid()]);

export async function selectBelow(
  tx: TenantTx,
  ancestorId: OrganizationId,
  page: PageRequest,
): Promise<Page<Organization>> {
  const after = decodeCursor(page.cursor, treeKey);
  const start =
    after === null ? tx.sql`` : tx.sql`and (o.depth, o.name_key, o.id) > (${after[0]}, ${after[1]}, ${after[2]})`;
  const rows = await tx.sql<(Organization & { nameKey: string })[]>`
    select ${columns(tx)}, o.name_key as "nameKey" from organizations o
    where o.tenant_id = ${tx.tenantId} ${start}
      and exists (
        select 1 from organization_closure c
        where c.tenant_id = o.tenant_id and c.descendant_id = o.id and c.ancestor_id = ${ancestorId}
      )
    order by o.depth, o.name_key, o.id limit ${page.limit + 1}`;
  return cutPage(rows, page.limit, (row) => [row.depth, row.nameKey, row.id], withIsoTimes);
}

export async function updateName(tx: TenantTx, id: OrganizationId, name: string): Promise<void> {
  await tx.sql`
    update organizations set name = ${name}, name_key = ${textKey(name)}, updated_at = now()
    where tenant_id = ${tx.tenantId} and id = ${id}`;
}

/** Slugs of the tenant that begin with this one: few, and enough to find a free number. */
export async function takenSlugs(tx: TenantTx, prefix: string): Promise<string[]> {
  const rows = await tx.sql<{ slug: string }[]>`
    select slug from organizations where tenant_id = ${tx.tenantId} and starts_with(slug, ${prefix})`;
  return rows.map((row) => row.slug);
}

export async function userIsActive(tx: TenantTx, userId: UserId): Promise<boolean> {
  const rows = await tx.sql`
    select 1 from users where tenant_id = ${tx.tenantId} and id = ${userId} and status = 'active'`;
  return rows.length > 0;
}

/** False when another tenant has it. */
export async function insertBuiltInDomain(tx: TenantTx, name: string): Promise<boolean> {
  const rows = await tx.sql`
    insert into domains (tenant_id, name, status, is_primary) values (${tx.tenantId}, ${name}, 'built_in', true)
    on conflict do nothing returning 1`;
  return rows.length > 0;
}

export function columns(tx: Pick<TenantTx, 'sql'>) {
  return tx.sql`o.tenant_id as "tenantId", o.id, o.parent_id as "parentId", o.name, o.slug, o.depth,
    o.created_by as "createdBy", o.created_at::text as "createdAt"`;
}

/** Picks the fields, so that a sort key read along does not leave with the row. */
function withIsoTimes(row: Organization): Organization {
  const { tenantId, id, parentId, name, slug, depth, createdBy, createdAt } = row;
  return { tenantId, id, parentId, name, slug, depth, createdBy, createdAt: toIso(createdAt) };
}
