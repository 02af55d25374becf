/** Branded identifiers: an organization's id can not be passed where a user's is asked for. All are UUIDv7 in text form. */
import { randomUUID } from 'node:crypto';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type TenantId = Branded<'tenant'>;
export type OrganizationId = Branded<'organization'>;
export type UserId = Branded<'user'>;
export type ConnectionId = Branded<'connection'>;
export type RunId = Branded<'run'>;

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

let lastMs = 0;
let sequence = 0;

/**
 * A UUIDv7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then a 12-bit counter that keeps ids of one
 * process in order within a millisecond, then 62 random bits. Postgres 15 has no uuidv7(), so Node makes them.
 */
export function newId<Id extends string = string>(nowMs: number = Date.now()): Id {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    sequence = 0;
  } else {
    sequence += 1;
    if (sequence > 0xfff) {
      lastMs += 1;
      sequence = 0;
    }
  }
  const time = lastMs.toString(16).padStart(12, '0');
  // Node draws random bytes for UUIDs ahead; the variant and 62 random bits stand at the same place in version 4
  const random = randomUUID().slice(19);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence.toString(16).padStart(3, '0')}-${random}` as Id;
}
