/**
 * A full read is the initial delta round of users and of groups; a delta read replays their links. Both rounds run
 * side by side as one stream of events; `complete` comes only after both reached their deltaLink.
 */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import { eventsOf } from '../contract/contract.ts';
import type { DirectoryEvent, ReadRequest } from '../contract/contract.ts';
import type { AppRoles } from './app-roles.ts';
import { openAppRoles } from './app-roles.ts';
import { compareCounts } from './counts.ts';
import type { EntraSecrets } from './credentials.ts';
import type { EntraCursor } from './cursor.ts';
import { openCursor } from './cursor.ts';
import { readRound } from './delta-round.ts';
import type { EntraDependencies, GraphSession } from './graph-session.ts';
import { openGraphSession, runEndurance } from './graph-session.ts';
import { readMembers } from './group-members.ts';
import type { Managers } from './managers.ts';
import { managersOf } from './managers.ts';
import { mergeStreams } from './merge-streams.ts';
import type { Notices } from './notices.ts';
import { createNotices } from './notices.ts';
import type { Batch, Losses } from './round-events.ts';
import { deltaGroupEvents, fullGroupEvents, memberEvents, userEvents } from './round-events.ts';
import type { Selection } from './selection.ts';
import { deltaUrl, selectProperties } from './selection.ts';
import type { EntraSettings } from './settings.ts';
import { hostsOf } from './settings.ts';

type Request = ReadRequest<EntraSettings, EntraSecrets>;

type Read = {
  readonly session: GraphSession;
  readonly selection: Selection;
  readonly settings: EntraSettings;
  /** Null for a full read. */
  readonly from: EntraCursor | null;
  readonly now: Date;
  readonly notices: Notices;
  readonly losses: Losses;
  readonly appRoles: AppRoles | null;
};

export function readDirectory(dependencies: EntraDependencies, request: Request): AsyncIterable<DirectoryEvent> {
  return eventsOf(readBatches(dependencies, request), request.signal);
}

/** One session, and so one token request, per read: nothing is kept between reads, so a changed secret counts at once. */
async function* readBatches(dependencies: EntraDependencies, request: Request): AsyncGenerator<Batch, void> {
  // the caller's own signal: an aborted read must not complete, even when everything has arrived by then
  const { settings, signal } = request;
  signal.throwIfAborted();
  const selection = selectProperties(settings, request.attributes);
  const now = dependencies.clock.now();
  const from = whereFrom(request, selection, now);
  if (typeof from === 'string') {
    yield [{ type: 'reset', reason: from }];
    return;
  }
  const stopper = new AbortController();
  const stop = (): void => stopper.abort(new RollcallError('canceled', 'The other half of the read ended.'));
  const stoppable = { ...request, signal: AbortSignal.any([signal, stopper.signal]) };
  const session = openGraphSession(dependencies, stoppable, runEndurance);
  try {
    const appRoles = settings.appRolesOf === undefined ? null : await openAppRoles(session, settings.appRolesOf);
    const read: Read = {
      session,
      selection,
      settings,
      from,
      now,
      notices: createNotices(),
      losses: new Map(),
      appRoles,
    };
    const rounds = startRounds(read, stop);
    let usersSeen = 0;
    let links: readonly string[];
    try {
      for (;;) {
        const next = await rounds.next();
        if (next.done === true) {
          links = next.value;
          break;
        }
        for (const event of next.value) if (event.type === 'upsert' && event.object.kind === 'user') usersSeen += 1;
        yield next.value;
      }
    } finally {
      // when our reader leaves early, the requests under way have to end
      await rounds.return([]);
    }
    for await (const event of afterwards(read)) yield [event];
    if (from === null) yield await compareCounts(session, usersSeen);
    signal.throwIfAborted();
    yield [{ type: 'complete', mode: from === null ? 'full' : 'delta', cursor: cursorOf(read, links) }];
  } catch (error) {
    if (from === null || !isRollcallError(error, 'directory_history_lost')) throw error;
    yield [{ type: 'reset', reason: error.message }];
  } finally {
    stop();
    session.close();
  }
}

/** The position to go on from, null for a full read, or why there is none. */
function whereFrom({ settings, mode, cursor }: Request, selection: Selection, now: Date): EntraCursor | string | null {
  const { graphUrl } = hostsOf(settings);
  return mode === 'full'
    ? null
    : openCursor(cursor, { tenant: settings.tenantId, select: selection.hash, graphUrl, now });
}

const noManagers: Managers = async () => new Map();

function startRounds(read: Read, stop: () => void): AsyncGenerator<Batch, readonly string[], undefined> {
  const { session, selection, from, notices, losses, appRoles } = read;
  const usersUrl = from?.usersDeltaLink ?? deltaUrl(session.graphUrl, 'users', selection.user);
  const groupsUrl = from?.groupsDeltaLink ?? deltaUrl(session.graphUrl, 'groups', selection.group);
  const toGroupEvents = from === null ? fullGroupEvents(notices, losses) : deltaGroupEvents(notices);
  const toUserEvents = userEvents(notices);
  const managers = selection.user.includes('manager') ? managersOf(session, from === null) : noManagers;
  const users = readRound(session, 'users', usersUrl, async (items) => toUserEvents(items, await managers(items)));
  const groups = readRound(session, 'groups', groupsUrl, (items) => {
    for (const { id } of items) appRoles?.noteGroup(id);
    return toGroupEvents(items);
  });
  return mergeStreams<Batch, string>([users, groups], stop);
}

async function* afterwards({ session, from, notices, losses, appRoles }: Read): AsyncGenerator<DirectoryEvent> {
  for (const [group, changes] of losses) yield* rereadGroup(session, group, changes);
  if (appRoles !== null) yield* appRoles.events(session, notices, from?.appRoles ?? null);
  yield* notices.summary();
}

function cursorOf({ selection, settings, now, appRoles }: Read, links: readonly string[]): EntraCursor {
  const [usersDeltaLink = '', groupsDeltaLink = ''] = links;
  return {
    v: 1,
    usersDeltaLink,
    groupsDeltaLink,
    select: selection.hash,
    tenant: settings.tenantId,
    ...(appRoles === null ? {} : { appRoles: { ...appRoles.mark, anchors: [...appRoles.mark.anchors] } }),
    at: now.toISOString(),
  };
}

/** The list may lag behind the round, so what the round said about a member wins. No member comes twice. */
async function* rereadGroup(
  session: GraphSession,
  group: string,
  changes: ReadonlyMap<string, boolean>,
): AsyncGenerator<DirectoryEvent> {
  yield { type: 'members', groupAnchor: group, change: 'set', memberAnchors: [] };
  for await (const anchors of readMembers(session, group)) {
    const unchanged = anchors.filter((anchor) => !changes.has(anchor));
    yield* memberEvents(group, 'add', unchanged);
  }
  const added = [...changes].filter(([, isIn]) => isIn).map(([anchor]) => anchor);
  yield* memberEvents(group, 'add', added);
}
