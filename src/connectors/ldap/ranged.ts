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

/** A search, paged unless `pageSize` is 0, whose entries are all complete. Entries with ranges come last. */
export async function* pagedWhole(session: LdapSession, search: Search, pageSize: number): AsyncGenerator<LdapEntry[]> {
  const cut: string[] = [];
  for await (const entries of pageSize === 0 ? session.search(search) : session.paged(search, pageSize)) {
    if (!entries.some((entry) => entry.incomplete !== null)) {
      yield entries;
      continue;
    }
    cut.push(...entries.filter((entry) => entry.incomplete !== null).map((entry) => addressOf(entry.dn)));
    yield entries.filter((entry) => entry.incomplete === null);
  }
  for (const dn of cut) yield [await readWhole(session, search, dn)];
}

async function readWhole(session: LdapSession, search: Search, dn: string): Promise<LdapEntry> {
  const entry = await readOne(session, search, dn, search.attributes);
  for (const { attribute, next } of entry.incomplete ?? []) {
    const values = entry.values(attribute);
    await addRest(session, search, { dn, attribute, next }, values);
    entry.replaceValues(attribute, values);
  }
  entry.incomplete = null;
  return entry;
}

/** An extended DN is found by its GUID, also when the entry was renamed meanwhile. */
function addressOf(dn: string): string {
  return /^<GUID=[^>]*>/i.exec(dn)?.[0] ?? dn;
}

type Rest = { readonly dn: string; readonly attribute: string; readonly next: number };

async function addRest(session: LdapSession, search: Search, rest: Rest, values: Buffer[]): Promise<void> {
  let next = rest.next;
  for (let asked = 0; asked < maxRanges; asked += 1) {
    const part = await readOne(session, search, rest.dn, [`${rest.attribute};range=${next}-*`]);
    if (!part.has(rest.attribute)) break;
    for (const value of part.values(rest.attribute)) values.push(value);
    const more = part.incomplete?.find(({ attribute }) => attribute === rest.attribute);
    if (more === undefined) return;
    if (more.next <= next) break;
    next = more.next;
  }
  throw new RollcallError(
    'directory_incomplete',
    `The list ${rest.attribute} of ${rest.dn} could not be read to its end.`,
    {
      remedy: 'Nothing of this read is used; the next run reads again.',
      raw: `range from ${next}`,
    },
  );
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
  throw new RollcallError('directory_incomplete', `The entry ${dn} went away while its members were read.`, {
    remedy: 'Nothing of this read is used; the next run reads again.',
    raw: 'entry missing',
  });
}
