/**
 * Goals P1, P3, P4, P5 and P10: the engine over a directory of arithmetic (no network in the figures), in a worker
 * process of its own beside a real daemon whose SCIM service is asked meanwhile. Each size is measured side by side
 * with the floor, the least SQL that does the same.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import postgres from 'postgres';
import { workerMemoryFlags } from '../../src/app/supervisor.ts';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import type { RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { createClient, runLoad, type Client, type LoadResult } from './load.ts';
import { peakMemoryBytes, processTree } from './processes.ts';
import { groupCount, type DirectoryState } from './reconcile-directory.ts';
import { measureFloor } from './reconcile-floor.ts';
import type { FromReconcileWorker, ToReconcileWorker } from './reconcile-worker.ts';
import { createReport, tell, type BenchOptions, type Report } from './report.ts';
import { startSandbox, type Sandbox } from './sandbox.ts';
import { readWrites, writesBetween } from './table-writes.ts';

const far = 1_000_000_000;
/** Groups that give a role; so the memberships in them become grants. */
const mappedGroups = 200;
const scimUsers = 1_000;
/** A run is itself a row, its connection and our token remember their last use, and the queue carries it: no writing of people. */
const bookkeeping = /^(?:pgboss\.|public\.(?:runs|connections|tokens)$)/;

export async function run(options: BenchOptions): Promise<void> {
  const sizes = options.isAlone ? [] : [10_000, 100_000, 1_000_000].filter((size) => size < options.users);
  for (const users of [...sizes, options.users]) await measureSize(users);
}

async function measureSize(users: number): Promise<void> {
  const report = createReport(`reconcile ${users.toLocaleString('en-US')}`);
  tell(`Starting an installation for ${users} people ...`);
  const sandbox = await startSandbox(['--users', String(scimUsers)]);
  const sql = postgres({ ...parseDatabaseUrl(sandbox.databaseUrl), max: 2, onnotice: () => {} });
  const worker = fork(join(import.meta.dirname, 'reconcile-worker.ts'), [], {
    execArgv: [...process.execArgv, ...workerMemoryFlags],
    stdio: 'inherit',
  });
  const client = createClient(sandbox.scimUrl, sandbox.scimToken, 4);
  try {
    await measure({ users, report, sandbox, sql, worker, client });
  } finally {
    client.close();
    worker.kill('SIGKILL');
    await sql.end({ timeout: 5 });
    await sandbox.stop();
  }
}

type Context = {
  readonly users: number;
  readonly report: Report;
  readonly sandbox: Sandbox;
  readonly sql: postgres.Sql;
  readonly worker: ChildProcess;
  readonly client: Client;
};

async function measure(context: Context): Promise<void> {
  const { users, report, sql, worker } = context;
  const [tenant] = await sql<{ tenantId: string; slug: string; domain: string }[]>`
    select o.tenant_id as "tenantId", o.slug, d.name as domain from organizations o
    join domains d on d.tenant_id = o.tenant_id and d.status = 'built_in'
    where o.parent_id is null order by o.created_at limit 1`;
  if (tenant === undefined) throw new Error('The sandbox has no organization.');
  const state: DirectoryState = {
    users,
    membershipsPerUser: 1,
    wave: 0,
    movedPerMille: 0,
    domain: tenant.domain,
  };
  const document = documentOf(tenant.slug, Math.min(mappedGroups, groupCount(state)));
  await ask(worker, {
    type: 'open',
    databaseUrl: context.sandbox.databaseUrl,
    tenantId: tenant.tenantId,
    document,
  });
  const idle = await getWhile(context, async () => undefined, 2_000);
  report('scim_get_idle_p99', idle.percentileMs(99), 'ms');

  tell('First load: plan');
  const planned = await step(context, 'first_plan', { type: 'run', state, approve: null }, ['planned', 'held']);
  tell('First load: apply');
  const isBig = users >= 1_000_000;
  await step(
    context,
    'first_apply',
    { type: 'run', state, approve: planned.digest },
    ['succeeded'],
    users === 100_000 ? 25 : undefined,
  );
  tell('Unchanged');
  const before = await readWrites(sql);
  await step(context, 'unchanged', { type: 'run', state, approve: null }, ['succeeded'], undefined, isBig ? 9 : 3);
  let rows = 0;
  for (const [table, count] of writesBetween(before, await readWrites(sql)))
    if (!bookkeeping.test(table)) rows += count;
  report('unchanged_rows_written', rows, 'rows', 0);
  tell('1 % changed, with SCIM beside it');
  const busy = await getWhile(context, () =>
    step(
      context,
      'changed',
      { type: 'run', state: { ...state, wave: 1 }, approve: null },
      ['succeeded'],
      undefined,
      isBig ? 12 : undefined,
    ),
  );
  report('scim_get_busy_p99', busy.percentileMs(99), 'ms', 20);
  report('scim_get_busy_to_idle', busy.percentileMs(99) / idle.percentileMs(99), 'times', 2.5);
  tell('1 % of the memberships moved');
  const moved = { ...state, wave: 1, movedPerMille: 10 };
  await step(
    context,
    'moved',
    { type: 'run', state: moved, approve: null },
    ['succeeded'],
    undefined,
    isBig ? 6 : undefined,
  );
  tell('Five memberships each');
  const five = { ...moved, membershipsPerUser: 5 };
  await step(context, 'five_memberships', { type: 'run', state: five, approve: null }, ['succeeded']);
  await step(
    context,
    'five_unchanged',
    { type: 'run', state: five, approve: null },
    ['succeeded'],
    undefined,
    isBig ? 9 : 3,
  );
  await step(
    context,
    'five_changed',
    { type: 'run', state: { ...five, wave: 2, movedPerMille: 20 }, approve: null },
    ['succeeded'],
    undefined,
    isBig ? 12 : undefined,
  );
  reportMemory(context);
  tell('The floor');
  const floor = await measureFloor(sql, users);
  report('floor_first_load', floor.firstLoad, 's');
  report('floor_unchanged', floor.unchanged, 's');
  report('floor_changed', floor.changed, 's');
}

