/**
 * The changes of a run as a file: one row or object per change, page by page, so that memory stays the same whatever the
 * run. A CSV is opened in spreadsheets, and its cells come from directories: what a spreadsheet would take for a formula
 * begins with an apostrophe (OWASP, "CSV Injection").
 */
import { stringify } from 'csv-stringify/sync';
import { RollcallError } from '../../core/errors.ts';
import type { RunId, TenantId } from '../../core/ids.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { selectChanges, type Change } from '../plan/changes.ts';
import type { RunSummary } from './runs-store.ts';

export const exportFormats = ['csv', 'json'] as const;
export type ExportFormat = (typeof exportFormats)[number];

const pageRows = 1000;

type Row = Change & { readonly organization: string | null };

const columns: readonly (readonly [title: string, value: (row: Row) => string | number | null])[] = [
  ['seq', (row) => row.seq],
  ['who', (row) => row.subject],
  ['what', (row) => row.op],
  ['kind', (row) => row.kind],
  ['state', (row) => row.state],
  ['organization', (row) => row.organization],
  ['role', (row) => row.role],
  ['before', (row) => factsText(row.before)],
  ['after', (row) => factsText(row.after)],
  ['reason', (row) => row.reason],
  ['error', (row) => row.error],
  ['applied at', (row) => row.appliedAt],
  ['cause', (row) => row.cause],
  ['user id', (row) => row.userId],
  ['anchor', (row) => row.anchor],
];

/** Pieces of the file in order. A run that is under way is shown as each page finds it. */
export async function* exportRun(
  db: Db,
  tenantId: TenantId,
  run: RunSummary,
  format: ExportFormat,
): AsyncGenerator<string> {
  // Excel takes a file without this mark for one in the code page of the machine
  if (format === 'csv') yield `\ufeff${toCsv([columns.map(([title]) => title)])}`;
  else yield `{"run":${JSON.stringify(run)},"changes":[`;
  let separator = '\n';
  for await (const page of walkPages(db, tenantId, run.id)) {
    if (format === 'csv') {
      yield toCsv(page.map((row) => columns.map(([, value]) => value(row))));
      continue;
    }
    yield separator + page.map((row) => JSON.stringify(row)).join(',\n');
    separator = ',\n';
  }
  if (format === 'json') yield '\n]}\n';
}

/** By seq, which rises with each page, so the walk ends. No transaction is open between pages: a reader may be slow. */
async function* walkPages(db: Db, tenantId: TenantId, runId: RunId): AsyncGenerator<Row[]> {
  let afterSeq = -1;
  for (;;) {
    const after = afterSeq;
    const page = await db.tenant(tenantId, async (tx) => {
      const rows = await selectChanges(tx, { runId, limit: pageRows, afterSeq: after });
      const names = await selectPaths(tx, rows);
      return rows.map((row) => ({ ...row, organization: names.get(row.organizationId ?? '') ?? null }));
    });
    const last = page.at(-1);
    if (last === undefined) return;
    if (last.seq <= afterSeq) throw new RollcallError('internal', 'The changes of a run came out of order.');
    yield page;
    if (page.length < pageRows) return;
    afterSeq = last.seq;
  }
}

/** Slug paths, as everywhere people read them. */
async function selectPaths(tx: TenantTx, rows: readonly Change[]): Promise<Map<string, string>> {
  const ids = [...new Set(rows.flatMap((row) => (row.organizationId === null ? [] : [row.organizationId])))];
  if (ids.length === 0) return new Map();
  const found = await tx.sql<{ id: string; path: string }[]>`
    select c.descendant_id as id, string_agg(o.slug, '/' order by o.depth) as path from organization_closure c
    join organizations o on o.tenant_id = c.tenant_id and o.id = c.ancestor_id
    where c.tenant_id = ${tx.tenantId} and c.descendant_id = any(${ids}::uuid[]) group by 1`;
  return new Map(found.map((row) => [row.id, row.path]));
}

function toCsv(rows: readonly (readonly (string | number | null)[])[]): string {
  return stringify(
    rows.map((row) => row.map(cellOf)),
    { escape_formulas: true, quoted: true, quoted_empty: true, record_delimiter: 'windows' },
  );
}

/** The library puts the apostrophe before = + - @ tab and carriage return; a line feed is left to us. */
function cellOf(value: string | number | null): string | number {
  if (value === null) return '';
  return typeof value === 'string' && value.startsWith('\n') ? `'${value}` : value;
}

/** `department: Sales; jobTitle: (none)` */
function factsText(facts: Readonly<Record<string, unknown>> | null): string | null {
  if (facts === null) return null;
  return Object.entries(facts)
    .map(([name, value]) => `${name}: ${valueText(value)}`)
    .join('; ');
}

function valueText(value: unknown): string {
  if (value === null || value === undefined) return '(none)';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
