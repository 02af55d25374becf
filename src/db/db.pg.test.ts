import { describe, expect, it } from 'vitest';
import { eq } from 'drizzle-orm';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { organizations } from './schema/organizations.ts';

describe('scopes', () => {
  const database = useDatabase();

  it('runs a tenant transaction as rollcall_tenant, with both ways of asking in the same transaction', async () => {
    const tenant = await createTenant(database.db, { name: 'Acme' });
    const seen = await database.db.tenant(tenant.tenantId, async ({ sql, query }) => {
      await sql`update organizations set name = 'Acme 2' where id = ${tenant.tenantId}`;
      const rows = await query.select().from(organizations).where(eq(organizations.id, tenant.tenantId));
      const [who] = await sql`select current_user as name`;
      return { name: rows[0]?.name, user: who?.['name'] };
    });
    expect(seen).toEqual({ name: 'Acme 2', user: 'rollcall_tenant' });
  });

  it('rolls back everything when the work throws', async () => {
    const tenant = await createTenant(database.db);
    const attempt = database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`update organizations set name = 'never' where id = ${tenant.tenantId}`;
      throw new Error('no');
    });
    await expect(attempt).rejects.toThrow('no');
    const [row] = await database.db.tenant(tenant.tenantId, ({ sql }) => sql`select name from organizations`);
    expect(row?.['name']).toBe(tenant.name);
  });
});
