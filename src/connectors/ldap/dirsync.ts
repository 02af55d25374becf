/**
 * Active Directory's replication feed (MS-ADTS section 3.1.1.3.4.1.3, LDAP_SERVER_DIRSYNC_OID): per object the
 * attributes that changed since the cookie, deletions included. Without the flag for object security it needs the right
 * Replicating Directory Changes, and tells everything below the root of the domain, whatever base we read.
 */
import { BerReader, BerWriter } from 'ldapts';
import { RollcallError } from '../../core/errors.ts';
import { controlOids, extendedDnControl, ValueControl } from './controls.ts';
import type { LdapEntry } from './entry.ts';
import { parseFilter } from './filter.ts';
import type { LdapFilter } from './filter.ts';
import type { ReadOptions } from './objects.ts';
import type { LdapResult } from './results.ts';

/** LDAP_DIRSYNC_INCREMENTAL_VALUES, the highest bit: of links only the added and the removed values. */
const incrementalValues = -2_147_483_648;
const maxBytesPerRound = 4_194_304;
const maxRounds = 100_000;
const octets = 0x04;
const nobody = parseFilter('(!(objectClass=*))');

export type DirSyncSearch = {
  readonly filter: LdapFilter;
  readonly attributes: readonly string[];
  readonly doing: string;
};

/** Yields the changed objects, all rounds of them; returns the new cookie. */
export async function* readDirSync(
  options: ReadOptions,
  search: DirSyncSearch,
  from: Buffer,
): AsyncGenerator<LdapEntry[], Buffer> {
  const { session, rootDse } = options.directory;
  const base = rootDse.namingContexts[0] ?? '';
  let cookie = from;
  for (let round = 0; round < maxRounds; round += 1) {
    const controls = [dirSyncControl(cookie), extendedDnControl()];
    const answer = yield* session.search({ ...search, base, scope: 'sub', controls });
    const { hasMore, cookie: next } = readAnswer(answer, search.doing);
    if (!hasMore) return next;
    if (next.equals(cookie)) break;
    cookie = next;
  }
  throw new RollcallError(
    'directory_protocol',
    `The server never comes to the end of its changes (while ${search.doing}).`,
    {
      raw: 'DirSync',
    },
  );
}

/** The position of now: a filter nobody matches makes the server walk to the end without sending anything. */
export async function dirSyncPosition(options: ReadOptions): Promise<Buffer> {
  const search = { filter: nobody, attributes: ['objectGUID'], doing: 'asking for the position of changes' };
  const reading = readDirSync(options, search, Buffer.alloc(0));
  for (;;) {
    const { done, value } = await reading.next();
    if (done === true) return value;
  }
}

function dirSyncControl(cookie: Buffer): ValueControl {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(incrementalValues);
  writer.writeInt(maxBytesPerRound);
  writer.writeBuffer(cookie, octets);
  writer.endSequence();
  return new ValueControl(controlOids.dirSync, writer.buffer, true);
}

/** SEQUENCE { moreResults, unused, cookie }; an answer without it may be anything but complete. */
function readAnswer(result: LdapResult, doing: string): { hasMore: boolean; cookie: Buffer } {
  const value = result.controls.get(controlOids.dirSync);
  if (value !== undefined) {
    const reader = new BerReader(value);
    reader.readSequence();
    const more = reader.readInt();
    reader.readInt();
    const cookie = reader.readString(octets, true);
    if (more !== null && cookie !== null && cookie.length > 0)
      return { hasMore: more !== 0, cookie: Buffer.from(cookie) };
  }
  throw new RollcallError('directory_protocol', `The server did not say where its changes end (while ${doing}).`, {
    raw: 'DirSync control missing',
  });
}
