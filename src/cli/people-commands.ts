/** Commands about people: users list and explain, cases list and resolve. */
import type { Command } from 'commander';
import { RollcallError } from '../core/errors.ts';
import { isUuid } from '../core/ids.ts';
import type { CaseStatus } from '../core/vocabulary.ts';
import type { Case, Change, Explanation, Resolution } from '../reconciliation/reconciliation.ts';
import type { UserSummary } from '../users/users.ts';
import { inTenant, parseCount, readPages, type CommandContext } from './context.ts';
import { formatTime, printObject, printRows, renderTable, type Column } from './output.ts';
import { describeChange } from './render-plan.ts';

export function addPeopleCommands(program: Command, context: CommandContext): void {
  addUserCommands(program.command('users').description('users of a tenant'), context);
  addCaseCommands(program.command('cases').description('what a person must decide'), context);
}

const userColumns: readonly Column<UserSummary>[] = [
  { title: 'name', value: (row) => row.displayName },
  { title: 'username', value: (row) => row.username },
  { title: 'e-mail', value: (row) => row.email },
  { title: 'status', value: (row) => row.status },
  {
    title: 'roles',
    value: (row) => [...new Set(row.memberships.flatMap((membership) => membership.roles))].join(', '),
  },
  { title: 'id', value: (row) => row.id },
];

type UserListOptions = { readonly search?: string; readonly limit: number };

function addUserCommands(users: Command, context: CommandContext): void {
  const { environment } = context;
  users
    .command('list')
    .description('users of an organization and below it')
    .option('--search <text>', 'beginning of a name, username or e-mail address')
    .option('--limit <count>', 'rows at most', parseCount, 100)
    .action(async (options: UserListOptions, command: Command) => {
      await inTenant(context, command, async ({ office, principal, output }) => {
        const rows = await readPages(
          (page) => office.users.list(principal, { ...page, search: options.search, sort: 'displayName' }),
          options.limit,
        );
        printRows(environment, output, rows, userColumns, 'No users.');
      });
    });
  users
    .command('explain <user>')
    .description('which object, rule and run led to each value and role; by id, username, e-mail address or name')
    .action(async (reference: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const explanation = await office.reconciliation.explainUser(tenantId, reference);
        printObject(environment, output, explanation, renderExplanation(explanation, environment.stdout.columns));
      });
    });
}

const widthForRuns = 140;

