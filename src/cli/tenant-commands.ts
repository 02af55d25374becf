/** Commands about a tenant: organizations, domains, tokens, exclusions, audit. */
import { Option, type Command } from 'commander';
import { grantableRoles, type GrantableRole } from '../core/roles.ts';
import type { Office } from '../app/app.ts';
import type { AuditEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { Organization } from '../organizations/organizations.ts';
import { inOffice, inTenant, parseCount, readPages, type CommandContext } from './context.ts';
import { cellText, cutToWidth, formatTime, printObject, printRows, type Column } from './output.ts';
import { addTokenCommands } from './token-commands.ts';

export function addTenantCommands(program: Command, context: CommandContext): void {
  addOrganizationCommands(program.command('orgs').description('organizations'), context);
  addDomainCommands(program.command('domains').description('mail domains of a tenant'), context);
  addTokenCommands(program.command('tokens').description('bearer tokens of the API and of SCIM'), context);
  addExclusionCommands(
    program.command('exclusions').description('who shall not get a role, whatever a directory says'),
    context,
  );
  addAuditCommands(program.command('audit').description('what was done, by whom, why'), context);
}

function addOrganizationCommands(orgs: Command, context: CommandContext): void {
  const { environment } = context;
  orgs
    .command('create <path>')
    .description('makes a tenant (contoso), or an organization below one that exists (contoso/emea)')
    .requiredOption('--name <name>', 'name people read')
    .option('--admin <user>', 'of a sub-organization: this user becomes its Admin, and so its Super Admin')
    .action(async (path: string, options: NewOrganization, command: Command) => {
      await inOffice(context, command, async (office, output) => {
        const made = await createOrganization(context, office, path, options);
        printObject(environment, output, made, `Made ${made.name} (${path}), id ${made.id}.`);
      });
    });
  orgs
    .command('list')
    .description('tenants; with --org the organizations of one')
    .option('--limit <count>', 'rows at most', parseCount, 1000)
    .action(async (options: { readonly limit: number }, command: Command) => {
      if (command.optsWithGlobals<{ readonly org?: string }>().org === undefined) {
        await inOffice(context, command, async (office, output) => {
          const rows = await office.organizations.listTenants();
          printRows(
            environment,
            output,
            rows,
            tenantColumns,
            'No organization yet: rollcall orgs create SLUG --name NAME',
          );
        });
        return;
      }
      await inTenant(context, command, async ({ office, principal, output }) => {
        const rows = await readPages((page) => office.organizations.list(principal, page), options.limit);
        printRows(environment, output, rows, organizationColumns, 'None.');
      });
    });
}

type NewOrganization = { readonly name: string; readonly admin?: string };

async function createOrganization(
  { actor, environment }: CommandContext,
  { organizations, users }: Office,
  path: string,
  { name, admin }: NewOrganization,
): Promise<Organization> {
  const end = path.lastIndexOf('/');
  const slug = path.slice(end + 1);
  if (end < 0) {
    if (admin === undefined) return organizations.createRoot(actor, { slug, name });
    throw new RollcallError('invalid_input', 'A new tenant has no users yet, so none can become its Admin.', {
      remedy: 'Leave --admin out.',
    });
  }
  const parent = await organizations.findAcrossTenants(path.slice(0, end));
  const { operatorPrincipal } = await import('../access/access.ts');
  const principal = operatorPrincipal(environment.osUser, parent.tenantId, parent.organizationId);
  const adminUserId = admin === undefined ? undefined : (await users.find(principal, admin)).id;
  return organizations.createSub(principal, parent.organizationId, { slug, name, adminUserId });
}

const tenantColumns = [
  { title: 'organization', value: (row) => row.path },
  { title: 'name', value: (row) => row.name },
  { title: 'id', value: (row) => row.organizationId },
] satisfies Column<{ path: string; name: string; organizationId: string }>[];

const organizationColumns = [
  { title: 'organization', value: (row) => `${'  '.repeat(row.depth)}${row.slug}` },
  { title: 'name', value: (row) => row.name },
  { title: 'id', value: (row) => row.id },
] satisfies Column<{ depth: number; slug: string; name: string; id: string }>[];

function addDomainCommands(domains: Command, context: CommandContext): void {
  const { environment } = context;
  domains
    .command('prove <domain>')
    .description("the operator's word that the domain is the tenant's; usernames and first matches are made inside it")
    .action(async (name: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const domain = await office.organizations.proveDomain(context.actor, tenantId, name);
        printObject(environment, output, domain, `${domain.name} is ${domain.status.replace('_', ' ')}.`);
      });
    });
  domains
    .command('list')
    .description('domains of a tenant')
    .action(async (_options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        const rows = await office.organizations.listDomains(tenantId);
        printRows(environment, output, rows, domainColumns, 'None.');
      });
    });
}

