/**
 * GET /v1.0/{users,groups}/delta as directories.md A1 and A9 describe it: rounds of pages, opaque links, the quirks a
 * client has to survive. A round remembers which objects it still has to show; each is rendered when its page is served.
 */
import type { OpaqueTokens } from './opaque-tokens.ts';
import type { Random } from './random.ts';
import type { Reply } from './reply.ts';
import { graphError, json } from './reply.ts';
import type { DirectoryEntry, Edge, ObjectType, PropertyValue, TenantState } from './tenant-state.ts';

export type DeltaBehavior = {
  userPageSize: number;
  groupPageSize: number;
  /** At most so many edges of one group on a page: bigger groups repeat on later pages. */
  edgesPerPage: number;
  /** An empty page with a nextLink after every so many pages; 0 = never. */
  emptyPageEvery: number;
  /** Whether users/delta shows a restored user (issue #5821: often it does not). */
  showsRestored: boolean;
  /** Changes of the past that an incremental round shows once more. */
  replayedChanges: number;
  /** Changes that the index behind `ConsistencyLevel: eventual` does not know yet. */
  indexLag: number;
  /** How long the token of a list page lives. */
  listTokenLifetimeMs: number;
  /** Recently deleted objects shown as `@removed` in the initial round. */
  showsRemovedInitially: boolean;
};

export const usualBehavior: DeltaBehavior = {
  userPageSize: 200,
  groupPageSize: 100,
  edgesPerPage: 500,
  emptyPageEvery: 0,
  showsRestored: true,
  replayedChanges: 0,
  indexLag: 0,
  listTokenLifetimeMs: 5 * 60_000,
  showsRemovedInitially: true,
};

type Item = { readonly id: string; readonly edges: readonly Edge[] };
type Round = {
  readonly type: ObjectType;
  readonly select: readonly string[];
  /** `$filter=id eq ...`; empty for everybody. */
  readonly ids: readonly string[];
  readonly since: number;
  /** `Prefer: return=minimal`: later rounds say only what changed. */
  readonly isMinimal: boolean;
  /** Everything up to here is in `items`; what changes later is added when the end is reached. */
  seenUpTo: number;
  items: Item[];
};

export type DeltaContext = {
  readonly state: TenantState;
  readonly tokens: OpaqueTokens;
  readonly behavior: DeltaBehavior;
  readonly random: Random;
  readonly tenantId: string;
  readonly root: string;
  readonly permissions: ReadonlySet<string>;
  readonly now: () => Date;
};

const maxRounds = 200;
const tokenLifetimeMs = 7 * 24 * 3_600_000;
const basicProperties = new Set(['id', 'displayName', 'givenName', 'surname', 'mail', 'userPrincipalName']);
const defaultProperties: Record<ObjectType, readonly string[]> = {
  user: [
    'businessPhones',
    'displayName',
    'givenName',
    'jobTitle',
    'mail',
    'mobilePhone',
    'officeLocation',
    'surname',
    'userPrincipalName',
  ],
  group: ['displayName', 'description', 'mail', 'mailNickname', 'securityEnabled', 'groupTypes', 'members'],
};
/** Selectable, but kept outside the directory store (A1 "Not tracked"). */
const untracked = new Set(['skills', 'interests', 'mailboxSettings', 'aboutMe', 'birthday']);

export type DeltaRequest = { readonly query: string; readonly headers: Readonly<Record<string, string | undefined>> };

export type DeltaRounds = { answer(context: DeltaContext, type: ObjectType, request: DeltaRequest): Reply };

/** Query parameters in the raw form of the URL: tokens must not be decoded. */
function rawParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query.split('&').filter((text) => text !== '')) {
    const at = part.indexOf('=');
    parameters.set(decodeURIComponent(part.slice(0, at)).toLowerCase(), part.slice(at + 1));
  }
  return parameters;
}

