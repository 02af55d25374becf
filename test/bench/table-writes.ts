/** Rows written by table, as Postgres counts them (pg_stat_user_tables), schema stage excluded. */
import type postgres from 'postgres';

export type Writes = ReadonlyMap<string, number>;

/** A backend that goes idle reports what it still holds back after ten seconds (PGSTAT_IDLE_INTERVAL). */
const restMs = 11_000;
const timeoutMs = 60_000;

/** Waits until the counts are at rest; the queue's own tables never are, so they do not count for that. */
export async function readWrites(sql: postgres.Sql): Promise<Writes> {
  const deadline = performance.now() + timeoutMs;
  let previous = '';
  let restingSince = performance.now();
  for (;;) {
    const rows = await sql<{ name: string; writes: string }[]>`
      select schemaname || '.' || relname as name, n_tup_ins + n_tup_upd + n_tup_del as writes
      from pg_stat_user_tables where schemaname <> 'stage' order by 1`;
    const text = JSON.stringify(rows.filter((row) => !row.name.startsWith('pgboss.')));
    const now = performance.now();
    if (text !== previous) restingSince = now;
    else if (now - restingSince >= restMs) return new Map(rows.map((row) => [row.name, Number(row.writes)]));
    if (now > deadline) throw new Error('The counts of Postgres do not come to rest within a minute.');
    previous = text;
    await sql`select pg_sleep(1)`;
  }
}

export function writesBetween(before: Writes, after: Writes): Map<string, number> {
  const written = new Map<string, number>();
  for (const [name, count] of after) {
    const difference = count - (before.get(name) ?? 0);
    if (difference !== 0) written.set(name, difference);
  }
  return written;
}
