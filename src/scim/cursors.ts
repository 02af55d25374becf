/**
 * Cursors of RFC 9865: where a list goes on, sealed. The text is encrypted and authenticated (AES-256-GCM) with the
 * connection and the query as additional data: it names nobody, a changed one does not open, and neither does one of
 * another query, connection or installation. Nothing is kept for a cursor, so any replica continues any list.
 */
import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../platform/clock.ts';
import { badRequest } from './scim-error.ts';

/** What a cursor stands behind, or before where it leads back; `key` is the sort key of that object, null where it has none or nothing is sorted. */
export type CursorPlace = {
  readonly anchor: string;
  readonly key: string | null;
  /** The total as the first page counted it: a client that pages sees one number. */
  readonly total: number;
  /** Of a `previousCursor`. */
  readonly isBackward?: true;
};

export type Cursors = {
  /** `query` says which list this is: the same words must be given to open. */
  seal(query: readonly string[], place: CursorPlace): string;
  /** 400 invalidCursor for what was not sealed here for this query, 400 expiredCursor for what is too old. */
  open(query: readonly string[], text: string): CursorPlace;
};

/** Announced in ServiceProviderConfig. */
export const cursorTimeoutSeconds = 3_600;
const maxLength = 4_000;
const ivBytes = 12;
const tagBytes = 16;

const sealed = z.tuple([z.number(), z.string(), z.string().nullable(), z.number(), z.boolean()]);

export function createCursors(pepper: Buffer, clock: Pick<Clock, 'now'>): Cursors {
  const key = Buffer.from(hkdfSync('sha256', pepper, '', 'rollcall scim cursor', 32));
  const nowSeconds = () => Math.floor(clock.now().getTime() / 1_000);
  return {
    seal: (query, { anchor, key: sortKey, total, isBackward = false }) => {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(additionalData(query));
      const plain = JSON.stringify([nowSeconds() + cursorTimeoutSeconds, anchor, sortKey, total, isBackward]);
      const data = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      // base64url has only characters that RFC 3986 calls unreserved, as RFC 9865 section 2 asks
      return Buffer.concat([iv, cipher.getAuthTag(), data]).toString('base64url');
    },
    open: (query, text) => {
      const [expiresAt, anchor, sortKey, total, isBackward] = decrypt(key, additionalData(query), text);
      if (expiresAt < nowSeconds()) {
        throw badRequest(
          'expiredCursor',
          `The cursor is older than ${cursorTimeoutSeconds} seconds; start again with an empty one.`,
        );
      }
      return { anchor, key: sortKey, total, ...(isBackward ? { isBackward } : {}) };
    },
  };
}

function additionalData(query: readonly string[]): Buffer {
  return hash('sha256', JSON.stringify(query), 'buffer');
}

function decrypt(key: Buffer, aad: Buffer, text: string): z.output<typeof sealed> {
  const bytes = text.length <= maxLength && /^[\w-]+$/.test(text) ? Buffer.from(text, 'base64url') : Buffer.alloc(0);
  if (bytes.length <= ivBytes + tagBytes) throw invalid();
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes })
    .setAAD(aad)
    .setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes));
  try {
    const plain = Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]);
    return sealed.parse(JSON.parse(plain.toString('utf8')));
  } catch (cause) {
    // only final() can fail: whatever opens is what we sealed
    throw invalid(cause);
  }
}

function invalid(cause?: unknown) {
  return badRequest(
    'invalidCursor',
    'The cursor was not issued for this query of this connection; start again with an empty one.',
    cause,
  );
}
