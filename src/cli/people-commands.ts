/** Commands about people: users list and explain, cases list and resolve. */
import type { Command } from 'commander';
import { RollcallError } from '../core/errors.ts';
import { isUuid } from '../core/ids.ts';
import type { CaseStatus } from '../core/vocabulary.ts';
import type { Case, Resolution } from '../reconciliation/reconciliation.ts';
import type { UserSummary } from '../users/users.ts';
import { inTenant, parseCount, readPages, type CommandContext } from './context.ts';
import { printObject, printRows, type Column } from './output.ts';
import { addProtectionCommands } from './protection-commands.ts';
import { renderExplanation } from './render-explanation.ts';

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
  addProtectionCommands(users, context);
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
  readonly assign?: string;
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
    .option('--assign <user>', 'of an organization without a Super Admin: this Admin becomes it')
    .option('--ignore', 'the object is left alone for good')
    .action(async (id: string, options: ResolveOptions, command: Command) => {
      if (!isUuid(id)) {
        throw new RollcallError('invalid_input', `"${id}" is not the id of a case.`, {
          remedy: 'List them with: rollcall cases list',
        });
      }
      await inTenant(context, command, async ({ office, principal, tenantId, output }) => {
        if (options.assign !== undefined) {
          const user = await office.users.find(principal, options.assign);
          await office.reconciliation.fillSeat(principal, id, { action: 'assign', userId: user.id });
          printObject(environment, output, { id, action: 'assign' }, `Case ${id} is decided: Super Admin assigned.`);
          return;
        }
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
      'Say what becomes of it: --link USER, --create, --grant, --source, --local, --assign USER or --ignore, one of them.',
    );
  }
  return action === undefined ? link(options.link ?? '') : { action };
}