function refuseOptions(parameters: ReadonlyMap<string, string>): Reply | null {
  const isContinuation = parameters.has('$skiptoken') || parameters.has('$deltatoken');
  if (parameters.has('$skiptoken') && parameters.size > 1) {
    return graphError(400, 'BadRequest', 'Query options can not be combined with $skiptoken.');
  }
  for (const name of ['$top', '$orderby', '$expand']) {
    if (parameters.has(name)) return graphError(400, 'Request_UnsupportedQuery', `${name} is not supported.`);
  }
  const filter = parameters.get('$filter');
  if (filter === undefined || isContinuation) return null;
  const clauses = decodeURIComponent(filter).split(/ or /i);
  const isAllowed = clauses.length <= 50 && clauses.every((clause) => /^\s*id eq '[^']+'\s*$/i.test(clause));
  return isAllowed ? null : graphError(400, 'Request_UnsupportedQuery', 'Only id eq is supported, at most 50 times.');
}

const page200 = (body: unknown, round: Round): Reply =>
  json(body, round.isMinimal ? { 'preference-applied': 'return=minimal' } : {});

export function createDeltaRounds(): DeltaRounds {
  const rounds = new Map<string, Round>();

  /** The same link gives the same page again: a client whose answer got lost asks once more. */
  const serve = (context: DeltaContext, id: string, round: Round, offset: number, page: number): Reply => {
    const path = `${context.root}/v1.0/${round.type}s/delta`;
    const { emptyPageEvery } = context.behavior;
    const isEmpty = emptyPageEvery > 0 && page % emptyPageEvery === 0;
    const size = isEmpty ? 0 : pageSize(context.behavior, round, offset);
    const value = round.items.slice(offset, offset + size).map((item) => render(context, round, item));
    const next = offset + value.length;
    if (next >= round.items.length && round.seenUpTo < context.state.sequence()) {
      // not pushed with a spread: a hundred thousand arguments are more than the stack takes
      round.items = [...round.items, ...changesSince(context, round, round.seenUpTo)];
      round.seenUpTo = context.state.sequence();
    }
    const metadata = `${context.root}/v1.0/$metadata#${round.type}s`;
    if (next < round.items.length || isEmpty) {
      const skip = context.tokens.seal({ kind: 'skip', round: id, offset: next, page: page + 1 });
      return page200({ '@odata.context': metadata, '@odata.nextLink': `${path}?$skiptoken=${skip}`, value }, round);
    }
    const delta = sealDelta(context, round);
    return page200({ '@odata.context': metadata, '@odata.deltaLink': `${path}?$deltatoken=${delta}`, value }, round);
  };

  const start = (context: DeltaContext, round: Round): Reply => {
    const id = context.random.guid();
    rounds.set(id, round);
    // Old rounds are forgotten, as Graph forgets them.
    for (const old of rounds.keys()) if (rounds.size > maxRounds) rounds.delete(old);
    return serve(context, id, round, 0, 1);
  };

  return {
    answer: (context, type, request) => {
      const parameters = rawParameters(request.query);
      const refused = refuseOptions(parameters);
      if (refused !== null) return refused;
      const skip = parameters.get('$skiptoken');
      if (skip !== undefined) {
        const payload = context.tokens.open(skip);
        const id = payload?.['kind'] === 'skip' ? String(payload['round']) : '';
        const round = rounds.get(id);
        if (round === undefined || round.type !== type) return graphError(400, 'BadRequest', 'Unknown $skiptoken.');
        return serve(context, id, round, Number(payload?.['offset']), Number(payload?.['page']));
      }
      const delta = parameters.get('$deltatoken');
      if (delta !== undefined && delta !== 'latest') return resume(context, type, delta, start);
      const select = selectOf(parameters, type);
      if (select.some((name) => untracked.has(name))) {
        return graphError(501, 'NotImplemented', 'This operation target is not yet supported.');
      }
      const seenUpTo = context.state.sequence();
      const isMinimal = /return=minimal/i.test(request.headers['prefer'] ?? '');
      const ids = idsOf(parameters);
      const round: Round = { type, select, ids, since: 0, isMinimal, seenUpTo, items: [] };
      if (delta === undefined) round.items = initialItems(context, round);
      return start(context, round);
    },
  };
}

