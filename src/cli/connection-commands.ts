/** Commands about connections: list, test, create, update, export, pause, resume. */
import { z } from 'zod';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseDocument, stringify } from 'yaml';
import type { TestStep } from '../connectors/contract/contract.ts';
import { RollcallError } from '../core/errors.ts';
import type { Connection, RunSummary } from '../reconciliation/reconciliation.ts';
import { inTenant, parseCount, quote, type CommandContext, type TenantWork } from './context.ts';
import { renderPreview } from './render-explanation.ts';
import { exitCodes } from './exit-codes.ts';
import { cellText, formatTime, printObject, printRows, type Column, type OutputFormat } from './output.ts';
import { carryOut, nameLiveRun } from './run-commands.ts';

export function addConnectionCommands(program: Command, context: CommandContext): void {
  const connections = program.command('connections').description('directories of an organization');
  addReadCommands(connections, context);
  addWriteCommands(connections, context);
  addRetryCommand(connections, context);
  addTestCommand(connections, context);
  addPreviewCommand(connections, context);
}

const columns: readonly Column<Connection>[] = [
  { title: 'name', value: (row) => row.name },
  { title: 'kind', value: (row) => row.kind },
  { title: 'status', value: (row) => row.status },
  { title: 'schedule', value: (row) => (row.cron === null ? null : `${row.cron} (${row.timeZone})`) },
  { title: 'next run', value: (row) => formatTime(row.nextRunAt) },
  { title: 'id', value: (row) => row.id },
  { title: 'standing', value: (row) => row.statusText },
];

function addReadCommands(connections: Command, context: CommandContext): void {
  const { environment } = context;
  connections
    .command('list')
    .description('connections of a tenant')
    .action(async (_options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const rows = await office.reconciliation.listConnections(tenantId);
        printRows(environment, output, rows, columns, 'No connection yet: rollcall connections create -f FILE');
      });
    });
  connections
    .command('show <connection>')
    .description('one connection: its standing in a sentence, its schedule, its last runs')
    .action(async (reference: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async (at) => {
        const { reconciliation } = at.office;
        const connection = await reconciliation.findConnection(at.tenantId, reference);
        const runs = await reconciliation.listRuns(at.tenantId, { connectionId: connection.id, limit: 5 });
        printObject(environment, at.output, { ...connection, runs }, renderConnection(connection, runs, at));
      });
    });
  connections
    .command('export <connection>')
    .description('the document of a connection as YAML, without secrets')
    .action(async (reference: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const { id } = await office.reconciliation.findConnection(tenantId, reference);
        const document = await office.reconciliation.exportConnection(tenantId, id);
        printObject(environment, output, document, stringify(document));
      });
    });
}

function renderConnection(connection: Connection, runs: readonly RunSummary[], at: TenantWork): string {
  const { name, kind, status, cron, timeZone, nextRunAt, lastFullAt, statusText } = connection;
  const call = (what: string): string => `rollcall connections ${what} ${quote(name)}${at.sameTenant}`;
  const next = {
    draft: [],
    active: [],
    paused: [`To let it run again: ${call('resume')}`],
    quarantined: [`Once the cause is settled: ${call('retry')}`],
  }[status];
  const lines = [
    `${name} (${kind}), ${status}, version ${connection.version}, id ${connection.id}`,
    ...(statusText === null ? [] : [statusText]),
    ...next,
    `Schedule: ${cron === null ? 'none' : `${cron} (${timeZone}), next ${formatTime(nextRunAt) ?? 'not planned'}`}`,
    `Read in full last: ${formatTime(lastFullAt) ?? 'never'}`,
    ...runs.map((run) => `Run ${run.id}: ${run.kind}, ${run.status}, ${formatTime(run.startedAt) ?? 'not started'}`),
  ];
  return lines.map((line) => cellText(line)).join('\n');
}

