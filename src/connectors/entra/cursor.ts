/** Where a delta read goes on: both delta links, and everything they are bound to. */
import { z } from 'zod';
import type { Cursor } from '../contract/contract.ts';
import { checkLink, placeOf } from './delta-page.ts';

const cursorSchema = z.strictObject({
  v: z.literal(1),
  usersDeltaLink: z.string(),
  groupsDeltaLink: z.string(),
  select: z.string(),
  tenant: z.string(),
  /** Of the app roles: what was assigned, and which roles there were. */
  appRoles: z.strictObject({ hash: z.string(), anchors: z.array(z.string()) }).optional(),
  /** When the round began, by our clock. */
  at: z.iso.datetime(),
});
export type EntraCursor = z.output<typeof cursorSchema>;

/** The service forgets after seven days; one is kept as a margin (A8). */
const maxAgeMs = 6 * 24 * 3_600_000;

export type CursorBinding = {
  readonly tenant: string;
  readonly select: string;
  readonly graphUrl: string;
  readonly now: Date;
};

/** The cursor, or why it can not be used any more. */
export function openCursor(cursor: Cursor | null, binding: CursorBinding): EntraCursor | string {
  const parsed = cursorSchema.safeParse(cursor);
  if (!parsed.success) return 'No usable position is stored.';
  const found = parsed.data;
  if (found.tenant !== binding.tenant) return 'The tenant of the connection changed.';
  if (found.select !== binding.select) return 'The properties that are read changed.';
  const age = binding.now.getTime() - Date.parse(found.at);
  if (age > maxAgeMs) return 'The stored position is older than six days.';
  if (age < -3_600_000) return 'The stored position lies in the future: the clock was set back.';
  try {
    checkLink(found.usersDeltaLink, placeOf(binding.graphUrl, 'users'));
    checkLink(found.groupsDeltaLink, placeOf(binding.graphUrl, 'groups'));
  } catch {
    return 'The stored position belongs to another Graph address.';
  }
  return found;
}
