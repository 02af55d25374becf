/** What requests share when they arrive together must not be seen by any of them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import type { TenantId } from '../core/ids.ts';
import { RollcallError } from '../core/errors.ts';
import { openDb, type Db } from '../db/db.ts';
import { createSharedReads, type SharedReads } from './shared-reads.ts';

const database = useDatabase();
let db: Db;
let statements: string[] = [];
let reads: SharedReads;
let tenants: TenantId[];

beforeAll(async () => {
  db = openDb({ url: database.url, acquireTimeoutMs: 2_000, onStatement: (_role, text) => statements.push(text) });
  reads = createSharedReads(db);
  tenants = [];
  for (let number = 0; number < 3; number += 1) tenants.push((await createTenant(db)).tenantId);
  // array types are asked for once
  await readOrganizations(tenants[0] as TenantId);
});
afterAll(async () => db.close());

/** Says nothing of the tenant itself, so that only row-level security tells them apart. */
async function readOrganizations(tenantId: TenantId): Promise<string[]> {
  const rows = await reads(tenantId, (sql) => sql<{ tenant: string }[]>`select tenant_id as tenant from organizations`);
  return rows.map(({ tenant }) => tenant);
}

const fail = (tenantId: TenantId) => reads(tenantId, (sql) => sql<{ x: number }[]>`select 1 / 0 as x`);
const transactions = () => statements.filter((text) => text.startsWith('begin')).length;

describe('look-ups that arrive together', () => {
  test('of several tenants share a transaction, and each sees its own tenant alone', async () => {
    statements = [];
    const mixed = [0, 1, 0, 2, 1, 0].map((index) => tenants[index] as TenantId);
    const answers = await Promise.all(mixed.map(readOrganizations));
    expect(answers).toEqual(mixed.map((tenantId) => [tenantId]));
    expect(transactions()).toBe(1);
    expect(statements.filter((text) => text.includes('set_config'))).toHaveLength(3);
  });

  test('leave no tenant behind on the connection', async () => {
    await readOrganizations(tenants[1] as TenantId);
    const seen = await db.tenant(tenants[2] as TenantId, ({ sql }) => sql`select tenant_id from organizations`);
    expect(seen.map((row) => row['tenant_id'] as string)).toEqual([tenants[2]]);
  });

  test('are not the failure of each other: the one that fails hears its own, the others their answers', async () => {
    const [first, second] = tenants as [TenantId, TenantId];
    const outcomes = await Promise.allSettled([readOrganizations(first), fail(first), readOrganizations(second)]);
    expect(outcomes).toMatchObject([
      { status: 'fulfilled', value: [first] },
      { status: 'rejected', reason: { code: '22012' } },
      { status: 'fulfilled', value: [second] },
    ]);
    expect(await readOrganizations(second)).toEqual([second]);
  });

  test('alone hear their own failure too', async () => {
    await expect(fail(tenants[0] as TenantId)).rejects.toMatchObject({ code: '22012' });
  });

  test('whose statement can not be made are refused alone, and keep no connection', async () => {
    const [first, second] = tenants as [TenantId, TenantId];
    const refuse = (tenantId: TenantId) =>
      reads(tenantId, () => {
        throw new RollcallError('invalid_input', 'This can not be filtered by.');
      });
    // more of them than there are connections
    for (let round = 0; round < 12; round += 1) {
      const outcomes = await Promise.allSettled([readOrganizations(first), refuse(first), readOrganizations(second)]);
      expect(outcomes).toMatchObject([
        { status: 'fulfilled', value: [first] },
        { status: 'rejected', reason: { code: 'invalid_input' } },
        { status: 'fulfilled', value: [second] },
      ]);
    }
    await expect(refuse(first)).rejects.toMatchObject({ code: 'invalid_input' });
  });

  test('can change nothing', async () => {
    const tenantId = tenants[0] as TenantId;
    const writing = reads(tenantId, (sql) => sql<{ id: string }[]>`update organizations set name = 'x' returning id`);
    await expect(writing).rejects.toThrow();
    const [row] = await db.tenant(tenantId, ({ sql }) => sql`select name from organizations`);
    expect(row?.['name']).not.toBe('x');
  });

  test('more than one packet holds are read all the same', async () => {
    const wanted = Array.from({ length: 500 }, (_, index) => tenants[index % tenants.length] as TenantId);
    expect(await Promise.all(wanted.map(readOrganizations))).toEqual(wanted.map((tenantId) => [tenantId]));
  });

  test('hear that the database is away, and are read again when it is back', async () => {
    const [tenantId] = tenants as [TenantId];
    const sleeping = reads(tenantId, (sql) => sql<{ x: unknown }[]>`select pg_sleep(30) as x`);
    const lost = expect(sleeping).rejects.toMatchObject({ code: 'database_unavailable' });
    const kill = () => db.stage.sql`
      select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(30)%' and pid <> pg_backend_pid()`;
    await expect.poll(async () => (await kill()).length).toBeGreaterThan(0);
    await lost;
    expect(await readOrganizations(tenantId)).toEqual([tenantId]);
  });
});
