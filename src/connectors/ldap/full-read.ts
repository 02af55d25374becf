/**
 * A full read: all users, then all groups with their direct members, on one bound connection. Members are told by
 * anchor: Active Directory sends their GUIDs along (extended DNs), elsewhere the DNs of this same read are looked up.
 */
import { isUtf8 } from 'node:buffer';
import { RollcallError } from '../../core/errors.ts';
import type { AttributeValue, DirectoryEvent, DirectoryObject } from '../contract/contract.ts';
import { extendedDnControl } from './controls.ts';
import type { Directory, Place } from './directory.ts';
import { DnIndex } from './dn-index.ts';
import type { LdapEntry } from './entry.ts';
import { pagedWhole } from './ranged.ts';
import type { Search } from './session.ts';
import { guidText, sidText } from './values.ts';

export type FullReadOptions = {
  readonly directory: Directory;
  readonly pageSize: number;
  readonly readGroups: boolean;
  readonly userNameAttribute: string | undefined;
  /** User attributes asked for by the mapping. */
  readonly attributes: readonly string[];
  readonly now: Date;
};

const membersPerEvent = 5_000;
const nameAttributes = ['displayName', 'cn'] as const;
const maxNamedDns = 5;

/** Yields in batches: one event at a time would cost more than decoding it. */
export async function* readFull(options: FullReadOptions): AsyncGenerator<DirectoryEvent[], void> {
  const { directory } = options;
  const index = directory.profile.hasExtendedDns || !options.readGroups ? null : new DnIndex();
  const users = yield* readUsers(options, index);
  if (users === 0) yield [notice('no_users', `No entry below ${directory.users.base} matches the user filter.`)];
  if (options.readGroups) {
    if (index !== null) await indexGroups(options, index);
    yield* readGroups(options, index);
  }
  yield [{ type: 'complete', mode: 'full', cursor: null }];
}

function notice(code: string, message: string): DirectoryEvent {
  return { type: 'notice', code, message, anchor: null };
}

function searchOf(place: Place, attributes: Iterable<string>, doing: string): Search {
  return { base: place.base, scope: 'sub', filter: place.filter, attributes: [...new Set(attributes)], doing };
}

/** Without its id an entry can not be told from a deleted one: the read must not go on as if it were whole. */
function anchorOf(directory: Directory, entry: LdapEntry): string {
  const anchor = directory.anchors.read(entry);
  if (anchor !== null) return anchor;
  const { idAttribute } = directory.profile;
  throw new RollcallError('directory_permission', `The entry ${entry.dn} shows no readable ${idAttribute}.`, {
    remedy: `Let the service account read ${idAttribute}, narrow the filter, or set another idAttribute.`,
    raw: `${idAttribute} missing`,
  });
}

// ---------------------------------------------------------------- users

type Wanted = { readonly name: string; readonly key: string };

async function* readUsers(options: FullReadOptions, index: DnIndex | null): AsyncGenerator<DirectoryEvent[], number> {
  const { directory, pageSize } = options;
  const { profile } = directory;
  const wanted = options.attributes.map((name): Wanted => ({ name, key: name.toLowerCase() }));
  const nameKeys = namesOf(options).map((name) => name.toLowerCase());
  const names = [profile.idAttribute, ...namesOf(options), ...profile.disabledAttributes, ...options.attributes];
  let count = 0;
  for await (const entries of pagedWhole(
    directory.session,
    searchOf(directory.users, names, 'reading users'),
    pageSize,
  )) {
    const events: DirectoryEvent[] = [];
    for (const entry of entries) {
      const anchor = anchorOf(directory, entry);
      index?.set(entry.dn, anchor);
      events.push({ type: 'upsert', object: userOf(entry, anchor, nameKeys, wanted, options) });
    }
    count += events.length;
    yield events;
  }
  return count;
}

function namesOf(options: FullReadOptions): readonly string[] {
  return options.userNameAttribute === undefined ? nameAttributes : [options.userNameAttribute, ...nameAttributes];
}

function userOf(
  entry: LdapEntry,
  anchor: string,
  nameKeys: readonly string[],
  wanted: readonly Wanted[],
  options: FullReadOptions,
): DirectoryObject {
  const attributes: Record<string, AttributeValue> = {};
  for (const { name, key } of wanted) {
    const value = attributeValue(entry, key);
    if (value !== null) attributes[name] = value;
  }
  return {
    kind: 'user',
    anchor,
    name: nameOf(entry, nameKeys),
    locator: entry.dn,
    ...options.directory.profile.activity(entry, options.now),
    attributes,
  };
}

function nameOf(entry: LdapEntry, nameKeys: readonly string[]): string {
  for (const key of nameKeys) {
    const text = entry.text(key);
    if (text !== null && text !== '') return text;
  }
  return entry.dn;
}

