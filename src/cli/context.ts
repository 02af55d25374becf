/** What every command works with: the options all share, the configuration, the rooms, the tenant, where to write. */
import { InvalidArgumentError, type Command } from 'commander';
import type { Config, Environment, Office } from '../app/app.ts';
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, TenantId } from '../core/ids.ts';
import type { Page, PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import type { ExitCode } from './exit-codes.ts';
import type { OutputFormat } from './output.ts';

export type SharedOptions = {
  readonly config?: string;
  readonly output: OutputFormat;
  readonly org?: string;
};

export type CommandContext = {
  readonly environment: Environment;
  /** `operator:<os user>` */
  readonly actor: string;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
  /** Ends the program with this code once the command is through. */
  setExitCode(code: ExitCode): void;
};

/** A command at work in a tenant, as the host operator. */
export type TenantWork = {
  readonly office: Office;
  readonly principal: Principal;
  readonly tenantId: TenantId;
  readonly organizationId: OrganizationId;
  readonly output: OutputFormat;
  /** What a printed command needs at its end to reach the same tenant again: ` --org contoso`, or nothing. */
  readonly sameTenant: string;
};

export function sharedOptionsOf(command: Command): SharedOptions {
  return command.optsWithGlobals<SharedOptions>();
}

/** Loaded when a command needs it: --help and --version do not wait for the database driver. */
export async function readConfig(context: CommandContext, options: SharedOptions): Promise<Config> {
  const app = await import('../app/app.ts');
  return app.loadConfig(app.configFileOf(context.environment, options.config)).config;
}

export async function inOffice<Result>(
  context: CommandContext,
  command: Command,
  work: (office: Office, output: OutputFormat) => Promise<Result>,
): Promise<Result> {
  const app = await import('../app/app.ts');
  const options = sharedOptionsOf(command);
  const config = await readConfig(context, options);
  return app.withOffice(config, context.environment, (office) => work(office, options.output));
}

export async function inTenant<Result>(
  context: CommandContext,
  command: Command,
  work: (at: TenantWork) => Promise<Result>,
): Promise<Result> {
  const { org, config } = sharedOptionsOf(command);
  const { operatorPrincipal } = await import('../access/access.ts');
  return inOffice(context, command, async (office, output) => {
    const found = await chooseOrganization(office, org);
    const principal = operatorPrincipal(context.environment.osUser, found.tenantId, found.organizationId);
    if (!readingCommands.has(command.name())) await recordEntry(context, office, command, found);
    const sameTenant = [config === undefined ? '' : ` -c ${quote(config)}`, org === undefined ? '' : ` --org ${org}`];
    return work({ office, principal, ...found, output, sameTenant: sameTenant.join('') });
  });
}

/** By the last word of the command; every other one may change something, also those that are yet to be written. */
const readingCommands = new Set([
  'list',
  'show',
  'watch',
  'export',
  'history',
  'explain',
  'preview',
  'test',
  'tail',
  'replay',
  'unmapped',
]);

/** An operator belongs to no tenant and may enter any; the tenant sees who did, and for what. */
async function recordEntry(context: CommandContext, office: Office, command: Command, at: Chosen): Promise<void> {
  await office.audit.record(at.tenantId, {
    actor: context.actor,
    action: 'operator.entered',
    target: `organization:${at.organizationId}`,
    details: { command: commandPath(command) },
  });
}

/** `connections pause` */
function commandPath(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null && at.parent !== null; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

/** As a shell reads it back. */
export function quote(text: string): string {
  return /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

type Chosen = { readonly tenantId: TenantId; readonly organizationId: OrganizationId };

/** Without --org the only tenant there is; an operator never changes one by accident where there are several. */
async function chooseOrganization(office: Office, org: string | undefined): Promise<Chosen> {
  if (org !== undefined) {
    const { tenantId, organizationId } = await office.organizations.findAcrossTenants(org);
    return { tenantId, organizationId };
  }
  const tenants = await office.organizations.listTenants();
  const [only] = tenants;
  if (only === undefined) {
    throw new RollcallError('invalid_input', 'There is no organization yet.', {
      remedy: 'Make one: rollcall orgs create SLUG --name NAME',
    });
  }
  if (tenants.length === 1) return { tenantId: only.tenantId, organizationId: only.organizationId };
  const known = tenants.slice(0, 10).map((tenant) => tenant.path);
  throw new RollcallError('invalid_input', 'Several organizations exist; say which one is meant.', {
    remedy: `Add --org with one of: ${known.join(', ')}${tenants.length > known.length ? ' ...' : ''}`,
  });
}

const pageLimit = 200;

/** All pages of a list, up to `limit` rows; a cursor that comes back is a fault of ours and ends the walk. */
export async function readPages<Item>(
  read: (request: PageRequest) => Promise<Page<Item>>,
  limit: number,
): Promise<Item[]> {
  const items: Item[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  while (items.length < limit) {
    const page = await read({ limit: Math.min(pageLimit, limit - items.length), cursor });
    items.push(...page.items);
    if (page.nextCursor === null) break;
    if (seen.has(page.nextCursor)) throw new RollcallError('internal', 'A list gave the same cursor twice.');
    seen.add(page.nextCursor);
    cursor = page.nextCursor;
  }
  return items;
}

/** A count on the command line. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0 && count <= 1_000_000) return count;
  throw new InvalidArgumentError('It must be a whole number between 1 and 1,000,000.');
}
