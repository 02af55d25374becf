/** A plan as a file: complete, in pieces, and harmless in a spreadsheet. */
import { afterEach, describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { startApi, type TestApi } from '../../../test/setup/api.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import { principalOf } from '../../../test/setup/people.ts';
import type { RunId } from '../../core/ids.ts';
import { reconciliationRoutes } from '../routes.ts';

const database = useDatabase();
const open: TestApi[] = [];

afterEach(async () => {
  for (const api of open.splice(0)) await api.server.close(0);
});

async function piecesOf(engine: Engine, runId: RunId, format: 'csv' | 'json'): Promise<string[]> {
  const pieces: string[] = [];
  for await (const piece of await engine.reconciliation.exportRun(engine.tenantId, runId, format)) pieces.push(piece);
  return pieces;
}

/** Records of a CSV all of whose cells are quoted (RFC 4180). */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, cell = '', end = ''] of text.replace(/^\ufeff/, '').matchAll(/"((?:[^"]|"")*)"(,|\r\n)/g)) {
    rows.at(-1)?.push(cell.replaceAll('""', '"'));
    if (end !== ',') rows.push([]);
  }
  return rows.slice(0, -1);
}

const hostile = [
  '=HYPERLINK("http://evil.example","click")',
  '+1+1',
  '-2+3',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  '＝1+1',
  'Smith, "Bob"\r\n=1',
];

describe('the file of a run', () => {
  test('holds no cell that a spreadsheet takes for a formula, and every name is read back whole', async () => {
    const engine = await createEngine(database.db);
    for (const [n, name] of hostile.entries()) engine.directory.put({ id: `p${n}`, name, department: name });
    const run = await engine.run();
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        update changes set subject = ${'\n=1'}, reason = ${'=cmd|calc'} where tenant_id = ${engine.tenantId} and anchor = 'p0' and op = 'grant'`,
    );
    const rows = parseCsv((await piecesOf(engine, run.id, 'csv')).join(''));
    expect(rows).toHaveLength(1 + 2 * hostile.length);
    for (const cell of rows.flat()) expect(cell).not.toMatch(/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/);
    const who = rows[0]?.indexOf('who') ?? -1;
    const names = new Set(rows.slice(1).map((row) => row[who]?.replace(/^'/, '')));
    for (const change of await engine.changes(run.id)) expect(names).toContain(change.subject);
  });

  test('has a row per change with who, what, before, after and reason', async () => {
    const engine = await createEngine(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann', department: 'Sales' });
    await engine.sync();
    engine.directory.put({ id: 'p1', department: 'Marketing' });
    const run = await engine.run();
    const [head = [], row = [], ...more] = parseCsv((await piecesOf(engine, run.id, 'csv')).join(''));
    const facts = Object.fromEntries(head.map((title, index) => [title, row[index]]));
    expect(facts).toMatchObject({
      who: 'Ann',
      what: 'update',
      state: 'applied',
      before: 'department: Sales',
      after: 'department: Marketing',
    });
    expect(facts['reason']).not.toBe('');
    expect(more).toEqual([]);
  });

  test('comes in pieces of a thousand rows, complete and in order, as CSV and as JSON', async () => {
    const engine = await createEngine(database.db);
    const people = 1200;
    for (let n = 0; n < people; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
    const run = await engine.run();
    const csv = await piecesOf(engine, run.id, 'csv');
    expect(csv.map((piece) => parseCsv(piece).length)).toEqual([1, 1000, 1000, 400]);
    const seqs = parseCsv(csv.join(''))
      .slice(1)
      .map((row) => Number(row[0]));
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    expect(new Set(seqs).size).toBe(2 * people);
    const json = JSON.parse((await piecesOf(engine, run.id, 'json')).join('')) as {
      run: { id: string };
      changes: { seq: number; organization: string | null }[];
    };
    expect(json.run.id).toBe(run.id);
    expect(json.changes.map((change) => change.seq)).toEqual(seqs);
    expect(json.changes.at(-1)?.organization).toBe(engine.tenant.slug);
  });

  test('of a run without changes is a head and nothing else, and valid JSON', async () => {
    const engine = await createEngine(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    await engine.sync();
    const run = await engine.run();
    expect(parseCsv((await piecesOf(engine, run.id, 'csv')).join(''))).toHaveLength(1);
    expect(JSON.parse((await piecesOf(engine, run.id, 'json')).join(''))).toMatchObject({ changes: [] });
  });

  test('is downloaded by those who may see the run, and by nobody else', async () => {
    const engine = await createEngine(database.db);
    const other = await createTenant(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const run = await engine.run();
    const api = await startApi(
      reconciliationRoutes({ reconciliation: engine.reconciliation, dispatch: () => Promise.resolve() }),
      new Map([
        ['ours', principalOf(engine.tenantId, 'view_only_admin')],
        ['theirs', principalOf(other.tenantId, 'admin')],
        ['user', principalOf(engine.tenantId, 'user')],
      ]),
    );
    open.push(api);
    const ask = (who: string, query = '') =>
      fetch(`${api.base}/runs/${run.id}/export${query}`, { headers: { authorization: `Bearer ${who}` } });
    const csv = await ask('ours');
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(csv.headers.get('content-disposition')).toBe(`attachment; filename="run-${run.id}.csv"`);
    expect(parseCsv(await csv.text())).toHaveLength(3);
    expect(await (await ask('ours', '?format=json')).json()).toMatchObject({ run: { id: run.id } });
    expect((await ask('ours', '?format=xls')).status).toBe(400);
    expect((await ask('theirs')).status).toBe(404);
    expect((await ask('user')).status).toBe(403);
  });
});
