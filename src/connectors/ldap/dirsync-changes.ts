/** What DirSync says changed since the cursor, by kind: users and groups to read anew, tombstones, moved containers. */
import type { ObjectKind } from '../../core/vocabulary.ts';
import { RollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { GroupChange } from './changed-groups.ts';
import type { LdapCursor } from './cursor.ts';
import { readDirSync } from './dirsync.ts';
import type { DirSyncSearch } from './dirsync.ts';
import type { LdapEntry } from './entry.ts';
import { namesInFilter, parseFilter } from './filter.ts';
import { extendedAnchor, plainDn, userFormOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';

/** Above this a full read is quicker, and memory stays bounded. */
const maxChanges = 200_000;

/** Changes that move an object in the tree or take it out; every search asks for them. */
const place = ['objectGUID', 'name', 'parentGUID', 'isDeleted'] as const;
/** Always sent along (MS-ADTS section 3.1.1.3.4.1.3). */
const alwaysSent = new Set(['objectguid', 'instancetype']);

export const containerFilter = '(|(objectClass=organizationalUnit)(objectClass=container))';
const peopleFilter = '(&(objectClass=person)(!(objectClass=computer)))';
/** With a filter of their own, users may be of any class. */
const anybodyFilter = `(!(|(objectClass=group)(objectClass=organizationalUnit)(objectClass=container)))`;

export type Changes = {
  readonly users: Set<string>;
  readonly groups: Map<string, GroupChange>;
  readonly tombstones: DirectoryEvent[];
  cookie: string;
  /** Objects and members, counted each time they are told. */
  size: number;
};

/** The changes, or why only a full read can tell. */
export async function readChanges(options: ReadOptions, from: LdapCursor): Promise<Changes | string> {
  if (from.position.by !== 'dirsync') return 'The stored position is of another kind.';
  const cookie = Buffer.from(from.position.cookie, 'base64');
  const changes: Changes = { users: new Set(), groups: new Map(), tombstones: [], cookie: '', size: 0 };
  // All three searches begin at the same position; the next read begins where this first one ends.
  const moved = await movedContainer(options, from, cookie, changes);
  if (moved !== null) return `${moved} was renamed or moved, and everybody below it with it, of which no change tells.`;
  for await (const entry of changed(options, userSearch(options), cookie, null)) {
    takeUser(changes, entry);
    if (changes.size > maxChanges) return `More than ${maxChanges} changes.`;
  }
  if (!options.readGroups) return changes;
  for await (const entry of changed(options, groupSearch(options), cookie, null)) {
    takeGroup(changes, entry, options.directory.profile.groupFilter);
    if (changes.size > maxChanges) return `More than ${maxChanges} changes.`;
  }
  return changes;
}

/** A cookie the server can not read or follow any more (MS-ADTS section 3.1.1.3.4.1.3); 50: the right was taken away. */
const refusedCookie = new Set([1, 2, 12, 50, 53, 80]);

export function isHistoryLost(error: unknown): error is RollcallError {
  if (!(error instanceof RollcallError)) return false;
  return error.details['isPosition'] === true;
}

async function* changed(
  options: ReadOptions,
  search: DirSyncSearch,
  cookie: Buffer,
  changes: Changes | null,
): AsyncGenerator<LdapEntry, void> {
  const reading = readDirSync(options, search, cookie);
  for (;;) {
    const { done, value } = await reading.next().catch((error: unknown) => {
      throw asLostPosition(error);
    });
    if (done === true) {
      if (changes !== null) changes.cookie = value.toString('base64');
      return;
    }
    yield* value;
  }
}

function asLostPosition(error: unknown): unknown {
  if (!(error instanceof RollcallError) || !refusedCookie.has(Number(error.details['resultCode']))) return error;
  return new RollcallError('directory_history_lost', error.message, {
    cause: error,
    ...(error.raw === undefined ? {} : { raw: error.raw }),
    details: { ...error.details, isPosition: true },
  });
}

/** The name of a container that is at another place, or has another name, than when the position was taken. */
async function movedContainer(
  options: ReadOptions,
  from: LdapCursor,
  cookie: Buffer,
  changes: Changes,
): Promise<string | null> {
  const search = {
    filter: parseFilter(containerFilter),
    attributes: [...place, 'objectClass', 'whenCreated'],
    doing: 'asking for moved organizational units',
  };
  let moved: string | null = null;
  for await (const entry of changed(options, search, cookie, changes)) {
    const created = entry.generalizedTime('whencreated');
    // Of a new one everything is sent, also what never changes: nobody was below it before.
    const isNew = entry.has('objectclass') && created !== null && created.getTime() > Date.parse(from.at) - hourMs;
    if (!isNew && entry.bool('isdeleted') !== true) moved = plainDn(entry.dn);
  }
  return moved;
}

const hourMs = 3_600_000;

/** Computed attributes are in no feed; `lockoutTime` is what changes when an account is locked. */
function userSearch(options: ReadOptions): DirSyncSearch {
  const { userFilter, accounts } = options.directory.profile;
  const computed = new Set(accounts.lockAttributes);
  const asked = userFormOf(options).names.filter((name) => !computed.has(name));
  const isUsual = userFilter === '(sAMAccountType=805306368)';
  return {
    filter: parseFilter(isUsual ? peopleFilter : anybodyFilter),
    attributes: [...new Set([...place, ...asked, ...attributesIn(userFilter), 'lockoutTime', 'primaryGroupID'])],
    doing: 'asking for changed users',
  };
}

function groupSearch({ directory }: ReadOptions): DirSyncSearch {
  const { groupFilter, memberAttributes } = directory.profile;
  const names = ['cn', 'displayName', ...attributesIn(groupFilter), ...memberAttributes];
  return {
    filter: parseFilter('(objectClass=group)'),
    attributes: [...new Set([...place, ...names])],
    doing: 'asking for changed groups',
  };
}

/** A change of what the filter looks at may let an object in or out. */
function attributesIn(filter: string): string[] {
  return [...namesInFilter(filter)].filter((name) => /^[a-z]/.test(name) && name !== 'objectclass' && name !== 'dn');
}

function takeTombstone(changes: Changes, kind: ObjectKind, entry: LdapEntry, anchor: string): boolean {
  if (entry.bool('isdeleted') !== true) return false;
  // The recycle bin, or a reanimated tombstone, can still bring it back.
  changes.tombstones.push({ type: 'tombstone', kind, anchor, isRestorable: true });
  return true;
}

function takeUser(changes: Changes, entry: LdapEntry): void {
  const anchor = guidOf(entry);
  changes.size += 1;
  if (takeTombstone(changes, 'user', entry, anchor)) changes.users.delete(anchor);
  else changes.users.add(anchor);
}

function takeGroup(changes: Changes, entry: LdapEntry, groupFilter: string): void {
  const anchor = guidOf(entry);
  changes.size += 1;
  if (takeTombstone(changes, 'group', entry, anchor)) {
    changes.groups.delete(anchor);
    return;
  }
  const known = changes.groups.get(anchor);
  const change = known === null || groupFilter !== '(objectCategory=group)' ? null : memberChange(entry);
  changes.size += (change?.added.size ?? 0) + (change?.removed.size ?? 0);
  if (change === null || known === undefined || known === null) {
    changes.groups.set(anchor, change);
    return;
  }
  const { added, removed } = change;
  changes.groups.set(anchor, {
    added: new Set([...[...known.added].filter((member) => !removed.has(member)), ...added]),
    removed: new Set([...[...known.removed].filter((member) => !added.has(member)), ...removed]),
  });
}

/** With incremental values a link comes as `member;range=1-1` (added) and `member;range=0-0` (removed). */
function memberChange(entry: LdapEntry): GroupChange {
  const isMore = entry.keys().some((key) => key !== 'member' && !alwaysSent.has(key));
  const parts = entry.ranges('member');
  if (isMore || parts.length === 0 || parts.length < entry.keys().filter((key) => key === 'member').length) return null;
  const added = new Set<string>();
  const removed = new Set<string>();
  for (const { first, last, texts } of parts) {
    const list = first === 1 && last === 1 ? added : first === 0 && last === 0 ? removed : null;
    for (const text of texts) {
      const anchor = extendedAnchor(text);
      if (list === null || anchor === null) return null;
      list.add(anchor);
    }
  }
  return { added, removed };
}

function guidOf(entry: LdapEntry): string {
  const guid = entry.guid('objectguid');
  if (guid !== null) return guid;
  throw new RollcallError('directory_protocol', 'The server told of a change without saying of which object.', {
    raw: entry.dn,
  });
}