export function renderExplanation(explanation: Explanation, terminalWidth?: number): string {
  const { user } = explanation;
  const name = user.displayName ?? user.username ?? user.email ?? user.id;
  const status = user.statusReason === null ? user.status : `${user.status}: ${user.statusReason}`;
  // a run's id would leave no room for the words; -o json has it
  const isNarrow = terminalWidth !== undefined && terminalWidth < widthForRuns;
  const guarded = user.isProtected ? ', out of reach of every directory' : '';
  return [
    `${name} (${user.id}), ${status}${guarded}\n`,
    section(terminalWidth, 'Values', explanation.attributes, [
      { title: 'attribute', value: (row) => row.attribute },
      { title: 'value', value: (row) => row.value },
      { title: 'comes from', value: (row) => row.source },
    ]),
    section(terminalWidth, 'Roles', explanation.grants, [
      { title: 'organization', value: (row) => row.organization },
      { title: 'role', value: (row) => row.role },
      { title: 'because', value: (row) => row.because },
      { title: 'since', value: (row) => formatTime(row.since) },
    ]),
    section(terminalWidth, 'Withheld by an exclusion', explanation.withheld, [
      { title: 'organization', value: (row) => row.organization },
      { title: 'role', value: (row) => row.role },
      { title: 'group', value: (row) => row.group },
    ]),
    section(terminalWidth, 'Exclusions', explanation.exclusions, [
      { title: 'organization', value: (row) => row.organization },
      { title: 'role', value: (row) => row.role ?? 'every role' },
      { title: 'by', value: (row) => row.by },
      { title: 'reason', value: (row) => row.reason },
    ]),
    section(terminalWidth, 'Directory objects', explanation.links, [
      { title: 'connection', value: (row) => row.connectionName },
      { title: 'object', value: (row) => row.locator ?? row.anchor },
      { title: 'state', value: linkStateWords },
      { title: 'matched by', value: (row) => row.matchedBy },
      { title: 'groups', value: (row) => row.groups.join(', ') },
    ]),
    section(terminalWidth, 'History, newest first', explanation.history, [
      { title: 'when', value: (row) => formatTime(row.appliedAt) },
      { title: 'what', value: describeChange },
      { title: 'state', value: (row) => row.state },
      { title: 'why', value: (row) => row.reason },
      ...(isNarrow ? [] : [{ title: 'run', value: (row: Change) => row.runId }]),
    ]),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

/** A hold is named with its reason: it is why no run touches the user. */
function linkStateWords({ state, reason, isActive }: Explanation['links'][number]): string {
  const words = state === 'held' && reason !== null ? `held: ${reason}` : state;
  return isActive ? words : `${words}, disabled there`;
}

function section<Row>(
  terminalWidth: number | undefined,
  title: string,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): string {
  return rows.length === 0 ? '' : `${title}\n${renderTable(rows, columns, terminalWidth)}`;
}

const caseColumns: readonly Column<Case>[] = [
  { title: 'case', value: (row) => row.id },
  { title: 'kind', value: (row) => row.kind.replaceAll('_', ' ') },
  { title: 'connection', value: (row) => row.connectionName },
  { title: 'who', value: (row) => row.subject },
  { title: 'candidates', value: (row) => row.candidates.map(({ id, name }) => `${name} (${id})`).join(', ') },
  { title: 'why', value: (row) => row.reason },
];

type ResolveOptions = {
  readonly link?: string;
  readonly create?: true;
  readonly grant?: true;
  readonly source?: true;
  readonly local?: true;
  readonly ignore?: true;
};

function addCaseCommands(cases: Command, context: CommandContext): void {
  const { environment, actor } = context;
  cases
    .command('list')
    .description('open cases of a tenant')
    .option('--all', 'resolved and ignored ones as well')
    .action(async (options: { readonly all?: true }, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const statuses: readonly CaseStatus[] = options.all === true ? ['open', 'resolved', 'ignored'] : ['open'];
        const lists = await Promise.all(statuses.map((status) => office.reconciliation.listCases(tenantId, status)));
        printRows(environment, output, lists.flat(), caseColumns, 'Nothing to decide.');
      });
    });
  cases
    .command('resolve <case>')
    .description('decides a case; it takes effect with the next run of the connection')
    .option('--link <user>', 'the object is this user (id, username or e-mail address)')
    .option('--create', 'the object is a user of its own')
    .option('--grant', 'the privileged role that was asked for is given, at once')
    .option('--source', "of a drift: the directory's value stands from now on")
    .option('--local', 'of a drift: the value edited here stays')
    .option('--ignore', 'the object is left alone for good')
    .action(async (id: string, options: ResolveOptions, command: Command) => {
      if (!isUuid(id)) {
        throw new RollcallError('invalid_input', `"${id}" is not the id of a case.`, {
          remedy: 'List them with: rollcall cases list',
        });
      }
      await inTenant(context, command, async ({ office, principal, tenantId, output }) => {
        const resolution = await resolutionOf(options, async (reference) => {
          const user = await office.users.find(principal, reference);
          return { action: 'link', userId: user.id };
        });
        await office.reconciliation.resolveCase(actor, tenantId, id, resolution);
        printObject(environment, output, { id, ...resolution }, `Case ${id} is decided: ${resolution.action}.`);
      });
    });
}

async function resolutionOf(
  options: ResolveOptions,
  link: (reference: string) => Promise<Resolution>,
): Promise<Resolution> {
  const actions = (['create', 'grant', 'source', 'local', 'ignore'] as const).filter(
    (action) => options[action] === true,
  );
  const [action] = actions;
  if (actions.length + (options.link === undefined ? 0 : 1) !== 1) {
    throw new RollcallError(
      'invalid_input',
      'Say what becomes of it: --link USER, --create, --grant, --source, --local or --ignore, one of them.',
    );
  }
  return action === undefined ? link(options.link ?? '') : { action };
}
