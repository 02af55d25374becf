/** The parameters of a list (RFC 7644 section 3.4.2, RFC 9865 section 2), read and bounded. */
import { parseFilter, type Filter } from './filter.ts';
import { readProjection, type Projection } from './projection.ts';
import { printPath, resolveName, type AttributePath, type ResourceModel } from './schema-model.ts';
import { badRequest, type ScimType } from './scim-error.ts';

export const defaultCount = 100;
export const maxCount = 1_000;

export type ListQuery = {
  readonly filterText: string;
  readonly filter: Filter | null;
  readonly sortBy: AttributePath | null;
  readonly isDescending: boolean;
  readonly startIndex: number;
  readonly count: number;
  /** Null: paged by index. Empty: the first page of a list paged by cursor. */
  readonly cursor: string | null;
  readonly projection: Projection;
};

export function readListQuery(model: ResourceModel, query: ReadonlyMap<string, string>): ListQuery {
  const filterText = query.get('filter')?.trim() ?? '';
  if (query.has('filter') && filterText === '') throw badRequest('invalidFilter', 'The filter is empty.');
  const order = query.get('sortorder')?.toLowerCase() ?? 'ascending';
  if (order !== 'ascending' && order !== 'descending') {
    throw badRequest('invalidValue', '"sortOrder" is ascending or descending.');
  }
  const cursor = query.get('cursor') ?? null;
  return {
    filterText,
    filter: filterText === '' ? null : parseFilter(model, filterText),
    sortBy: readSortBy(model, query.get('sortby')),
    isDescending: order === 'descending',
    startIndex: Math.max(1, readInteger('startIndex', query.get('startindex'), 1, 'invalidValue')),
    count: cursor === null ? readCount(query.get('count')) : readCursorCount(query.get('count')),
    cursor,
    projection: readProjection(model, query.get('attributes'), query.get('excludedattributes')),
  };
}

/** Below 0 is 0: the client wants the total alone (RFC 7644 section 3.4.2.4). */
function readCount(text: string | undefined): number {
  return Math.min(maxCount, Math.max(0, readInteger('count', text, defaultCount, 'invalidValue')));
}

/** Of a list paged by cursor a positive number (RFC 9865 section 2); more than a page holds is a whole page. */
function readCursorCount(text: string | undefined): number {
  const count = readInteger('count', text, defaultCount, 'invalidCount');
  if (count >= 1) return Math.min(maxCount, count);
  throw badRequest('invalidCount', `With a cursor, "count" is between 1 and ${maxCount}.`);
}

function readSortBy(model: ResourceModel, text: string | undefined): AttributePath | null {
  if (text === undefined || text.trim() === '') return null;
  const name = resolveName(model, text.trim());
  if (name === null || name.attribute === null || ['never', 'request'].includes(name.attribute.returned)) {
    throw badRequest('invalidPath', `There is no attribute "${text.slice(0, 100)}" to sort by.`);
  }
  // RFC 7644 section 3.4.2.3: of a complex attribute a sub-attribute is named; of a list, its value goes without saying
  if (name.sub === null && name.attribute.type === 'complex' && !name.attribute.sub.has('value')) {
    throw badRequest('invalidPath', `"${printPath(name)}" can not be sorted by; name one of its sub-attributes.`);
  }
  return name;
}

function readInteger(name: string, text: string | undefined, otherwise: number, scimType: ScimType): number {
  if (text === undefined || text.trim() === '') return otherwise;
  if (!/^\s*-?\d{1,9}\s*$/.test(text)) throw badRequest(scimType, `"${name}" is a whole number.`);
  return Number(text);
}