function idsOf(parameters: ReadonlyMap<string, string>): readonly string[] {
  const filter = decodeURIComponent(parameters.get('$filter') ?? '');
  return [...filter.matchAll(/id eq '([^']+)'/gi)].map((match) => (match[1] ?? '').toLowerCase());
}

function selectOf(parameters: ReadonlyMap<string, string>, type: ObjectType): readonly string[] {
  const select = parameters.get('$select');
  return select === undefined
    ? defaultProperties[type]
    : decodeURIComponent(select)
        .split(',')
        .map((name) => name.trim());
}

function pageSize(behavior: DeltaBehavior, round: Round, offset: number): number {
  if (round.type === 'user') return behavior.userPageSize;
  let edges = 0;
  let size = 0;
  for (const item of round.items.slice(offset, offset + behavior.groupPageSize)) {
    edges += item.edges.length;
    if (size > 0 && edges > behavior.edgesPerPage) break;
    // The same group twice on one page does not happen: a big group goes on on the next one.
    if (size > 0 && round.items[offset + size - 1]?.id === item.id) break;
    size += 1;
  }
  return size;
}

function sealDelta(context: DeltaContext, round: Round): string {
  return context.tokens.seal({
    kind: 'delta',
    type: round.type,
    tenant: context.tenantId,
    select: round.select.join(','),
    ids: round.ids.join(','),
    minimal: round.isMinimal ? 1 : 0,
    at: context.now().getTime(),
    sequence: round.seenUpTo,
    unique: context.random.integer(1e9),
  });
}

function resume(
  context: DeltaContext,
  type: ObjectType,
  token: string,
  start: (context: DeltaContext, round: Round) => Reply,
): Reply {
  const payload = context.tokens.open(token);
  if (payload?.['kind'] !== 'delta' || payload['type'] !== type || payload['tenant'] !== context.tenantId) {
    return graphError(400, 'BadRequest', 'Badly formed $deltatoken.');
  }
  if (context.now().getTime() - Number(payload['at']) > tokenLifetimeMs) {
    return graphError(400, 'syncStateNotFound', 'The delta token is expired and data must be synchronized again.');
  }
  const since = Math.max(0, Number(payload['sequence']) - context.behavior.replayedChanges);
  const select = String(payload['select']).split(',');
  const ids = String(payload['ids'])
    .split(',')
    .filter((id) => id !== '');
  const isMinimal = payload['minimal'] === 1;
  const round: Round = { type, select, ids, since, isMinimal, seenUpTo: context.state.sequence(), items: [] };
  round.items = changesSince(context, round, since);
  return start(context, round);
}

function isHidden({ permissions }: DeltaContext, entry: DirectoryEntry): boolean {
  const isHiding = entry.properties.get('visibility')?.value === 'HiddenMembership';
  return isHiding && !permissions.has('Member.Read.Hidden');
}

function itemsOf(context: DeltaContext, round: Round, entry: DirectoryEntry, edges: readonly Edge[]): Item[] {
  if (isHidden(context, entry)) return [{ id: entry.id, edges: [] }];
  if (edges.length === 0 || !round.select.includes('members')) return [{ id: entry.id, edges: [] }];
  const items: Item[] = [];
  for (let from = 0; from < edges.length; from += context.behavior.edgesPerPage) {
    items.push({ id: entry.id, edges: edges.slice(from, from + context.behavior.edgesPerPage) });
  }
  return items;
}

function initialItems(context: DeltaContext, round: Round): Item[] {
  const { state, behavior, random } = context;
  const entries = [...state.entries.values()].filter(
    (entry) =>
      entry.type === round.type &&
      isAskedFor(round, entry) &&
      (entry.deletion === null || behavior.showsRemovedInitially),
  );
  return random.shuffle(entries).flatMap((entry) => {
    const isShown = (edge: Edge): boolean =>
      edge.isPresent && (state.isLive(edge.memberId) || !state.entries.has(edge.memberId));
    return itemsOf(context, round, entry, [...entry.edges.values()].filter(isShown));
  });
}

