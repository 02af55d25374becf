/** Where a delta read goes on, and everything that position is bound to. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Cursor } from '../contract/contract.ts';

const position = z.discriminatedUnion('by', [
  z.strictObject({ by: z.literal('dirsync'), cookie: z.base64() }),
  z.strictObject({ by: z.literal('usn'), usn: z.string().regex(/^\d{1,19}$/) }),
  z.strictObject({ by: z.literal('syncrepl'), cookie: z.base64() }),
]);
export type Position = z.output<typeof position>;

const cursorSchema = z.strictObject({
  v: z.literal(1),
  position,
  /**
   * Whom the position belongs to: the domain controller, because USNs and DirSync cookies of another one count
   * otherwise; in OpenLDAP the tree, because its cookies mean the same to all its replicas.
   */
  server: z.string().min(1),
  /** Hash of what is read: bases, filters, attributes. */
  query: z.string(),
  /** When the read began, by our clock. */
  at: z.iso.datetime(),
  /** How many were read last, so that a sweep that shows far fewer is not believed. */
  users: z.int(),
  groups: z.int(),
  /** When the next account ends by itself; no change of the directory will tell. */
  nextEnd: z.iso.datetime().nullable(),
});
export type LdapCursor = z.output<typeof cursorSchema>;

export type CursorBinding = { readonly server: string; readonly query: string; readonly now: Date };

/** Deleted objects are kept 60 days where a forest was made long ago (MS-ADTS section 6.1.1.2.4.1.1, tombstoneLifetime). */
const maxAgeMs = 30 * 86_400_000;
const clockSlackMs = 3_600_000;

/** The cursor, or why it can not be used any more. */
export function openCursor(cursor: Cursor | null, binding: CursorBinding): LdapCursor | string {
  const parsed = cursorSchema.safeParse(cursor);
  if (!parsed.success) return 'No usable position is stored.';
  const found = parsed.data;
  if (found.server !== binding.server) return 'Another server answers than the one the position belongs to.';
  if (found.query !== binding.query) return 'What is read changed.';
  const age = binding.now.getTime() - Date.parse(found.at);
  if (age > maxAgeMs) return 'The stored position is older than thirty days.';
  if (age < -clockSlackMs) return 'The stored position lies in the future: the clock was set back.';
  return found;
}

export function hashOfQuery(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
