/** Commands that take back: runs undo, and the links an undo holds. */
import type { Command } from 'commander';
import { z } from 'zod';
import { RollcallError } from '../core/errors.ts';
import { isUuid, type RunId, type UserId } from '../core/ids.ts';
import type { HeldLink } from '../reconciliation/reconciliation.ts';
import { inTenant, parseCount, type CommandContext, type TenantWork } from './context.ts';
import { formatTime, printObject, printRows, type Column } from './output.ts';
import { execute, exitCodeOfRun, followSame, printPlan, runIdOf } from './run-commands.ts';

export function addUndoCommands(program: Command, context: CommandContext): void {
  const runs = program.commands.find((command) => command.name() === 'runs');
  if (runs !== undefined) addUndoCommand(runs, context);
  addLinkCommands(program.command('links').description('links that an undo holds'), context);
}

type UndoOptions = {
  readonly user?: string;
  readonly request?: string;
  readonly since?: string;
  readonly connection?: string;
  readonly apply?: true;
  readonly keepRunning?: true;
  readonly rows: number;
};

function addUndoCommand(runs: Command, context: CommandContext): void {
  runs
    .command('undo [run]')
    .description('shows what taking a run back would change; applied, it pauses the connection and holds the links')
    .option('--user <user>', 'only what the run did to this user; by id, username, e-mail address or name')
    .option('--request <id>', 'only what one request of pushes did')
    .option('--since <time>', 'only what was done from then on, e.g. 2027-01-31T09:00:00Z; with --connection of pushes')
    .option('--connection <id or name>', 'instead of the run: what was pushed over this connection since --since')
    .option('--apply', 'applies the undo where no guard holds it, instead of waiting for approve')
    .option('--keep-running', 'does not pause the connection; only with --user, --request or --since')
    .option('--rows <count>', 'changes shown of each kind', parseCount, 20)
    .action(async (id: string | undefined, options: UndoOptions, command: Command) => {
      await inTenant(context, command, async (at) => {
        const { reconciliation } = at.office;
        const mode = options.apply === true ? 'auto' : 'plan';
        const since = options.since === undefined ? undefined : readTime(options.since);
        const [latest, ...earlier] = await runsToUndo(at, id, options.connection, since);
        const runId = await reconciliation.requestUndo({
          tenantId: at.tenantId,
          runId: latest,
          since,
          requestedBy: context.actor,
          mode,
          userId: options.user === undefined ? undefined : await findUserId(at, options.user),
          requestId: options.request,
          keepsRunning: options.keepRunning === true,
        });
        const run = await followSame(at, await execute(context, at, runId));
        if (run.id !== runId) context.environment.stderr.write(`This undo waits already, as run ${run.id}.\n`);
        await printPlan(context, at, run, options.rows);
        if (mode === 'auto' && run.status === 'planned') {
          context.environment.stderr.write('Nothing is taken back yet: this connection asks for two persons.\n');
        }
        for (const one of earlier) {
          const call = `rollcall runs undo ${one} --since ${since ?? ''}${at.sameTenant}`;
          context.environment.stderr.write(`Of the day before, when this one is done: ${call}\n`);
        }
        context.setExitCode(exitCodeOfRun(run, mode, false));
      });
    });
}

/** The named run, or the days of pushes since then, the latest first. */
async function runsToUndo(
  at: TenantWork,
  id: string | undefined,
  reference: string | undefined,
  since: string | undefined,
): Promise<[RunId, ...RunId[]]> {
  if (id !== undefined && reference === undefined) return [runIdOf(id)];
  if (id !== undefined || reference === undefined || since === undefined) {
    throw new RollcallError('invalid_input', 'Say which run is undone, or from when on what was pushed.', {
      remedy: 'rollcall runs undo RUN, or rollcall runs undo --connection NAME --since TIME.',
    });
  }
  const connection = await at.office.reconciliation.findConnection(at.tenantId, reference);
  const [latest, ...earlier] = await at.office.reconciliation.findPushedSince(at.tenantId, connection.id, since);
  if (latest !== undefined) return [latest, ...earlier];
  throw new RollcallError(
    'run_state',
    `Nothing that could be undone was pushed over ${connection.name} since ${since}.`,
  );
}

function readTime(text: string): string {
  const parsed = z.iso.datetime({ offset: true }).safeParse(text);
  if (parsed.success) return new Date(text).toISOString();
  throw new RollcallError('invalid_input', `"${text.slice(0, 50)}" is no point in time.`, {
    remedy: 'Write it as 2027-01-31T09:00:00Z.',
  });
}

async function findUserId(at: TenantWork, reference: string): Promise<UserId> {
  if (isUuid(reference)) return reference.toLowerCase() as UserId;
  return (await at.office.reconciliation.explainUser(at.tenantId, reference)).user.id;
}

const linkColumns: readonly Column<HeldLink>[] = [
  { title: 'who', value: (row) => row.subject },
  { title: 'connection', value: (row) => row.connectionName },
  { title: 'since', value: (row) => formatTime(row.since) },
  { title: 'held by', value: (row) => row.heldRunId },
  { title: 'reason', value: (row) => row.reason },
];

type ReleaseOptions = { readonly run?: string; readonly user?: string };

function addLinkCommands(links: Command, context: CommandContext): void {
  const { environment, actor } = context;
  links
    .command('list')
    .description('whom no run touches, because an undo holds their link')
    .option('--limit <count>', 'rows at most', parseCount, 100)
    .action(async (options: { readonly limit: number }, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const rows = await office.reconciliation.listHeldLinks(tenantId, {}, options.limit);
        printRows(environment, output, rows, linkColumns, 'No link is held.');
      });
    });
  links
    .command('release')
    .description('lets held links go: the next run decides about their users again')
    .option('--run <undo>', 'all that this undo holds')
    .option('--user <user>', 'of this user; by id, username, e-mail address or name')
    .action(async (options: ReleaseOptions, command: Command) => {
      await inTenant(context, command, async (at) => {
        const released = await at.office.reconciliation.releaseLinks(actor, at.tenantId, {
          runId: options.run === undefined ? undefined : (runIdOf(options.run) satisfies RunId),
          userId: options.user === undefined ? undefined : await findUserId(at, options.user),
        });
        const links = `${released} link${released === 1 ? ' is' : 's are'}`;
        printObject(environment, at.output, { released }, `${links} released; the next run decides about them.`);
      });
    });
}
