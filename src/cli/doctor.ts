/** doctor: what an operator looks at first, each as one line with what to do. */
import type { Command } from 'commander';
import type { Office } from '../app/app.ts';
import type { TokenStanding } from '../access/access.ts';
import { describeError } from '../core/errors.ts';
import type { Connection, RunSummary } from '../reconciliation/reconciliation.ts';
import { inOffice, quote, type CommandContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { formatTime, printRows, type Column } from './output.ts';

type Finding = { readonly check: string; readonly outcome: 'ok' | 'warning' | 'failed'; readonly message: string };

const columns: readonly Column<Finding>[] = [
  { title: 'check', value: (row) => row.check },
  { title: 'outcome', value: (row) => row.outcome },
  { title: 'finding', value: (row) => row.message },
];

export function addDoctorCommand(program: Command, context: CommandContext): void {
  program
    .command('doctor')
    .description('looks at the database and every connection, and says what needs a person')
    .action(async (_options: unknown, command: Command) => {
      await inOffice(context, command, async (office, output) => {
        const findings = await examine(office);
        printRows(context.environment, output, findings, columns, '');
        if (findings.some((finding) => finding.outcome === 'failed')) context.setExitCode(exitCodes.failed);
      });
    });
}

async function examine(office: Office): Promise<Finding[]> {
  // the configuration was read and the database migrated before we got here
  const findings: Finding[] = [{ check: 'configuration', outcome: 'ok', message: 'Every setting is valid.' }];
  try {
    await office.ping();
    findings.push({ check: 'database', outcome: 'ok', message: 'It answers, and its schema is up to date.' });
  } catch (error) {
    return [...findings, { check: 'database', outcome: 'failed', message: describeError(error) }];
  }
  const tenants = await office.organizations.listTenants();
  if (tenants.length === 0) {
    findings.push({
      check: 'organizations',
      outcome: 'warning',
      message: 'None yet. Make one: rollcall orgs create SLUG --name NAME',
    });
  }
  for (const { tenantId, path } of tenants) {
    const tokens = new Map((await office.access.tokenStandings(tenantId)).map((one) => [one.connectionId, one]));
    for (const connection of await office.reconciliation.listConnections(tenantId)) {
      const filter = { connectionId: connection.id, limit: 1 };
      const [run] = await office.reconciliation.listRuns(tenantId, filter);
      const finding = examineConnection(connection, run, office.clock.now(), {
        path,
        token: tokens.get(connection.id),
      });
      findings.push({ check: `${path}: ${connection.name}`, ...finding });
    }
  }
  return findings;
}

/** Workers look once a minute; after this nobody looks. */
const overdueMs = 5 * 60_000;

function examineConnection(
  connection: Connection,
  run: RunSummary | undefined,
  now: Date,
  more: Pushed,
): Omit<Finding, 'check'> {
  if (connection.status !== 'active') {
    const next = connection.status === 'quarantined' ? 'retry' : 'resume';
    const standing = connection.statusText ?? `It is ${connection.status}.`;
    const message = `${standing} When that is settled: rollcall connections ${next}`;
    return { outcome: connection.status === 'quarantined' ? 'failed' : 'warning', message };
  }
  if (connection.kind === 'scim') return examinePushed(connection, now, more);
  const due = connection.nextRunAt;
  if (due !== null && now.getTime() - Date.parse(due) > overdueMs) {
    const message = `Its run was due at ${formatTime(due)} and nobody started it. Is a daemon or a worker running?`;
    return { outcome: 'failed', message };
  }
  if (run === undefined) return { outcome: 'ok', message: 'No run yet.' };
  if (run.status === 'failed') {
    const why = run.error?.['message'];
    return {
      outcome: 'failed',
      message: `The last run failed: ${typeof why === 'string' ? why : 'no reason is recorded'}`,
    };
  }
  if (run.status === 'held' || run.status === 'planned') {
    return { outcome: 'warning', message: `A plan waits for a person: rollcall runs show ${run.id}` };
  }
  return { outcome: 'ok', message: `Last run: ${run.status}.` };
}

/** Between the second and the last reminder of a token that ends. */
const soonMs = 30 * 86_400_000;

/** Of the tenant: its path, and until when the identity provider can push. */
type Pushed = { readonly path: string; readonly token: TokenStanding | undefined };

/** Nobody notices that an identity provider is refused but the identity provider. */
function examinePushed(connection: Connection, now: Date, { path, token }: Pushed): Omit<Finding, 'check'> {
  if (token === undefined || token.tokenId === null) {
    const message = `Nobody can push to it: it has no token. Make one: rollcall tokens create --connection ${quote(connection.name)} --org ${path}`;
    return { outcome: 'warning', message };
  }
  const { tokenId, name, expiresAt, works } = token;
  if (expiresAt === null) return { outcome: 'ok', message: 'Its identity provider pushes to it.' };
  const renew = `Renew it and enter the new text at the identity provider: rollcall tokens rotate ${tokenId} --org ${path}`;
  const at = formatTime(expiresAt);
  if (!works)
    return { outcome: 'failed', message: `Nobody can push to it: the token "${name}" ended at ${at}. ${renew}` };
  if (Date.parse(expiresAt) - now.getTime() > soonMs) {
    return { outcome: 'ok', message: `Its identity provider pushes to it, with the token "${name}" until ${at}.` };
  }
  return { outcome: 'warning', message: `Its token "${name}" ends at ${at}. ${renew}` };
}
