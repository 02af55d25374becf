/** Lists and filters of one resource type (RFC 7644 sections 3.4.2 and 3.4.3), paged by index or by cursor (RFC 9865). */
import type { TenantId } from '../core/ids.ts';
import type { Db, TenantTx } from '../db/db.ts';
import type { CursorPlace, Cursors } from './cursors.ts';
import { filterSql, type Fragment } from './filter-sql.ts';
import type { JsonObject } from './json.ts';
import type { ListMarks } from './list-marks.ts';
import { readListQuery, type ListQuery } from './list-query.ts';
import { presentResource } from './present.ts';
import { asksForPortal, withPortal } from './portal.ts';
import { shows } from './projection.ts';
import type { Handler, ScimRequest } from './request.ts';
import { printPath, type ResourceModel } from './schema-model.ts';
import type { SharedReads } from './shared-reads.ts';
import { backwardSql, beforeSql, behindSql, orderSql, sortKey, type SortKey } from './sort-sql.ts';
import { countObjects, pageSql, readPage, toObject, type StoredObject } from './store.ts';
import { limitByMembers } from './members-store.ts';
import type { Walks } from './walks.ts';

const listUrn = 'urn:ietf:params:scim:api:messages:2.0:ListResponse';

export type ListDeps = {
  readonly db: Db;
  readonly sharedReads: SharedReads;
  readonly walks: Walks;
  readonly marks: ListMarks;
  readonly cursors: Cursors;
};

/** What one list is read with. */
type Reading = {
  readonly tx: TenantTx;
  readonly deps: ListDeps;
  readonly model: ResourceModel;
  readonly request: ScimRequest;
  readonly query: ListQuery;
  readonly where: Fragment | null;
  readonly sort: SortKey | null;
};

type Page = {
  readonly total: number;
  readonly objects: readonly StoredObject[];
  readonly nextCursor: string | null;
  readonly previousCursor?: string | null;
};

export function createList(deps: ListDeps, modelOf: (settings: ScimRequest['settings']) => ResourceModel): Handler {
  return async (request) => {
    const model = modelOf(request.settings);
    const query = readListQuery(model, request.query);
    const found = isLookUp(model, query) ? await lookUp(deps, model, request, query) : null;
    const page =
      found ??
      (await readAs(isWalk(model, query) ? 'walk' : 'planned', deps.db, request.context.tenantId, (tx) => {
        const where =
          query.filter === null ? null : filterSql(tx.sql, model, query.filter, request.context.connectionId);
        const sort = query.sortBy === null ? null : sortKey(tx.sql, model, query.sortBy);
        const reading: Reading = { tx, deps, model, request, query, where, sort };
        return query.cursor === null ? readByIndex(reading) : readByCursor(reading, query.cursor);
      }));
    const resources = page.objects.map((object) => presentResource(model, object, request.base, query.projection));
    const body =
      query.cursor === null
        ? listResponse(resources, page.total, query.startIndex)
        : cursorResponse(resources, page.total, page.nextCursor, page.previousCursor);
    return { status: 200, body };
  };
}

const keys: ReadonlySet<string> = new Set(['id', 'userName', 'externalId', 'displayName']);

/** The whole list in the order of its ids: every statement goes along an index, from a place on. */
function isWalk(model: ResourceModel, { filter, sortBy, cursor, projection }: ListQuery): boolean {
  if (filter !== null || sortBy !== null || cursor !== null || asksForPortal(projection)) return false;
  return model.kind === 'user' || !shows(projection, 'members');
}

/**
 * What is no look-up is planned with its values: only then can the planner tell a prefix of few users from one of all and
 * a large connection from a small one (a plan for any prefix read 90,000 users for one: 216 ms instead of 1; one for any
 * connection sorted 90,000 for a page of 100). A walk needs no such knowledge where it is told to go along its index, and
 * keeps its plans: planning them anew was a third of what a page cost Postgres.
 */
function readAs<T>(
  how: 'planned' | 'walk',
  db: Db,
  tenantId: TenantId,
  work: (tx: TenantTx) => Promise<T>,
): Promise<T> {
  const read = async (tx: TenantTx) => {
    // sent first, and not waited for
    const setting =
      how === 'planned'
        ? tx.sql`select set_config('plan_cache_mode', 'force_custom_plan', true)`
        : tx.sql`select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
            set_config('enable_sort', 'off', true)`;
    const [, page] = await Promise.all([Promise.resolve(setting), work(tx)]);
    return page;
  };
  return db.tenant(tenantId, read, { keepsPlans: how === 'walk' });
}

/**
 * One key and nothing else, as identity providers ask before each write: an index answers it with a row or two, and one
 * statement tells all.
 */
