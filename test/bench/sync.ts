/**
 * Goals P2 to P4: a real slapd (100,000 people, 2,000 groups or --groups N, five memberships each), the daemon in its own process,
 * three runs: the first, an unchanged one, one with 1.5 % churn. Beside them, `ldapsearch -E pr=500` over the same
 * entries. The guards are set out of the way, because a bench is no person who could approve.
 */
import { peakMemoryBytes } from './processes.ts';
import { createReport, tell, type BenchOptions, type Report } from './report.ts';
import { startBenchDaemon, type BenchDaemon, type Run } from './sync-daemon.ts';
import { applyChurn, churnOf, startDirectory, timeLdapsearch } from './sync-directory.ts';
import { readWrites, writesBetween } from './table-writes.ts';
import type { Openldap } from '../servers/openldap.ts';

/** Groups with a role mapping, beside the one that gives everybody a role. */
const mappedGroups = 20;
const far = 1_000_000_000;

/** A run is itself a row, its connection and our token remember their last use, and the queue carries it: no writing of people. */
const bookkeeping = /^(?:pgboss\.|public\.(?:runs|connections|tokens)$)/;

export async function run(options: BenchOptions): Promise<void> {
  const report = createReport('sync');
  tell(`Filling slapd with ${options.users} people and ${options.groups} groups ...`);
  const directory = await startDirectory(options);
  try {
    const daemon = await startBenchDaemon();
    try {
      await measure(options, directory, daemon, report);
    } finally {
      await daemon.stop();
    }
  } finally {
    await directory.stop();
  }
}

async function measure(options: BenchOptions, directory: Openldap, daemon: BenchDaemon, report: Report): Promise<void> {
  const connectionId = await daemon.createConnection(documentOf(directory, options));
  tell('First run: plan');
  const planned = await timeRun(daemon, report, 'first_plan', () => daemon.sync(connectionId), ['planned', 'held']);
  tell('First run: apply');
  await timeRun(daemon, report, 'first_apply', () => daemon.approve(planned.run), ['succeeded'], 40);
  tell('Unchanged run');
  const goal = unchangedGoal(options);
  const unchanged = await timeRun(daemon, report, 'unchanged', () => daemon.sync(connectionId), ['succeeded'], goal);
  report('unchanged_rows_written', unchanged.rows, 'rows', 0);
  const { seconds, entries } = await timeLdapsearch(directory);
  report('ldapsearch_pr500', seconds, 's');
  report('ldapsearch_entries', entries, 'entries');
  report('unchanged_to_ldapsearch', unchanged.seconds / seconds, 'times');
  const churn = churnOf(options.users);
  tell(`Churn: ${JSON.stringify(churn)}`);
  await applyChurn(directory, options, churn);
  await timeRun(daemon, report, 'churn', () => daemon.sync(connectionId), ['succeeded']);
  report('worker_peak_memory', peakMemoryBytes(daemon.workerPid) / 1e6, 'MB', 300);
  report('api_peak_memory', peakMemoryBytes(daemon.apiPid) / 1e6, 'MB');
}

/** Goal P2: 100,000 people in 2.5 s, with 500 groups in 4.7 s, a million in 30 s. */
function unchangedGoal({ users, groups }: BenchOptions): number {
  const share = users / 100_000;
  if (groups === 0) return users > 500_000 ? 3 * share : 2.5 * share;
  return (groups <= 500 ? 4.7 : 8) * share;
}

type Timed = { readonly run: Run; readonly seconds: number; readonly rows: number };

async function timeRun(
  daemon: BenchDaemon,
  report: Report,
  name: string,
  work: () => Promise<Run>,
  statuses: readonly string[],
  goalSeconds?: number,
): Promise<Timed> {
  const before = await readWrites(daemon.sql);
  const startedAt = performance.now();
  const ended = await work();
  const seconds = (performance.now() - startedAt) / 1000;
  if (!statuses.includes(ended.status)) {
    throw new Error(`${name}: the run is ${ended.status}: ${JSON.stringify(ended.error ?? ended.counts)}`);
  }
  report(`${name}_seconds`, seconds, 's', goalSeconds);
  for (const [phase, spent] of Object.entries(secondsByPhase(ended))) report(`${name}_phase_${phase}`, spent, 's');
  let rows = 0;
  for (const [table, count] of writesBetween(before, await readWrites(daemon.sql))) {
    report(`${name}_rows_${table}`, count, 'rows');
    if (!bookkeeping.test(table)) rows += count;
  }
  report(`${name}_worker_peak`, peakMemoryBytes(daemon.workerPid) / 1e6, 'MB');
  return { run: ended, seconds, rows };
}

function secondsByPhase(ended: Run): Record<string, number> {
  const seconds = ended.counts['seconds'];
  if (typeof seconds !== 'object' || seconds === null) throw new Error('The run has no seconds by phase.');
  return Object.fromEntries(Object.entries(seconds).map(([phase, value]) => [phase, Number(value)]));
}

export function documentOf(directory: Openldap, { groups }: BenchOptions): Record<string, unknown> {
  const out = { count: far, percent: 100 };
  return {
    name: 'Bench LDAP',
    kind: 'ldap',
    settings: {
      host: directory.host,
      port: directory.tlsPort,
      caPem: directory.caPem,
      bindDn: directory.bindDn,
      baseDn: directory.peopleDn,
      groupBaseDn: directory.groupsDn,
      readGroups: groups > 0,
    },
    secrets: { password: directory.password },
    ceiling: 'view_only_admin',
    roles: [
      { everyone: 'user' },
      ...Array.from({ length: Math.min(mappedGroups, groups) }, (_, index) => ({
        group: `group${index}`,
        role: 'view_only_admin',
      })),
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
