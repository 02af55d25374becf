import { describe, expect, it } from 'vitest';
import { createTenant, useDatabase } from './database.ts';
import { explainAs, explainWork } from './explain.ts';

describe('query plans', () => {
  const database = useDatabase();

  it('finds the index of a leakproof look-up under the policy', async () => {
    const { tenantId } = await createTenant(database.db);
    await database.db.tenant(
      tenantId,
      ({ sql }) => sql`insert into users (tenant_id, id, email_key)
        select ${tenantId}, gen_random_uuid(), 'user' || n || '@b.test' from generate_series(1, 2000) n`,
    );
    await database.db.stage.sql`analyze users`;
    const plan = await explainAs(
      database.db,
      tenantId,
      (sql) => sql`select id from users where tenant_id = ${tenantId} and email_key = ${'a@b.test'}`,
    );
    expect(plan.wholeReads).toEqual([]);
    expect(plan.indexes).toEqual(['users_tenant_id_email_key_index']);
    expect(plan.nodes.join('\n')).toContain('email_key');
  });

  it('sees that a function which is not leakproof keeps the index from being used for it', async () => {
    const { tenantId } = await createTenant(database.db);
    const plan = await explainAs(
      database.db,
      tenantId,
      (sql) => sql`select from domains where lower(name) = ${'x.test'}`,
    );
    expect(plan.wholeReads).toEqual(['domains']);
  });

  it('explains what the code under test sends, builder and tag alike, and keeps nothing of it', async () => {
    const { tenantId } = await createTenant(database.db);
    const plans = await explainWork(database.url, tenantId, async ({ sql, query }) => {
      await sql`update organizations set name = ${'changed'} where tenant_id = ${tenantId} and id = ${tenantId}`;
      await query.execute('select count(*) from domains');
    });
    expect(plans.map(({ wholeReads }) => wholeReads)).toEqual([[], ['domains']]);
    const [row] = await database.db.tenant(tenantId, ({ sql }) => sql`select name from organizations`);
    expect(row?.['name']).not.toBe('changed');
  });
});
