/** Pages of a long list (goal P9), and look-ups beside the same in SQL. */
import postgres from 'postgres';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { percentilesOf, reportLoad, runLoad, type LoadResult } from './load.ts';
import { tell } from './report.ts';
import type { ScimBench } from './scim-bench.ts';

const pageSize = 100;
const rounds = 200;

type Lister = (
  name: string,
  count: number,
  connections: number,
  page: (index: number) => number,
) => Promise<LoadResult>;

/** `total`: how many users each list must say there are. */
function lister({ client, pid }: ScimBench, total: number): Lister {
  return (name, count, connections, page) =>
    runLoad(client, pid, {
      name,
      count,
      connections,
      status: 200,
      call: (index) => ({
        method: 'GET',
        path: `/Users?count=${pageSize}&startIndex=${(page(index) - 1) * pageSize + 1}`,
      }),
      onAnswer: ({ body }) => {
        const { totalResults, itemsPerPage } = JSON.parse(body) as { totalResults: number; itemsPerPage: number };
        if (totalResults === total && itemsPerPage === pageSize) return;
        throw new Error(`${name}: ${itemsPerPage} of ${totalResults} users instead of ${pageSize} of ${total}.`);
      },
    });
}

export async function measureLists(bench: ScimBench, total: number): Promise<void> {
  const { report, options } = bench;
  const deep = Math.min(10_000, Math.floor(total / pageSize));
  const list = lister(bench, total);
  tell('pages of a list');
  // the first thing that is asked of the service: all its connections plan, and its code is compiled
  await list('warm', rounds * 2, options.connections, () => 1);
  const first = await list('page_1', rounds, 1, () => 1);
  reportLoad(report, 'page_1', first);
  reportLoad(report, 'page_1_parallel', await list('page_1', rounds * 2, options.connections, () => 1), {
    perSecond: 300,
  });
  // never the page behind the one before, which the service would remember
  const jump = (index: number) => deep - ((index * 37) % Math.max(1, Math.min(deep - 2, 1_000)));
  await list('warm', 10, 1, jump);
  const last = await list(`page_${deep}`, rounds, 1, jump);
  reportLoad(report, `page_${deep}`, last, { p95Ms: 25 });
  report(`page_${deep}_to_page_1_p95`, last.percentileMs(95) / first.percentileMs(95), 'times', 2);
}

/** Who was made in the last two minutes is counted one by one, so that the total is right. */
export async function measureListAfterCreates(bench: ScimBench, total: number): Promise<void> {
  const list = lister(bench, total);
  const { connections } = bench.options;
  await list('warm', rounds, connections, () => 1);
  reportLoad(bench.report, 'page_1_parallel_after_creates', await list('page_1', rounds * 2, connections, () => 1));
}

type LookUp = {
  readonly name: string;
  readonly filter: (index: number) => string;
  readonly sql: (sql: postgres.Sql, index: number) => postgres.PendingQuery<postgres.Row[]>;
};

/** Each over HTTP, one request after the other, and as a statement of its own by the owner of the tables. */
export async function measureLookUps(bench: ScimBench, domain: string): Promise<void> {
  const { client, pid, report, options, place } = bench;
  const sql = postgres({ ...parseDatabaseUrl(bench.databaseUrl), max: 1 });
  const mine = () =>
    sql`o.tenant_id = ${place.tenantId} and o.connection_id = ${place.connectionId} and o.kind = 'user' and o.is_pushed
      and o.deleted_at is null`;
  const numberOf = (index: number) => ((index * 7919) % options.users) + 1;
  const nameOf = (index: number) => `user${numberOf(index)}@${domain}`;
  const rareOf = (index: number) => `r${numberOf(index)}@sand`;
  const page = (where: postgres.PendingQuery<postgres.Row[]>) => sql`
    with found as (select o.anchor, o.source from mirror_objects o where ${mine()} and ${where})
    select anchor, source, (select count(*) from found) as total from found order by anchor limit 100`;
  const lookUps: readonly LookUp[] = [
    {
      name: 'userName_eq',
      filter: (index) => `userName eq "${nameOf(index)}"`,
      sql: (_sql, index) => page(sql`o.user_name_key = ${nameOf(index)}`),
    },
    {
      name: 'externalId_eq',
      filter: (index) => `externalId eq "ext-${numberOf(index)}"`,
      sql: (_sql, index) => page(sql`o.external_id = ${`ext-${numberOf(index)}`}`),
    },
    {
      name: 'email_eq',
      filter: (index) => `emails.value eq "${nameOf(index)}"`,
      sql: (_sql, index) => page(sql`o.email_key = ${nameOf(index)}`),
    },
    {
      name: 'userName_sw',
      filter: (index) => `userName sw "user${numberOf(index)}@"`,
      sql: (_sql, index) => page(sql`starts_with(o.user_name_key, ${`user${numberOf(index)}@`})`),
    },
    {
      name: 'userName_co',
      filter: (index) => `userName co "${rareOf(index)}"`,
      sql: (_sql, index) =>
        page(sql`o.user_name_key like ${`%${rareOf(index)}%`}
          and (coalesce(o.user_name_key, '') || chr(10) || coalesce(o.display_name_key, '') || chr(10) || coalesce(o.email_key, ''))
            like ${`%${rareOf(index)}%`}`),
    },
  ];
  try {
    for (const lookUp of lookUps) {
      tell(lookUp.name);
      const ask = (count: number) =>
        runLoad(client, pid, {
          name: lookUp.name,
          count,
          connections: 1,
          status: 200,
          call: (index) => ({ method: 'GET', path: `/Users?filter=${encodeURIComponent(lookUp.filter(index))}` }),
          onAnswer: ({ body }) => {
            const { totalResults } = JSON.parse(body) as { totalResults: number };
            if (totalResults < 1) throw new Error(`${lookUp.name}: nobody was found.`);
          },
        });
      await ask(20);
      const overHttp = (await ask(rounds)).percentileMs(50);
      const durations = new Float64Array(rounds);
      for (let index = -20; index < rounds; index += 1) {
        const sentAt = performance.now();
        await lookUp.sql(sql, Math.abs(index));
        if (index >= 0) durations[index] = performance.now() - sentAt;
      }
      const inSql = percentilesOf(durations)(50);
      report(`${lookUp.name}_p50`, overHttp, 'ms');
      report(`${lookUp.name}_sql_p50`, inSql, 'ms');
      report(`${lookUp.name}_above_sql`, overHttp - inSql, 'ms', 5);
    }
  } finally {
    await sql.end({ timeout: 2 });
  }
}
