/** Commands about what identity providers push: the request log of a connection, and its dry replay. */
import { InvalidArgumentError, type Command } from 'commander';
import { RollcallError } from '../core/errors.ts';
import type { Replayed, ScimRequestView } from '../scim/scim.ts';
import { inTenant, parseCount, readPages, type CommandContext } from './context.ts';
import { cellText, formatTime, printObject, printRows, type Column } from './output.ts';

type ListOptions = { readonly limit: number; readonly refused?: true; readonly method?: string };

export function addScimCommands(program: Command, context: CommandContext): void {
  const { environment } = context;
  const scim = program.command('scim').description('what identity providers push');
  const requests = scim.command('requests').description('the request log of a SCIM connection');
  requests
    .command('list <connection>')
    .description('what its identity provider sent, newest first; -o ndjson shows the bodies')
    .option('--refused', 'only what was refused')
    .option('--method <method>', 'only this one, e.g. PATCH', parseMethod)
    .option('--limit <count>', 'rows at most', parseCount, 50)
    .action(async (reference: string, options: ListOptions, command: Command) => {
      await inTenant(context, command, async ({ office, principal, tenantId, output }) => {
        const connection = await office.reconciliation.findConnection(tenantId, reference);
        if (connection.kind !== 'scim') {
          throw new RollcallError(
            'invalid_input',
            `Nobody pushes to ${connection.name}: it is of kind ${connection.kind}.`,
            {
              remedy: 'Only connections of kind scim have requests; see: rollcall connections list',
            },
          );
        }
        const filter = {
          connectionId: connection.id,
          method: options.method,
          minStatus: options.refused === true ? 400 : undefined,
        };
        const rows = await readPages((page) => office.scim.listRequests(principal, filter, page), options.limit);
        printRows(environment, output, rows, columns, 'Nothing was recorded.');
      });
    });
  requests
    .command('replay <id>')
    .description('what a recorded request would do now; changes nothing')
    .action(async (id: string, _options: unknown, command: Command) => {
      await inTenant(context, command, async ({ office, principal, output }) => {
        const replayed = await office.scim.replayRequest(principal, id);
        printObject(environment, output, replayed, describeReplay(replayed));
      });
    });
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** A method that is misspelled would find nothing, as if nothing had been sent. */
function parseMethod(text: string): string {
  const method = text.toUpperCase();
  if (methods.includes(method)) return method;
  throw new InvalidArgumentError(`It must be one of ${methods.join(', ')}.`);
}

/** Filters as somebody wrote them, not as they travel. */
function readable(path: string): string {
  const [place = '', text] = path.split('?', 2);
  if (text === undefined) return place;
  const parameters = [...new URLSearchParams(text)].map(([name, value]) => `${name}=${value}`);
  return `${place}?${parameters.join('&')}`;
}

/** Why it was refused, what was left out, and what waits for a person. */
function reasonOf({ reason, disputes }: ScimRequestView): string | null {
  const waiting = disputes.map((one) => `${one.reason}${one.caseId === null ? '' : ` Case ${one.caseId}.`}`);
  return [reason, ...waiting].filter((text) => text !== null).join(' ') || null;
}

const columns = [
  { title: 'time', value: (row) => formatTime(row.at) },
  { title: 'request', value: (row) => `${row.method} ${readable(row.path)}` },
  { title: 'status', value: (row) => row.status || null },
  { title: 'scimType', value: (row) => row.scimType },
  { title: 'reason', value: reasonOf },
  { title: 'ms', value: (row) => row.durationMs, align: 'right' },
  { title: 'id', value: (row) => row.id },
] satisfies Column<ScimRequestView>[];

function describeReplay({ request, status, body, changes }: Replayed): string {
  const detail = body?.['detail'];
  const lines = [
    `${request.method} ${readable(request.path)}`,
    `answered ${request.status} then${request.reason === null ? '' : `: ${request.reason}`}`,
    `would be answered ${status} now${typeof detail === 'string' ? `: ${detail}` : ''}`,
    changes.length === 0 ? 'Nobody would change.' : 'It would change:',
    ...changes.map(
      ({ op, subject, role, reason }) => `  ${op} ${subject}${role === null ? '' : ` (${role})`}: ${reason}`,
    ),
  ];
  return lines.map(cellText).join('\n');
}
