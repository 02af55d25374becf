/** Reads of pushed objects. Every statement names tenant, connection and kind; writes go through Pushes. */
import type { PendingQuery } from 'postgres';
import type { PushContext } from '../reconciliation/reconciliation.ts';
import type { TenantTx } from '../db/db.ts';
import type { Fragment } from './filter-sql.ts';
import { isRecord, type Json, type JsonObject } from './json.ts';
import type { ResourceModel } from './schema-model.ts';
import { notFound } from './scim-error.ts';

/** What makes statements of a tenant's transaction. */
type Tx = Pick<TenantTx, 'sql'>;

export type Place = Pick<PushContext, 'tenantId' | 'connectionId'>;

export type StoredObject = {
  readonly anchor: string;
  readonly resource: JsonObject;
  readonly version: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Groups of a user, members of a group; empty when not asked for. */
  readonly relations: readonly Relation[];
};

/** One end of a membership. */
export type Relation = { readonly value: string; readonly display: string | null; readonly kind: 'user' | 'group' };

export type ObjectRow = {
  readonly anchor: string;
  readonly source: unknown;
  readonly version: string | number;
  readonly created_at: string;
  readonly updated_at: string;
  readonly relations: unknown;
};

/** Longer texts are no id of ours; they are looked up all the same, so that the answer takes the same time. Postgres takes no U+0000. */
const maxIdLength = 100;

/** One object with its relations, or 404. `lock` holds the row until the transaction ends. */
export async function readObject(
  tx: TenantTx,
  place: Place,
  model: ResourceModel,
  id: string,
  want: { readonly relations: boolean; readonly lock?: boolean },
): Promise<StoredObject> {
  return onlyObject(await objectSql(tx, place, model, id, want));
}

/** The statement of `readObject`, for look-ups that are shared; `onlyObject` reads its rows. */
export function objectSql(
  { sql }: Tx,
  place: Place,
  model: ResourceModel,
  id: string,
  want: { readonly relations: boolean; readonly lock?: boolean },
): PendingQuery<ObjectRow[]> {
  return sql<ObjectRow[]>`
    select o.anchor, o.source, o.version, o.created_at, o.updated_at, ${relationsSql({ sql }, model, want.relations)} as relations
    from mirror_objects o
    where ${liveSql({ sql }, place, model)} and o.anchor = ${anchorOf(id)}
    ${want.lock === true ? sql`for update of o` : sql``}`;
}

export function onlyObject([row]: readonly ObjectRow[]): StoredObject {
  if (row === undefined) throw notFound();
  return toObject(row);
}

/** The id as it is stored, whatever a client made of it. */
export function anchorOf(id: string): string {
  return id.slice(0, maxIdLength).replaceAll('\u0000', '?').toLowerCase();
}

/** Several by id, locked in order until the transaction ends; by anchor, and without those that are not there. */
export async function readObjects(
  tx: TenantTx,
  place: Place,
  model: ResourceModel,
  ids: readonly string[],
  want: { readonly relations: boolean },
): Promise<Map<string, StoredObject>> {
  const { sql } = tx;
  // one look-up after the other: a plan that is made for any connection reads a large one whole to find eight objects
  const rows = await sql<ObjectRow[]>`
    select o.anchor, o.source, o.version, o.created_at, o.updated_at, ${relationsSql(tx, model, want.relations)} as relations
    from unnest(${ids.map(anchorOf).toSorted()}::text[]) w(anchor)
    cross join lateral (
      select o.tenant_id, o.connection_id, o.anchor, o.source, o.version, o.created_at, o.updated_at from mirror_objects o
      where ${liveSql(tx, place, model)} and o.anchor = w.anchor collate "C"
      limit 1 for update) o`;
  return new Map(rows.map((row) => [row.anchor, toObject(row)]));
}

/** The live objects of one kind in one connection. */
function liveSql({ sql }: Tx, place: Place, model: ResourceModel): Fragment {
  return sql`o.tenant_id = ${place.tenantId} and o.connection_id = ${place.connectionId} and o.kind = ${model.kind}
    and o.is_pushed and o.deleted_at is null`;
}

export type PageRequest = {
  readonly where: Fragment | null;
  /** Null: by id, which is the order of creation. */
  readonly orderBy: Fragment | null;
  readonly afterAnchor: string | null;
  readonly offset: number;
  readonly limit: number;
  readonly relations: boolean;
};

export async function readPage(
  tx: TenantTx,
  place: Place,
  model: ResourceModel,
  page: PageRequest,
): Promise<StoredObject[]> {
  const isWithGroups = page.relations && model.kind === 'user';
  const rows = await pageSql(tx, place, model, isWithGroups ? { ...page, relations: false } : page);
  const objects = rows.map(toObject);
  if (!isWithGroups || objects.length === 0) return objects;
  const anchors = objects.map(({ anchor }) => anchor);
  const groups = await readGroupsOf(tx, place, anchors);
  return objects.map((object) => ({ ...object, relations: groups.get(object.anchor) ?? [] }));
}

/**
 * The groups of several users, each in order of ids: their memberships, and once each group that is named in one; joined
 * here, because the planner, which knows nothing of how many there are, compares each with each (measured for a page of 100
 * users: 0.7 ms where a look-up for each membership took 1.5).
 */
