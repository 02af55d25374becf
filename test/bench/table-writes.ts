/** Rows written by table, as Postgres counts them (pg_stat_user_tables), schema stage excluded. */
import type postgres from 'postgres';

export type Writes = ReadonlyMap<string, number>;

const settleTimeoutMs = 30_000;

/** Each backend reports its counts about once a second, so two equal readings in a row are awaited. */
export async function readWrites(sql: postgres.Sql): Promise<Writes> {
  const deadline = performance.now() + settleTimeoutMs;
  let previous = '';
  for (;;) {
    const rows = await sql<{ name: string; writes: string }[]>`
      select schemaname || '.' || relname as name, n_tup_ins + n_tup_upd + n_tup_del as writes
      from pg_stat_user_tables where schemaname <> 'stage' order by 1`;
    const text = JSON.stringify(rows);
    if (text === previous) return new Map(rows.map((row) => [row.name, Number(row.writes)]));
    if (performance.now() > deadline) throw new Error('The counts of Postgres do not come to rest.');
    previous = text;
    await sql`select pg_sleep(1.5)`;
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
