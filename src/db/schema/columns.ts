/** Column types shared by every room's schema. Casing is snake_case on both sides (drizzle.config and drizzle()). */
import { customType, timestamp, uuid } from 'drizzle-orm/pg-core';
import { sql, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';

/** Text in collation "C": its equality, ranges and starts_with stay indexable under row-level security. */
export const keyText = customType<{ data: string }>({ dataType: () => 'text collate "C"' });

export const bytes = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

/** A point in time, as the ISO text Postgres gives back. */
export const instant = () => timestamp({ withTimezone: true, mode: 'string' });

export const createdAt = () => instant().notNull().defaultNow();

export const tenantId = () => uuid().notNull();

/** `column in (...)` for a check constraint, taken from the tuple in core so that the two can not drift. */
export function oneOf(column: PgColumn, values: readonly string[]): SQL {
  return sql`${column} in (${sql.raw(values.map((value) => `'${value}'`).join(', '))})`;
}