async function readGroupsOf(
  { sql }: TenantTx,
  { tenantId, connectionId }: Place,
  anchors: readonly string[],
): Promise<Map<string, Relation[]>> {
  // offset and limit keep one look-up each: a plan for any connection would read all memberships of a large one
  const rows = await sql<{ member: string | null; group: string; display: string | null }[]>`
    with edges as materialized (
      select a.anchor as member, e.group_anchor from unnest(${anchors as string[]}::text[]) a(anchor)
      cross join lateral (
        select e.group_anchor from mirror_edges e
        where e.tenant_id = ${tenantId} and e.connection_id = ${connectionId} and e.member_anchor = a.anchor collate "C" offset 0) e
    )
    select null as member, g.group_anchor as "group", r.display_name as display from (select distinct group_anchor from edges) g
    cross join lateral (
      select r.display_name from mirror_objects r
      where r.tenant_id = ${tenantId} and r.connection_id = ${connectionId} and r.kind = 'group' and r.anchor = g.group_anchor
        and r.deleted_at is null
      limit 1) r
    union all
    select member, group_anchor, null from edges`;
  const groups = new Map<string, Relation>();
  const found = new Map<string, Relation[]>(anchors.map((anchor) => [anchor, []]));
  for (const { member, group, display } of rows)
    if (member === null) groups.set(group, { value: group, display, kind: 'group' });
  for (const { member, group } of rows) {
    const relation = groups.get(group);
    if (member !== null && relation !== undefined) found.get(member)?.push(relation);
  }
  for (const relations of found.values()) relations.sort((a, b) => (a.value < b.value ? -1 : 1));
  return found;
}

/** The statement of `readPage`, for look-ups that are shared; `toObject` reads each row. */
export function pageSql({ sql }: Tx, place: Place, model: ResourceModel, page: PageRequest): PendingQuery<ObjectRow[]> {
  return sql<ObjectRow[]>`
    select o.anchor, o.source, o.version, o.created_at, o.updated_at, ${relationsSql({ sql }, model, page.relations)} as relations
    from mirror_objects o
    where ${matchSql({ sql }, place, model, page)}
    order by ${page.orderBy === null ? sql`o.anchor` : sql`${page.orderBy}, o.anchor`}
    limit ${page.limit} offset ${page.offset}`;
}

export async function countObjects(
  tx: TenantTx,
  place: Place,
  model: ResourceModel,
  page: Pick<PageRequest, 'where' | 'afterAnchor'>,
): Promise<number> {
  const [row] = await tx.sql<{ total: string | number }[]>`
    select count(*) as total from mirror_objects o where ${matchSql(tx, place, model, page)}`;
  return Number(row?.total ?? 0);
}

function matchSql(
  tx: Tx,
  place: Place,
  model: ResourceModel,
  page: Pick<PageRequest, 'where' | 'afterAnchor'>,
): Fragment {
  const { sql } = tx;
  return sql`${liveSql(tx, place, model)}
    ${page.where === null ? sql`` : sql`and ${page.where}`}
    ${page.afterAnchor === null ? sql`` : sql`and o.anchor > ${page.afterAnchor}`}`;
}

/** Groups of a user, or members of a group, as one JSON value; edges to ids that are not (or no longer) known stay hidden. */
function relationsSql({ sql }: Tx, model: ResourceModel, isWanted: boolean): Fragment {
  if (!isWanted) return sql`null::jsonb`;
  const shown = sql`jsonb_agg(jsonb_build_object('value', r.anchor, 'display', r.display_name, 'kind', r.kind) order by r.anchor)`;
  const related = sql`r.tenant_id = e.tenant_id and r.connection_id = e.connection_id and r.deleted_at is null`;
  if (model.kind === 'user') {
    // the limit keeps one look-up per membership: joined, all groups of the connection may be read beside them
    return sql`(
      select ${shown} from mirror_edges e
      cross join lateral (
        select r.anchor, r.display_name, r.kind from mirror_objects r
        where ${related} and r.kind = 'group' and r.anchor = e.group_anchor
        limit 1) r
      where e.tenant_id = o.tenant_id and e.connection_id = o.connection_id and e.member_anchor = o.anchor)`;
  }
  return sql`(
    select ${shown} from mirror_edges e
    join mirror_objects r on ${related} and r.kind in ('user', 'group') and r.anchor = e.member_anchor
    where e.tenant_id = o.tenant_id and e.connection_id = o.connection_id and e.group_anchor = o.anchor)`;
}

/** Whether any of the ids lives in this connection, and whether the group has any member. */
export async function readMemberFacts(
  tx: TenantTx,
  place: Place,
  groupAnchor: string,
  ids: readonly string[],
): Promise<{ readonly isAnyKnown: boolean; readonly hasMembers: boolean }> {
  const [row] = await tx.sql<{ known: boolean; filled: boolean }[]>`
    select
      exists (
        select 1 from mirror_objects r
        where r.tenant_id = ${place.tenantId} and r.connection_id = ${place.connectionId}
          and r.kind in ('user', 'group') and r.deleted_at is null
          and r.anchor in (select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb))
      ) as known,
      exists (
        select 1 from mirror_edges e
        where e.tenant_id = ${place.tenantId} and e.connection_id = ${place.connectionId}
          and e.group_anchor = ${groupAnchor}
      ) as filled`;
  return { isAnyKnown: row?.known === true, hasMembers: row?.filled === true };
}

export function toObject(row: ObjectRow): StoredObject {
  return {
    anchor: row.anchor,
    resource: toResource(row.source),
    version: Number(row.version),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    relations: toRelations(row.relations),
  };
}

function toResource(source: unknown): JsonObject {
  if (!isRecord(source)) throw new TypeError('A mirror object of a SCIM connection has no resource.');
  return source;
}

function toRelations(value: unknown): Relation[] {
  if (!Array.isArray(value)) return [];
  return (value as Json[]).filter(isRecord).map((one) => ({
    value: typeof one['value'] === 'string' ? one['value'] : '',
    display: typeof one['display'] === 'string' ? one['display'] : null,
    kind: one['kind'] === 'group' ? 'group' : 'user',
  }));
}
