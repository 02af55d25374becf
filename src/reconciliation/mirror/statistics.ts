/**
 * Fresh planner statistics after a run wrote many rows. Autovacuum analyzes about once a minute; a run is faster, and
 * its next statement would be planned for empty tables (settling 2,000 links: 23 s without, 0.1 s with).
 */
import { analyzeTables, type Db } from '../../db/db.ts';

/** Below this, a plan for the old size is a good plan for the new one. */
const manyRows = 500;

export async function refreshStatistics(db: Db, rowsWritten: number, tables: readonly string[]): Promise<void> {
  if (rowsWritten >= manyRows) await analyzeTables(db.stage, tables);
}