const domainColumns = [
  { title: 'domain', value: (row) => row.name },
  { title: 'status', value: (row) => row.status.replace('_', ' ') },
  { title: 'primary', value: (row) => (row.isPrimary ? 'yes' : null) },
  { title: 'proven by', value: (row) => row.provenBy },
] satisfies Column<{ name: string; status: string; isPrimary: boolean; provenBy: string | null }>[];

type NewExclusionOptions = { readonly role?: GrantableRole; readonly reason: string; readonly until?: string };

function addExclusionCommands(exclusions: Command, context: CommandContext): void {
  const { environment } = context;
  exclusions
    .command('list')
    .description('exclusions of an organization')
    .option('--limit <count>', 'rows at most', parseCount, 1000)
    .action(async (options: { readonly limit: number }, command: Command) => {
      await inTenant(context, command, async ({ office, principal, organizationId, output }) => {
        const rows = await readPages(
          (page) => office.access.listExclusions(principal, organizationId, page),
          options.limit,
        );
        printRows(environment, output, rows, exclusionColumns, 'No exclusions.');
      });
    });
  exclusions
    .command('add <user>')
    .description('takes a role (or all) from a user and keeps it away, whatever a directory says')
    .addOption(new Option('--role <role>', 'every role unless given').choices([...grantableRoles]))
    .requiredOption('--reason <text>', 'stands in every explanation')
    .option('--until <time>', 'end of the exclusion; stands until removed unless given')
    .action(async (reference: string, options: NewExclusionOptions, command: Command) => {
      await inTenant(context, command, async ({ office, principal, organizationId, output }) => {
        const user = await office.users.find(principal, reference);
        const made = await office.access.addExclusion(principal, {
          organizationId,
          userId: user.id,
          role: options.role ?? null,
          reason: options.reason,
          until: options.until ?? null,
        });
        printObject(environment, output, made, `Exclusion ${made.id} holds from now on.`);
      });
    });
  exclusions
    .command('remove <id>')
    .description('lets directories give the role again, from their next run on')
    .action(async (id: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, principal, organizationId, output }) => {
        await office.access.removeExclusion(principal, organizationId, id);
        printObject(environment, output, { id, removed: true }, `Exclusion ${id} is removed.`);
      });
    });
}

const exclusionColumns = [
  { title: 'id', value: (row) => row.id },
  { title: 'user', value: (row) => row.userName },
  { title: 'role', value: (row) => row.role ?? 'every role' },
  { title: 'until', value: (row) => formatTime(row.until) },
  { title: 'by', value: (row) => row.createdBy },
  { title: 'reason', value: (row) => row.reason },
] satisfies Column<{
  id: string;
  userName: string;
  role: string | null;
  until: string | null;
  createdBy: string;
  reason: string;
}>[];

const followEveryMs = 2000;
const followBatch = 500;

function addAuditCommands(audit: Command, context: CommandContext): void {
  const { environment } = context;
  audit
    .command('tail')
    .description('the last events, oldest first; with --follow also those to come')
    .option('-n, --lines <count>', 'events to begin with', parseCount, 20)
    .option('-f, --follow', 'goes on until Ctrl-C')
    .action(async (options: { readonly lines: number; readonly follow?: true }, command: Command) => {
      await inTenant(context, command, async ({ office, tenantId, output }) => {
        if (options.follow === true && output === 'json') {
          throw new RollcallError('invalid_input', 'A list that never ends is no JSON document.', {
            remedy: 'Use -o ndjson.',
          });
        }
        const recent = await readPages((page) => office.audit.list(tenantId, page), options.lines);
        const events = recent.toReversed();
        printRows(environment, output, events, auditColumns, 'Nothing yet.');
        let seq = events.at(-1)?.seq ?? 0;
        while (options.follow === true && !context.signal.aborted) {
          const next = await office.audit.after(tenantId, seq, followBatch);
          for (const event of next) environment.stdout.write(renderEvent(event, output === 'ndjson'));
          seq = next.at(-1)?.seq ?? seq;
          if (next.length < followBatch) await sleepUntilStop(office.clock, context.signal);
        }
      });
    });
}

async function sleepUntilStop(
  clock: { sleep(ms: number, signal?: AbortSignal): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  try {
    await clock.sleep(followEveryMs, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function renderEvent(event: AuditEvent, isJson: boolean): string {
  if (isJson) return `${JSON.stringify(event)}\n`;
  return `${auditColumns.map((column) => cellText(column.value(event))).join('  ')}\n`;
}

const auditColumns = [
  { title: 'time', value: (row) => formatTime(row.at) },
  { title: 'actor', value: (row) => row.actor },
  { title: 'action', value: (row) => row.action },
  { title: 'target', value: (row) => row.target },
  { title: 'details', value: describeDetails },
] satisfies Column<AuditEvent>[];

const longestDetails = 100;

/** `command=plan, reason=holiday`; lists and objects are for -o ndjson. */
function describeDetails({ details }: AuditEvent): string | null {
  const words = Object.entries(details).flatMap(([name, value]) =>
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [`${name}=${value}`] : [],
  );
  return words.length === 0 ? null : cutToWidth(words.join(', '), longestDetails);
}
