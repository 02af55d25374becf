/**
 * A full read: all users, then all groups with their direct members, on one bound connection. Members are told by
 * anchor: Active Directory sends their GUIDs along (extended DNs), elsewhere the DNs of this same read are looked up.
 */
import type { DirectoryEvent } from '../contract/contract.ts';
import { AccountEnds } from './account-ends.ts';
import { extendedDnControl } from './controls.ts';
import { DnIndex } from './dn-index.ts';
import { startIncrements } from './increments.ts';
import type { Increments, Start } from './increments.ts';
import {
  anchorOf,
  extendedAnchor,
  groupNamesOf,
  groupObject,
  memberDn,
  memberValues,
  notice,
  searchOf,
  userFormOf,
} from './objects.ts';
import type { Directory } from './directory.ts';
import type { LdapEntry } from './entry.ts';
import type { ReadOptions } from './objects.ts';
import { PrimaryGroups } from './primary-groups.ts';
import { pagedParts, pagedWhole } from './ranged.ts';
import type { EntryPart } from './ranged.ts';

const membersPerEvent = 5_000;
const maxNamedDns = 5;
const maxNameLength = 300;

/** What a read learns from users that it needs later. */
type Learned = {
  /** Null where members carry their anchor. */
  readonly index: DnIndex | null;
  readonly primary: PrimaryGroups | null;
  /** Null without increments. */
  readonly ends: AccountEnds | null;
  users: number;
  groups: number;
  lastGroup: string;
};

/** Yields in batches: one event at a time would cost more than decoding it. */
export async function* readFull(options: ReadOptions, increments: Increments): AsyncGenerator<DirectoryEvent[], void> {
  const { directory, readGroups } = options;
  const start = await startIncrements(options, increments);
  const learned: Learned = {
    index: directory.profile.hasExtendedDns || !readGroups ? null : new DnIndex(),
    primary: directory.profile.hasPrimaryGroups && readGroups ? new PrimaryGroups() : null,
    ends: start.position === null ? null : new AccountEnds(options),
    users: 0,
    groups: 0,
    lastGroup: '',
  };
  if (start.events.length > 0) yield start.events;
  yield* users(options, learned);
  if (learned.users === 0)
    yield [notice('no_users', `No entry below ${directory.users.base} matches the user filter.`)];
  if (readGroups) {
    if (learned.index !== null) await indexGroups(options, learned.index);
    yield* groups(options, learned);
  }
  yield [{ type: 'complete', mode: 'full', cursor: cursorOf(start, learned) }];
}

function cursorOf({ position, binding }: Start, { users: userCount, groups: groupCount, ends }: Learned) {
  if (position === null || binding === null) return null;
  const { server, query, now } = binding;
  const nextEnd = ends?.next?.toISOString() ?? null;
  return { v: 1, position, server, query, at: now.toISOString(), users: userCount, groups: groupCount, nextEnd };
}

async function* users(options: ReadOptions, learned: Learned): AsyncGenerator<DirectoryEvent[], void> {
  const { directory, pageSize } = options;
  const { index, primary, ends } = learned;
  const form = userFormOf(options);
  const search = searchOf(directory.users, form.names, 'reading users');
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    const events: DirectoryEvent[] = [];
    for (const entry of entries) {
      const anchor = anchorOf(directory, entry);
      index?.set(entry.dn, anchor);
      primary?.add(entry, anchor);
      ends?.see(entry);
      events.push({ type: 'upsert', object: form.toObject(entry, anchor) });
    }
    learned.users += events.length;
    yield events;
  }
}

/** Groups may be members of groups that come before them: their names are indexed first. */
async function indexGroups({ directory, pageSize }: ReadOptions, index: DnIndex): Promise<void> {
  const search = searchOf(directory.groups, [directory.profile.idAttribute], 'reading the names of groups');
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    for (const entry of entries) index.set(entry.dn, anchorOf(directory, entry));
  }
}

async function* groups(options: ReadOptions, learned: Learned): AsyncGenerator<DirectoryEvent[], void> {
  const { directory, pageSize } = options;
  const { profile } = directory;
  const names = [...groupNamesOf(directory), ...profile.memberAttributes];
  const controls = profile.hasExtendedDns ? [extendedDnControl()] : [];
  const search = { ...searchOf(directory.groups, names, 'reading groups'), controls };
  const members = new Members(learned.index);
  for await (const parts of pagedParts(directory.session, search, pageSize)) {
    for (const part of parts) yield* groupEvents(options, part, learned, members);
  }
  const { unresolved } = members;
  if (unresolved.count > 0) yield [unresolved.notice()];
}

function* groupEvents(
  { directory }: ReadOptions,
  { entry, isMore }: EntryPart,
  learned: Learned,
  members: Members,
): Generator<DirectoryEvent[]> {
  // only the first part of a group carries its id
  const anchor = isMore ? learned.lastGroup : anchorOf(directory, entry);
  let change: 'set' | 'add' = 'add';
  if (!isMore) {
    learned.lastGroup = anchor;
    learned.groups += 1;
    change = 'set';
    members.beginGroup();
    yield [{ type: 'upsert', object: groupObject(entry, anchor) }];
  }
  for (const memberAnchors of inBatches(members.of(directory, entry))) {
    yield [{ type: 'members', groupAnchor: anchor, change, memberAnchors }];
    change = 'add';
  }
  // a group without members is told as well: it is empty
  if (change === 'set') yield [{ type: 'members', groupAnchor: anchor, change, memberAnchors: [] }];
  if (isMore || learned.primary === null) return;
  for (const memberAnchors of inBatches(learned.primary.membersOf(entry))) {
    yield [{ type: 'members', groupAnchor: anchor, change: 'add', memberAnchors }];
  }
}

function* inBatches(anchors: Iterable<string>): Generator<string[]> {
  let batch: string[] = [];
  for (const anchor of anchors) {
    batch.push(anchor);
    if (batch.length < membersPerEvent) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Members by anchor, one by one and each once per group: one group may hold everybody. */
class Members {
  readonly unresolved = new Unresolved();
  readonly #index: DnIndex | null;
  readonly #told = new Set<string>();

  constructor(index: DnIndex | null) {
    this.#index = index;
  }

  beginGroup(): void {
    this.#told.clear();
    this.#index?.beginGroup();
  }

  *of(directory: Directory, entry: LdapEntry): Generator<string> {
    for (const value of memberValues(directory, entry)) {
      const anchor = this.#index === null ? this.#extended(value) : this.#index.take(memberDn(value));
      if (anchor === null) this.unresolved.add(value);
      else if (anchor !== undefined) yield anchor;
    }
  }

  #extended(value: string): string | null | undefined {
    const anchor = extendedAnchor(value);
    if (anchor !== null && this.#told.has(anchor)) return undefined;
    if (anchor !== null) this.#told.add(anchor);
    return anchor;
  }
}

/** Members outside the read (other bases, contacts, deleted ones): counted, a few of them named. */
class Unresolved {
  count = 0;
  readonly #named: string[] = [];

  add(dn: string): void {
    this.count += 1;
    if (this.#named.length < maxNamedDns) this.#named.push(dn.slice(0, maxNameLength));
  }

  notice(): DirectoryEvent {
    const more = this.count > this.#named.length ? ` and ${this.count - this.#named.length} more` : '';
    return notice(
      'unresolved_members',
      `${this.count} group members are outside of what this connection reads: ${this.#named.join('; ')}${more}.`,
    );
  }
}
