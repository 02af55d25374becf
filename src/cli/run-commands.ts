/** Commands about runs: plan, approve, discard, apply, run, runs. They execute in process, under the run's own fence. */
import type { Command } from 'commander';
import { isRollcallError, RollcallError } from '../core/errors.ts';
import { isUuid, type ConnectionId, type RunId } from '../core/ids.ts';
import type { PhaseProgress } from '../core/progress.ts';
import { changeKinds, type ChangeKind, type RunMode } from '../core/vocabulary.ts';
import type { Change, RunSummary } from '../reconciliation/reconciliation.ts';
import { inTenant, parseCount, type CommandContext, type TenantWork } from './context.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { addExportCommand, addHistoryCommand } from './history-commands.ts';
import { formatTime, printObject, printRows, type Column } from './output.ts';
import { createProgressLine } from './progress.ts';
import { changeCountsOf, renderPlan, renderRunHead, type PlanView } from './render-plan.ts';

type RunOptions = { readonly full?: true; readonly rows: number; readonly exitCode?: true };

export function addRunCommands(program: Command, context: CommandContext): void {
  program
    .command('plan <connection>')
    .description('reads the directory and shows what would change; changes nothing')
    .option('--full', 'reads everything, also where an increment would do')
    .option('--rows <count>', 'changes shown of each kind', parseCount, 20)
    .option('--exit-code', 'answers 3 when there are changes')
    .action((reference: string, options: RunOptions, command: Command) =>
      startRun(context, command, reference, 'plan', options),
    );
  program
    .command('run <connection>')
    .description('reads the directory and applies what no guard holds')
    .option('--full', 'reads everything, also where an increment would do')
    .option('--rows <count>', 'changes shown of each kind', parseCount, 20)
    .action((reference: string, options: RunOptions, command: Command) =>
      startRun(context, command, reference, 'auto', options),
    );
  addDecisionCommands(program, context);
  addRunsCommands(program.command('runs').description('what happened and what waits'), context);
}

async function startRun(
  context: CommandContext,
  command: Command,
  reference: string,
  mode: RunMode,
  options: RunOptions,
): Promise<void> {
  await inTenant(context, command, async (at) => {
    const { reconciliation } = at.office;
    const connection = await reconciliation.findConnection(at.tenantId, reference);
    const wish = { mode, read: options.full === true ? 'full' : 'delta', requestedBy: context.actor } as const;
    const runId = await reconciliation
      .requestRun({ ...wish, tenantId: at.tenantId, connectionId: connection.id })
      .catch((error: unknown) => nameLiveRun(at, connection.id, error));
    await carryOut(context, at, runId, mode, options);
  });
}

/** Executes a queued run in process, with progress, and prints what became of it. */
export async function carryOut(
  context: CommandContext,
  at: TenantWork,
  runId: RunId,
  mode: RunMode,
  options: RunOptions,
): Promise<void> {
  const ended = await execute(context, at, runId);
  const run = await followSame(at, ended);
  await printPlan(context, at, run, options.rows);
  if (run.status === 'queued') {
    const cancel = `rollcall runs cancel ${run.id}${at.sameTenant}`;
    context.environment.stderr.write(`Interrupted: a worker goes on with this run. To stop it: ${cancel}\n`);
  }
  context.setExitCode(exitCodeOfRun(run, mode, options.exitCode === true));
}

/** A run that is in the way is named, so that it can be watched or stopped. */
export async function nameLiveRun(at: TenantWork, connectionId: ConnectionId, error: unknown): Promise<never> {
  if (!isRollcallError(error, 'run_live')) throw error;
  const runs = await at.office.reconciliation.listRuns(at.tenantId, { connectionId, limit: 10 });
  const live = runs.find((run) => run.status === 'running' || run.status === 'queued');
  if (live === undefined) throw error;
  const call = (name: string): string => `rollcall runs ${name} ${live.id}${at.sameTenant}`;
  throw new RollcallError('run_live', `A run of ${live.connectionName} is ${live.status} already.`, {
    cause: error,
    remedy: `Wait for it: ${call('watch')}, or stop it: ${call('cancel')}`,
  });
}

export async function execute(context: CommandContext, at: TenantWork, runId: RunId): Promise<RunSummary> {
  const line = createProgressLine(context.environment.stderr, () => performance.now());
  try {
    return await at.office.reconciliation.executeRun(at.tenantId, runId, {
      signal: context.signal,
      onProgress: (progress) => {
        line.show(progress);
      },
    });
  } finally {
    line.end();
  }
}

/** A plan equal to one that waits already is not kept twice: the one that waits is shown. */
export async function followSame(at: TenantWork, run: RunSummary): Promise<RunSummary> {
  const same = run.counts['sameAs'];
  return run.status === 'superseded' && typeof same === 'string'
    ? at.office.reconciliation.getRun(at.tenantId, same as RunId)
    : run;
}

