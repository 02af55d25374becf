/**
 * OpenLDAP's feed of changes (RFC 4533, LDAP Content Synchronization; slapo-syncprov), refreshOnly: which entries of the
 * tree changed since the cookie, and which are gone. It is asked for the whole tree and whatever it holds: base and filter
 * of the connection decide when the named entries are read anew.
 */
import { BerWriter } from 'ldapts';
import { isRollcallError } from '../../core/errors.ts';
import type { SyncDone } from './sync-messages.ts';
import { readSyncDone } from './sync-messages.ts';
import { controlOids, ValueControl } from './controls.ts';
import type { Directory } from './directory.ts';
import type { LdapEntry } from './entry.ts';
import { isPresent } from './filter.ts';
import { contextOf } from './proof.ts';
import type { Search } from './session.ts';

const refreshOnly = 1;
const octets = 0x04;

/** SEQUENCE { mode, cookie OPTIONAL, reloadHint DEFAULT FALSE } (section 2.2). */
export function syncControl(cookie: Buffer | null): ValueControl {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeEnumeration(refreshOnly);
  if (cookie !== null) writer.writeBuffer(cookie, octets);
  writer.endSequence();
  return new ValueControl(controlOids.syncRequest, writer.buffer, true);
}

/** The topmost entry of the database that holds the users. */
export function suffixOf(directory: Directory): string {
  return contextOf(directory, directory.users.base) ?? directory.users.base;
}

function suffixSearch(directory: Directory, doing: string): Search {
  const attributes = ['entryUUID', 'hasSubordinates'];
  return { base: suffixOf(directory), scope: 'base', filter: isPresent('objectClass'), attributes, doing };
}

/** Replicas share ids and change numbers: a cookie of one means the same to the others. Another tree has another id. */
export async function treeIdentity(directory: Directory): Promise<string | null> {
  try {
    const [suffix] = await directory.session.find(suffixSearch(directory, 'asking which tree this is'));
    return suffix?.text('entryuuid') ?? null;
  } catch (error) {
    // A refusal is an answer; a lost connection is none.
    if (isRollcallError(error) && error.details['resultCode'] !== undefined) return null;
    throw error;
  }
}

/**
 * The position of now, or why there can be none. A cookie is the newest change of the database whatever was searched
 * for, so that one entry is enough.
 */
export async function syncPosition(directory: Directory): Promise<{ cookie: Buffer } | string> {
  const search = { ...suffixSearch(directory, 'asking for the position of changes'), controls: [syncControl(null)] };
  const [suffix, done] = await readWithEnd(directory, search);
  if (suffix === undefined || suffix.text('entryuuid') === null)
    return `the account may not read entryUUID of ${search.base}`;
  // without it nobody could tell a renamed unit with people below from one without
  if (suffix.bool('hassubordinates') === null) return `the account may not read hasSubordinates of ${search.base}`;
  if (done.cookie === null || done.cookie.length === 0) return 'the server gave no position';
  return { cookie: done.cookie };
}

async function readWithEnd({ session }: Directory, search: Search): Promise<[LdapEntry | undefined, SyncDone]> {
  const reading = session.search(search);
  let first: LdapEntry | undefined;
  for (;;) {
    const { done, value } = await reading.next();
    if (done === true) return [first, readSyncDone(value)];
    first ??= value[0];
  }
}
