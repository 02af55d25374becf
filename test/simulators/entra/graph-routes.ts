/** The Graph side beside delta: lists, counts, getByIds, and who may call what (directories.md A3). */
import type { DeltaContext, DeltaRounds } from './delta-rounds.ts';
import { canReadAllUsers, renderProperties } from './delta-rounds.ts';
import type { RouteName } from './faults.ts';
import type { Reply } from './reply.ts';
import { graphError, json } from './reply.ts';
import type { DirectoryEntry, ObjectType } from './tenant-state.ts';

export type GraphRequest = {
  readonly method: string;
  /** Below /v1.0, without the query. */
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
};

const denied = (): Reply =>
  graphError(403, 'Authorization_RequestDenied', 'Insufficient privileges to complete the operation.');

export function routeOf(path: string): RouteName {
  if (/^\/users\/(microsoft\.graph\.)?delta(\(\))?$/.test(path)) return 'users/delta';
  if (/^\/groups\/(microsoft\.graph\.)?delta(\(\))?$/.test(path)) return 'groups/delta';
  if (path === '/users/$count') return 'users/$count';
  if (path === '/groups/$count') return 'groups/$count';
  if (path === '/users') return 'users';
  if (path === '/groups') return 'groups';
  if (/^\/groups\/[^/]+\/members$/.test(path)) return 'groups/members';
  if (path === '/directoryObjects/getByIds') return 'getByIds';
  return path === '/organization' ? 'organization' : 'unknown';
}

function mayRead(permissions: ReadonlySet<string>, type: ObjectType): boolean {
  if (permissions.has('Directory.Read.All')) return true;
  return type === 'user'
    ? canReadAllUsers(permissions) || permissions.has('User.ReadBasic.All')
    : permissions.has('GroupMember.Read.All') || permissions.has('Group.Read.All');
}

export function answerGraph(context: DeltaContext, deltas: DeltaRounds, request: GraphRequest): Reply {
  const route = routeOf(request.path);
  const type: ObjectType = route.startsWith('groups') ? 'group' : 'user';
  if (route === 'unknown') return graphError(404, 'Request_ResourceNotFound', 'Resource not found.');
  if (route === 'organization') return json({ value: [{ id: context.tenantId, displayName: 'Contoso' }] });
  if (route === 'getByIds') return answerByIds(context, request);
  if (!mayRead(context.permissions, type)) return denied();
  if (route === 'users/delta' || route === 'groups/delta') return deltas.answer(context, type, request.query);
  if (route === 'users/$count' || route === 'groups/$count') return answerCount(context, type, request);
  if (route === 'groups/members') return answerMembers(context, request);
  return answerList(context, type, request);
}

function liveEntries(context: DeltaContext, type: ObjectType): DirectoryEntry[] {
  return [...context.state.entries.values()].filter((entry) => entry.type === type && entry.deletion === null);
}

function answerCount(context: DeltaContext, type: ObjectType, request: GraphRequest): Reply {
  if (request.headers['consistencylevel']?.toLowerCase() !== 'eventual') {
    return graphError(400, 'Request_BadRequest', '$count is not currently supported.');
  }
  return { status: 200, headers: { 'content-type': 'text/plain' }, body: String(liveEntries(context, type).length) };
}

/** Pages by offset; the skip token carries every option of the first request. */
function paged<T>(
  context: DeltaContext,
  request: GraphRequest,
  items: readonly T[],
): { page: readonly T[]; next: string | null } {
  const parameters = new URLSearchParams(request.query);
  const top = Math.min(Number(parameters.get('$top') ?? 100), 999);
  const skip = Number(parameters.get('$skiptoken') ?? 0);
  const page = items.slice(skip, skip + top);
  if (skip + top >= items.length) return { page, next: null };
  parameters.set('$skiptoken', String(skip + top));
  return { page, next: `${context.root}/v1.0${request.path}?${parameters.toString()}` };
}

function withNext(value: readonly unknown[], next: string | null): Reply {
  return json({ ...(next === null ? {} : { '@odata.nextLink': next }), value });
}

function answerList(context: DeltaContext, type: ObjectType, request: GraphRequest): Reply {
  const select = new URLSearchParams(request.query).get('$select')?.split(',') ?? ['displayName', 'mail'];
  const { page, next } = paged(context, request, liveEntries(context, type));
  return withNext(
    page.map((entry) => ({ ...renderProperties(context, entry, select), id: entry.id })),
    next,
  );
}

function answerMembers(context: DeltaContext, request: GraphRequest): Reply {
  const group = context.state.entries.get(request.path.split('/')[2] ?? '');
  if (group?.type !== 'group' || group.deletion !== null) {
    return graphError(404, 'Request_ResourceNotFound', 'Resource does not exist.');
  }
  const edges = [...group.edges.values()].filter(
    (edge) => edge.isPresent && (context.state.isLive(edge.memberId) || !context.state.entries.has(edge.memberId)),
  );
  const { page, next } = paged(context, request, edges);
  return withNext(
    page.map((edge) => ({ '@odata.type': `#microsoft.graph.${edge.type}`, id: edge.memberId })),
    next,
  );
}

function answerByIds(context: DeltaContext, request: GraphRequest): Reply {
  if (request.method !== 'POST') return graphError(405, 'Request_BadRequest', 'POST only.');
  const { ids, types } = JSON.parse(request.body) as { ids?: string[]; types?: string[] };
  if (ids === undefined || ids.length > 1_000) return graphError(400, 'Request_BadRequest', 'At most 1000 ids.');
  const asked = (types ?? ['user', 'group']).filter((type) => type === 'user' || type === 'group');
  if (asked.some((type) => !mayRead(context.permissions, type))) return denied();
  const value = ids.flatMap((id) => {
    const entry = context.state.entries.get(id);
    if (entry === undefined || entry.deletion !== null || !asked.includes(entry.type)) return [];
    return [
      { '@odata.type': `#microsoft.graph.${entry.type}`, id, displayName: entry.properties.get('displayName')?.value },
    ];
  });
  return json({ value });
}
