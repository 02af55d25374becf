/** Commands about what runs did: the file of a run, the history of a user. */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Option, type Command } from 'commander';
import { RollcallError } from '../core/errors.ts';
import { isUuid, type RunId } from '../core/ids.ts';
import type { HistoryRow } from '../reconciliation/reconciliation.ts';
import { inTenant, parseCount, type CommandContext } from './context.ts';
import { formatTime, printRows, type Column } from './output.ts';

type ExportOptions = { readonly format: 'csv' | 'json'; readonly file?: string };

export function addExportCommand(runs: Command, context: CommandContext): void {
  const { environment } = context;
  runs
    .command('export <run>')
    .description('every change of a run as one file: who, what, before, after, why; a CSV is safe in a spreadsheet')
    .addOption(new Option('--format <format>', 'kind of the file').choices(['csv', 'json']).default('csv'))
    .option('-f, --file <file>', 'written there, for its owner only; standard output without it')
    .action(async (id: string, options: ExportOptions, command: Command) => {
      await inTenant(context, command, async (at) => {
        if (!isUuid(id)) throw new RollcallError('invalid_input', `"${id}" is not the id of a run.`);
        const pieces = await at.office.reconciliation.exportRun(at.tenantId, id.toLowerCase() as RunId, options.format);
        if (options.file === undefined) {
          for await (const piece of pieces) environment.stdout.write(piece);
          return;
        }
        await writeFile(options.file, pieces, context.signal);
        environment.stderr.write(`Written to ${options.file}.\n`);
      });
    });
}

/** Personal data: no one else on the machine may read it. */
async function writeFile(file: string, pieces: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  try {
    await pipeline(Readable.from(pieces), createWriteStream(file, { mode: 0o600 }), { signal });
  } catch (cause) {
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause;
    throw new RollcallError('invalid_input', `${file} can not be written.`, {
      cause,
      raw: cause.message,
      remedy: 'Name a file in a folder that exists and that this account may write to.',
    });
  }
}

const historyColumns: readonly Column<HistoryRow>[] = [
  { title: 'at', value: (row) => formatTime(row.at) },
  { title: 'what', value: (row) => row.op },
  { title: 'state', value: (row) => row.state },
  { title: 'reason', value: (row) => row.reason },
  { title: 'connection', value: (row) => row.connectionName },
  { title: 'asked for by', value: (row) => row.requestedBy },
  { title: 'run', value: (row) => row.runId },
];

export function addHistoryCommand(runs: Command, context: CommandContext): void {
  runs
    .command('history <user>')
    .description('which runs touched a user and what each changed, newest first; by id, username, e-mail or full name')
    .option('--limit <count>', 'rows at most', parseCount, 50)
    .action(async (reference: string, options: { readonly limit: number }, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const { user } = await office.reconciliation.explainUser(tenantId, reference);
        const rows = await office.reconciliation.listHistory(tenantId, { userId: user.id, limit: options.limit });
        printRows(context.environment, output, rows, historyColumns, 'No run touched this user.');
      });
    });
}
