/**
 * Pages of a list (Graph "paging"): `$top` up to 999, a nextLink with all options and an opaque token that lives for
 * minutes only, `@odata.count` on the first page. The place is a key rather than a number, so that what goes or comes
 * between two pages moves nobody else.
 */
import type { DeltaContext } from './delta-rounds.ts';
import type { Reply } from './reply.ts';
import { graphError, json } from './reply.ts';

/** In the order of `key`. */
export type ListItem = { readonly key: string; readonly render: () => Readonly<Record<string, unknown>> };

const mostPerPage = 999;
const usualPerPage = 100;

export type ListRequest = { readonly path: string; readonly query: string };

export function answerPage(context: DeltaContext, request: ListRequest, items: readonly ListItem[]): Reply {
  const parameters = new URLSearchParams(request.query);
  const top = Number(parameters.get('$top') ?? usualPerPage);
  if (!Number.isInteger(top) || top < 1 || top > mostPerPage) {
    return graphError(
      400,
      'Request_UnsupportedQuery',
      `Invalid page size specified: '${top}'. Must be between 1 and 999.`,
    );
  }
  const token = /(?:^|&)\$skiptoken=([^&]*)/.exec(decodeURI(request.query))?.[1];
  const place = token === undefined ? null : context.tokens.open(token);
  if (token !== undefined && (place?.['kind'] !== 'list' || place['path'] !== request.path)) {
    return graphError(400, 'BadRequest', 'Unknown $skiptoken.');
  }
  const now = context.now().getTime();
  if (place !== null && now - Number(place['at']) > context.behavior.listTokenLifetimeMs) {
    const message = 'The specified page token value has expired and can no longer be included in your request.';
    return graphError(400, 'Directory_ExpiredPageToken', message);
  }
  const after = place === null ? '' : String(place['after']);
  const left = items.filter((item) => item.key > after);
  const page = left.slice(0, top);
  const isCounted = parameters.get('$count') === 'true' && place === null;
  const last = page.at(-1);
  return json({
    '@odata.context': `${context.root}/v1.0/$metadata#directoryObjects`,
    ...(isCounted ? { '@odata.count': items.length } : {}),
    ...(last === undefined || left.length <= top
      ? {}
      : { '@odata.nextLink': nextLink(context, request, last.key, now) }),
    value: page.map((item) => item.render()),
  });
}

function nextLink(context: DeltaContext, request: ListRequest, after: string, at: number): string {
  const token = context.tokens.seal({ kind: 'list', path: request.path, after, at });
  const options = request.query.split('&').filter((part) => part !== '' && !/^(\$|%24)skiptoken=/i.test(part));
  return `${context.root}/v1.0${request.path}?${[...options, `$skiptoken=${token}`].join('&')}`;
}

/** Filters the service answers from its index only: with `ConsistencyLevel: eventual` and `$count=true`. */
const advanced = /\bne\b|\bnot\b|endswith\(|\/\$count/i;

export function refuseAdvanced(query: string, isEventual: boolean): Reply | null {
  const parameters = new URLSearchParams(query);
  const filter = parameters.get('$filter') ?? '';
  const isAdvanced =
    parameters.has('$search') ||
    parameters.get('$count') === 'true' ||
    advanced.test(filter) ||
    (filter !== '' && parameters.has('$orderby'));
  if (!isAdvanced || (isEventual && parameters.get('$count') === 'true')) return null;
  return graphError(400, 'Request_UnsupportedQuery', 'Unsupported Query.');
}

type Test = (properties: Readonly<Record<string, unknown>>) => boolean;

/** `eq`, `ne`, `startsWith` and `endsWith`, joined by `and` or `or`; null for everything else. */
export function parseFilter(filter: string): Test | null {
  if (filter.trim() === '') return () => true;
  const isOr = / or /i.test(filter);
  const clauses = filter.split(isOr ? / or /i : / and /i).map(parseClause);
  if (clauses.some((clause) => clause === null)) return null;
  const tests = clauses.filter((clause) => clause !== null);
  return (properties) => (isOr ? tests.some((is) => is(properties)) : tests.every((is) => is(properties)));
}

function parseClause(text: string): Test | null {
  const compared = /^\s*(\w+) (eq|ne) (?:'((?:[^']|'')*)'|(true|false|null))\s*$/i.exec(text);
  if (compared !== null) {
    const [, name = '', operator = '', quoted, word = ''] = compared;
    // a quote in a value is doubled (OData 4.01 URL conventions, section 5.1.1.6.1)
    const value: unknown =
      quoted?.replaceAll("''", "'") ?? { true: true, false: false, null: null }[word.toLowerCase()];
    return (properties) => ((properties[name] ?? null) === value) === (operator.toLowerCase() === 'eq');
  }
  const called = /^\s*(startswith|endswith)\((\w+), ?'([^']*)'\)\s*$/i.exec(text);
  if (called === null) return null;
  const [, method = '', name = '', part = ''] = called;
  return (properties) => {
    const value = properties[name];
    if (typeof value !== 'string') return false;
    return method.toLowerCase() === 'startswith' ? value.startsWith(part) : value.endsWith(part);
  };
}
