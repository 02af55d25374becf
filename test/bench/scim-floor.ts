/**
 * The floor of a create: exactly the rows it leaves, written by SQL alone, under row-level security, one transaction
 * each, all of it in one packet. The rows are copies of those that the service made of one user.
 */
import postgres from 'postgres';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import type { LoadResult } from './load.ts';
import { percentilesOf } from './load.ts';
import { cpuSeconds } from './processes.ts';

type Kind = { readonly table: string; readonly rows: readonly Record<string, unknown>[] };

/** Columns that Postgres makes itself are left out of copies. */
async function readRows(sql: postgres.Sql, table: string, where: postgres.PendingQuery<postgres.Row[]>): Promise<Kind> {
  const found = await sql<{ row: Record<string, unknown> }[]>`
    select to_jsonb(t) - array(
      select a.attname from pg_attribute a where a.attrelid = ${table}::regclass and a.attgenerated <> '') as row
    from ${sql(table)} t where ${where}`;
  return { table, rows: found.map(({ row }) => row) };
}

async function readCreated(sql: postgres.Sql, anchor: string): Promise<{ kinds: Kind[]; userId: string }> {
  const [link] = await sql<{ tenant: string; user: string }[]>`
    select tenant_id as tenant, user_id as user from links where anchor = ${anchor}`;
  if (link === undefined) throw new Error(`Nobody was made of ${anchor}.`);
  const ofUser = sql`tenant_id = ${link.tenant} and user_id = ${link.user}`;
  const ofAnchor = sql`tenant_id = ${link.tenant} and anchor = ${anchor}`;
  const kinds = [
    await readRows(sql, 'mirror_objects', ofAnchor),
    await readRows(sql, 'users', sql`tenant_id = ${link.tenant} and id = ${link.user}`),
    await readRows(sql, 'links', ofAnchor),
    await readRows(sql, 'grants', ofUser),
    await readRows(sql, 'memberships', ofUser),
    await readRows(sql, 'changes', ofAnchor),
  ];
  return { kinds, userId: link.user };
}

/** `anchor` names a user whom the service made; `names` are what must be unique of it: in its userName, its externalId. */
export async function measureFloor(
  databaseUrl: string,
  serverPid: number,
  {
    anchor,
    names,
    count,
    connections,
  }: { anchor: string; names: readonly string[]; count: number; connections: number },
): Promise<LoadResult & { readonly rows: number }> {
  const address = parseDatabaseUrl(databaseUrl);
  const owner = postgres({ ...address, max: 1 });
  const { kinds, userId } = await readCreated(owner, anchor);
  await owner.end();
  const tenantId = String(kinds[0]?.rows[0]?.['tenant_id']);
  const sql = postgres({ ...address, max: connections, connection: { role: 'rollcall_tenant' } });
  const durations = new Float64Array(count);
  try {
    const sessions = await Promise.all(Array.from({ length: connections }, () => sql.reserve()));
    const before = cpuSeconds(serverPid);
    const startedAt = performance.now();
    let next = 0;
    await Promise.all(
      sessions.map(async (session) => {
        for (let index = next++; index < count; index = next++) {
          const sentAt = performance.now();
          const copies = copiesOf(kinds, { anchor, userId, names }, index);
          await Promise.all([
            session`begin`,
            session`select set_config('rollcall.tenant_id', ${tenantId}, true)`,
            ...copies.map(
              ({ table, text }) => session`
                insert into ${session(table)} select (jsonb_populate_recordset(null::${session(table)}, ${text}::text::jsonb)).*`,
            ),
            session`commit`,
          ]);
          durations[index] = performance.now() - sentAt;
        }
      }),
    );
    const seconds = (performance.now() - startedAt) / 1000;
    const after = cpuSeconds(serverPid);
    for (const session of sessions) session.release();
    return {
      perSecond: count / seconds,
      percentileMs: percentilesOf(durations),
      nodeCpuMs: ((after.node - before.node) * 1000) / count,
      allCpuMs: ((after.all - before.all) * 1000) / count,
      rows: kinds.reduce((sum, { rows }) => sum + rows.length, 0),
    };
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** The same rows under other ids and names; the seq of a change row is its key within a run. */
function copiesOf(
  kinds: readonly Kind[],
  { anchor, userId, names }: { readonly anchor: string; readonly userId: string; readonly names: readonly string[] },
  index: number,
): { readonly table: string; readonly text: string }[] {
  const tail = (0xf00000000000 + index).toString(16);
  return kinds.map(({ table, rows }) => {
    const copies =
      table === 'changes' ? rows.map((row, at) => ({ ...row, seq: 1_000_000_000 + index * rows.length + at })) : rows;
    const text = JSON.stringify(copies)
      .replaceAll(anchor, anchor.slice(0, -12) + tail)
      .replaceAll(userId, userId.slice(0, -12) + tail);
    return { table, text: names.reduce((left, name) => left.replaceAll(name, `floor${index}`), text) };
  });
}
