/**
 * A full read is the initial delta round of users and of groups; a delta read replays their links. Both rounds run
 * side by side as one stream of events; `complete` comes only after both reached their deltaLink.
 */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { AppRoles } from './app-roles.ts';
import { openAppRoles } from './app-roles.ts';
import type { EntraCursor } from './cursor.ts';
import type { PageItem } from './delta-page.ts';
import { readRound } from './delta-round.ts';
import type { GraphSession } from './graph-session.ts';
import { readMembers } from './group-members.ts';
import { mergeStreams } from './merge-streams.ts';
import { createNotices } from './notices.ts';
import type { Notices } from './notices.ts';
import { groupObject, memberChanges, tombstone, userObject } from './objects.ts';
import type { Selection } from './selection.ts';
import { deltaUrl } from './selection.ts';
import type { EntraSettings } from './settings.ts';

export type DirectoryRead = {
  readonly session: GraphSession;
  readonly selection: Selection;
  readonly settings: EntraSettings;
  /** Null for a full read. */
  readonly from: EntraCursor | null;
  readonly now: Date;
  /** The caller's own; an aborted read must not complete, even when everything has arrived by then. */
  readonly signal: AbortSignal;
  /** Ends the requests under way; called when one of the rounds fails. */
  readonly stop: () => void;
};

type Batch = readonly DirectoryEvent[];

const maxMembersPerEvent = 5_000;

export async function* readDirectory(read: DirectoryRead): AsyncGenerator<DirectoryEvent> {
  const { session, selection, settings, from } = read;
  const notices = createNotices();
  const appRoles = settings.appRolesOf === undefined ? null : await openAppRoles(session, settings.appRolesOf);
  const losses: Losses = new Map();
  const usersUrl = from?.usersDeltaLink ?? deltaUrl(session.graphUrl, 'users', selection.user);
  const groupsUrl = from?.groupsDeltaLink ?? deltaUrl(session.graphUrl, 'groups', selection.group);
  const toGroupEvents = from === null ? fullGroupEvents(notices, losses) : deltaGroupEvents(notices);
  const merged = mergeStreams<Batch, string>(
    [
      readRound(session, 'users', usersUrl, userEvents(notices)),
      readRound(session, 'groups', groupsUrl, (items) => {
        noteGroups(appRoles, items);
        return toGroupEvents(items);
      }),
    ],
    read.stop,
  );
  let links: readonly string[];
  try {
    links = yield* flatten(merged, read.signal);
  } catch (error) {
    if (from === null || !isRollcallError(error, 'directory_history_lost')) throw error;
    yield { type: 'reset', reason: error.message };
    return;
  }
  for (const [group, changes] of losses) yield* rereadGroup(session, group, changes);
  if (appRoles !== null) yield* appRoles.events(session, notices, from?.appRoles ?? null);
  yield* notices.summary();
  read.signal.throwIfAborted();
  const [usersDeltaLink = '', groupsDeltaLink = ''] = links;
  const cursor: EntraCursor = {
    v: 1,
    usersDeltaLink,
    groupsDeltaLink,
    select: selection.hash,
    tenant: settings.tenantId,
    ...(appRoles === null ? {} : { appRoles: { ...appRoles.mark, anchors: [...appRoles.mark.anchors] } }),
    at: read.now.toISOString(),
  };
  yield { type: 'complete', mode: from === null ? 'full' : 'delta', cursor };
}

function noteGroups(appRoles: AppRoles | null, items: readonly PageItem[]): void {
  if (appRoles !== null) for (const { id } of items) appRoles.noteGroup(id);
}

async function* flatten<R>(
  batches: AsyncGenerator<Batch, R, undefined>,
  signal: AbortSignal,
): AsyncGenerator<DirectoryEvent, R, undefined> {
  try {
    for (;;) {
      const next = await batches.next();
      if (next.done === true) return next.value;
      for (const event of next.value) {
        signal.throwIfAborted();
        yield event;
      }
    }
  } finally {
    // When our reader leaves early, the requests under way have to end.
    await batches.return(undefined as R);
  }
}