function isLookUp(model: ResourceModel, { filter, sortBy, cursor, startIndex, count, projection }: ListQuery): boolean {
  if (filter?.kind !== 'compare' || filter.op !== 'eq' || sortBy !== null || cursor !== null) return false;
  if (startIndex > 1 || count < 2 || asksForPortal(projection)) return false;
  return keys.has(printPath(filter.path)) && !(model.kind === 'group' && shows(projection, 'members'));
}

/** Null where there are more than one page holds. */
async function lookUp(
  deps: ListDeps,
  model: ResourceModel,
  request: ScimRequest,
  query: ListQuery,
): Promise<Page | null> {
  const { tenantId, connectionId } = request.context;
  const rows = await deps.sharedReads(tenantId, (sql) =>
    pageSql({ sql }, request.context, model, {
      where: query.filter === null ? null : filterSql(sql, model, query.filter, connectionId),
      orderBy: null,
      afterAnchor: null,
      offset: 0,
      limit: query.count,
      relations: model.kind === 'user' && shows(query.projection, 'groups'),
    }),
  );
  if (rows.length === query.count) return null;
  return { total: rows.length, objects: rows.map(toObject), nextCursor: null };
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

/** RFC 9865 section 2: no `nextCursor` means that this is the last page, no `previousCursor` that it is the first. */
export function cursorResponse(
  resources: JsonObject[],
  total: number,
  nextCursor: string | null,
  previousCursor: string | null = null,
): JsonObject {
  return {
    schemas: [listUrn],
    totalResults: total,
    itemsPerPage: resources.length,
    ...(nextCursor === null ? {} : { nextCursor }),
    ...(previousCursor === null ? {} : { previousCursor }),
    Resources: resources,
  };
}

// ---------------------------------------------------------------- by cursor

async function readByCursor(reading: Reading, text: string): Promise<Page> {
  const { tx, deps, query, where, sort } = reading;
  const name = nameOf(reading);
  const last = text === '' ? null : deps.cursors.open(name, text);
  if (last?.isBackward === true) return readBackward(reading, last);
  const behind =
    last === null
      ? null
      : sort === null
        ? tx.sql`o.anchor > ${last.anchor}`
        : behindSql(tx.sql, sort, query.isDescending, last);
  // one more than wanted tells whether there is a next page
  const { found, isCut } = await readObjects(reading, {
    where: both(tx, where, behind),
    afterAnchor: null,
    offset: 0,
    limit: query.count + 1,
  });
  const objects = found.slice(0, query.count);
  const isLast = found.length <= query.count && !isCut;
  const total = last?.total ?? (isLast ? found.length : await countAll(reading));
  const end = objects.at(-1);
  const previousCursor = last === null ? null : await sealAt(reading, objects[0], total, true);
  const nextCursor = isLast ? null : await sealAt(reading, end, total);
  return { total, objects, nextCursor, previousCursor };
}

/** The page that ends before this place: read from its end, told from its beginning. */
async function readBackward(reading: Reading, first: CursorPlace): Promise<Page> {
  const { tx, query, where, sort } = reading;
  const before =
    sort === null ? tx.sql`o.anchor < ${first.anchor}` : beforeSql(tx.sql, sort, query.isDescending, first);
  const { found, isCut } = await readObjects(reading, {
    where: both(tx, where, before),
    afterAnchor: null,
    offset: 0,
    limit: query.count + 1,
    orderBy: backwardSql(tx.sql, sort, query.isDescending),
  });
  const objects = found.slice(0, query.count).toReversed();
  const { total } = first;
  const isFirst = found.length <= query.count && !isCut;
  return {
    total,
    objects,
    nextCursor: await sealAt(reading, objects.at(-1), total),
    previousCursor: isFirst ? null : await sealAt(reading, objects[0], total, true),
  };
}

/** A cursor at this object; null where there is none. */
async function sealAt(
  reading: Reading,
  object: StoredObject | undefined,
  total: number,
  isBackward = false,
): Promise<string | null> {
  if (object === undefined) return null;
  const { anchor } = object;
  const key = reading.sort === null ? null : await readKey(reading, reading.sort, anchor);
  return reading.deps.cursors.seal(nameOf(reading), { anchor, key, total, ...(isBackward ? { isBackward } : {}) });
}

/** The words a cursor is bound to: everything that says which objects come in which order. */
function nameOf({ model, request, query }: Reading): string[] {
  const { sortBy, isDescending, filterText } = query;
  const order = sortBy === null ? '' : `${printPath(sortBy)} ${isDescending ? 'descending' : 'ascending'}`;
  return [request.context.connectionId, model.kind, filterText, order];
}

async function readKey({ tx, model, request }: Reading, { key }: SortKey, anchor: string): Promise<string | null> {
  const { tenantId, connectionId } = request.context;
  const [row] = await tx.sql<{ key: string | null }[]>`
    select (${key})::text as key from mirror_objects o
    where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = ${model.kind} and o.anchor = ${anchor}`;
  return row?.key ?? null;
}

// ---------------------------------------------------------------- by index

type Start =
  /** Behind this id; `total` as the walk's first page told it. */
  | { readonly kind: 'behind'; readonly anchor: string; readonly total: number }
  | { readonly kind: 'from'; readonly anchor: string; readonly total: number }
  | { readonly kind: 'beyond'; readonly total: number }
  | { readonly kind: 'skip' };

async function readByIndex(reading: Reading): Promise<Page> {
  const { tx, deps, query, where } = reading;
  if (query.count === 0) return { total: await countAll(reading), objects: [], nextCursor: null };
  const start = await findStart(reading);
  if (start.kind === 'beyond') return { total: start.total, objects: [], nextCursor: null };
  const { found: objects, isCut } = await readObjects(reading, {
    where: start.kind === 'from' ? both(tx, where, tx.sql`o.anchor >= ${start.anchor}`) : where,
    afterAnchor: start.kind === 'behind' ? start.anchor : null,
    offset: start.kind === 'skip' ? query.startIndex - 1 : 0,
    limit: query.count,
  });
  const isFull = isCut || objects.length === query.count;
  const total = await readTotal(reading, start, { found: objects.length, isFull });
  const last = objects.at(-1);
  if (query.sortBy === null && last !== undefined && isFull) {
    deps.walks.answered(walkOf(reading), query.startIndex + objects.length, { anchor: last.anchor, total });
  }
  return { total, objects, nextCursor: null };
}

/** Behind the page before this one where we know it, else by the marks of the list, else by skipping. */
async function findStart(reading: Reading): Promise<Start> {
  const { tx, deps, model, request, query } = reading;
  if (query.sortBy !== null || query.startIndex === 1) return { kind: 'skip' };
  const before = deps.walks.before(walkOf(reading), query.startIndex);
  if (before !== null) return { kind: 'behind', ...before };
  if (query.filter !== null) return { kind: 'skip' };
  const found = await deps.marks.locate(tx, request.context, model, query.startIndex - 1);
  if (found === null) return { kind: 'skip' };
  return found.start === null
    ? { kind: 'beyond', total: found.total }
    : { kind: 'from', anchor: found.start, total: found.total };
}

/** Each token walks for itself. */
function walkOf({ model, request, query }: Reading): string[] {
  return [request.tokenId, request.context.connectionId, model.kind, query.filterText];
}

/**
 * The exact number, counted only where nothing tells it: a page that is not full is the last one, and a walk goes on
 * with the number it began with, as long as that is not behind its own position.
 */
async function readTotal(
  reading: Reading,
  start: Start,
  { found, isFull }: { readonly found: number; readonly isFull: boolean },
): Promise<number> {
  const { query } = reading;
  const before = query.startIndex - 1;
  if (!isFull && (found > 0 || before === 0 || start.kind === 'behind')) return before + found;
  switch (start.kind) {
    case 'from':
    case 'beyond':
      return start.total;
    case 'behind':
      return start.total > before + found ? start.total : Math.max(before + found, await countAll(reading));
    case 'skip':
      return countAll(reading);
  }
}

// ---------------------------------------------------------------- both

async function countAll({ tx, deps, model, request, where }: Reading): Promise<number> {
  const marked = where === null ? await deps.marks.locate(tx, request.context, model, 0) : null;
  return marked?.total ?? countObjects(tx, request.context, model, { where, afterAnchor: null });
}

async function readObjects(
  { tx, model, request, query, sort }: Reading,
  page: {
    readonly where: Fragment | null;
    readonly afterAnchor: string | null;
    readonly offset: number;
    readonly limit: number;
    /** Instead of the order that was asked for. */
    readonly orderBy?: Fragment;
  },
): Promise<{ readonly found: readonly StoredObject[]; readonly isCut: boolean }> {
  const isOfMembers = model.kind === 'group' && shows(query.projection, 'members');
  const orderBy = page.orderBy ?? (sort === null ? null : orderSql(tx.sql, sort, query.isDescending));
  const limit = isOfMembers ? await limitByMembers(tx, request.context, model, { ...page, orderBy }) : page.limit;
  const objects = await readPage(tx, request.context, model, {
    ...page,
    limit,
    orderBy,
    relations: model.kind === 'user' ? shows(query.projection, 'groups') : isOfMembers,
  });
  const found = await withPortal(tx, request.context, query.projection, objects);
  return { found, isCut: limit < page.limit && objects.length === limit };
}

function both({ sql }: TenantTx, left: Fragment | null, right: Fragment | null): Fragment | null {
  if (left === null || right === null) return left ?? right;
  return sql`${left} and ${right}`;
}
