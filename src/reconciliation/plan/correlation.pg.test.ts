/** Correlation rules against Postgres: normalizers, keys of one's own, proven domains, review, faults, and the index. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Connected, type Engine } from '../../../test/fakes/engine.ts';
import type { Person } from '../../../test/fakes/memory-directory.ts';
import { analyzeTables } from '../../db/db.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

type Pair = Engine & { readonly second: Connected };

/** Users come from the first directory; the second one has to find them by its rules. */
async function createPair(correlation: unknown, people: readonly Person[]): Promise<Pair> {
  const engine = await createEngine(database.db, {
    document: {
      mappings: [
        ...['username', 'email', 'displayName', 'employeeId'].map((target) => ({
          target,
          expression: `object.${target}`,
        })),
        { target: 'attributes.badge', expression: 'object.department' },
      ],
    },
  });
  engine.directory.put(...people);
  await engine.sync();
  const second = await engine.connect({ correlation });
  return { ...engine, second };
}

/** What the second directory's first plan says about each object. */
async function match(pair: Pair, ...people: readonly Person[]): Promise<unknown[]> {
  pair.second.directory.put(...people);
  const run = await pair.second.run();
  expect(run.error).toBeNull();
  const rows = await pair.changes(run.id);
  return rows
    .filter((row) => ['link', 'create', 'dispute', 'error'].includes(row.op))
    .map((row) => [row.op, row.cause]);
}

describe('normalizers', () => {
  test.each<[string, unknown, Person, Person]>([
    [
      'the domain',
      { by: 'email', normalize: ['strip_domain'] },
      { id: 'a', email: 'Ann@{domain}' },
      { id: 'b', email: 'ann@{other}' },
    ],
    [
      'a plus tag',
      { by: 'email', normalize: ['strip_plus_tag'] },
      { id: 'a', email: 'ann@{domain}' },
      { id: 'b', email: 'ann+hr@{domain}' },
    ],
    [
      'everything but digits',
      { by: 'employee_id', normalize: ['digits'] },
      { id: 'a', employeeId: 'E-0042' },
      { id: 'b', employeeId: '00 42' },
    ],
    [
      'leading zeros',
      { by: 'employee_id', normalize: ['digits', 'strip_leading_zeros'] },
      { id: 'a', employeeId: '0042' },
      { id: 'b', employeeId: 'x42' },
    ],
    [
      'a NetBIOS domain',
      { by: 'expression', expression: 'object.username', attribute: 'username', normalize: ['strip_domain'] },
      { id: 'a', username: 'ann@{domain}' },
      { id: 'b', username: 'CONTOSO\\ann' },
    ],
  ])('take away %s on both sides', async (_what, rule, first, second) => {
    const engine = await createEngine(database.db);
    const other = `${engine.tenant.slug}-2.example`;
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`insert into domains (name, tenant_id, status) values (${other}, ${engine.tenantId}, 'proven')`,
    );
    const filled = (person: Person): Person =>
      JSON.parse(
        JSON.stringify(person).replaceAll('{domain}', engine.tenant.builtInDomain).replaceAll('{other}', other),
      ) as Person;
    engine.directory.put({ ...filled(first), name: 'Ann' }, { id: 'z', name: 'Zoe' });
    await engine.sync();
    const pair = { ...engine, second: await engine.connect({ correlation: [rule] }) };
    expect(await match(pair, filled(second))).toEqual([['link', expect.stringMatching(/^matched:/)]]);
  });
});

