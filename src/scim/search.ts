/** POST /.search (RFC 7644 section 3.4.3): a list whose parameters come in the body, over one resource type or both. */
import { isRollcallError } from '../core/errors.ts';
import { readKey, type JsonObject } from './json.ts';
import { cursorResponse, listResponse } from './list.ts';
import { defaultCount, maxCount } from './list-query.ts';
import type { Handler, ScimAnswer, ScimRequest } from './request.ts';
import { badRequest } from './scim-error.ts';

const parameters = [
  'attributes',
  'excludedAttributes',
  'filter',
  'sortBy',
  'sortOrder',
  'startIndex',
  'count',
  'cursor',
] as const;

/** Over one resource type. */
export function createSearch(list: Handler): Handler {
  return async (request) => list({ ...request, query: toQuery(request.body) });
}

/** Over both: users first, then groups; positions count through. An attribute one type does not have finds none of it. */
export function createSearchAll(listUsers: Handler, listGroups: Handler): Handler {
  return async (request) => {
    const query = toQuery(request.body);
    const cursor = query.get('cursor');
    if (cursor !== undefined) return searchByCursor(listUsers, listGroups, { ...request, query }, cursor);
    const users = await listOrNone(listUsers, { ...request, query });
    const startIndex = Number(users.body['startIndex']);
    const found = resourcesOf(users.body);
    const userTotal = Number(users.body['totalResults']);
    const rest = new Map(query);
    rest.set('startindex', String(Math.max(1, startIndex - userTotal)));
    const wanted = Math.min(maxCount, query.has('count') ? Number(query.get('count')) : defaultCount);
    rest.set('count', String(Math.max(0, wanted - found.length)));
    const groups = await listOrNone(listGroups, { ...request, query: rest });
    if (users.refusal !== null && groups.refusal !== null) throw users.refusal;
    const all = [...found, ...resourcesOf(groups.body)];
    return { status: 200, body: listResponse(all, userTotal + Number(groups.body['totalResults']), startIndex) };
  };
}

/** A cursor of its own kind: `u.` or `g.` before the one of the list it stands in. */
async function searchByCursor(
  listUsers: Handler,
  listGroups: Handler,
  request: ScimRequest,
  cursor: string,
): Promise<ScimAnswer> {
  const isOfGroups = cursor.startsWith('g.');
  if (cursor !== '' && !isOfGroups && !cursor.startsWith('u.')) {
    throw badRequest('invalidCursor', 'The cursor was not issued for this search; start again with an empty one.');
  }
  const query = new Map(request.query).set('cursor', cursor.slice(2));
  const page = await listOrNone(isOfGroups ? listGroups : listUsers, { ...request, query });
  const countOnly = new Map(request.query).set('count', '0');
  countOnly.delete('cursor');
  const other = await listOrNone(isOfGroups ? listUsers : listGroups, { ...request, query: countOnly });
  if (page.refusal !== null && other.refusal !== null) throw page.refusal;
  const otherTotal = Number(other.body['totalResults']);
  const next = page.body['nextCursor'];
  const prefix = isOfGroups ? 'g.' : 'u.';
  const isEnd = typeof next !== 'string' && (isOfGroups || otherTotal === 0);
  return {
    status: 200,
    body: cursorResponse(
      resourcesOf(page.body),
      Number(page.body['totalResults']) + otherTotal,
      typeof next === 'string' ? prefix + next : isEnd ? null : 'g.',
    ),
  };
}

type Part = { readonly body: JsonObject; readonly refusal: unknown };

async function listOrNone(list: Handler, request: ScimRequest): Promise<Part> {
  try {
    const { body }: ScimAnswer = await list(request);
    return { body: body ?? listResponse([], 0, 1), refusal: null };
  } catch (error) {
    const isOfOtherType = isRollcallError(error) && ['invalidFilter', 'invalidPath'].includes(error.scimType ?? '');
    if (!isOfOtherType) throw error;
    return { body: listResponse([], 0, 1), refusal: error };
  }
}

function resourcesOf(body: JsonObject): JsonObject[] {
  return body['Resources'] as JsonObject[];
}

/** The message's members under the names the query parameters have; lists of names become comma-separated. */
function toQuery(body: JsonObject): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const name of parameters) {
    const value = readKey(body, name);
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) query.set(name.toLowerCase(), value.filter((one) => typeof one === 'string').join(','));
    else if (typeof value === 'object') throw badRequest('invalidSyntax', `"${name}" takes a plain value.`);
    else query.set(name.toLowerCase(), String(value));
  }
  return query;
}
