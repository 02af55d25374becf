import { expect, it, vi } from 'vitest';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { analyzeGrownTables } from './statistics.ts';

const database = useDatabase();

async function insertUsers(count: number): Promise<void> {
  const { tenantId } = await createTenant(database.db);
  await database.db.tenant(tenantId, async ({ sql }) => {
    await sql`
      insert into users (tenant_id, id, display_name)
      select ${tenantId}, gen_random_uuid(), 'User ' || n from generate_series(1, ${count}::int) n`;
  });
}

async function plannerRows(): Promise<number | undefined> {
  const [row] = await database.db.stage.sql<{ rows: number }[]>`
    select reltuples::float8 as rows from pg_class where oid = 'public.users'::regclass`;
  return row?.rows;
}

it('are made anew for a table that grew a lot, once, and for no other', async () => {
  await insertUsers(600);
  // the counts of a backend come a moment after its commit
  const analyzed = await vi.waitFor(
    async () => {
      const names = await analyzeGrownTables(database.db.stage);
      expect(names).toContain('users');
      return names;
    },
    { timeout: 15_000, interval: 100 },
  );
  expect(analyzed).toEqual(['users']);
  expect(await plannerRows()).toBe(600);
  expect(await analyzeGrownTables(database.db.stage)).toEqual([]);
});
