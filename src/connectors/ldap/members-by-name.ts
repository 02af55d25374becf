/**
 * Members of single groups where the directory names them by DN only, and the groups that name an entry. A few names are
 * asked for one by one; where there are many, reading the names of everybody is quicker.
 */
import { RollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import { DnIndex } from './dn-index.ts';
import { dnKey, isKeyBelow } from './dn.ts';
import { allOf, anyOf, equals, isPresent } from './filter.ts';
import { lookUpByGuid } from './look-up.ts';
import { anchorOf, groupNamesOf, groupObject, memberDn, memberEvents, memberValues, searchOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { pagedWhole } from './ranged.ts';

/** Asking for one entry takes about as long as reading the names of a hundred. */
const askedShare = 0.01;
const alwaysAsked = 20;
/** noSuchObject and invalidDNSyntax: nobody has the name. */
const nobody = new Set([32, 34]);

/** An entry as it is now. */
export type Named = { readonly anchor: string; readonly dn: string };

/** Those of the ids that are groups of this connection, whole; the others are absent among groups. `known`: how many there are in all. */
export async function* wholeGroups(
  options: ReadOptions,
  ids: readonly string[],
  known: number,
): AsyncGenerator<DirectoryEvent[], void> {
  const { directory } = options;
  const names = new NameLookUp(options, Math.max(alwaysAsked, known * askedShare));
  const lookUp = { place: directory.groups, attributes: groupNamesOf(directory), doing: 'reading changed groups' };
  for await (const { found, missing } of lookUpByGuid(options, lookUp, ids)) {
    yield missing.map((anchor): DirectoryEvent => ({ type: 'absent', kind: 'group', anchor }));
    for (const entry of found) {
      const anchor = anchorOf(directory, entry);
      yield [{ type: 'upsert', object: groupObject(entry, anchor) }];
      // one by one: a group with everybody is a message of megabytes
      const members = await names.anchorsOf(await memberNames(options, anchor));
      yield [...memberEvents(anchor, 'set', members)];
    }
  }
}

/** To its end before anything else is asked: a session serves one search at a time. */
async function memberNames({ directory, pageSize }: ReadOptions, anchor: string): Promise<string[]> {
  const { session, profile, groups } = directory;
  const place = { base: groups.base, filter: allOf(groups.filter, equals(profile.idAttribute, anchor)) };
  const dns: string[] = [];
  for await (const entries of pagedWhole(
    session,
    searchOf(place, profile.memberAttributes, 'reading changed groups'),
    pageSize,
  )) {
    for (const entry of entries) for (const value of memberValues(directory, entry)) dns.push(memberDn(value));
  }
  return dns;
}

/**
 * The groups that name these, as added members. Who came under base and filter, or got a name that a group still held,
 * is a member of it without any change of the group; whoever was one before becomes nothing new.
 */
export async function* groupsNaming(
  options: ReadOptions,
  entries: readonly Named[],
): AsyncGenerator<DirectoryEvent[], void> {
  const { directory, pageSize } = options;
  const { session, profile, groups } = directory;
  const attributes = entries.length === 0 ? [] : await usedAttributes(options);
  for (const { anchor, dn } of entries) {
    for (const attribute of attributes) {
      const place = { base: groups.base, filter: allOf(groups.filter, equals(attribute, dn)) };
      const search = searchOf(place, [profile.idAttribute], 'looking for groups of changed entries');
      for await (const found of pagedWhole(session, search, pageSize)) {
        yield found.flatMap((group) => [...memberEvents(anchorOf(directory, group), 'add', [anchor])]);
      }
    }
  }
}

/** Few servers index an attribute that nobody uses: every search for it would look at every group. */
async function usedAttributes({ directory, pageSize }: ReadOptions): Promise<string[]> {
  const { session, profile, groups } = directory;
  const used: string[] = [];
  for (const attribute of profile.memberAttributes) {
    const place = { base: groups.base, filter: allOf(groups.filter, isPresent(attribute)) };
    const search = searchOf(place, ['1.1'], 'looking for how groups name members');
    for await (const found of pagedWhole(session, search, Math.min(pageSize, 1))) {
      if (found.length > 0) used.push(attribute);
      break;
    }
  }
  return used;
}

/** Anchors of names, as far as this connection reads the entries. */
class NameLookUp {
  readonly #options: ReadOptions;
  readonly #mostAsked: number;
  #index: DnIndex | null = null;
  #asked = 0;

  constructor(options: ReadOptions, mostAsked: number) {
    this.#options = options;
    this.#mostAsked = mostAsked;
  }

  async anchorsOf(dns: readonly string[]): Promise<string[]> {
    this.#asked += dns.length;
    if (this.#index === null && this.#asked > this.#mostAsked) this.#index = await this.#readNames();
    const anchors = new Set<string>();
    for (const dn of dns) {
      const anchor = this.#index === null ? await this.#ask(dn) : this.#index.get(dn);
      if (anchor !== null) anchors.add(anchor);
    }
    return [...anchors];
  }

  async #readNames(): Promise<DnIndex> {
    const { directory, pageSize } = this.#options;
    const index = new DnIndex();
    for (const place of [directory.users, directory.groups]) {
      const search = searchOf(place, [directory.profile.idAttribute], 'reading the names of members');
      for await (const entries of pagedWhole(directory.session, search, pageSize)) {
        for (const entry of entries) index.set(entry.dn, anchorOf(directory, entry));
      }
    }
    return index;
  }

  async #ask(dn: string): Promise<string | null> {
    const { directory } = this.#options;
    const key = dnKey(dn);
    const filters = [directory.users, directory.groups]
      .filter(({ base }) => isKeyBelow(key, dnKey(base)))
      .map(({ filter }) => filter);
    if (filters.length === 0) return null;
    try {
      const [entry] = await directory.session.find({
        base: dn,
        scope: 'base',
        filter: anyOf(...filters),
        attributes: [directory.profile.idAttribute],
        doing: 'looking for a member',
      });
      return entry === undefined ? null : anchorOf(directory, entry);
    } catch (error) {
      if (error instanceof RollcallError && nobody.has(Number(error.details['resultCode']))) return null;
      throw error;
    }
  }
}