function isAskedFor(round: Round, entry: DirectoryEntry): boolean {
  return round.ids.length === 0 || round.ids.includes(entry.id);
}

function changesSince(context: DeltaContext, round: Round, since: number): Item[] {
  const changed = [...context.state.entries.values()].filter(
    (entry) => entry.type === round.type && isAskedFor(round, entry),
  );
  return context.random.shuffle(changed).flatMap((entry) => {
    const edges = [...entry.edges.values()].filter((edge) => edge.changedAt > since);
    if (entry.deletion !== null) return entry.deletion.changedAt > since ? [{ id: entry.id, edges: [] }] : [];
    const isSelected = round.select.some((name) => (entry.properties.get(name)?.changedAt ?? 0) > since);
    const isRestored = context.behavior.showsRestored && entry.restoredAt > since;
    const hasMembers = round.select.includes('members') && edges.length > 0;
    const hasManager = round.select.includes('manager') && (entry.manager?.changedAt ?? 0) > since;
    const isShown = isSelected || isRestored || hasMembers || hasManager || entry.createdAt > since;
    return isShown ? itemsOf(context, round, entry, edges) : [];
  });
}

function render(context: DeltaContext, round: Round, item: Item): Record<string, unknown> {
  const entry = context.state.entries.get(item.id);
  if (entry === undefined || entry.deletion?.kind === 'hard') return { id: item.id, '@removed': { reason: 'deleted' } };
  if (entry.deletion !== null) return { id: item.id, '@removed': { reason: 'changed' } };
  const rendered: Record<string, unknown> = {
    ...renderProperties(context, entry, selectedOf(round, entry)),
    id: entry.id,
  };
  if (round.select.includes('manager')) Object.assign(rendered, renderManager(round, entry));
  if (item.edges.length > 0) {
    rendered['members@delta'] = item.edges.map((edge) => ({
      '@odata.type': `#microsoft.graph.${edge.type}`,
      id: edge.memberId,
      ...(edge.isPresent ? {} : { '@removed': { reason: 'deleted' } }),
    }));
  }
  return rendered;
}

/** Only when it changed, also in default mode (microsoft-graph-explorer issue 4018): absent does not mean "none". */
function renderManager(round: Round, { manager }: DirectoryEntry): Record<string, unknown> {
  if (manager === undefined || manager.changedAt <= round.since) return {};
  if (manager.id === null) return round.since === 0 ? {} : { 'manager@delta': [{ '@removed': { reason: 'deleted' } }] };
  return { 'manager@delta': [{ '@odata.type': '#microsoft.graph.user', id: manager.id }] };
}

/** In minimal mode an object that was known already shows only what changed; null then means cleared (A1). */
function selectedOf(round: Round, entry: DirectoryEntry): readonly string[] {
  if (!round.isMinimal || round.since === 0 || entry.createdAt > round.since) return round.select;
  return round.select.filter((name) => (entry.properties.get(name)?.changedAt ?? 0) > round.since);
}

/** Never set = absent, cleared = null. With User.ReadBasic.All only the basic properties have values. */
export function renderProperties(
  context: Pick<DeltaContext, 'permissions'>,
  entry: DirectoryEntry,
  select: readonly string[],
): Record<string, PropertyValue> {
  const isBasic = entry.type === 'user' && !canReadAllUsers(context.permissions);
  const rendered: Record<string, PropertyValue> = {};
  for (const name of select) {
    const property = entry.properties.get(name);
    if (property === undefined || (isBasic && !basicProperties.has(name))) continue;
    rendered[name] = property.value;
  }
  return rendered;
}

export function canReadAllUsers(permissions: ReadonlySet<string>): boolean {
  return permissions.has('User.Read.All') || permissions.has('Directory.Read.All');
}
