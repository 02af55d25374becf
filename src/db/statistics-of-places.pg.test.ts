/** What the planner must know of tenants and connections to choose the index that finds a few rows. */
import { expect, it } from 'vitest';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { newId, type TenantId } from '../core/ids.ts';
import { analyzeTables } from './db.ts';

const database = useDatabase();
const tenants = 60;
const usersOfEach = 100;

it('a few objects of a connection are found by their ids, however many tenants there are', async () => {
  const { db } = database;
  const places: { readonly tenantId: TenantId; readonly connectionId: string }[] = [];
  for (let number = 0; number < tenants; number += 1) {
    const { tenantId } = await createTenant(db);
    const connectionId = newId();
    places.push({ tenantId, connectionId });
    await db.tenant(tenantId, async ({ sql }) => {
      await sql`
        insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, status, created_by)
        values (${tenantId}, ${connectionId}, ${tenantId}, 'scim', 'Okta', 'okta', '{}', '{}', 'active', 'system')`;
      await sql`
        insert into mirror_objects (tenant_id, connection_id, kind, anchor, display_name, display_name_key, source, content_hash, is_pushed)
        select ${tenantId}, ${connectionId}, 'user', 'user ' || n, 'User ' || n, 'user ' || n, '{}', '\\x00', true
        from generate_series(1, ${usersOfEach}::int) as n`;
    });
  }
  await analyzeTables(db.stage, ['mirror_objects']);
  const [place] = places;
  if (place === undefined) throw new Error('There is no tenant.');
  const plan = await db.tenant(place.tenantId, async ({ sql }) => {
    await sql`set local plan_cache_mode = force_generic_plan`;
    await sql`
      prepare few as select source from mirror_objects
      where tenant_id = $1::uuid and connection_id = $2::uuid and kind = 'user' and anchor = any($3::text[]) and deleted_at is null`;
    return sql.unsafe<{ 'QUERY PLAN': string }[]>(
      `explain execute few ('${place.tenantId}', '${place.connectionId}', '{user 1,user 2,user 3}')`,
    );
  });
  const text = plan.map((row) => row['QUERY PLAN']).join('\n');
  expect(text).toMatch(/Index Cond:.*anchor = ANY/);
});