function addWriteCommands(connections: Command, context: CommandContext): void {
  const { environment, actor } = context;
  connections
    .command('create')
    .description('makes a connection from a document; its first run stops after the plan')
    .requiredOption('-f, --file <file>', 'YAML or JSON; - reads standard input')
    .action(async (options: { readonly file: string }, command: Command) => {
      const document = await readDocument(options.file);
      await inTenant(context, command, async (at) => {
        const made = await at.office.reconciliation.createConnection(actor, at.tenantId, document);
        printObject(
          environment,
          at.output,
          made,
          `Made connection ${made.name}, id ${made.id}. Next: ${nextStep(made, at)}`,
        );
      });
    });
  connections
    .command('update <connection>')
    .description('replaces the document of a connection; without a secrets section the stored ones stay')
    .requiredOption('-f, --file <file>', 'YAML or JSON; - reads standard input')
    .action(async (reference: string, options: { readonly file: string }, command: Command) => {
      const document = await readDocument(options.file);
      await inTenant(context, command, async (at) => {
        const { id } = await at.office.reconciliation.findConnection(at.tenantId, reference);
        const made = await at.office.reconciliation.updateConnection(actor, at.tenantId, id, document);
        const next = hasSecrets(document) && made.kind !== 'scim' ? ` Next: ${nextStep(made, at)}` : '';
        printObject(environment, at.output, made, `${made.name} is now at version ${made.version}.${next}`);
      });
    });
  connections
    .command('pause <connection>')
    .description('stops scheduled runs, and the one under way at its next chunk; plans can still be made')
    .requiredOption('--reason <text>', 'shown wherever the connection is')
    .action(async (reference: string, options: { readonly reason: string }, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const { id, name } = await office.reconciliation.findConnection(tenantId, reference);
        const { stopped } = await office.reconciliation.pauseConnection(actor, tenantId, id, options.reason);
        const words = [`${name} is paused.`, ...stopped.map((run) => `Run ${run.runId}: ${run.message}`)];
        printObject(environment, output, { id, status: 'paused', stopped }, words.join('\n'));
      });
    });
  connections
    .command('resume <connection>')
    .description('lets scheduled runs happen again, and ends a quarantine without trying first')
    .action(async (reference: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const { id, name } = await office.reconciliation.findConnection(tenantId, reference);
        const { heldLinks } = await office.reconciliation.resumeConnection(actor, tenantId, id);
        const held =
          heldLinks === 0 ? '' : ` Held by an undo, so no run touches them: ${heldLinks} links (rollcall links list).`;
        printObject(environment, output, { id, status: 'active', heldLinks }, `${name} is active.${held}`);
      });
    });
}

function addRetryCommand(connections: Command, context: CommandContext): void {
  connections
    .command('retry <connection>')
    .description('tries a connection in quarantine now; a run that succeeds ends the quarantine')
    .option('--rows <count>', 'changes shown of each kind', parseCount, 20)
    .action(async (reference: string, options: { readonly rows: number }, command: Command) => {
      await inTenant(context, command, async (at) => {
        const { tenantId } = at;
        const { id } = await at.office.reconciliation.findConnection(tenantId, reference);
        const runId = await at.office.reconciliation
          .retryConnection({ tenantId, connectionId: id, requestedBy: context.actor })
          .catch((error: unknown) => nameLiveRun(at, id, error));
        await carryOut(context, at, runId, 'auto', options);
      });
    });
}

/** New credentials are worth a test before the next run uses them. */
function hasSecrets(document: unknown): boolean {
  const { data } = z.object({ secrets: z.record(z.string(), z.unknown()) }).safeParse(document);
  return data !== undefined && Object.keys(data.secrets).length > 0;
}

function nextStep({ kind, name }: Connection, { sameTenant }: TenantWork): string {
  return kind === 'scim'
    ? `rollcall tokens create --connection ${quote(name)}${sameTenant}`
    : `rollcall connections test ${quote(name)}${sameTenant} && rollcall plan ${quote(name)}${sameTenant}`;
}

function addTestCommand(connections: Command, context: CommandContext): void {
  const { environment, signal } = context;
  connections
    .command('test [connection]')
    .description('name, port, TLS, sign-in, rights, one page: each in a plain sentence; nothing is changed')
    .option('-f, --file <file>', 'tests a document before it is saved')
    .action(async (reference: string | undefined, options: { readonly file?: string }, command: Command) => {
      if ((reference === undefined) === (options.file === undefined)) {
        throw new RollcallError('invalid_input', 'Name a connection, or a document with -f: one of the two.');
      }
      const document = options.file === undefined ? undefined : await readDocument(options.file);
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const what =
          reference === undefined
            ? { document }
            : { connectionId: (await office.reconciliation.findConnection(tenantId, reference)).id };
        const steps: TestStep[] = [];
        for await (const step of office.reconciliation.testConnection(tenantId, what, signal)) {
          steps.push(step);
          printStep(environment, output, step);
        }
        if (output === 'json') environment.stdout.write(`${JSON.stringify(steps, null, 2)}\n`);
        if (steps.some((step) => step.outcome === 'failed')) context.setExitCode(exitCodes.failed);
      });
    });
}

