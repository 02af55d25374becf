/** The fault queue: what goes wrong, on which request of which route. Names are the situations of directories.md A9. */
import type { Reply } from './reply.ts';
import { graphError } from './reply.ts';

export const routeNames = [
  'token',
  'openid',
  'users/delta',
  'groups/delta',
  'users',
  'users/memberOf',
  'groups',
  'groups/members',
  'groups/transitiveMembers',
  'users/$count',
  'groups/$count',
  'users/manager',
  'getByIds',
  'organization',
  'servicePrincipals',
  'appRoleAssignedTo',
  'applications',
  'deletedItems',
  'batch',
  'unknown',
] as const;
export type RouteName = (typeof routeNames)[number];

export type FaultType =
  | 'server_error'
  | 'bad_gateway_html'
  | 'unavailable'
  | 'gateway_timeout'
  | 'throttle'
  | 'html'
  | 'empty_object'
  | 'malformed'
  | 'truncated'
  | 'reset'
  | 'reset_in_body'
  | 'hang'
  | 'redirect'
  | 'unauthorized'
  | 'missing_value'
  | 'value_not_array'
  | 'neither_link'
  | 'both_links'
  | 'repeat_link'
  | 'foreign_link'
  | 'plain_http_link'
  | 'null_id'
  | 'duplicate_ids'
  | 'member_without_type'
  | 'huge'
  | 'drip'
  | 'gzip'
  | 'gzip_bomb'
  | 'json_bomb'
  | 'endless_users'
  | 'endless_members'
  | 'not_found'
  | 'expired_page_token'
  | 'gone'
  | 'gone_sync_state'
  | 'sync_state_not_found';

export type Fault = {
  readonly route: RouteName;
  readonly type: FaultType;
  /** Which coming request of the route, from 1. */
  readonly ordinal?: number;
  /** How many requests in a row; 1 unless given. */
  readonly times?: number;
  /** For `throttle` and `unavailable`: the header as sent; `throttle` says 10 unless given, null leaves it out. */
  readonly retryAfter?: string | null;
};

export type FaultQueue = {
  add(fault: Fault): void;
  clear(): void;
  /** The fault for this request, if one is due; counts the request. */
  take(route: RouteName): Fault | null;
};

export function createFaultQueue(): FaultQueue {
  let queued: { fault: Fault; skip: number; left: number }[] = [];
  return {
    add: (fault) => queued.push({ fault, skip: (fault.ordinal ?? 1) - 1, left: fault.times ?? 1 }),
    clear: () => {
      queued = [];
    },
    take: (route) => {
      for (const entry of queued) {
        if (entry.fault.route !== route || entry.left <= 0) continue;
        if (entry.skip > 0) {
          entry.skip -= 1;
          continue;
        }
        entry.left -= 1;
        return entry.fault;
      }
      return null;
    },
  };
}

/** Faults of the connection rather than of the answer; the server acts on them when it sends. */
export const connectionFaults: ReadonlySet<FaultType> = new Set([
  'truncated',
  'reset',
  'reset_in_body',
  'hang',
  'huge',
  'drip',
  'gzip',
  'gzip_bomb',
  'json_bomb',
]);

const html = '<!DOCTYPE html><html><body>Please sign in to the proxy.</body></html>';

type Page = Record<string, unknown>;

const pageOf = (reply: Reply): Page => ({ ...(reply.body as Page) });

function withoutLinks(reply: Reply): Page {
  const page = pageOf(reply);
  delete page['@odata.nextLink'];
  delete page['@odata.deltaLink'];
  return page;
}

function mapValue(reply: Reply, change: (item: Page, index: number) => Page): Reply {
  const page = pageOf(reply);
  return { ...reply, body: { ...page, value: (page['value'] as Page[]).map((item, index) => change(item, index)) } };
}

const retryAfterHeader = (fault: Fault, otherwise: string | null): Record<string, string> => {
  const value = fault.retryAfter === undefined ? otherwise : fault.retryAfter;
  return value === null ? {} : { 'retry-after': value };
};

let endlessPages = 0;

const fakeId = (page: number, index: number): string =>
  `${page.toString(16).padStart(8, '0')}-0000-4000-8000-${index.toString(16).padStart(12, '0')}`;

/** A page as good as any other, with a link to one more, for ever. */
function endlessPage(url: string, count: number, item: (page: number, index: number) => Page): Reply {
  endlessPages += 1;
  const page = endlessPages;
  const value = Array.from({ length: count }, (_, index) => item(page, index));
  const [place = ''] = url.split('?');
  return { status: 200, headers: {}, body: { '@odata.nextLink': `${place}?$skiptoken=endless${page}`, value } };
}

