/**
 * The floor: the least SQL that does the same work over the same number of rows, with nothing around it. Printed
 * beside the engine's figures, so that one sees what the engine adds.
 */
import type postgres from 'postgres';

export type Floor = { readonly unchanged: number; readonly changed: number; readonly firstLoad: number };

/** Seconds; in a schema of its own that is dropped afterwards. */
export async function measureFloor(sql: postgres.Sql, users: number): Promise<Floor> {
  await sql`drop schema if exists floor cascade`;
  await sql`create schema floor`;
  try {
    const firstLoad = await timed(() => load(sql, users));
    await sql`vacuum analyze floor.people`;
    const unchanged = await timed(() => compare(sql));
    const changed = await timed(() => change(sql));
    return { firstLoad, unchanged, changed };
  } finally {
    await sql`drop schema floor cascade`;
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1000;
}

/** People with one index, their links and one grant each, and an audit row for each. */
async function load(sql: postgres.Sql, users: number): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`create table floor.people (id uuid primary key, anchor text collate "C" unique, hash bytea, facts jsonb)`;
    await tx`create table floor.grants (user_id uuid primary key, role text, source text)`;
    await tx`create table floor.changes (seq bigint primary key, user_id uuid, before jsonb, after jsonb)`;
    await tx`create table floor.outbox (seq bigint primary key, payload jsonb)`;
    await tx`
      insert into floor.people
      select gen_random_uuid(), lpad(to_hex(n), 36, '0'), decode(md5(n::text), 'hex'),
        jsonb_build_object('displayName', 'Person ' || n, 'email', n || '@mail.example', 'department', 'Department ' || n % 40)
      from generate_series(1, ${users}::int) n`;
    await tx`insert into floor.grants select id, 'user', 'rule' from floor.people`;
    await tx`
      insert into floor.changes
      select row_number() over (), id, null, facts from floor.people`;
  });
}

/** Every key and hash read once and thrown away. */
async function compare(sql: postgres.Sql): Promise<void> {
  for await (const rows of sql`select anchor, hash from floor.people`.cursor(5_000)) {
    if (rows.length === 0) throw new Error('A cursor without rows.');
  }
}

/** The same, and one person in a hundred written with a change row and a message. */
async function change(sql: postgres.Sql): Promise<void> {
  await compare(sql);
  await sql.begin(async (tx) => {
    await tx`
      create temporary table changed on commit drop as
      select id, facts, facts || '{"jobTitle": "new"}' as now_facts from floor.people where ('x' || right(anchor, 4))::bit(16)::int % 100 = 7`;
    await tx`update floor.people p set facts = c.now_facts from changed c where c.id = p.id`;
    await tx`
      insert into floor.changes
      select (select max(seq) from floor.changes) + row_number() over (), id, facts, now_facts from changed`;
    await tx`insert into floor.outbox select row_number() over (), now_facts from changed`;
  });
}
