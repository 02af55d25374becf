/** Commands about single directory objects: explain without doing, provision one on demand, groups nobody mapped. */
import type { Command } from 'commander';
import type { Provisioned, UnmappedGroup } from '../reconciliation/reconciliation.ts';
import { inTenant, parseCount, type CommandContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { formatCount, printObject, printRows, renderTable, type Column } from './output.ts';
import { renderObject } from './render-explanation.ts';
import { describeChange } from './render-plan.ts';

export function addExplainCommands(program: Command, context: CommandContext): void {
  const { environment } = context;
  program
    .command('objects')
    .description('what directories hold')
    .command('explain <object>')
    .description(
      'what each step makes of a directory object, linked or not, and what the next run would do; changes nothing',
    )
    .requiredOption('--connection <connection>', 'the directory it is in, by name or id')
    .action(async (reference: string, options: { readonly connection: string }, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const connection = await office.reconciliation.findConnection(tenantId, options.connection);
        const found = await office.reconciliation.explainObject(tenantId, connection.id, reference);
        printObject(environment, output, found, renderObject(found, environment.stdout.columns));
      });
    });
  program
    .command('provision <connection> <object>')
    .description('reads one user from its directory now, and does at once what a run would do for it')
    .action(async (connection: string, reference: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output, sameTenant }) => {
        const { id, name } = await office.reconciliation.findConnection(tenantId, connection);
        const { actor, signal } = context;
        const done = await office.reconciliation.provisionObject({
          tenantId,
          connectionId: id,
          reference,
          actor,
          signal,
        });
        printObject(environment, output, done, renderProvisioned(done, name, sameTenant, environment.stdout.columns));
        if (done.status === 'held') context.setExitCode(exitCodes.held);
        if (done.status === 'partly') context.setExitCode(exitCodes.partly);
      });
    });
  addGroupCommands(program.command('groups').description('groups of directories'), context);
}

const groupColumns: readonly Column<UnmappedGroup>[] = [
  { title: 'group', value: (row) => row.name },
  { title: 'members', value: (row) => formatCount(row.members), align: 'right' },
  { title: 'connection', value: (row) => row.connectionName },
  { title: 'note', value: (row) => (row.isNested ? 'below a mapped group' : null) },
  { title: 'id', value: (row) => row.anchor },
];

type UnmappedOptions = { readonly connection?: string; readonly limit: number };

function addGroupCommands(groups: Command, context: CommandContext): void {
  groups
    .command('unmapped')
    .description('groups that no role mapping names, with their direct members counted, the largest first')
    .option('--connection <connection>', 'of this directory only, by name or id')
    .option('--limit <count>', 'rows at most', parseCount, 200)
    .action(async (options: UnmappedOptions, command: Command) => {
      await inTenant(context, command, async ({ office, principal, tenantId, output }) => {
        const { reconciliation } = office;
        const connectionIds =
          options.connection === undefined
            ? await reconciliation.reach.connections(principal)
            : [(await reconciliation.findConnection(tenantId, options.connection)).id];
        const rows = await reconciliation.listUnmappedGroups(tenantId, { connectionIds, limit: options.limit });
        printRows(context.environment, output, rows, groupColumns, 'Every group has a role mapping, or none was read.');
      });
    });
}

function renderProvisioned(
  done: Provisioned,
  connection: string,
  sameTenant: string,
  terminalWidth: number | undefined,
): string {
  const changes =
    done.changes.length === 0
      ? 'Nothing to do: everything is as it should be.\n'
      : renderTable(
          done.changes,
          [
            { title: 'what', value: describeChange },
            { title: 'state', value: (row) => row.state },
            { title: 'why', value: (row) => row.error ?? row.reason },
          ],
          terminalWidth,
        );
  const news = done.isChanged ? `${connection} said something new.` : `${connection} said nothing new.`;
  const held = `A guard holds it: rollcall runs show ${done.runId}${sameTenant}\n`;
  return `${renderObject(done.explanation, terminalWidth)}\n${news} Run ${done.runId}, ${done.status}.\n${changes}${done.status === 'held' ? held : ''}`;
}
