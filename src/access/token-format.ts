/**
 * The text of a bearer token: `rcl_<kind>_<10 base62 id>_<43 base62 secret><6 base62 CRC-32>` (operations.md). The
 * prefix lets secret scanners find it, the checksum lets them (and us) drop a mistyped one without a look-up, and 43
 * base62 characters carry 256 bits.
 */
import { createHmac, createSecretKey, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { tokenKinds, type TokenKind } from '../core/vocabulary.ts';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const pattern = new RegExp(`^(rcl_(${tokenKinds.join('|')})_([0-9A-Za-z]{10})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})$`);

export type ParsedToken = { readonly kind: TokenKind; readonly id: string };

export type NewTokenText = ParsedToken & { readonly text: string };

export function makeToken(kind: TokenKind): NewTokenText {
  const id = randomBase62(10);
  const body = `rcl_${kind}_${id}_${randomBase62(43)}`;
  return { kind, id, text: body + checksum(body) };
}

/** Null for anything that is not a whole, correctly typed token. Says nothing about whether it was ever issued. */
export function parseToken(text: string): ParsedToken | null {
  const match = pattern.exec(text);
  const [, body, kind, id, sum] = match ?? [];
  if (body === undefined || id === undefined || sum !== checksum(body)) return null;
  const known = tokenKinds.find((candidate) => candidate === kind);
  return known === undefined ? null : { kind: known, id };
}

/** What is stored. The pepper keeps a stolen table from being tried against guessed texts. */
export function hashToken(text: string, pepper: Buffer): Buffer {
  return createHmac('sha256', keyOf(pepper)).update(text, 'utf8').digest();
}

/** Made once: Node spends four times as long on making a key of bytes as on the hash. */
const keys = new WeakMap<Buffer, KeyObject>();

function keyOf(pepper: Buffer): KeyObject {
  const known = keys.get(pepper);
  if (known !== undefined) return known;
  const made = createSecretKey(pepper);
  keys.set(pepper, made);
  return made;
}

export function isSameHash(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Bytes of 248 and above are thrown away, so that every character is equally likely. */
function randomBase62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && text.length < length) text += alphabet.charAt(byte % 62);
    }
  }
  return text;
}

function checksum(body: string): string {
  let rest = crc32(body);
  let text = '';
  for (let place = 0; place < 6; place += 1) {
    text = alphabet.charAt(rest % 62) + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}
