/** The second wall of tenancy: every table either has the tenant policy or stands in a list with a reason. */
import { beforeAll, describe, expect, it } from 'vitest';
import { newId, type TenantId } from '../core/ids.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';

/** Tables without a tenant policy. A new one needs a reason that an auditor accepts. */
const exemptTables: Readonly<Record<string, string>> = {
  'public.accounts': 'How a human signs in is global and holds no portal data.',
  'public.domains': 'A proven domain belongs to one tenant, which only a look at all of them can tell.',
  'drizzle.__drizzle_migrations': 'Which migrations ran; the roles can not read it.',
};
/** Schemas of others, or without tenants' tables by design. */
const exemptSchemas: Readonly<Record<string, string>> = {
  stage: 'Per-run tables, filled by COPY, which Postgres refuses under a policy.',
  pgboss: 'The queue: ids of runs, no personal data.',
};

/** Tables the engine sees whole, because dispatch does not know the tenant yet. */
const engineTables = ['connections', 'organizations', 'outbox_messages', 'runs', 'scim_requests', 'tokens', 'webhooks'];

const howToProtect = `add a custom migration (npm run migration -- --custom --name=protect_x) with:
  ALTER TABLE x ENABLE ROW LEVEL SECURITY;
  CREATE POLICY tenant ON x FOR ALL TO rollcall_tenant
    USING (tenant_id = current_setting('rollcall.tenant_id')::uuid)
    WITH CHECK (tenant_id = current_setting('rollcall.tenant_id')::uuid);
  GRANT SELECT, INSERT, UPDATE, DELETE ON x TO rollcall_tenant;
or name the table in exemptTables with a reason.`;

const tenantExpression = "(tenant_id = (current_setting('rollcall.tenant_id'::text))::uuid)";

type Table = { readonly schema: string; readonly name: string; readonly secured: boolean };
type Policy = { readonly table: string; readonly roles: string; readonly using: string; readonly check: string | null };