export function exitCodeOfRun(run: RunSummary, mode: RunMode, wantsChanges: boolean): ExitCode {
  switch (run.status) {
    case 'held':
      return exitCodes.held;
    case 'partly':
      return exitCodes.partly;
    case 'failed':
    case 'superseded':
      return exitCodes.failed;
    case 'running':
    case 'queued':
    case 'canceled':
      return exitCodes.interrupted;
    case 'planned':
    case 'succeeded':
    case 'discarded':
      // who asked for changes, and not for a plan, is not done yet
      if (run.status === 'planned' && mode === 'auto') return exitCodes.held;
      return mode === 'plan' && wantsChanges && changeCountsOf(run).length > 0 ? exitCodes.changes : exitCodes.ok;
  }
}

export async function printPlan(context: CommandContext, at: TenantWork, run: RunSummary, rows: number): Promise<void> {
  const { environment } = context;
  if (at.output === 'ndjson') {
    for await (const change of walkChanges(at, run.id)) environment.stdout.write(`${JSON.stringify(change)}\n`);
    return;
  }
  const changes: Record<ChangeKind, readonly Change[]> = { joiner: [], mover: [], leaver: [], conflict: [] };
  for (const kind of changeKinds) {
    changes[kind] = await at.office.reconciliation.listChanges(at.tenantId, { runId: run.id, kind, limit: rows });
  }
  const view: PlanView = { run, changes };
  printObject(
    environment,
    at.output,
    view,
    renderPlan(view, { terminalWidth: environment.stdout.columns, sameTenant: at.sameTenant }),
  );
}

const changesAtOnce = 1000;

/** Every change of a run in order. `seq` rises with each page, so the walk ends. */
async function* walkChanges(at: TenantWork, runId: RunId): AsyncGenerator<Change> {
  let afterSeq = -1;
  for (;;) {
    const page = await at.office.reconciliation.listChanges(at.tenantId, { runId, limit: changesAtOnce, afterSeq });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < changesAtOnce) return;
    if (last.seq <= afterSeq) throw new RollcallError('internal', 'The changes of a run came out of order.');
    afterSeq = last.seq;
  }
}

function addDecisionCommands(program: Command, context: CommandContext): void {
  const { environment, actor } = context;
  program
    .command('approve <run>')
    .description(
      'says yes to exactly the plan that is shown, with what guards held; apply, or a daemon, then applies it',
    )
    .option('--digest <digest>', 'digest of the plan you read; without it, of the plan as it stands now')
    .option('--override-second-person <reason>', 'does without the second person the connection asks for; audited')
    .action(async (id: string, options: ApproveOptions, command: Command) => {
      await inTenant(context, command, async (at) => {
        const run = await at.office.reconciliation.getRun(at.tenantId, runIdOf(id));
        // a run without a plan is refused there, in words about its state
        const digest = options.digest ?? run.digest ?? '';
        const overrideReason = options['overrideSecondPerson'];
        const given = { actor, digest, overrideReason };
        const { isQueued } = await at.office.reconciliation.approveRun(at.tenantId, run.id, given);
        const next = isQueued
          ? `A running daemon applies it within a minute; now: rollcall apply ${run.id}${at.sameTenant}`
          : 'This connection asks for two persons: nothing is applied until another one approves it too.';
        const approved = { runId: run.id, digest, approvedBy: actor, isQueued };
        printObject(environment, at.output, approved, `Approved by ${actor}. ${next}`);
      });
    });
  program
    .command('apply <run>')
    .description('applies an approved plan now, or watches the worker that already does')
    .option('--rows <count>', 'changes shown of each kind', parseCount, 20)
    .action(async (id: string, options: { readonly rows: number }, command: Command) => {
      await inTenant(context, command, async (at) => {
        const run = await apply(context, at, runIdOf(id));
        await printPlan(context, at, run, options.rows);
        context.setExitCode(exitCodeOfRun(run, 'auto', false));
      });
    });
  program
    .command('discard <run>')
    .description('throws a plan away; the next run makes a new one')
    .action(async (id: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async (at) => {
        await at.office.reconciliation.discardRun(at.tenantId, runIdOf(id), actor);
        printObject(environment, at.output, { runId: id, status: 'discarded' }, `Run ${id} is discarded.`);
      });
    });
}

type ApproveOptions = { readonly digest?: string; readonly ['overrideSecondPerson']?: string };

