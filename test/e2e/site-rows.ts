/** What the tables say, made comparable between databases and moments. */
import type postgres from 'postgres';
import { expect } from 'vitest';

export type Rows = Readonly<Record<string, readonly string[]>>;

/**
 * What only counts attempts (of runs also what is left to stage, merge and prove for the attempt that ends it), and
 * what a row is called. Of a time it matters only whether there is one.
 */
const without: Readonly<Record<string, readonly string[]>> = {
  users: ['id'],
  memberships: [],
  grants: [],
  links: [],
  mirror_objects: [],
  mirror_edges: [],
  role_mappings: [],
  changes: ['applied_at'],
  cases: ['id'],
  runs: ['id', 'epoch', 'scheduled_for', 'started_at', 'heartbeat_at', 'finished_at', 'approved_at'],
  connections: ['last_full_at', 'next_run_at'],
  outbox_messages: ['id', 'available_at', 'delivered_at', 'attempts'],
  audit_events: ['seq', 'at', 'expires_at'],
};

export async function readRows(sql: postgres.Sql): Promise<Rows> {
  const names = new Map<string, string>();
  const called = await sql<{ id: string; name: string }[]>`
    select id::text, 'user ' || email as name from users
    union all select id::text, 'run ' || row_number() over (order by id) from runs
    union all select id::text, concat_ws(' ', 'case', kind, subject, anchor) from cases`;
  for (const { id, name } of called) names.set(id, name);
  const rows: Record<string, string[]> = {};
  for (const [table, left] of Object.entries(without)) {
    const omitted = ['created_at', 'updated_at', ...left];
    const found = await sql<{ row: string }[]>`
      select (to_jsonb(t) - ${omitted}::text[] #- '{counts,seconds}' #- '{counts,fetched,staged}' #- '{counts,mirrored}' #- '{counts,proven}' #- '{baseline,at}')::text as row from ${sql(table)} t`;
    rows[table] = found
      .map(({ row }) =>
        row
          .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => names.get(id) ?? id)
          .replaceAll(/"\d{4}-\d\d-\d\d[T ][^"]+"/g, '"a time"'),
      )
      .toSorted();
  }
  return rows;
}

/** Names the rows that differ; thousands of equal ones would hide them. */
export function expectSameRows(actual: Rows, expected: Rows): void {
  for (const [table, rows] of Object.entries(expected)) {
    const got = actual[table] ?? [];
    const known = new Set(rows);
    const found = new Set(got);
    expect(
      { count: got.length, more: got.filter((row) => !known.has(row)), fewer: rows.filter((row) => !found.has(row)) },
      table,
    ).toEqual({ count: rows.length, more: [], fewer: [] });
  }
}

/** One text per row with the transaction that wrote it: even a write that changes no value is seen. */
export async function readTraces(sql: postgres.Sql): Promise<Rows> {
  const traces: Record<string, string[]> = {};
  for (const table of Object.keys(without)) {
    const found = await sql<{ row: string }[]>`select xmin || ' ' || t::text as row from ${sql(table)} t`;
    traces[table] = found.map(({ row }) => row).toSorted();
  }
  return traces;
}
