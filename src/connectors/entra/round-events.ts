/** What the pages of a round become: events, with the checks that need more than one page. */
import { RollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { PageItem } from './delta-page.ts';
import type { Notices } from './notices.ts';
import { groupObject, memberChanges, tombstone, userObject } from './objects.ts';

export type Batch = readonly DirectoryEvent[];

const maxMembersPerEvent = 5_000;

type ManagerOf = ReadonlyMap<string, string | null>;

export function userEvents(notices: Notices): (items: readonly PageItem[], managers: ManagerOf) => Batch {
  let withFlag = 0;
  return (items, managers) => {
    const events: DirectoryEvent[] = [];
    const unreadable: PageItem[] = [];
    for (const item of items) {
      if (item.removed !== null) {
        events.push(tombstone(item, 'user'));
        continue;
      }
      const object = userObject(item, managers.get(item.id));
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
export type Losses = Map<string, Map<string, boolean>>;

/** Some 20 MB; a group of that size that loses a member meanwhile is rare, and the next read meets it again. */
const maxTrackedMembers = 150_000;

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
export function fullGroupEvents(notices: Notices, losses: Losses): (items: readonly PageItem[]) => Batch {
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

export function deltaGroupEvents(notices: Notices): (items: readonly PageItem[]) => Batch {
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

export function memberEvents(
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
