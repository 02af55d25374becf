/** Entries become directory objects: which attributes a read asks for, and what it makes of them. */
import { isUtf8 } from 'node:buffer';
import { RollcallError } from '../../core/errors.ts';
import type { AttributeValue, DirectoryEvent, DirectoryObject } from '../contract/contract.ts';
import { accountStateAttribute, activityOf } from './account-state.ts';
import type { LockedAccounts } from './account-state.ts';
import type { Directory, Place } from './directory.ts';
import type { LdapEntry } from './entry.ts';
import type { Layout } from './layout.ts';
import type { Search } from './session.ts';
import { guidText, sidText } from './values.ts';

export type ReadOptions = {
  readonly directory: Directory;
  readonly pageSize: number;
  readonly readGroups: boolean;
  readonly userNameAttribute: string | undefined;
  readonly lockedAccounts: LockedAccounts;
  /** User attributes asked for by the mapping. */
  readonly attributes: readonly string[];
  readonly now: Date;
};

const membersPerEvent = 5_000;
const nameAttributes = ['displayName', 'cn'] as const;
/** Administrators know a group by its cn; a display name is set by mail systems, if at all. */
const groupNameKeys = ['cn', 'displayname'] as const;

export function notice(code: string, message: string): DirectoryEvent {
  return { type: 'notice', code, message, anchor: null };
}

export function searchOf(place: Place, attributes: Iterable<string>, doing: string): Search {
  return { base: place.base, scope: 'sub', filter: place.filter, attributes: [...new Set(attributes)], doing };
}

/** Without its id an entry can not be told from a deleted one: the read must not go on as if it were whole. */
export function anchorOf(directory: Directory, entry: LdapEntry): string {
  const anchor = directory.anchors.read(entry);
  if (anchor !== null) return anchor;
  const { idAttribute } = directory.profile;
  throw new RollcallError('directory_permission', `The entry ${entry.dn} shows no readable ${idAttribute}.`, {
    remedy: `Let the service account read ${idAttribute}, narrow the filter, or set another idAttribute.`,
    raw: `${idAttribute} missing`,
  });
}

// ---------------------------------------------------------------- users

export type UserForm = {
  /** Attributes to ask for. */
  readonly names: readonly string[];
  toObject(entry: LdapEntry, anchor: string): DirectoryObject;
};

export function userFormOf(options: ReadOptions): UserForm {
  const { directory, lockedAccounts, now } = options;
  const { accounts, idAttribute, hasPrimaryGroups } = directory.profile;
  const asked = options.attributes.filter((name) => name !== accountStateAttribute);
  const wantsState = asked.length < options.attributes.length;
  const wanted = asked.map((name) => ({ name, key: name.toLowerCase() }));
  const attributesOf = attributesReader(wanted);
  const nameNames =
    options.userNameAttribute === undefined ? nameAttributes : [options.userNameAttribute, ...nameAttributes];
  const nameKeys = nameNames.map((name) => name.toLowerCase());
  const lockNames = wantsState || lockedAccounts === 'inactive' ? accounts.lockAttributes : [];
  const primary = hasPrimaryGroups && options.readGroups ? ['primaryGroupID'] : [];
  return {
    names: [idAttribute, ...nameNames, ...accounts.attributes, ...lockNames, ...primary, ...asked],
    toObject: (entry, anchor) => {
      const attributes = attributesOf(entry);
      const { state, isActive, inactiveReason } = activityOf(accounts, lockedAccounts, entry, now);
      if (wantsState) attributes[accountStateAttribute] = state;
      const name = nameOf(entry, nameKeys);
      return { kind: 'user', anchor, name, locator: plainDn(entry.dn), isActive, inactiveReason, attributes };
    },
  };
}

type Wanted = { readonly name: string; readonly key: string };

/** Which wanted attributes the entries of one layout have, and where; `shape` has these names in this order. */
type Plan = {
  readonly shape: Readonly<Record<string, AttributeValue>>;
  readonly steps: readonly (Wanted & { readonly place: number; readonly isBinary: boolean })[];
};

