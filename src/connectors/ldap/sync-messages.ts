/**
 * What a server says of changes beside its entries (RFC 4533 section 2): the state of an entry, the information in
 * between, the word at the end. Read by hand and strictly: a length or a tag that is not what the RFC says could hide
 * the sign that somebody was deleted.
 */
import { controlOids } from './controls.ts';
import { readMessageControls, undecodable } from './results.ts';
import type { LdapResult } from './results.ts';

/** RFC 4533 section 2.5. */
const syncInfoOid = '1.3.6.1.4.1.4203.1.9.1.4';
const idBytes = 16;
/** Real ones have about sixty bytes per server that may write. */
const maxCookieBytes = 65_536;
const maxLengthBytes = 4;

const tags = {
  boolean: 0x01,
  octets: 0x04,
  enumerated: 0x0a,
  sequence: 0x30,
  set: 0x31,
  intermediate: 0x79,
  name: 0x80,
  value: 0x81,
  newCookie: 0x80,
  refreshDelete: 0xa1,
  refreshPresent: 0xa2,
  idSet: 0xa3,
} as const;

/** Elements of definite length (RFC 4511 section 5.1), none of which reaches beyond what holds it. */
class Elements {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length;
  }

  get nextTag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** Content of the next element, which must have this tag. */
  take(tag: number, what: string): Buffer {
    if (this.nextTag !== tag) throw undecodable(`${what}: tag 0x${(this.nextTag ?? 0).toString(16)}`);
    let start = this.#at + 2;
    let length = this.#bytes[this.#at + 1] ?? -1;
    if (length >= 0x80) {
      const lengthBytes = length & 0x7f;
      const isSound = lengthBytes >= 1 && lengthBytes <= maxLengthBytes && start + lengthBytes <= this.#bytes.length;
      if (!isSound) throw undecodable(`${what}: length`);
      length = this.#bytes.readUIntBE(start, lengthBytes);
      start += lengthBytes;
    }
    if (length < 0 || start + length > this.#bytes.length) throw undecodable(`${what}: cut off`);
    this.#at = start + length;
    return this.#bytes.subarray(start, this.#at);
  }

  cookie(): Buffer | null {
    return this.nextTag === tags.octets ? cookieOf(this.take(tags.octets, 'sync cookie')) : null;
  }

  boolean(otherwise: boolean): boolean {
    if (this.nextTag !== tags.boolean) return otherwise;
    const content = this.take(tags.boolean, 'boolean');
    if (content.length !== 1) throw undecodable('boolean: length');
    return content[0] !== 0;
  }

  end(what: string): void {
    if (!this.isEmpty) throw undecodable(`${what}: something behind it`);
  }
}

/** A copy: a view would keep its whole message alive. */
function cookieOf(bytes: Buffer): Buffer {
  if (bytes.length > maxCookieBytes) throw undecodable(`sync cookie of ${bytes.length} bytes`);
  return Buffer.from(bytes);
}

function idBytesOf(elements: Elements): Buffer {
  const bytes = elements.take(tags.octets, 'entry id');
  if (bytes.length !== idBytes) throw undecodable(`entry id of ${bytes.length} bytes`);
  return bytes;
}

function idText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function inSequence(value: Buffer, what: string): Elements {
  const outer = new Elements(value);
  const inner = new Elements(outer.take(tags.sequence, what));
  outer.end(what);
  return inner;
}

const states = ['present', 'add', 'modify', 'delete'] as const;
export type SyncState = { readonly state: (typeof states)[number]; readonly id: string };

/** The state of an entry, from the control that comes with it (section 2.3). */
export function readSyncState(message: Buffer): SyncState {
  const value = readMessageControls(message).get(controlOids.syncState);
  if (value === undefined) throw undecodable('an entry without its sync state');
  const elements = inSequence(value, 'sync state');
  const [code = -1, ...rest] = elements.take(tags.enumerated, 'sync state');
  const state = rest.length === 0 ? states[code] : undefined;
  if (state === undefined) throw undecodable(`sync state ${code}`);
  const id = idText(idBytesOf(elements));
  elements.cookie();
  elements.end('sync state');
  return { state, id };
}

export type SyncDone = { readonly cookie: Buffer | null; readonly refreshDeletes: boolean };

/** The word at the end of a search (section 2.4). */
export function readSyncDone(result: LdapResult): SyncDone {
  const value = result.controls.get(controlOids.syncDone);
  if (value === undefined) throw undecodable('the end of changes without its cookie control');
  const elements = inSequence(value, 'sync done');
  const cookie = elements.cookie();
  const refreshDeletes = elements.boolean(false);
  elements.end('sync done');
  return { cookie, refreshDeletes };
}

export type SyncInfo =
  | { readonly kind: 'newCookie'; readonly cookie: Buffer }
  | { readonly kind: 'refreshDelete' | 'refreshPresent'; readonly cookie: Buffer | null; readonly refreshDone: boolean }
  | {
      readonly kind: 'idSet';
      readonly cookie: Buffer | null;
      readonly refreshDeletes: boolean;
      /** One behind the other: most of them only say that nothing changed. */
      readonly ids: Buffer;
    };

/** A Sync Info Message (section 2.5); no other intermediate response was asked for. */
export function readSyncInfo(message: Buffer): SyncInfo {
  const elements = inSequence(message, 'message');
  elements.take(0x02, 'message id');
  const response = new Elements(elements.take(tags.intermediate, 'intermediate response'));
  const name = response.take(tags.name, 'name').toString('latin1');
  if (name !== syncInfoOid) throw undecodable(`intermediate response ${name.slice(0, 100)}`);
  const value = new Elements(response.take(tags.value, 'sync info'));
  response.end('intermediate response');
  const info = readInfo(value);
  value.end('sync info');
  return info;
}

function readInfo(value: Elements): SyncInfo {
  const tag = value.nextTag ?? 0;
  if (tag === tags.newCookie) return { kind: 'newCookie', cookie: cookieOf(value.take(tag, 'sync cookie')) };
  if (tag === tags.refreshDelete || tag === tags.refreshPresent) {
    const inner = new Elements(value.take(tag, 'end of a phase'));
    const cookie = inner.cookie();
    const refreshDone = inner.boolean(true);
    inner.end('end of a phase');
    return { kind: tag === tags.refreshDelete ? 'refreshDelete' : 'refreshPresent', cookie, refreshDone };
  }
  const inner = new Elements(value.take(tags.idSet, 'sync info'));
  const cookie = inner.cookie();
  const refreshDeletes = inner.boolean(false);
  const set = new Elements(inner.take(tags.set, 'entry ids'));
  inner.end('set of ids');
  const parts: Buffer[] = [];
  while (!set.isEmpty) parts.push(idBytesOf(set));
  return { kind: 'idSet', cookie, refreshDeletes, ids: Buffer.concat(parts) };
}

export function countIds(ids: Buffer): number {
  return ids.length / idBytes;
}

export function* eachId(ids: Buffer): Generator<string> {
  for (let at = 0; at < ids.length; at += idBytes) yield idText(ids.subarray(at, at + idBytes));
}
