/**
 * Goals P6 to P9 and P11 over HTTP against a sandbox: create, get, filter, patch with 16 keep-alive connections; pages and
 * look-ups; members into a group of 100 and into one of 100,000; many tenants at once. Of --users nine tenths are in
 * one organization, the others in fifty of their own.
 */
import postgres from 'postgres';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { createClient, reportLoad, runLoad } from './load.ts';
import { createReport, tell, type BenchOptions } from './report.ts';
import { startSandbox, type Sandbox } from './sandbox.ts';
import { idOf, newUser, patchOf, type ScimBench } from './scim-bench.ts';
import { measureFloor } from './scim-floor.ts';
import { measureGroups } from './scim-groups.ts';
import { measureListAfterCreates, measureLists, measureLookUps } from './scim-lists.ts';
import { measureTenants } from './scim-tenants.ts';
import { readWrites, writesBetween, type Writes } from './table-writes.ts';

const warmUpCount = 200;
const tenants = 50;
const groups = 1_000;
const domain = 'sandbox.example';

export async function run(options: BenchOptions): Promise<void> {
  const report = createReport('scim');
  const elsewhere = Math.floor(options.users / 10 / tenants);
  const users = options.users - elsewhere * tenants;
  tell(`Starting a sandbox with ${users} users in one organization, ${elsewhere} in each of ${tenants} others ...`);
  const args = ['--users', String(users), '--groups', String(Math.min(groups, users)), '--big-group'];
  const others = elsewhere === 0 ? [] : ['--tenants', String(tenants), '--users-per-tenant', String(elsewhere)];
  const sandbox = await startSandbox([...args, ...others]);
  const client = createClient(sandbox.scimUrl, sandbox.scimToken, options.connections);
  try {
    const bench: ScimBench = {
      client,
      pid: sandbox.pid,
      report,
      options: { ...options, users },
      databaseUrl: sandbox.databaseUrl,
      place: await placeOf(sandbox),
    };
    tell('vacuum of what was loaded');
    await vacuum(sandbox);
    const before = await countWrites(sandbox);
    await measureLists(bench, users);
    const ids = await measureUsers(bench);
    await measureListAfterCreates(bench, users + ids.length + warmUpCount);
    await measureLookUps(bench, domain);
    await measureGroups(bench, ids);
    await measureTenants(sandbox, report, elsewhere);
    for (const [table, rows] of writesBetween(before, await countWrites(sandbox))) {
      if (!table.startsWith('pgboss.')) report(`rows_written_${table}`, rows, 'rows');
    }
    tell('the rows of a create, by SQL alone');
    const { requests: count, connections } = options;
    const floor = { anchor: ids[0] ?? '', names: ['bench0', 'bench-0'], count, connections };
    const result = await measureFloor(sandbox.databaseUrl, sandbox.pid, floor);
    reportLoad(report, 'post_floor', result);
    report('post_floor_rows', result.rows, 'rows/create');
  } finally {
    client.close();
    await sandbox.stop();
  }
}

async function placeOf({ scimUrl, databaseUrl }: Sandbox): Promise<ScimBench['place']> {
  const connectionId = scimUrl.slice(scimUrl.lastIndexOf('/') + 1);
  const sql = postgres({ ...parseDatabaseUrl(databaseUrl), max: 1 });
  const [row] = await sql<{ tenant: string }[]>`select tenant_id as tenant from connections where id = ${connectionId}`;
  await sql.end();
  if (row === undefined) throw new Error(`There is no connection ${connectionId}.`);
  return { tenantId: row.tenant, connectionId };
}

async function countWrites({ databaseUrl }: Sandbox): Promise<Writes> {
  const sql = postgres({ ...parseDatabaseUrl(databaseUrl), max: 1 });
  try {
    return await readWrites(sql);
  } finally {
    await sql.end();
  }
}

/** What autovacuum does with freshly loaded tables takes a processor for minutes, and is no part of serving requests. */
async function vacuum(sandbox: Sandbox): Promise<void> {
  const sql = postgres({ ...parseDatabaseUrl(sandbox.databaseUrl), max: 1 });
  try {
    await sql`vacuum analyze mirror_objects, mirror_edges, mirror_emails, links, users, grants, memberships, changes`;
  } finally {
    await sql.end();
  }
}

/** Returns the ids of the users made here. */
async function measureUsers(bench: ScimBench): Promise<string[]> {
  const { report, options } = bench;
  const { requests } = options;
  const ids: string[] = [];
  const pick = (index: number) => (index * 7919) % requests;
  tell('POST');
  await post(bench, 'warm', warmUpCount, []);
  reportLoad(report, 'post', await post(bench, 'bench', requests, ids), { perSecond: 2000, p99Ms: 30 });
  const get = (count: number) =>
    runLoad(bench.client, bench.pid, {
      name: 'get',
      count,
      connections: options.connections,
      status: 200,
      call: (index) => ({ method: 'GET', path: `/Users/${ids[pick(index)]}` }),
    });
  tell('GET');
  await get(warmUpCount);
  reportLoad(report, 'get', await get(requests * 4), { perSecond: 5000 });
  tell('filter');
  await filter(bench, warmUpCount, pick);
  reportLoad(report, 'filter', await filter(bench, requests * 4, pick), { perSecond: 5000 });
  tell('PATCH');
  const idAt = (index: number) => ids[pick(index)] ?? '';
  await patch(bench, 'warm', Math.min(warmUpCount, requests), idAt);
  reportLoad(report, 'patch', await patch(bench, 'renamed', requests, idAt), { perSecond: 1600 });
  return ids;
}

function post({ client, pid, options }: ScimBench, prefix: string, count: number, ids: string[]) {
  return runLoad(client, pid, {
    name: 'post',
    count,
    connections: options.connections,
    status: 201,
    call: (index) => ({ method: 'POST', path: '/Users', body: newUser(prefix, index) }),
    onAnswer: (answer, index) => {
      ids[index] = idOf(answer);
    },
  });
}

function filter({ client, pid, options }: ScimBench, count: number, pick: (index: number) => number) {
  return runLoad(client, pid, {
    name: 'filter',
    count,
    connections: options.connections,
    status: 200,
    call: (index) => {
      const expression = `userName eq "bench${pick(index)}@contoso.example"`;
      return { method: 'GET', path: `/Users?filter=${encodeURIComponent(expression)}` };
    },
    onAnswer: (answer) => {
      const { totalResults } = JSON.parse(answer.body) as { totalResults?: unknown };
      if (totalResults !== 1) throw new Error(`A filter found ${String(totalResults)} users instead of one.`);
    },
  });
}

function patch({ client, pid, options }: ScimBench, round: string, count: number, idAt: (index: number) => string) {
  return runLoad(client, pid, {
    name: 'patch',
    count,
    connections: options.connections,
    status: 200,
    call: (index) => ({
      method: 'PATCH',
      path: `/Users/${idAt(index)}`,
      body: patchOf({ op: 'replace', path: 'displayName', value: `Bench User ${index} ${round}` }),
    }),
  });
}