function attributesReader(wanted: readonly Wanted[]): (entry: LdapEntry) => Record<string, AttributeValue> {
  const plans = new WeakMap<Layout, Plan>();
  let recent: Layout | null = null;
  let plan: Plan = { shape: {}, steps: [] };
  return (entry) => {
    if (entry.isFolded) return attributesByName(entry, wanted);
    if (entry.layout !== recent) {
      recent = entry.layout;
      plan = plans.get(recent) ?? planOf(recent, wanted);
      plans.set(recent, plan);
    }
    const attributes = { ...plan.shape };
    for (const { name, key, place, isBinary } of plan.steps) {
      attributes[name] = (isBinary ? null : entry.plainTextAt(place)) ?? attributeValue(entry, key);
    }
    return attributes;
  };
}

function planOf(layout: Layout, wanted: readonly Wanted[]): Plan {
  const steps = wanted
    .map(({ name, key }) => ({ name, key, place: layout.placeOf(key), isBinary: isBinary(key) }))
    .filter(({ place }) => place !== -1);
  return { shape: Object.fromEntries(steps.map(({ name }) => [name, ''])), steps };
}

function attributesByName(entry: LdapEntry, wanted: readonly Wanted[]): Record<string, AttributeValue> {
  const attributes: Record<string, AttributeValue> = {};
  for (const { name, key } of wanted) {
    const value = attributeValue(entry, key);
    if (value !== null) attributes[name] = value;
  }
  return attributes;
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

function isBinary(key: string): boolean {
  return Object.hasOwn(binaryForms, key) || key.endsWith(';binary');
}

function attributeValue(entry: LdapEntry, key: string): AttributeValue {
  if (!entry.has(key)) return null;
  if (isBinary(key)) {
    const form = binaryForms[key];
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

export function groupNamesOf({ profile }: Directory): string[] {
  return [profile.idAttribute, ...nameAttributes, ...(profile.hasPrimaryGroups ? ['objectSid'] : [])];
}

export function groupObject(entry: LdapEntry, anchor: string): DirectoryObject {
  return {
    kind: 'group',
    anchor,
    name: nameOf(entry, groupNameKeys),
    locator: plainDn(entry.dn),
    isActive: true,
    inactiveReason: null,
    attributes: {},
  };
}

/** As the server spells them. groupOfNames needs a member; an empty group holds the empty DN or itself. */
export function* memberValues(directory: Directory, entry: LdapEntry): Generator<string> {
  for (const attribute of directory.profile.memberAttributes) {
    for (const value of entry.eachText(attribute.toLowerCase())) if (value !== '') yield value;
  }
}

/** `resolve` gives the anchor of a member as the server spells it, or null when it is not known here. */
export function membersOf(directory: Directory, entry: LdapEntry, resolve: (value: string) => string | null): string[] {
  const anchors = new Set<string>();
  for (const value of memberValues(directory, entry)) {
    const anchor = resolve(value);
    if (anchor !== null) anchors.add(anchor);
  }
  return [...anchors];
}

/** A `set` comes even without members: it empties the group. */
export function* memberEvents(
  groupAnchor: string,
  change: 'set' | 'add' | 'remove',
  anchors: readonly string[],
): Generator<DirectoryEvent> {
  if (change === 'set' || anchors.length > 0) {
    yield { type: 'members', groupAnchor, change, memberAnchors: anchors.slice(0, membersPerEvent) };
  }
  const goesOn = change === 'set' ? 'add' : change;
  for (let at = membersPerEvent; at < anchors.length; at += membersPerEvent) {
    const memberAnchors = anchors.slice(at, at + membersPerEvent);
    yield { type: 'members', groupAnchor, change: goesOn, memberAnchors };
  }
}

/** uniqueMember is a DN with an optional bit string behind it (RFC 4517 section 3.3.21). */
export function memberDn(value: string): string {
  return value.includes("#'") ? value.replace(/#'[01]*'B$/, '') : value;
}

const extendedDn = /^<GUID=([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>/i;

export function extendedAnchor(value: string): string | null {
  return extendedDn.exec(value)?.[1]?.toLowerCase() ?? null;
}

/** With extended DNs the entry's own name carries its ids in front as well. */
export function plainDn(dn: string): string {
  return dn.startsWith('<') ? dn.replace(/^(?:<(?:GUID|SID)=[^>]*>;)+/i, '') : dn;
}
