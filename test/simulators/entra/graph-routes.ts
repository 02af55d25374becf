/** The Graph side beside delta: lists, counts, getByIds, app roles, batches, and who may call what (directories.md A3). */
import type { DeltaContext, DeltaRounds } from './delta-rounds.ts';
import { canReadAllUsers, renderProperties } from './delta-rounds.ts';
import type { EnterpriseApp } from './enterprise-app.ts';
import type { RouteName } from './faults.ts';
import type { GraphRequest } from './graph-request.ts';
import { isEventual, plain } from './graph-request.ts';
import type { ListItem } from './list-pages.ts';
import { answerPage, parseFilter, refuseAdvanced } from './list-pages.ts';
import { answerMemberOf, answerMembers } from './members.ts';
import type { Reply } from './reply.ts';
import { graphError, json } from './reply.ts';
import type { DirectoryEntry, ObjectType } from './tenant-state.ts';
import type { AppRegistration } from './token-endpoint.ts';

export type GraphContext = DeltaContext & {
  readonly app: AppRegistration;
  readonly enterpriseApp: EnterpriseApp;
  readonly deltas: DeltaRounds;
};

const denied = (): Reply =>
  graphError(403, 'Authorization_RequestDenied', 'Insufficient privileges to complete the operation.');
const absent = (id: string): Reply =>
  graphError(
    404,
    'Request_ResourceNotFound',
    `Resource '${id}' does not exist or one of its queried reference-property objects are not present.`,
  );