const replacements: Partial<Record<FaultType, (fault: Fault, requestUrl: string) => Reply>> = {
  server_error: () => graphError(500, 'InternalServerError', 'Something went wrong.'),
  bad_gateway_html: () => ({ status: 502, headers: { 'content-type': 'text/html' }, body: html }),
  unavailable: (fault) => graphError(503, 'ServiceUnavailable', 'Try again later.', retryAfterHeader(fault, null)),
  endless_users: (_fault, url) =>
    endlessPage(url, 190, (page, index) => ({
      id: fakeId(page, index),
      accountEnabled: true,
      displayName: 'x'.repeat(20_000),
    })),
  endless_members: (_fault, url) =>
    endlessPage(url, 1, (page) => ({
      id: fakeId(0, 0),
      displayName: 'restless',
      'members@delta': Array.from({ length: 20_000 }, (_, index) => ({
        '@odata.type': '#microsoft.graph.user',
        id: fakeId(page, index),
        ...(index % 2 === 0 ? { '@removed': { reason: 'deleted' } } : {}),
      })),
    })),
  gateway_timeout: () => graphError(504, 'GatewayTimeout', 'The upstream server did not answer.'),
  throttle: (fault) =>
    graphError(429, 'TooManyRequests', 'Please retry again later.', {
      'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
      ...retryAfterHeader(fault, '10'),
    }),
  html: () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: html }),
  empty_object: () => ({ status: 200, headers: {}, body: {} }),
  malformed: () => ({ status: 200, headers: {}, body: '{"value":[{"id":' }),
  redirect: (_fault, url) => ({ status: 302, headers: { location: `https://elsewhere.test${url}` }, body: {} }),
  unauthorized: () => graphError(401, 'InvalidAuthenticationToken', 'Access token has expired or is not yet valid.'),
  not_found: () => graphError(404, 'UnknownError', ''),
  expired_page_token: () =>
    graphError(400, 'Directory_ExpiredPageToken', 'The specified page token value has expired.'),
  gone: (_fault, url) =>
    graphError(410, 'resyncRequired', 'Resync required.', { location: `${url.split('?')[0]}?$deltatoken=` }),
  // as seen in microsoft-graph-docs issue 2350: the capital S, and no Location
  gone_sync_state: () => graphError(410, 'SyncStateNotFound', 'The sync state generation is not found.'),
  sync_state_not_found: () =>
    graphError(400, 'syncStateNotFound', 'The delta token is expired and data must be synchronized again.'),
};

type Spoiler = (reply: Reply, requestUrl: string) => Reply;

const spoilers: Partial<Record<FaultType, Spoiler>> = {
  missing_value: (reply) => {
    const page = pageOf(reply);
    delete page['value'];
    return { ...reply, body: page };
  },
  value_not_array: (reply) => ({ ...reply, body: { ...pageOf(reply), value: { '0': 'nothing' } } }),
  neither_link: (reply) => ({ ...reply, body: withoutLinks(reply) }),
  both_links: (reply, url) => ({
    ...reply,
    body: { ...pageOf(reply), '@odata.nextLink': url, '@odata.deltaLink': url },
  }),
  repeat_link: (reply, url) => ({ ...reply, body: { ...withoutLinks(reply), '@odata.nextLink': url } }),
  foreign_link: (reply) => ({
    ...reply,
    body: { ...withoutLinks(reply), '@odata.nextLink': 'https://graph.attacker.test/v1.0/users/delta?$skiptoken=x' },
  }),
  plain_http_link: (reply, url) => ({
    ...reply,
    body: { ...withoutLinks(reply), '@odata.nextLink': url.replace('https://', 'http://') },
  }),
  null_id: (reply) => mapValue(reply, (item, index) => (index === 0 ? { ...item, id: null } : item)),
  duplicate_ids: (reply) => {
    const page = pageOf(reply);
    return { ...reply, body: { ...page, value: (page['value'] as Page[]).flatMap((item) => [item, item]) } };
  },
  member_without_type: (reply) =>
    mapValue(reply, (item) => {
      const members = item['members@delta'] as Page[] | undefined;
      return members === undefined ? item : { ...item, 'members@delta': members.map(({ id }) => ({ id })) };
    }),
};

/** Whether the fault is an answer of its own, which needs no page to spoil. */
export function isReplacement(type: FaultType): boolean {
  return replacements[type] !== undefined;
}

/** The answer as the fault leaves it. `requestUrl` is the whole URL that was asked. */
export function spoil(fault: Fault, requestUrl: string, answer: () => Reply): Reply {
  const replace = replacements[fault.type];
  if (replace !== undefined) return replace(fault, requestUrl);
  const reply = answer();
  return spoilers[fault.type]?.(reply, requestUrl) ?? reply;
}