/** Binary by definition, whatever the bytes of one value happen to look like. */
const binaryForms: Readonly<Record<string, (bytes: Buffer) => string | null>> = {
  objectguid: guidText,
  objectsid: sidText,
  sidhistory: sidText,
};

function attributeValue(entry: LdapEntry, key: string): AttributeValue {
  if (!entry.has(key)) return null;
  const form = binaryForms[key];
  if (form !== undefined || key.endsWith(';binary')) {
    return single(entry.values(key).map((value) => form?.(value) ?? value.toString('base64')));
  }
  const texts = entry.texts(key);
  // A replacement character is either in the value or the sign of bytes that are no UTF-8; only then look again.
  if (!texts.some((text) => text.includes('\ufffd'))) return single(texts);
  return single(entry.values(key).map((value) => value.toString(isUtf8(value) ? 'utf8' : 'base64')));
}

function single(values: readonly string[]): AttributeValue {
  return values.length > 1 ? values : (values[0] ?? null);
}

// ---------------------------------------------------------------- groups

/** Groups may be members of groups that come before them: their names are indexed first. */
async function indexGroups({ directory, pageSize }: FullReadOptions, index: DnIndex): Promise<void> {
  const search = searchOf(directory.groups, [directory.profile.idAttribute], 'reading the names of groups');
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    for (const entry of entries) index.set(entry.dn, anchorOf(directory, entry));
  }
}

async function* readGroups(options: FullReadOptions, index: DnIndex | null): AsyncGenerator<DirectoryEvent[], void> {
  const { directory, pageSize } = options;
  const { profile } = directory;
  const names = [profile.idAttribute, ...nameAttributes, ...profile.memberAttributes];
  const controls = profile.hasExtendedDns ? [extendedDnControl()] : [];
  const search = { ...searchOf(directory.groups, names, 'reading groups'), controls };
  const unresolved = new Unresolved();
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    for (const entry of entries) yield groupEvents(directory, entry, index, unresolved);
  }
  if (unresolved.count > 0) yield [unresolved.notice()];
}

/** Administrators know a group by its cn; a display name is set by mail systems, if at all. */
const groupNameKeys = ['cn', 'displayname'] as const;

function groupEvents(
  directory: Directory,
  entry: LdapEntry,
  index: DnIndex | null,
  unresolved: Unresolved,
): DirectoryEvent[] {
  const groupAnchor = anchorOf(directory, entry);
  const members = new Set<string>();
  for (const attribute of directory.profile.memberAttributes) {
    for (const value of entry.texts(attribute.toLowerCase())) {
      // groupOfNames needs a member; an empty group holds the empty DN or itself.
      if (value === '') continue;
      const anchor = index === null ? extendedAnchor(value) : index.get(memberDn(value));
      if (anchor === null) unresolved.add(value);
      else members.add(anchor);
    }
  }
  const object: DirectoryObject = {
    kind: 'group',
    anchor: groupAnchor,
    name: nameOf(entry, groupNameKeys),
    locator: plainDn(entry.dn),
    isActive: true,
    inactiveReason: null,
    attributes: {},
  };
  return [{ type: 'upsert', object }, ...memberEvents(groupAnchor, [...members])];
}

function* memberEvents(groupAnchor: string, members: readonly string[]): Generator<DirectoryEvent> {
  yield { type: 'members', groupAnchor, change: 'set', memberAnchors: members.slice(0, membersPerEvent) };
  for (let at = membersPerEvent; at < members.length; at += membersPerEvent) {
    yield { type: 'members', groupAnchor, change: 'add', memberAnchors: members.slice(at, at + membersPerEvent) };
  }
}

/** uniqueMember is a DN with an optional bit string behind it (RFC 4517 section 3.3.21). */
function memberDn(value: string): string {
  return value.includes("#'") ? value.replace(/#'[01]*'B$/, '') : value;
}

const extendedDn = /^<GUID=([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>/i;

function extendedAnchor(value: string): string | null {
  return extendedDn.exec(value)?.[1]?.toLowerCase() ?? null;
}

/** With extended DNs the entry's own name carries its ids in front as well. */
export function plainDn(dn: string): string {
  return dn.replace(/^(?:<(?:GUID|SID)=[^>]*>;)+/i, '');
}

/** Members outside the read (other bases, contacts, deleted ones): counted, a few of them named. */
class Unresolved {
  count = 0;
  readonly #named: string[] = [];

  add(dn: string): void {
    this.count += 1;
    if (this.#named.length < maxNamedDns) this.#named.push(dn);
  }

  notice(): DirectoryEvent {
    const more = this.count > this.#named.length ? ` and ${this.count - this.#named.length} more` : '';
    return notice(
      'unresolved_members',
      `${this.count} group members are outside of what this connection reads: ${this.#named.join('; ')}${more}.`,
    );
  }
}