function addPreviewCommand(connections: Command, context: CommandContext): void {
  const { environment } = context;
  connections
    .command('preview <connection>')
    .description(
      'what the rules make of one object that was read, or those of a document not yet saved; writes nothing',
    )
    .requiredOption('--object <object>', 'immutable id, name, username, e-mail address or place')
    .option('-f, --file <file>', 'the document to try in place of the saved one')
    .action(
      async (reference: string, options: { readonly object: string; readonly file?: string }, command: Command) => {
        const document = options.file === undefined ? undefined : await readDocument(options.file);
        await inTenant(context, command, async ({ office, tenantId, output }) => {
          const { id } = await office.reconciliation.findConnection(tenantId, reference);
          const request = { connectionId: id, object: options.object, ...(document === undefined ? {} : { document }) };
          const found = await office.reconciliation.previewObject(tenantId, request);
          printObject(environment, output, found, renderPreview(found, environment.stdout.columns));
        });
      },
    );
}

const outcomeWords: Record<TestStep['outcome'], string> = {
  ok: 'ok      ',
  warning: 'warning ',
  failed: 'FAILED  ',
  skipped: 'skipped ',
};

/** As each step ends: a slow directory shows where it is slow. */
function printStep(streams: CommandContext['environment'], output: OutputFormat, step: TestStep): void {
  switch (output) {
    case 'human': {
      const raw = step.raw === undefined ? '' : ` [${cellText(step.raw)}]`;
      streams.stdout.write(`${outcomeWords[step.outcome]} ${step.step.padEnd(14)} ${cellText(step.message)}${raw}\n`);
      for (const line of sampleLines(step)) streams.stdout.write(`${' '.repeat(longestStep)}${line}\n`);
      return;
    }
    case 'ndjson':
      streams.stdout.write(`${JSON.stringify(step)}\n`);
      return;
    case 'json':
  }
}

const longestStep = 24;

/** The people of the step, one a line, with what the mapping makes of them. */
function sampleLines({ facts }: TestStep): string[] {
  const users = z.array(sampledUser).safeParse(facts?.['users']);
  if (!users.success) return [];
  return users.data.map(({ name, inactiveReason, isInScope, mapped, hasUsername, problem }) => {
    const values = Object.entries(mapped).flatMap(([target, value]) => (value === null ? [] : [`${target}=${value}`]));
    const notes = [
      inactiveReason,
      isInScope ? null : 'out of scope',
      hasUsername ? null : "joins without a username: none of its domains is the tenant's",
      problem,
    ].filter((note) => note !== null);
    return cellText(`${name}${notes.length === 0 ? '' : ` (${notes.join('; ')})`}: ${values.join(', ')}`);
  });
}

const sampledUser = z.object({
  name: z.string(),
  inactiveReason: z.string().nullable(),
  isInScope: z.boolean(),
  mapped: z.record(z.string(), z.string().nullable()),
  hasUsername: z.boolean(),
  problem: z.string().nullable(),
});

const longestDocumentBytes = 1024 * 1024;

/** JSON is YAML too. The document is checked by reconciliation; here only its form. */
async function readDocument(file: string): Promise<unknown> {
  const text = await readText(file);
  const document = parseDocument(text, { uniqueKeys: true });
  const [fault] = document.errors;
  if (fault !== undefined) {
    throw new RollcallError(
      'invalid_input',
      `${file} is not YAML: ${(fault.message.split('\n')[0] ?? '').replace(/:$/, '.')}`,
    );
  }
  return document.toJS({ maxAliasCount: 20 });
}

async function readText(file: string): Promise<string> {
  const source = file === '-' ? '/dev/stdin' : file;
  try {
    const text = await readFile(source, 'utf8');
    if (Buffer.byteLength(text) <= longestDocumentBytes) return text;
  } catch (cause) {
    throw new RollcallError('invalid_input', `${file} can not be read.`, {
      cause,
      raw: cause instanceof Error ? cause.message : String(cause),
      remedy: 'Check the name of the file and that this account may read it.',
    });
  }
  throw new RollcallError('too_large', `${file} is larger than a connection document can be.`);
}