async function apply(context: CommandContext, at: TenantWork, runId: RunId): Promise<RunSummary> {
  const run = await at.office.reconciliation.getRun(at.tenantId, runId);
  switch (run.status) {
    case 'queued':
      try {
        return await execute(context, at, runId);
      } catch (error) {
        // a worker took it up at the same moment
        if (!isRollcallError(error, 'run_live') && !isRollcallError(error, 'fenced')) throw error;
        return watch(context, at, runId);
      }
    case 'running':
      return watch(context, at, runId);
    case 'planned':
    case 'held':
      throw new RollcallError('run_state', `The plan of run ${runId} is not approved yet.`, {
        remedy: `Read it with rollcall runs show ${runId}, then: rollcall approve ${runId}`,
      });
    case 'succeeded':
    case 'partly':
      // the worker was faster
      return run;
    case 'failed':
    case 'canceled':
    case 'discarded':
    case 'superseded':
      throw new RollcallError('run_state', `Run ${runId} is ${run.status}; there is nothing to apply.`);
  }
}

const watchEveryMs = 1000;

/** Until the run rests. What a worker does is seen in its row, where it writes how far it has come once a second. */
async function watch(context: CommandContext, at: TenantWork, runId: RunId): Promise<RunSummary> {
  const line = createProgressLine(context.environment.stderr, () => performance.now());
  let isTold = false;
  try {
    for (;;) {
      const run = await at.office.reconciliation.getRun(at.tenantId, runId);
      if (run.status !== 'queued' && run.status !== 'running') return run;
      if (run.status === 'queued' && !isTold) context.environment.stderr.write('queued: waits for a worker\n');
      isTold = true;
      if (run.status === 'running') line.show(progressOf(run));
      await at.office.clock.sleep(watchEveryMs, context.signal);
    }
  } finally {
    line.end();
  }
}

/** What was written is of the phase before, until the worker writes again. */
function progressOf(run: RunSummary): PhaseProgress {
  const phase = run.phase ?? 'claim';
  if (run.progress?.phase === phase) return run.progress;
  return { phase, done: 0, total: null, isEstimate: false, perSecond: null, etaSeconds: null, message: null };
}

const runColumns: readonly Column<RunSummary>[] = [
  { title: 'run', value: (row) => row.id },
  { title: 'connection', value: (row) => row.connectionName },
  { title: 'kind', value: (row) => row.kind },
  { title: 'status', value: (row) => row.status },
  { title: 'started', value: (row) => formatTime(row.startedAt) },
  { title: 'changes', align: 'right', value: (row) => changeCountsOf(row).reduce((sum, count) => sum + count.rows, 0) },
  { title: 'asked for by', value: (row) => row.requestedBy },
];

type ListOptions = { readonly connection?: string; readonly limit: number };

function addRunsCommands(runs: Command, context: CommandContext): void {
  const { environment, actor } = context;
  runs
    .command('list')
    .description('runs of a tenant, newest first')
    .option('--connection <id or name>', 'of one connection')
    .option('--limit <count>', 'rows at most', parseCount, 20)
    .action(async (options: ListOptions, command: Command) => {
      await inTenant(context, command, async (at) => {
        const { reconciliation } = at.office;
        const connectionId: ConnectionId | undefined =
          options.connection === undefined
            ? undefined
            : (await reconciliation.findConnection(at.tenantId, options.connection)).id;
        const filter = connectionId === undefined ? {} : { connectionId };
        const rows = await reconciliation.listRuns(at.tenantId, { ...filter, limit: options.limit });
        printRows(environment, at.output, rows, runColumns, 'No run yet: rollcall plan CONNECTION');
      });
    });
  runs
    .command('show <run>')
    .description('who joins, moves, leaves or is in conflict, and why')
    .option('--rows <count>', 'changes shown of each kind', parseCount, 50)
    .action(async (id: string, options: { readonly rows: number }, command: Command) => {
      await inTenant(context, command, async (at) => {
        const run = await at.office.reconciliation.getRun(at.tenantId, runIdOf(id));
        await printPlan(context, at, run, options.rows);
      });
    });
  addExportCommand(runs, context);
  addHistoryCommand(runs, context);
  runs
    .command('watch <run>')
    .description('shows how far a run has come, how fast and how long it will take, until it rests')
    .action(async (id: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async (at) => {
        const run = await watch(context, at, runIdOf(id));
        printObject(environment, at.output, run, renderRunHead(run));
        context.setExitCode(exitCodeOfRun(run, run.mode, false));
      });
    });
  runs
    .command('cancel <run>')
    .description('stops a queued or running run; one that applies ends its chunk first and says how much it did')
    .action(async (id: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async (at) => {
        const stopped = await at.office.reconciliation.cancelRun(at.tenantId, runIdOf(id), actor);
        printObject(environment, at.output, { ...stopped, status: 'canceled' }, stopped.message);
      });
    });
}

export function runIdOf(text: string): RunId {
  if (isUuid(text)) return text.toLowerCase() as RunId;
  throw new RollcallError('invalid_input', `"${text}" is not the id of a run.`, {
    remedy: 'List them with: rollcall runs list',
  });
}
