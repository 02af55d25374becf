/** The groups of a delta read: as added and removed members where that is all that changed, else whole. */
import type { DirectoryEvent } from '../contract/contract.ts';
import { extendedDnControl } from './controls.ts';
import { allOf, equals } from './filter.ts';
import type { LdapEntry } from './entry.ts';
import { lookUpByGuid } from './look-up.ts';
import { anchorOf, extendedAnchor, groupNamesOf, groupObject, memberEvents, membersOf, searchOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { pagedWhole, readParts } from './ranged.ts';
import { domainOfSid } from './values.ts';

/** Null: the whole group has to be read. */
export type GroupChange = { readonly added: ReadonlySet<string>; readonly removed: ReadonlySet<string> } | null;

export async function* changedGroups(
  options: ReadOptions,
  changes: ReadonlyMap<string, GroupChange>,
): AsyncGenerator<DirectoryEvent[], void> {
  if (!options.readGroups) return;
  const { directory } = options;
  const guids = [...changes.keys()];
  const lookUp = { place: directory.groups, controls: [extendedDnControl()], doing: 'reading changed groups' };
  const names = groupNamesOf(directory);
  const partly = guids.filter((guid) => changes.get(guid) !== null);
  for await (const { found, missing } of lookUpByGuid(options, { ...lookUp, attributes: names }, partly)) {
    for (const entry of found) yield partEvents(options, entry, changes);
    yield missing.map(absentGroup);
  }
  const whole = guids.filter((guid) => changes.get(guid) === null);
  for await (const { found, missing } of lookUpByGuid(options, { ...lookUp, attributes: names }, whole)) {
    for (const entry of found) yield* wholeEvents(options, entry);
    yield missing.map(absentGroup);
  }
}

function absentGroup(anchor: string): DirectoryEvent {
  return { type: 'absent', kind: 'group', anchor };
}

function partEvents(
  { directory }: ReadOptions,
  entry: LdapEntry,
  changes: ReadonlyMap<string, GroupChange>,
): DirectoryEvent[] {
  const anchor = anchorOf(directory, entry);
  const change = changes.get(anchor);
  return [
    { type: 'upsert', object: groupObject(entry, anchor) },
    ...memberEvents(anchor, 'remove', [...(change?.removed ?? [])]),
    ...memberEvents(anchor, 'add', [...(change?.added ?? [])]),
  ];
}

async function* wholeEvents(options: ReadOptions, entry: LdapEntry): AsyncGenerator<DirectoryEvent[], void> {
  const { directory } = options;
  const anchor = anchorOf(directory, entry);
  yield [{ type: 'upsert', object: groupObject(entry, anchor) }];
  const { session, profile, groups } = directory;
  const controls = [extendedDnControl()];
  const search = { ...searchOf(groups, profile.memberAttributes, 'reading changed groups'), controls };
  for await (const parts of readParts(session, search, `<GUID=${anchor}>`)) {
    for (const part of parts) {
      const anchors = membersOf(directory, part.entry, extendedAnchor);
      yield [...memberEvents(anchor, part.isMore ? 'add' : 'set', anchors)];
    }
  }
  // `set` starts over: those whose primary group it is have to be told again
  const sid = entry.sid('objectsid') ?? '';
  if (domainOfSid(sid) === null) return;
  const { base, filter } = directory.users;
  const isPrimary = equals('primaryGroupID', sid.slice(sid.lastIndexOf('-') + 1));
  const place = { base, filter: allOf(filter, isPrimary) };
  const primary = searchOf(place, [profile.idAttribute], 'reading members by primary group');
  for await (const entries of pagedWhole(session, primary, options.pageSize)) {
    const members = entries.flatMap((user) => directory.anchors.read(user) ?? []);
    yield [...memberEvents(anchor, 'add', members)];
  }
}