describe('a key of the admin’s own', () => {
  const badge = { by: 'expression', expression: 'object.department', attribute: 'attributes.badge' };

  test('finds by a custom attribute, and by the immutable id', async () => {
    const rules = [badge, { by: 'anchor', attribute: 'attributes.badge' }];
    const pair = await createPair(rules, [
      { id: 'a', name: 'Ann', department: 'B-1' },
      { id: 'b', name: 'Ben', department: 'guid-2' },
    ]);
    expect(
      await match(
        pair,
        { id: 'x', department: 'b-1' },
        { id: 'GUID-2', department: null },
        { id: 'y', department: 'B-3' },
      ),
    ).toEqual([
      ['link', 'matched:attributes.badge'],
      ['link', 'matched:attributes.badge'],
      ['create', 'joined'],
    ]);
  });

  test('follows its users: edits, newcomers and removals are seen at once', async () => {
    const pair = await createPair([badge], [{ id: 'a', name: 'Ann', department: 'B-1' }]);
    const keys = () =>
      database.db.tenant(
        pair.tenantId,
        (tx) =>
          tx.sql<{ key: string }[]>`select key from correlation_keys where tenant_id = ${pair.tenantId} order by key`,
      );
    expect([...(await keys())]).toEqual([{ key: 'b-1' }]);
    pair.directory.put({ id: 'a', department: 'B-2' }, { id: 'c', name: 'Cid', department: 'B-3' });
    await pair.sync();
    expect([...(await keys())]).toEqual([{ key: 'b-2' }, { key: 'b-3' }]);
    pair.directory.put({ id: 'a', department: null });
    await pair.sync();
    expect([...(await keys())]).toEqual([{ key: 'b-3' }]);
  });

  test('is forgotten with the rule', async () => {
    const pair = await createPair([badge], [{ id: 'a', name: 'Ann', department: 'B-1' }]);
    const document = await pair.reconciliation.exportConnection(pair.tenantId, pair.second.connectionId);
    await pair.reconciliation.updateConnection('test', pair.tenantId, pair.second.connectionId, {
      ...document,
      correlation: ['email'],
    });
    const left = await database.db.tenant(
      pair.tenantId,
      (tx) => tx.sql`select 1 from correlation_specs where tenant_id = ${pair.tenantId}`,
    );
    expect(left).toHaveLength(0);
  });

  test('is looked up by its index, however many users there are', async () => {
    const pair = await createPair([badge], [{ id: 'a', name: 'Ann', department: 'B-1' }]);
    await database.db.tenant(
      pair.tenantId,
      (tx) => tx.sql`
        insert into correlation_keys (tenant_id, spec, user_id, key)
        select ${pair.tenantId}, 'attributes.badge|', gen_random_uuid(), 'k' || n from generate_series(1, 5000) n`,
    );
    await analyzeTables(database.db.stage, ['correlation_keys']);
    const plan = await database.db.tenant(
      pair.tenantId,
      (tx) => tx.sql<{ 'QUERY PLAN': string }[]>`
        explain select user_id from correlation_keys
        where tenant_id = ${pair.tenantId} and spec = 'attributes.badge|' and key = 'b-1'`,
    );
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toMatch(/Index.* correlation_keys_tenant_id_spec_key_index[\s\S]*key = 'b-1'::text/);
  });
});

describe('who is found', () => {
  test('by an address outside the proven domains is nobody, shortened or not', async () => {
    const rules = ['email', { by: 'email', normalize: ['strip_domain'] }];
    const pair = await createPair(rules, [{ id: 'a', name: 'Ann', email: 'ann@elsewhere.example' }]);
    expect(
      await match(
        pair,
        { id: 'b', email: 'ann@elsewhere.example' },
        { id: 'c', email: `ann@${pair.tenant.builtInDomain}` },
      ),
    ).toEqual([
      ['create', 'joined'],
      ['create', 'joined'],
    ]);
  });

  test('by a rule of mode review is a case; an earlier automatic rule goes first', async () => {
    const rules = ['employee_id', { by: 'username', mode: 'review' }];
    const pair = await createPair(rules, []);
    const name = (local: string) => `${local}@${pair.tenant.builtInDomain}`;
    pair.directory.put(
      { id: 'a', name: 'Ann', username: name('ann'), employeeId: '1' },
      { id: 'b', name: 'Ben', username: name('ben') },
    );
    await pair.sync();
    expect(
      await match(pair, { id: 'x', username: name('ann'), employeeId: '1' }, { id: 'y', username: name('ben') }),
    ).toEqual([
      ['link', 'matched:employee_id'],
      ['dispute', 'disputed_match'],
    ]);
  });

  test('with an expression that fails is a row of the plan, once; the others go on', async () => {
    const rule = { by: 'expression', expression: 'object.department + 1', attribute: 'attributes.badge' };
    const pair = await createPair([rule], [{ id: 'a', name: 'Ann', department: 'B-1' }]);
    expect(await match(pair, { id: 'x', department: 'B-1' })).toEqual([['error', 'correlation']]);
    await pair.second.sync();
    expect(await pair.changes((await pair.second.run()).id)).toEqual([]);
  });
});