function userEvents(notices: Notices): (items: readonly PageItem[]) => Batch {
  let withFlag = 0;
  return (items) => {
    const events: DirectoryEvent[] = [];
    const unreadable: PageItem[] = [];
    for (const item of items) {
      if (item.removed !== null) {
        events.push(tombstone(item, 'user'));
        continue;
      }
      const object = userObject(item);
      if (object === null) unreadable.push(item);
      else {
        withFlag += 1;
        events.push({ type: 'upsert', object });
      }
    }
    // Too narrow a permission gives objects without their properties, not an error.
    if (unreadable.length > 0 && withFlag === 0) throw tooNarrow('users', unreadable.length);
    for (const item of unreadable) {
      const why = 'Skipped: the directory does not say whether this user is enabled.';
      events.push(...notices.note('account_enabled_missing', why, item.id));
    }
    return events;
  };
}

export function tooNarrow(what: 'users' | 'groups', count: number): RollcallError {
  const [missing, permission, raw] =
    what === 'users'
      ? ['whether they are enabled', 'User.Read.All (User.ReadBasic.All is not enough)', 'accountEnabled']
      : ['what they are called', 'GroupMember.Read.All', 'displayName'];
  const message = `The application sees ${what}, but not ${missing}: its permission is too narrow.`;
  const remedy = `Add the application permission ${permission} and grant admin consent.`;
  return new RollcallError('directory_permission', message, { remedy, raw, details: { [what]: count } });
}

/** Groups that lost a member while the full read went on: member -> is in it, as the round said last. */
type Losses = Map<string, Map<string, boolean>>;

/** Some 40 MB; a group of that size that loses a member meanwhile is rare, and the next read meets it again. */
const maxTrackedMembers = 300_000;

function tooRestless(): RollcallError {
  return new RollcallError('directory_limit', 'Too many group members changed while the directory was being read.', {
    raw: 'members@delta',
    remedy: 'Nothing was changed; the next run starts again. Run at a quieter time of day if it happens often.',
  });
}

/**
 * In a full read members only accumulate. A removal that happens while it goes on comes in the same round, and only
 * there, so the group is read once more at the end.
 */
function fullGroupEvents(notices: Notices, losses: Losses): (items: readonly PageItem[]) => Batch {
  let tracked = 0;
  const checkNames = namesChecker();
  return (items) => {
    checkNames(items);
    return items.flatMap((item) => {
      if (item.removed !== null) {
        losses.delete(item.id);
        return [tombstone(item, 'group')];
      }
      const { added, removed, ignored } = memberChanges(item.raw['members@delta']);
      const changes = losses.get(item.id) ?? (removed.length > 0 ? new Map<string, boolean>() : null);
      if (changes !== null) {
        losses.set(item.id, changes);
        for (const anchor of added) changes.set(anchor, true);
        for (const anchor of removed) changes.set(anchor, false);
        tracked += added.length + removed.length;
        if (tracked > maxTrackedMembers) throw tooRestless();
      }
      notices.countIgnoredMembers(ignored);
      notices.seeGroup(item.id, item.raw['visibility'], added.length > 0);
      return [{ type: 'upsert' as const, object: groupObject(item) }, ...memberEvents(item.id, 'add', added)];
    });
  };
}

/** Every group has a name: when none shows one, the permission is too narrow. */
function namesChecker(): (items: readonly PageItem[]) => void {
  let named = 0;
  return (items) => {
    const living = items.filter((item) => item.removed === null);
    named += living.filter((item) => typeof item.raw['displayName'] === 'string').length;
    if (living.length > 0 && named === 0) throw tooNarrow('groups', living.length);
  };
}

function deltaGroupEvents(notices: Notices): (items: readonly PageItem[]) => Batch {
  return (items) =>
    items.flatMap((item) => {
      if (item.removed !== null) return [tombstone(item, 'group')];
      const { added, removed, ignored } = memberChanges(item.raw['members@delta']);
      notices.countIgnoredMembers(ignored);
      return [
        { type: 'upsert' as const, object: groupObject(item) },
        ...memberEvents(item.id, 'remove', removed),
        ...memberEvents(item.id, 'add', added),
      ];
    });
}

function memberEvents(
  groupAnchor: string,
  change: 'set' | 'add' | 'remove',
  anchors: readonly string[],
): DirectoryEvent[] {
  const events: DirectoryEvent[] = [];
  for (let from = 0; from < anchors.length; from += maxMembersPerEvent) {
    events.push({
      type: 'members',
      groupAnchor,
      change,
      memberAnchors: anchors.slice(from, from + maxMembersPerEvent),
    });
  }
  return events;
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