const routes: readonly (readonly [RegExp, RouteName])[] = [
  [/^\/users\/(microsoft\.graph\.)?delta(\(\))?$/, 'users/delta'],
  [/^\/groups\/(microsoft\.graph\.)?delta(\(\))?$/, 'groups/delta'],
  [/^\/users\/\$count$/, 'users/$count'],
  [/^\/groups\/\$count$/, 'groups/$count'],
  [/^\/users$/, 'users'],
  [/^\/users\/[^/]+\/memberOf$/, 'users/memberOf'],
  [/^\/groups$/, 'groups'],
  [/^\/users\/[^/]+\/manager$/, 'users/manager'],
  [/^\/groups\/[^/]+\/members(\/microsoft\.graph\.\w+)?(\/\$count)?$/, 'groups/members'],
  [/^\/groups\/[^/]+\/transitiveMembers(\/microsoft\.graph\.\w+)?(\/\$count)?$/, 'groups/transitiveMembers'],
  [/^\/directoryObjects\/getByIds$/, 'getByIds'],
  [/^\/organization$/, 'organization'],
  [/^\/servicePrincipals\(appId='[^']+'\)$|^\/servicePrincipals\/[^/]+$/, 'servicePrincipals'],
  [/^\/servicePrincipals\/[^/]+\/appRoleAssignedTo$/, 'appRoleAssignedTo'],
  [/^\/applications\(appId='[^']+'\)$/, 'applications'],
  [/^\/directory\/deletedItems\/microsoft\.graph\.user$/, 'deletedItems'],
  [/^\/\$batch$/, 'batch'],
];

export function routeOf(path: string): RouteName {
  return routes.find(([pattern]) => pattern.test(path))?.[1] ?? 'unknown';
}

function mayRead(permissions: ReadonlySet<string>, type: ObjectType): boolean {
  if (permissions.has('Directory.Read.All')) return true;
  return type === 'user'
    ? canReadAllUsers(permissions) || permissions.has('User.ReadBasic.All')
    : permissions.has('GroupMember.Read.All') || permissions.has('Group.Read.All');
}

function mayReadApplications(permissions: ReadonlySet<string>): boolean {
  return permissions.has('Application.Read.All') || permissions.has('Directory.Read.All');
}

type Handler = (context: GraphContext, request: GraphRequest) => Reply;

const unknown: Handler = () => graphError(404, 'Request_ResourceNotFound', 'Resource not found.');
const forApplications =
  (handler: Handler): Handler =>
  (context, request) =>
    mayReadApplications(context.permissions) ? handler(context, request) : denied();
const forType =
  (type: ObjectType, handler: (context: GraphContext, type: ObjectType, request: GraphRequest) => Reply): Handler =>
  (context, request) =>
    mayRead(context.permissions, type) ? handler(context, type, request) : denied();
const answerDelta = (context: GraphContext, type: ObjectType, request: GraphRequest): Reply =>
  context.deltas.answer(context, type, request);

const handlers: Readonly<Record<RouteName, Handler>> = {
  token: unknown,
  openid: unknown,
  batch: unknown,
  unknown,
  organization: (context) => json({ value: [{ id: context.tenantId, displayName: 'Contoso' }] }),
  getByIds: answerByIds,
  servicePrincipals: forApplications(answerServicePrincipal),
  appRoleAssignedTo: forApplications(answerAssignments),
  applications: forApplications(answerApplication),
  deletedItems: forType('user', (context, _type, request) => answerDeleted(context, request)),
  'users/delta': forType('user', answerDelta),
  'groups/delta': forType('group', answerDelta),
  'users/$count': forType('user', answerCount),
  'groups/$count': forType('group', answerCount),
  users: forType('user', answerList),
  'users/manager': forType('user', (context, _type, request) => answerManager(context, request)),
  'users/memberOf': forType('user', (context, _type, request) => answerMemberOf(context, request)),
  groups: forType('group', answerList),
  'groups/members': forType('group', (context, _type, request) => answerMembers(context, request)),
  'groups/transitiveMembers': forType('group', (context, _type, request) => answerMembers(context, request)),
};

/** Everything but batches. */
export function answerGraph(context: GraphContext, request: GraphRequest): Reply {
  return handlers[routeOf(request.path)](context, request);
}

const orderKey = (entry: DirectoryEntry): string => String(entry.createdAt).padStart(12, '0');

/** What a list shows: the live ones, or with `ConsistencyLevel: eventual` what the index knew some changes ago. */
function liveEntries(context: DeltaContext, type: ObjectType, fromIndex: boolean): DirectoryEntry[] {
  const seen = fromIndex ? context.state.sequence() - context.behavior.indexLag : Number.POSITIVE_INFINITY;
  return [...context.state.entries.values()].filter(
    (entry) =>
      entry.type === type && entry.createdAt <= seen && (entry.deletion === null || entry.deletion.changedAt > seen),
  );
}

function answerCount(context: GraphContext, type: ObjectType, request: GraphRequest): Reply {
  if (!isEventual(request)) return graphError(400, 'Request_BadRequest', '$count is not currently supported.');
  return plain(liveEntries(context, type, true).length);
}

function selectOf(request: GraphRequest, otherwise: readonly string[]): readonly string[] {
  return new URLSearchParams(request.query).get('$select')?.split(',') ?? otherwise;
}

function answerList(context: GraphContext, type: ObjectType, request: GraphRequest): Reply {
  const refused = refuseAdvanced(request.query, isEventual(request));
  if (refused !== null) return refused;
  const isShown = parseFilter(new URLSearchParams(request.query).get('$filter') ?? '');
  if (isShown === null)
    return graphError(400, 'Request_UnsupportedQuery', 'Unsupported or invalid query filter clause.');
  const select = selectOf(request, ['displayName', 'mail', 'userPrincipalName']);
  const values = (entry: DirectoryEntry) => ({
    id: entry.id,
    ...Object.fromEntries([...entry.properties].map(([name, { value }]) => [name, value])),
  });
  const isExpanded = new URLSearchParams(request.query).get('$expand')?.startsWith('manager') === true;
  const items = liveEntries(context, type, isEventual(request))
    .filter((entry) => isShown(values(entry)))
    .map((entry): ListItem => ({
      key: orderKey(entry),
      render: () => ({
        ...renderProperties(context, entry, select),
        ...(isExpanded && typeof entry.manager?.id === 'string' ? { manager: { id: entry.manager.id } } : {}),
        id: entry.id,
      }),
    }));
  return answerPage(context, request, items);
}

function answerDeleted(context: GraphContext, request: GraphRequest): Reply {
  const select = selectOf(request, ['displayName', 'userPrincipalName']);
  const items = [...context.state.entries.values()]
    .filter((entry) => entry.type === 'user' && entry.deletion?.kind === 'soft')
    .map((entry): ListItem => ({
      key: orderKey(entry),
      render: () => ({ ...renderProperties(context, entry, select), id: entry.id }),
    }));
  return answerPage(context, request, items);
}

/** 404 for a user without one, and for one who is gone. */
function answerManager(context: GraphContext, request: GraphRequest): Reply {
  const id = request.path.split('/')[2] ?? '';
  const manager = context.state.entries.get(id)?.manager?.id ?? null;
  return manager === null || !context.state.isLive(id)
    ? absent('manager')
    : json({ '@odata.type': '#microsoft.graph.user', id: manager });
}

function answerByIds(context: GraphContext, request: GraphRequest): Reply {
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

/** By object id in the path, or by `appId='...'`. */
function isEnterpriseApp({ enterpriseApp }: GraphContext, id: string): boolean {
  return id === enterpriseApp.id || id === enterpriseApp.appId;
}

const idOf = (request: GraphRequest): string =>
  /appId='([^']+)'/.exec(request.path)?.[1] ?? request.path.split('/')[2] ?? '';

function answerServicePrincipal(context: GraphContext, request: GraphRequest): Reply {
  const id = idOf(request);
  if (!isEnterpriseApp(context, id)) return absent(id);
  const { appId, displayName, roles } = context.enterpriseApp;
  const appRoles = [...roles.values()].map((role) => ({ ...role, allowedMemberTypes: ['User'], description: '' }));
  return json({ id: context.enterpriseApp.id, appId, displayName, appRoles });
}

/** Assignments of soft-deleted users and groups are not shown. */
function answerAssignments(context: GraphContext, request: GraphRequest): Reply {
  const id = idOf(request);
  if (!isEnterpriseApp(context, id)) return absent(id);
  const { enterpriseApp, state } = context;
  const items = [...enterpriseApp.assignments.values()]
    .filter(({ principalId }) => state.isLive(principalId) || !state.entries.has(principalId))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .map((assignment): ListItem => ({
      key: assignment.id,
      render: () => ({ ...assignment, resourceId: enterpriseApp.id, resourceDisplayName: enterpriseApp.displayName }),
    }));
  return answerPage(context, request, items);
}

/** Only the beginning of a secret is shown (Graph "passwordCredential", hint). */
function answerApplication(context: GraphContext, request: GraphRequest): Reply {
  const { app } = context;
  const id = idOf(request);
  if (id !== app.clientId || !app.isInTenant) return absent(id);
  const hint = app.clientSecret.slice(0, 3);
  const secrets = app.secretExpiresAt === null ? [] : [{ hint, endDateTime: app.secretExpiresAt.toISOString() }];
  return json({ appId: app.clientId, passwordCredentials: [...secrets, ...app.otherSecrets], keyCredentials: [] });
}
