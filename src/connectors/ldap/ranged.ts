/**
 * Active Directory answers big multi-valued attributes in ranges (MS-ADTS section 3.1.1.3.1.3.3): `member` comes empty
 * beside `member;range=0-1499`. Taken at face value a big group has no members. Such entries are held back and asked
 * for again, range by range, until the server says `*`.
 */
import { RollcallError } from '../../core/errors.ts';
import type { LdapEntry } from './entry.ts';
import { isPresent } from './filter.ts';
import type { LdapSession, Search } from './session.ts';

const maxRanges = 100_000;
/** Values of one attribute held together; whoever may meet more takes the parts one by one. */
const maxFoldedBytes = 16_777_216;
/** Entries with ranges that wait for the end of their search. */
const maxHeldBack = 200_000;

/** `isMore`: further values of the entry that came just before. */
export type EntryPart = { readonly entry: LdapEntry; readonly isMore: boolean };

/** A search, paged unless `pageSize` is 0, whose entries are all complete. Entries with ranges come last. */
export async function* pagedWhole(session: LdapSession, search: Search, pageSize: number): AsyncGenerator<LdapEntry[]> {
  const cut: string[] = [];
  yield* pagedComplete(session, search, pageSize, cut);
  for (const dn of cut) yield [await readWhole(session, search, dn)];
}

/** The same without ever holding all values of a ranged attribute: an entry with ranges comes in several parts. */
export async function* pagedParts(session: LdapSession, search: Search, pageSize: number): AsyncGenerator<EntryPart[]> {
  const cut: string[] = [];
  for await (const entries of pagedComplete(session, search, pageSize, cut)) {
    yield entries.map((entry) => ({ entry, isMore: false }));
  }
  for (const dn of cut) yield* readParts(session, search, dn);
}

async function* pagedComplete(
  session: LdapSession,
  search: Search,
  pageSize: number,
  cut: string[],
): AsyncGenerator<LdapEntry[]> {
  for await (const entries of pageSize === 0 ? session.search(search) : session.paged(search, pageSize)) {
    if (!entries.some((entry) => entry.incomplete !== null)) {
      yield entries;
      continue;
    }
    for (const entry of entries) if (entry.incomplete !== null) cut.push(addressOf(entry.dn));
    if (cut.length > maxHeldBack) throw tooMuch(`more than ${maxHeldBack} entries with ranges`);
    yield entries.filter((entry) => entry.incomplete === null);
  }
}

async function readWhole(session: LdapSession, search: Search, dn: string): Promise<LdapEntry> {
  const values = new Map<string, Buffer[]>();
  let whole: LdapEntry | null = null;
  let bytes = 0;
  for await (const parts of readParts(session, search, dn)) {
    for (const { entry, isMore } of parts) {
      if (!isMore) whole = entry;
      for (const key of entry.rangedKeys()) {
        const known = values.get(key) ?? [];
        for (const value of entry.values(key)) {
          bytes += value.length;
          // own copy: a view would keep its whole message alive
          known.push(Buffer.from(value));
        }
        if (bytes > maxFoldedBytes) throw tooMuch(`the list ${key} of ${dn} is longer than ${maxFoldedBytes} bytes`);
        values.set(key, known);
      }
    }
  }
  if (whole === null) throw wentAway(dn);
  for (const [key, all] of values) whole.replaceValues(key, all);
  whole.incomplete = null;
  return whole;
}

/** An extended DN is found by its GUID, also when the entry was renamed meanwhile. */
function addressOf(dn: string): string {
  return /^<GUID=[^>]*>/i.exec(dn)?.[0] ?? dn;
}

/** One entry by its name, in as many parts as its ranged attributes need. */
export async function* readParts(session: LdapSession, search: Search, dn: string): AsyncGenerator<EntryPart[]> {
  const first = await readOne(session, search, dn, search.attributes);
  yield [{ entry: first, isMore: false }];
  for (const { attribute, next: start } of first.incomplete ?? []) {
    let next: number | null = start;
    for (let asked = 0; next !== null; asked += 1) {
      const part: LdapEntry = await readOne(session, search, dn, [`${attribute};range=${next}-*`]);
      const more: number | null = part.incomplete?.find((range) => range.attribute === attribute)?.next ?? null;
      const isStuck = !part.has(attribute) || (more !== null && more <= next) || asked > maxRanges;
      if (isStuck) throw notToItsEnd(dn, attribute, next);
      yield [{ entry: part, isMore: true }];
      next = more;
    }
  }
}

async function readOne(
  session: LdapSession,
  search: Search,
  dn: string,
  attributes: readonly string[],
): Promise<LdapEntry> {
  const filter = isPresent('objectClass');
  const [entry] = await session.find({ ...search, base: dn, scope: 'base', filter, attributes });
  if (entry !== undefined) return entry;
  throw wentAway(dn);
}

const remedy = 'Nothing of this read is used; the next run reads again.';

function wentAway(dn: string): RollcallError {
  return new RollcallError('directory_incomplete', `The entry ${dn} went away while its members were read.`, {
    remedy,
    raw: 'entry missing',
  });
}

function notToItsEnd(dn: string, attribute: string, next: number): RollcallError {
  return new RollcallError('directory_incomplete', `The list ${attribute} of ${dn} could not be read to its end.`, {
    remedy,
    raw: `range from ${next}`,
  });
}

function tooMuch(raw: string): RollcallError {
  return new RollcallError('directory_limit', 'The directory sends more than can be held.', {
    remedy: 'Narrow the filter or the attributes that are read.',
    raw,
  });
}