describe('row-level security', () => {
  const database = useDatabase();
  let tables: Table[] = [];

  beforeAll(async () => {
    tables = await database.db.stage.sql<Table[]>`
      select n.nspname as schema, c.relname as name, c.relrowsecurity as secured
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;
  });

  function securedTables(): string[] {
    return tables.filter((table) => table.secured).map((table) => table.name);
  }

  it('covers every table that is not exempt with a reason', () => {
    expect(tables.length).toBeGreaterThan(20);
    for (const { schema, name, secured } of tables) {
      const isExempt = `${schema}.${name}` in exemptTables || schema in exemptSchemas;
      expect(secured !== isExempt, `${schema}.${name} has no row-level security: ${howToProtect}`).toBe(true);
    }
  });

  it('asks every table for the tenant of the transaction, in reading and in writing', async () => {
    const policies = await database.db.stage.sql<Policy[]>`
      select tablename as table, roles::text as roles, qual as using, with_check as check from pg_policies`;
    const tenantPolicies = policies.filter(({ roles }) => roles !== '{rollcall_engine}');
    expect(tenantPolicies.map(({ table }) => table).toSorted()).toEqual(securedTables().toSorted());
    for (const policy of tenantPolicies) {
      expect(policy).toMatchObject({ roles: '{rollcall_tenant}', using: tenantExpression, check: tenantExpression });
    }
    const seenByEngine = policies.filter(({ roles }) => roles === '{rollcall_engine}').map(({ table }) => table);
    expect(seenByEngine.toSorted()).toEqual(engineTables);
  });

  it('keeps both roles out of what they have no business with', async () => {
    const granted = await database.db.stage.sql<{ role: string; name: string; privileges: string[] }[]>`
      select grantee as role, table_schema || '.' || table_name as name, array_agg(privilege_type::text) as privileges
      from information_schema.table_privileges where grantee in ('rollcall_tenant', 'rollcall_engine')
      group by 1, 2`;
    const privileges = new Map(granted.map((row) => [`${row.role} ${row.name}`, row.privileges.toSorted()]));
    expect(privileges.get('rollcall_tenant public.audit_events')).toEqual(['INSERT', 'SELECT']);
    expect(privileges.has('rollcall_tenant drizzle.__drizzle_migrations')).toBe(false);
    expect([...privileges.values()].flat()).not.toContain('TRUNCATE');
    const ofEngine = granted.filter(({ role }) => role === 'rollcall_engine').map(({ name }) => name);
    expect(ofEngine.toSorted()).toEqual(engineTables.map((name) => `public.${name}`));
  });

  it('hides every row of one tenant from another, in every table', async () => {
    const owner = await createTenant(database.db);
    const stranger = await createTenant(database.db);
    await fillEveryTable(owner.tenantId);
    for (const table of securedTables()) {
      const own = await count(owner.tenantId, table);
      const seen = await database.db.tenant(stranger.tenantId, async ({ sql }) => {
        const [row] = await sql`select count(*)::int as n from ${sql(table)} where tenant_id = ${owner.tenantId}`;
        return Number(row?.['n']);
      });
      expect({ table, own: own > 0, seen }).toEqual({ table, own: true, seen: 0 });
    }
  });

  it('refuses to write a row of another tenant, in every table', async () => {
    const owner = await createTenant(database.db);
    const stranger = await createTenant(database.db);
    await fillEveryTable(owner.tenantId);
    for (const table of securedTables()) {
      const before = await count(owner.tenantId, table);
      const [row] = await database.db.stage.sql`
        select to_jsonb(t) as row from ${database.db.stage.sql(table)} t where tenant_id = ${owner.tenantId} limit 1`;
      await expect(
        database.db.tenant(
          stranger.tenantId,
          ({ sql }) => sql`insert into ${sql(table)} overriding system value
            select * from jsonb_populate_record(null::${sql(table)}, ${JSON.stringify(row?.['row'])}::jsonb)`,
        ),
        table,
      ).rejects.toMatchObject({ code: '42501' });
      if (table !== 'audit_events') {
        const touched = await database.db.tenant(stranger.tenantId, async ({ sql }) => {
          const updated = await sql`update ${sql(table)} set tenant_id = tenant_id`;
          const deleted = await sql`delete from ${sql(table)} where tenant_id = ${owner.tenantId}`;
          return { deleted: deleted.count, foreign: updated.count > (await ownRows(sql, table)) };
        });
        expect({ table, ...touched }).toEqual({ table, deleted: 0, foreign: false });
      }
      expect(await count(owner.tenantId, table)).toBe(before);
    }
  });

  it('refuses a statement that forgot its tenant instead of answering with nothing', async () => {
    const { openPool } = await import('./pools.ts');
    const sql = openPool({ url: database.url, role: 'rollcall_tenant', max: 1, applicationName: 'forgetful' });
    try {
      await expect(sql`select * from users`).rejects.toThrow(/rollcall\.tenant_id/);
    } finally {
      await sql.end();
    }
  });

  it('does not let a tenant transaction leave its tenant behind for the next one', async () => {
    const tenant = await createTenant(database.db);
    await database.db.tenant(tenant.tenantId, ({ sql }) => sql`select 1`);
    const other = newId<TenantId>();
    const rows = await database.db.tenant(other, ({ sql }) => sql`select id from organizations`);
    expect(rows).toHaveLength(0);
  });

  async function count(tenantId: TenantId, table: string): Promise<number> {
    const [row] = await database.db.tenant(tenantId, ({ sql }) => sql`select count(*)::int as n from ${sql(table)}`);
    return Number(row?.['n']);
  }

  type Sql = Parameters<Parameters<typeof database.db.tenant>[1]>[0]['sql'];
  async function ownRows(sql: Sql, table: string): Promise<number> {
    const [row] = await sql`select count(*)::int as n from ${sql(table)}`;
    return Number(row?.['n']);
  }

  /**
   * One row in every secured table, made from the catalog, so that a new table is tested without anybody remembering
   * to. Constraints other than NOT NULL do not matter here; session_replication_role skips foreign keys, and checks
   * are dropped in this database, which is thrown away.
   */
  async function fillEveryTable(tenantId: TenantId): Promise<void> {
    const { sql } = database.db.stage;
    await sql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      for (const table of securedTables()) {
        const checks = await tx<{ name: string }[]>`
          select conname as name from pg_constraint where contype = 'c' and conrelid = ${table}::regclass`;
        for (const { name } of checks) await tx`alter table ${tx(table)} drop constraint ${tx(name)}`;
        const columns = await tx<{ name: string; type: string }[]>`
          select attname as name, format_type(atttypid, null) as type from pg_attribute
          where attrelid = ${table}::regclass and attnum > 0 and not attisdropped and attnotnull and not atthasdef
            and attidentity = '' and attname <> 'tenant_id'`;
        const names = ['tenant_id', ...columns.map(({ name }) => name)];
        const values = [`'${tenantId}'`, ...columns.map(({ type }) => sampleOf(type))];
        await tx.unsafe(
          `insert into ${table} (${names.map((name) => `"${name}"`).join(', ')}) select ${values.join(', ')}
           where not exists (select from ${table} where tenant_id = '${tenantId}')`,
        );
      }
    });
  }
});

/** A value of the type, as SQL; fresh where uniqueness could matter. */
function sampleOf(type: string): string {
  switch (type) {
    case 'uuid':
      return `'${newId()}'`;
    case 'text':
      return `'${newId()}'`;
    case 'integer':
    case 'bigint':
      return '1';
    case 'text[]':
      return "'{}'";
    case 'boolean':
      return 'true';
    case 'jsonb':
      return "'{}'";
    case 'bytea':
      return "'\\x00'";
    case 'timestamp with time zone':
      return 'now()';
    default:
      throw new Error(`sampleOf: give an example of the type ${type}`);
  }
}
