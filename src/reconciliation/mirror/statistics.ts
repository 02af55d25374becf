/**
 * Fresh planner statistics after a run wrote many rows. Autovacuum analyzes about once a minute; a run is faster, and
 * its next statement would be planned for empty tables (settling 2,000 links: 23 s without, 0.1 s with).
 */
import { analyzeTables, type Db } from '../../db/db.ts';

/** Below this, a plan for the old size is a good plan for the new one. */
const manyRows = 500;
/** The same, as a share of what the planner believes a table holds: PostgreSQL's own autovacuum_analyze_scale_factor. */
const manyShare = 0.1;
/** Rows are found by the id of their run, of which the planner knows nothing before it has seen some of them. */
const alwaysOutdated = new Set(['changes']);

export async function refreshStatistics(db: Db, rowsWritten: number, tables: readonly string[]): Promise<void> {
  if (rowsWritten < manyRows) return;
  const known = await db.stage.sql<{ name: string; rows: number }[]>`
    select relname as name, reltuples::float8 as rows from pg_class
    where relnamespace = 'public'::regnamespace and relname = any(${tables as string[]})`;
  const outdated = known
    .filter(({ name, rows }) => alwaysOutdated.has(name) || rows < 0 || rowsWritten >= rows * manyShare)
    .map(({ name }) => name);
  await analyzeTables(db.stage, outdated);
}
