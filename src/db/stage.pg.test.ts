import fc from 'fast-check';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { newId, type RunId } from '../core/ids.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { scale } from '../../test/setup/full.ts';
import {
  copyRows,
  createStageTables,
  dropOrphanStages,
  dropStageTables,
  stageTableName,
  type CopyValue,
} from './stage.ts';

describe('stage', () => {
  const database = useDatabase();

  async function createOne(runId: RunId, name: string, columns: string): Promise<string> {
    await createStageTables(database.db.stage, runId, { [name]: columns });
    return stageTableName(runId, name);
  }

  async function readBack(table: string): Promise<(string | null)[]> {
    const { sql } = database.db.stage;
    const rows = await sql<{ value: string | null }[]>`select value from ${sql(table)} order by seq`;
    return rows.map(({ value }) => value);
  }

  async function stageOf(values: readonly CopyValue[], type = 'text'): Promise<string> {
    const table = await createOne(newId<RunId>(), 'values', `seq int, value ${type}`);
    const rows = values.map((value, index) => [index, value]);
    expect(await copyRows(database.db.stage, table, ['seq', 'value'], rows)).toBe(values.length);
    return table;
  }

  it('keeps every awkward text as it is, and null apart from the words for null', async () => {
    const awkward = [
      '',
      '\\',
      '\\N',
      '\\.',
      '\n',
      '\r\n',
      '\t',
      'a\tb',
      '\\t',
      '\\x41',
      '\b\f\v',
      '😀',
      'é',
      '"',
      "'",
      null,
    ];
    expect(await readBack(await stageOf(awkward))).toEqual(awkward);
  });

  it('leaves out NUL, which Postgres can not store, instead of failing the read', async () => {
    expect(await readBack(await stageOf(['a\0b', '\0']))).toEqual(['ab', '']);
  });

  it('round-trips any text', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => !value.includes('\0'));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(text), { minLength: 1, maxLength: 50 }), async (values) => {
        expect(await readBack(await stageOf(values))).toEqual(values);
      }),
      { numRuns: 30 },
    );
  });

  it('fills many tables at once over few connections, without one copy ending another', async () => {
    const values = Array.from({ length: 20 }, (_value, index) => String(index));
    const copies = Array.from({ length: scale(150, 1500) }, () => stageOf(values));
    for (const table of await Promise.all(copies)) expect(await readBack(table)).toEqual(values);
  });

  it('takes bytes, numbers, booleans and JSON', async () => {
    const table = await createOne(newId<RunId>(), 'kinds', 'a bytea, b bigint, c boolean, d jsonb, e uuid[]');
    const id = newId();
    const row = [Buffer.from([0, 255, 92]), 9_007_199_254_740_993n, true, JSON.stringify({ t: 'a\n"\\' }), `{${id}}`];
    await copyRows(database.db.stage, table, ['a', 'b', 'c', 'd', 'e'], [row]);
    const [read] = await database.db.stage.sql`select * from ${database.db.stage.sql(table)}`;
    expect(read).toEqual({ a: Buffer.from([0, 255, 92]), b: '9007199254740993', c: true, d: { t: 'a\n"\\' }, e: [id] });
  });

  it('is read by the tenant, who merges it', async () => {
    const tenant = await createTenant(database.db);
    const table = await stageOf(['x', 'y']);
    const [row] = await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`select count(*)::int as n from ${sql(table)}`,
    );
    expect(row?.['n']).toBe(2);
  });

  it('saves nothing and reports the line when a value does not fit, first or last', async () => {
    for (const values of [
      ['x', ...Array<string>(50_000).fill('1')],
      ['1', 'x'],
    ]) {
      const table = await createOne(newId<RunId>(), 'bad', 'value int');
      const copying = copyRows(
        database.db.stage,
        table,
        ['value'],
        values.map((value) => [value]),
      );
      await expect(copying).rejects.toMatchObject({ code: '22P02' });
      expect(await database.db.stage.sql`select from ${database.db.stage.sql(table)}`).toHaveLength(0);
    }
  });

  it('saves nothing when the source of rows fails', async () => {
    const table = await createOne(newId<RunId>(), 'source', 'value text');
    async function* failing(): AsyncGenerator<CopyValue[]> {
      yield ['a'];
      await delay(1);
      throw new Error('the directory went away');
    }
    await expect(copyRows(database.db.stage, table, ['value'], failing())).rejects.toThrow('the directory went away');
    expect(await database.db.stage.sql`select from ${database.db.stage.sql(table)}`).toHaveLength(0);
  });

  it('stops when it is aborted, while the source is silent', async () => {
    const table = await createOne(newId<RunId>(), 'aborted', 'value text');
    const controller = new AbortController();
    async function* silent(): AsyncGenerator<CopyValue[]> {
      yield ['a'];
      controller.abort(new Error('stop'));
      await new Promise((_resolve, reject) => {
        controller.signal.addEventListener('abort', reject);
        if (controller.signal.aborted) reject(new Error('aborted'));
      });
    }
    const copying = copyRows(database.db.stage, table, ['value'], silent(), { signal: controller.signal });
    await expect(copying).rejects.toThrow('stop');
    expect(await database.db.stage.sql`select from ${database.db.stage.sql(table)}`).toHaveLength(0);
  });

  it('asks for rows only as fast as the server takes them', async () => {
    const table = await createOne(newId<RunId>(), 'pressure', 'value text');
    const { sql } = database.db.stage;
    await sql.unsafe(`create function stage.slow() returns trigger language plpgsql as
      $$ begin perform pg_sleep(0.005); return new; end $$`);
    await sql`create trigger slow before insert on ${sql(table)} for each row execute function stage.slow()`;
    const line = 'x'.repeat(64 * 1024);
    let made = 0;
    function* rows(): Generator<CopyValue[]> {
      for (; made < 200; made += 1) yield [line];
    }
    const copied = copyRows(database.db.stage, table, ['value'], rows());
    await delay(100);
    // at most 20 are taken by now; sockets hold a few more
    expect(made).toBeLessThan(100);
    expect(await copied).toBe(200);
  });

  it('drops the tables of one run and of no other', async () => {
    const run = newId<RunId>();
    const other = newId<RunId>();
    const mine = await createOne(run, 'a', 'x int');
    const theirs = await createOne(other, 'a', 'x int');
    await dropStageTables(database.db.stage, run, ['a', 'never_made']);
    expect(await exists(mine)).toBe(false);
    expect(await exists(theirs)).toBe(true);
  });

  it('drops what older runs left, but not what live or young runs use', async () => {
    const now = Date.now();
    const day = 86_400_000;
    const [orphan, live, young] = [newId<RunId>(now + 1), newId<RunId>(now + 2), newId<RunId>(now + day)];
    const tables = [];
    for (const run of [orphan, live, young]) tables.push(await createOne(run, 'a', 'x int'));
    const before = new Date(now + day / 2);
    expect(await dropOrphanStages(database.db.stage, { before, except: [live] })).toBeGreaterThan(0);
    expect(await Promise.all(tables.map(exists))).toEqual([false, true, true]);
  });

  it('refuses a name that could be anything else than a table of the run', async () => {
    for (const name of ['', 'a b', 'x"; drop table users; --', 'a'.repeat(30)]) {
      await expect(createOne(newId<RunId>(), name, 'x int')).rejects.toThrow('no name');
    }
    await expect(createOne('x' as RunId, 'a', 'x int')).rejects.toThrow('not a run id');
  });

  async function exists(table: string): Promise<boolean> {
    const [row] = await database.db.stage.sql`select to_regclass(${table}) is not null as found`;
    return row?.['found'] === true;
  }
});
