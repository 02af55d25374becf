/** Lists and filters of one resource type (RFC 7644 sections 3.4.2 and 3.4.3). */
import type { Db, TenantTx } from '../db/db.ts';
import { parseFilter, type Filter } from './filter.ts';
import { filterSql, sortSql, type Fragment } from './filter-sql.ts';
import type { JsonObject } from './json.ts';
import { presentResource } from './present.ts';
import { readProjection, shows, type Projection } from './projection.ts';
import type { ScimAnswer, ScimRequest } from './request.ts';
import { resolveName, type AttributePath, type ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';
import { countObjects, readPage, type StoredObject } from './store.ts';
import type { Walks } from './walks.ts';

const listUrn = 'urn:ietf:params:scim:api:messages:2.0:ListResponse';
export const defaultCount = 100;
export const maxCount = 1_000;

export type ListQuery = {
  readonly filterText: string;
  readonly filter: Filter | null;
  readonly sortBy: AttributePath | null;
  readonly isDescending: boolean;
  readonly startIndex: number;
  readonly count: number;
  readonly projection: Projection;
};

type Page = { readonly total: number; readonly objects: readonly StoredObject[] };

export function createList(
  { db, walks }: { readonly db: Db; readonly walks: Walks },
  model: ResourceModel,
): (request: ScimRequest) => Promise<ScimAnswer> {
  return async (request) => {
    const query = readListQuery(model, request.query);
    const page = await db.tenant(request.context.tenantId, (tx) => readList(tx, walks, model, request, query));
    const resources = page.objects.map((object) => presentResource(model, object, request.base, query.projection));
    return { status: 200, body: listResponse(resources, page.total, query.startIndex) };
  };
}

/** `itemsPerPage` is what was returned, not what was asked for (Okta). */
export function listResponse(resources: JsonObject[], total: number, startIndex: number): JsonObject {
  return {
    schemas: [listUrn],
    totalResults: total,
    startIndex,
    itemsPerPage: resources.length,
    Resources: resources,
  };
}

function readListQuery(model: ResourceModel, query: ReadonlyMap<string, string>): ListQuery {
  const cursor = query.get('cursor');
  if (cursor !== undefined && cursor !== '') {
    throw badRequest('invalidCursor', 'The cursor was not issued by this service; page with startIndex and count.');
  }
  const filterText = query.get('filter')?.trim() ?? '';
  if (query.has('filter') && filterText === '') throw badRequest('invalidFilter', 'The filter is empty.');
  const order = query.get('sortorder')?.toLowerCase() ?? 'ascending';
  if (order !== 'ascending' && order !== 'descending') {
    throw badRequest('invalidValue', '"sortOrder" is ascending or descending.');
  }
  return {
    filterText,
    filter: filterText === '' ? null : parseFilter(model, filterText),
    sortBy: readSortBy(model, query.get('sortby')),
    isDescending: order === 'descending',
    startIndex: Math.max(1, readInteger('startIndex', query.get('startindex'), 1)),
    count: Math.min(maxCount, Math.max(0, readInteger('count', query.get('count'), defaultCount))),
    projection: readProjection(model, query.get('attributes'), query.get('excludedattributes')),
  };
}

function readSortBy(model: ResourceModel, text: string | undefined): AttributePath | null {
  if (text === undefined || text.trim() === '') return null;
  const name = resolveName(model, text.trim());
  if (name === null || name.attribute === null) {
    throw badRequest('invalidPath', `There is no attribute "${text.slice(0, 100)}" to sort by.`);
  }
  return name;
}

function readInteger(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined || text.trim() === '') return otherwise;
  if (!/^\s*-?\d{1,9}\s*$/.test(text)) throw badRequest('invalidValue', `"${name}" is a whole number.`);
  return Number(text);
}

async function readList(
  tx: TenantTx,
  walks: Walks,
  model: ResourceModel,
  request: ScimRequest,
  query: ListQuery,
): Promise<Page> {
  const where = query.filter === null ? null : filterSql(tx.sql, model, query.filter);
  const walk = JSON.stringify([request.tokenId, request.context.connectionId, model.kind, query.filterText]);
  const isWalk = query.sortBy === null && query.startIndex > 1;
  const afterAnchor = isWalk ? walks.before(walk, query.startIndex) : null;
  if (query.count === 0)
    return { total: await countObjects(tx, request.context, model, { where, afterAnchor: null }), objects: [] };
  const objects = await readPage(tx, request.context, model, {
    where,
    orderBy: orderOf(tx, model, query),
    afterAnchor,
    offset: afterAnchor === null ? query.startIndex - 1 : 0,
    limit: query.count,
    relations: shows(query.projection, model.kind === 'user' ? 'groups' : 'members'),
  });
  const last = objects.at(-1);
  if (query.sortBy === null && last !== undefined && objects.length === query.count) {
    walks.answered(walk, query.startIndex + objects.length, last.anchor);
  }
  return { total: await readTotal(tx, model, request, { query, where, afterAnchor, found: objects.length }), objects };
}

function orderOf(tx: TenantTx, model: ResourceModel, query: ListQuery): Fragment | null {
  if (query.sortBy === null) return null;
  const key = sortSql(tx.sql, model, query.sortBy);
  return query.isDescending ? tx.sql`${key} desc nulls last` : tx.sql`${key} asc nulls last`;
}

/**
 * The exact number, counted only where the page does not tell: a page that is not full is the last one. A walk that
 * continues behind an id counts what lies before it by the client's own position, so that its last page is reached
 * even when people vanished meanwhile.
 */
async function readTotal(
  tx: TenantTx,
  model: ResourceModel,
  request: ScimRequest,
  page: {
    readonly query: ListQuery;
    readonly where: Fragment | null;
    readonly afterAnchor: string | null;
    readonly found: number;
  },
): Promise<number> {
  const { query, where, afterAnchor, found } = page;
  const before = query.startIndex - 1;
  const isLast = found < query.count;
  if (isLast && (found > 0 || before === 0 || afterAnchor !== null)) return before + found;
  const counted = await countObjects(tx, request.context, model, { where, afterAnchor });
  return afterAnchor === null ? counted : before + counted;
}