/** `goal` is for all of it, `goalAfterFetch` for what follows the reading. */
async function step(
  { report, worker }: Context,
  name: string,
  message: Extract<ToReconcileWorker, { type: 'run' }>,
  statuses: readonly string[],
  goal?: number,
  goalAfterFetch?: number,
): Promise<RunSummary> {
  const startedAt = performance.now();
  const ended = await ask(worker, message);
  const seconds = (performance.now() - startedAt) / 1000;
  if (ended === null || !statuses.includes(ended.status)) {
    throw new Error(`${name}: the run is ${String(ended?.status)}: ${JSON.stringify(ended?.error ?? ended?.counts)}`);
  }
  const phases = Object.entries((ended.counts['seconds'] ?? {}) as Record<string, number>);
  const fetched = message.approve === null ? (phases.find(([phase]) => phase === 'fetch')?.[1] ?? 0) : 0;
  report(`${name}_seconds`, seconds, 's', goal);
  report(`${name}_after_fetch`, seconds - fetched, 's', goalAfterFetch);
  for (const [phase, spent] of phases) if (spent >= 0.05) report(`${name}_phase_${phase}`, spent, 's');
  return ended;
}

/** SCIM reads for as long as the work lasts, and at least as many as asked for. */
async function getWhile(context: Context, work: () => Promise<unknown>, least = 500): Promise<LoadResult> {
  const { client, sandbox } = context;
  const answer = await client.send({ method: 'GET', path: '/Users?count=1&attributes=id' });
  const { Resources } = JSON.parse(answer.body) as { Resources: readonly { readonly id: string }[] };
  const path = `/Users/${Resources[0]?.id ?? ''}`;
  let isBusy = true;
  const working = work().finally(() => {
    isBusy = false;
  });
  const rounds: LoadResult[] = [];
  do {
    rounds.push(
      await runLoad(client, sandbox.pid, {
        name: 'get',
        count: least,
        connections: 1,
        status: 200,
        call: () => ({ method: 'GET', path }),
      }),
    );
  } while (isBusy);
  await working;
  // the worst round stands for the time beside the run
  return rounds.reduce((worst, round) => (round.percentileMs(99) > worst.percentileMs(99) ? round : worst));
}

/** The daemon's API process and our worker; the daemon's own worker idles and is not counted. */
function reportMemory({ report, sandbox, worker, users }: Context): void {
  const nodes = processTree(sandbox.pid).filter((process) => !process.name.startsWith('postgres'));
  const daemon = nodes.find((process) => process.parent === sandbox.pid);
  if (daemon === undefined || worker.pid === undefined) throw new Error('The daemon or the worker is gone.');
  const api = peakMemoryBytes(daemon.pid) / 1e6;
  const own = peakMemoryBytes(worker.pid) / 1e6;
  report('api_peak_memory', api, 'MB');
  report('worker_peak_memory', own, 'MB');
  report('peak_memory', api + own, 'MB', users >= 1_000_000 ? 400 : undefined);
}

async function ask(worker: ChildProcess, message: ToReconcileWorker): Promise<RunSummary | null> {
  worker.send(message);
  const exited = once(worker, 'exit').then(([code]) => {
    throw new Error(`The worker ended with ${String(code)}.`);
  });
  exited.catch(() => undefined);
  const [answer] = (await Promise.race([once(worker, 'message'), exited])) as [FromReconcileWorker];
  if (answer.type === 'failed') throw new Error(answer.message);
  return answer.run;
}

function documentOf(organization: string, groups: number): Record<string, unknown> {
  const out = { count: far, percent: 100 };
  return {
    name: 'Bench directory',
    kind: 'ldap',
    organization,
    ceiling: 'view_only_admin',
    roles: [
      { everyone: 'user' },
      ...Array.from({ length: groups }, (_, index) => ({ group: `Group ${index}`, role: 'view_only_admin' })),
    ],
    guards: {
      leaversMax: far,
      leavers: out,
      leaversSmall: out,
      revokesMax: far,
      revokes: out,
      groupLoss: out,
      adminGrants: far,
      joiners: out,
      keyChanges: out,
      emailChanges: out,
    },
  };
}
