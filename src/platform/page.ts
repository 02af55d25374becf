/**
 * platform/page: keyset pages. A cursor is the sort key of the last row shown, opaque to callers (base64url JSON), so
 * that page 10,000 costs what page 1 costs and rows that come and go shift nothing.
 */
import { z } from 'zod';
import { RollcallError } from '../core/errors.ts';

/** Spread into a route's query schema. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(200).default(50).describe('Rows per page.'),
  cursor: z.string().max(2000).optional().describe('nextCursor of the page before.'),
};

export type PageRequest = { readonly limit: number; readonly cursor?: string | undefined };

export type Page<Item> = { readonly items: Item[]; readonly nextCursor: string | null };

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

type SortKey = readonly (string | number | null)[];

export function encodeCursor(key: SortKey): string {
  return Buffer.from(JSON.stringify(key), 'utf8').toString('base64url');
}

/** The sort key to go on after, or null at the start; a cursor of another list or an edited one is `invalid_input`. */
export function decodeCursor<Schema extends z.ZodType>(
  cursor: string | undefined,
  schema: Schema,
): z.output<Schema> | null {
  if (cursor === undefined) return null;
  const parsed = schema.safeParse(parseJson(Buffer.from(cursor, 'base64url').toString('utf8')));
  if (parsed.success) return parsed.data;
  throw new RollcallError('invalid_input', 'The cursor is not one this list gave out.', {
    remedy: 'Pass nextCursor of the page before unchanged, or leave it out to start again.',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Makes a page of `limit + 1` rows read: the extra row says that there is a next page and is not shown. */
export function cutPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => SortKey,
  show: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const hasNext = rows.length > limit && last !== undefined;
  return { items: shown.map(show), nextCursor: hasNext ? encodeCursor(keyOf(last)) : null };
}
