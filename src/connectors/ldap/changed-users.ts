/** The users of a delta read: read anew by id, with those whose account ended meanwhile, and their primary groups. */
import type { DirectoryEvent } from '../contract/contract.ts';
import { AccountEnds } from './account-ends.ts';
import type { LdapCursor } from './cursor.ts';
import type { LdapEntry } from './entry.ts';
import { allOf, equals, parseFilter } from './filter.ts';
import type { LdapFilter } from './filter.ts';
import { lookUpByGuid } from './look-up.ts';
import { anchorOf, memberEvents, userFormOf } from './objects.ts';
import type { ReadOptions, UserForm } from './objects.ts';
import { pagedWhole } from './ranged.ts';
import { domainOfSid, sidBytes } from './values.ts';

export class ChangedUsers {
  readonly #options: ReadOptions;
  readonly #from: LdapCursor;
  readonly #form: UserForm;
  readonly #names: readonly string[];
  readonly #ends: AccountEnds;
  /** SID of a primary group -> users read anew. */
  readonly #primary = new Map<string, string[]>();

  constructor(options: ReadOptions, from: LdapCursor) {
    this.#options = options;
    this.#from = from;
    this.#form = userFormOf(options);
    const sid = options.directory.profile.hasPrimaryGroups ? ['objectSid'] : [];
    this.#names = [...new Set([...this.#form.names, ...sid])];
    this.#ends = new AccountEnds(options);
    if (from.nextEnd !== null) this.#ends.add(new Date(from.nextEnd));
  }

  /** When the next account ends by itself, after this read. */
  get nextEnd(): string | null {
    return this.#ends.next?.toISOString() ?? null;
  }

  /** Whoever is not found under base and filter left them, if ever in: absent. */
  async *byId(guids: ReadonlySet<string>): AsyncGenerator<DirectoryEvent[], void> {
    const search = { place: this.#options.directory.users, attributes: this.#names, doing: 'reading changed users' };
    for await (const { found, missing } of lookUpByGuid(this.#options, search, [...guids])) {
      yield [
        ...found.map((entry) => this.#take(entry)),
        ...missing.map((anchor): DirectoryEvent => ({ type: 'absent', kind: 'user', anchor })),
      ];
    }
  }

  /** Users under base and filter that match this as well. */
  async *matching(filter: LdapFilter): AsyncGenerator<DirectoryEvent[], void> {
    const { directory, pageSize } = this.#options;
    const search = {
      base: directory.users.base,
      scope: 'sub' as const,
      filter: allOf(directory.users.filter, filter),
      attributes: this.#names,
      doing: 'reading changed users',
    };
    for await (const entries of pagedWhole(directory.session, search, pageSize)) {
      yield entries.map((entry) => this.#take(entry));
    }
  }

  /** An account that ended since the last read did so without any change of the entry. */
  async *ended(): AsyncGenerator<DirectoryEvent[], void> {
    const { endFilter } = this.#options.directory.profile.accounts;
    const { nextEnd } = this.#from;
    if (nextEnd === null || endFilter === null || Date.parse(nextEnd) > this.#options.now.getTime()) return;
    yield* this.matching(parseFilter(endFilter));
  }

  /** Told as added members: adding twice says nothing new, and who left a primary group became a member of it or changed. */
  async *primaryGroups(): AsyncGenerator<DirectoryEvent[], void> {
    if (!this.#options.readGroups) return;
    const { directory } = this.#options;
    for (const [sid, anchors] of this.#primary) {
      const value = sidBytes(sid);
      if (value === null) continue;
      const [group] = await directory.session.find({
        base: directory.groups.base,
        scope: 'sub',
        filter: allOf(directory.groups.filter, equals('objectSid', value)),
        attributes: [directory.profile.idAttribute],
        doing: 'looking for primary groups',
      });
      if (group !== undefined) yield [...memberEvents(anchorOf(directory, group), 'add', anchors)];
    }
  }

  #take(entry: LdapEntry): DirectoryEvent {
    const anchor = anchorOf(this.#options.directory, entry);
    this.#ends.see(entry);
    const domain = domainOfSid(entry.sid('objectsid') ?? '');
    const rid = entry.int('primarygroupid');
    if (domain !== null && rid !== null) {
      const sid = `${domain}-${rid}`;
      const known = this.#primary.get(sid);
      if (known === undefined) this.#primary.set(sid, [anchor]);
      else known.push(anchor);
    }
    return { type: 'upsert', object: this.#form.toObject(entry, anchor) };
  }
}
