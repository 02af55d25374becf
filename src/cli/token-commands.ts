/** Commands about bearer tokens: create, list, rotate, revoke. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { NewToken, TokenView } from '../access/access.ts';
import { RollcallError } from '../core/errors.ts';
import { grantableRoles, type GrantableRole } from '../core/roles.ts';
import { scimScopes, type ScimScope } from '../core/vocabulary.ts';
import { inTenant, parseCount, readPages, type CommandContext, type TenantWork } from './context.ts';
import { formatTime, printObject, printRows, type Column } from './output.ts';

type NewTokenOptions = {
  readonly name?: string;
  readonly role: GrantableRole;
  readonly connection?: string;
  readonly oauth?: true;
  readonly scope?: ScimScope[];
  readonly allowFrom?: string[];
  readonly expires?: string;
};

export function addTokenCommands(tokens: Command, context: CommandContext): void {
  addCreateCommand(tokens, context);
  addRotateCommand(tokens, context);
  const { environment } = context;
  tokens
    .command('list')
    .description('tokens of a tenant, without their texts')
    .option('--limit <count>', 'rows at most', parseCount, 1000)
    .action(async (options: { readonly limit: number }, command: Command) => {
      await inTenant(context, command, async ({ office, principal, output }) => {
        const rows = await readPages((page) => office.access.listTokens(principal, page), options.limit);
        printRows(environment, output, rows, tokenColumns, 'No tokens.');
      });
    });
  tokens
    .command('revoke <id>')
    .description('ends a token; the next request with it is refused')
    .action(async (id: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, principal, output }) => {
        const token = await office.access.revokeToken(principal, id);
        printObject(environment, output, token, `Token ${token.id} (${token.name}) is revoked.`);
      });
    });
}

function addCreateCommand(tokens: Command, context: CommandContext): void {
  tokens
    .command('create')
    .description('makes a token and prints it, this once; with --connection a SCIM token, else an API token')
    .option('--name <name>', 'what it is for; of a SCIM token the name of its connection unless given')
    .option('--connection <id or name>', 'SCIM connection the token speaks for')
    .option('--oauth', 'with --connection: a client secret for OAuth 2 client credentials instead of a bearer token')
    .addOption(
      new Option('--scope <scopes...>', 'with --connection: what it may do; everything unless given').choices([
        ...scimScopes,
      ]),
    )
    .option(
      '--allow-from <ranges...>',
      'addresses it may be used from, e.g. 203.0.113.0/24; from anywhere unless given',
    )
    .addOption(new Option('--role <role>', 'role of an API token').choices([...grantableRoles]).default('admin'))
    .option('--expires <time>', 'end of its life, e.g. 2027-01-31T00:00:00Z; never unless given')
    .action(async (options: NewTokenOptions, command: Command) => {
      await inTenant(context, command, async (at) => {
        const isRoleGiven = command.getOptionValueSource('role') !== 'default';
        if (options.connection !== undefined && isRoleGiven) throw roleOfConnection();
        const made = await at.office.access.createToken(at.principal, await wantedToken(at, options));
        printNew(context, at, made);
      });
    });
}

function addRotateCommand(tokens: Command, context: CommandContext): void {
  tokens
    .command('rotate <id>')
    .description('makes a new text with the same rights; the old one goes on until the overlap is over')
    .option('--overlap <minutes>', 'how long both work', parseOverlap, 60)
    .option('--expires <time>', 'end of the new one; as long from now as the old one was made for, unless given')
    .action(async (id: string, options: { readonly overlap: number; readonly expires?: string }, command: Command) => {
      await inTenant(context, command, async (at) => {
        const { overlap, expires } = options;
        printNew(context, at, await at.office.access.rotateToken(at.principal, id, overlap, expires));
        context.environment.stderr.write(`The old text ends in ${options.overlap} minutes.\n`);
      });
    });
}

const longestOverlapMinutes = 43_200;

function parseOverlap(text: string): number {
  const minutes = Number(text);
  if (Number.isInteger(minutes) && minutes >= 0 && minutes <= longestOverlapMinutes) return minutes;
  throw new InvalidArgumentError('It must be a whole number of minutes, at most 43200 (30 days).');
}

function printNew(
  { environment }: CommandContext,
  { office, output }: TenantWork,
  made: { readonly token: TokenView; readonly text: string },
): void {
  const { token } = made;
  printObject(environment, output, made, made.text);
  environment.stderr.write(`Token ${token.id} is shown this once; Rollcall keeps only its fingerprint.\n`);
  if (token.kind === 'api') return;
  const base = `${office.config.http.publicUrl?.replace(/\/+$/, '') ?? 'https://YOUR-HOST'}/scim/v2/${token.connectionId}`;
  environment.stderr.write(`The identity provider's base URL is ${base}\n`);
  if (token.kind === 'key') {
    environment.stderr.write(`Client id: ${token.id}. Token endpoint: ${base}/oauth/token\n`);
  }
}

function roleOfConnection(): RollcallError {
  return new RollcallError('invalid_input', '--role is for API tokens; a token of a SCIM connection has no role.', {
    remedy: 'What is pushed is bound by the ceiling of the connection, and the token by --scope.',
  });
}

async function wantedToken(at: TenantWork, options: NewTokenOptions): Promise<NewToken> {
  const common = { expiresAt: options.expires ?? null, allowedRanges: options.allowFrom };
  if (options.connection !== undefined) {
    const { id, name } = await at.office.reconciliation.findConnection(at.tenantId, options.connection);
    const kind = options.oauth === true ? 'key' : 'scim';
    return { ...common, kind, name: options.name ?? name, connectionId: id, scopes: options.scope };
  }
  if (options.oauth === true || options.scope !== undefined) {
    throw new RollcallError('invalid_input', '--oauth and --scope are for tokens of a SCIM connection.', {
      remedy: 'Add --connection NAME.',
    });
  }
  if (options.name === undefined) {
    throw new RollcallError('invalid_input', 'Say what the token is for.', { remedy: 'Add --name NAME.' });
  }
  return { ...common, kind: 'api', name: options.name, organizationId: at.organizationId, role: options.role };
}

const tokenColumns = [
  { title: 'id', value: (row) => row.id },
  { title: 'kind', value: (row) => row.kind },
  { title: 'name', value: (row) => row.name },
  { title: 'role', value: (row) => row.role },
  { title: 'scopes', value: (row) => row.scopes.join(' ') || null },
  { title: 'from', value: (row) => row.allowedRanges.join(' ') || null },
  { title: 'last used', value: (row) => formatTime(row.lastUsedAt) },
  { title: 'expires', value: (row) => formatTime(row.expiresAt) },
  { title: 'revoked', value: (row) => formatTime(row.revokedAt) },
] satisfies Column<TokenView>[];
