/** LDAPResult (RFC 4511 section 4.1.9) with what ldapts drops: referral URIs, and controls as raw bytes. */
import { BerReader, ProtocolOperation } from 'ldapts';
import { RollcallError } from '../../core/errors.ts';

export const messageTags = {
  searchEntry: ProtocolOperation.LDAP_RES_SEARCH_ENTRY,
  searchReference: ProtocolOperation.LDAP_RES_SEARCH_REF,
  searchDone: ProtocolOperation.LDAP_RES_SEARCH,
  bind: ProtocolOperation.LDAP_RES_BIND,
  extended: ProtocolOperation.LDAP_RES_EXTENSION,
  /** Not known to ldapts: syncrepl and others (RFC 4511 section 4.13). */
  intermediate: 0x79,
} as const;

const tags = { octets: 0x04, controls: 0xa0, referral: 0xa3, extendedName: 0x8a } as const;

export type MessageHead = { readonly id: number; readonly tag: number; readonly contentOffset: number };

export type LdapResult = {
  readonly code: number;
  readonly matchedDn: string;
  readonly message: string;
  readonly referrals: readonly string[];
  /** Name of an extended response, e.g. that of the notice of disconnection. */
  readonly oid: string | null;
  readonly controls: ReadonlyMap<string, Buffer>;
};

export function undecodable(raw: string): RollcallError {
  return new RollcallError('directory_protocol', 'The directory sent a message that can not be decoded.', { raw });
}

function need<T>(value: T | null, what: string): T {
  if (value !== null) return value;
  throw undecodable(what);
}

/** ldapts throws errors of its own for malformed bytes; they become ours here. */
function decoding<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof RollcallError) throw cause;
    throw new RollcallError('directory_protocol', 'The directory sent a message that can not be decoded.', {
      cause,
      raw: String(cause),
    });
  }
}

/** By hand: it runs for each of a million entries. The message's own length was checked when it was cut out. */
export function readHead(bytes: Buffer, start = 0, end = bytes.length): MessageHead {
  const idAt = behindLength(bytes, start + 1);
  const idBytes = bytes[idAt + 1] ?? 0;
  const tagAt = idAt + 2 + idBytes;
  const isSound = bytes[idAt] === 0x02 && idBytes >= 1 && idBytes <= 4 && tagAt + 1 < end;
  if (!isSound) throw undecodable('message id');
  return {
    id: bytes.readIntBE(idAt + 2, idBytes),
    tag: bytes[tagAt] ?? 0,
    contentOffset: behindLength(bytes, tagAt + 1),
  };
}

function behindLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  return first < 0x80 ? at + 1 : at + 1 + (first & 0x7f);
}

export function readResult(frame: Buffer): LdapResult {
  return decoding(() => {
    const reader = new BerReader(frame);
    need(reader.readSequence(), 'message');
    need(reader.readInt(), 'message id');
    need(reader.readSequence(), 'operation');
    const end = reader.offset + reader.length;
    const code = need(reader.readEnumeration(), 'result code');
    const matchedDn = need(reader.readString(), 'matched DN');
    const message = need(reader.readString(), 'message text');
    const referrals: string[] = [];
    let oid: string | null = null;
    while (reader.offset < end) {
      const tag = reader.peek();
      if (tag === tags.referral) referrals.push(...readStrings(reader));
      else if (tag === tags.extendedName) oid = need(reader.readString(tag), 'name');
      else skipElement(reader);
    }
    return { code, matchedDn, message, referrals, oid, controls: readControls(reader) };
  });
}

/** Controls that came with a message, whatever it is. */
export function readMessageControls(frame: Buffer): ReadonlyMap<string, Buffer> {
  return decoding(() => {
    const reader = new BerReader(frame);
    need(reader.readSequence(), 'message');
    need(reader.readInt(), 'message id');
    skipElement(reader);
    return readControls(reader);
  });
}

function skipElement(reader: BerReader): void {
  need(reader.readSequence(), 'element');
  reader.offset += reader.length;
}

function readStrings(reader: BerReader): string[] {
  need(reader.readSequence(), 'list');
  const end = reader.offset + reader.length;
  const found: string[] = [];
  while (reader.offset < end) found.push(need(reader.readString(), 'text'));
  return found;
}

function readControls(reader: BerReader): Map<string, Buffer> {
  const controls = new Map<string, Buffer>();
  if (reader.peek() !== tags.controls) return controls;
  need(reader.readSequence(), 'controls');
  const end = reader.offset + reader.length;
  while (reader.offset < end) {
    need(reader.readSequence(), 'control');
    const controlEnd = reader.offset + reader.length;
    const oid = need(reader.readString(), 'control type');
    if (reader.offset < controlEnd && reader.peek() === 0x01) reader.readBoolean();
    const value =
      reader.offset < controlEnd ? need(reader.readString(tags.octets, true), 'control value') : Buffer.alloc(0);
    controls.set(oid, value);
    reader.offset = controlEnd;
  }
  return controls;
}

/** Real ones have a few hundred bytes at most. */
const maxCookieBytes = 65_536;

/** RFC 2696: SEQUENCE { size, cookie }. A value that can not be read is an error, never an empty cookie. */
export function readPageCookie(value: Buffer): Buffer {
  return decoding(() => {
    const reader = new BerReader(value);
    need(reader.readSequence(0x30), 'paging control');
    need(reader.readInt(), 'paging size');
    const cookie = need(reader.readString(tags.octets, true), 'paging cookie');
    if (cookie.length > maxCookieBytes) throw new Error(`a paging cookie of ${cookie.length} bytes`);
    return Buffer.from(cookie);
  });
}
