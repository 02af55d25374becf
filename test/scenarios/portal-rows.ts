/** What the portal's tables say: of one tenant as a whole (was anything written?), and of its users and roles. */
import type { TenantId } from '../../src/core/ids.ts';
import type { Db, TenantTx } from '../../src/db/db.ts';

/** Written by every run about itself. */
const bookkeeping: ReadonlySet<string> = new Set(['runs', 'changes', 'connections']);

/** One digest for each table: equal ones mean that nothing of this tenant was written there. */
export async function fingerprint(
  db: Db,
  tenantId: TenantId,
  options: { readonly withBookkeeping: boolean },
): Promise<Record<string, string>> {
  return db.tenant(tenantId, async ({ sql }) => {
    const tables = await sql<{ name: string }[]>`
      select c.relname as name from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
      where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and has_table_privilege(c.oid, 'select')
      order by 1`;
    const wanted = tables
      .map((table) => table.name)
      .filter((name) => options.withBookkeeping || !bookkeeping.has(name));
    const parts = wanted.map(
      (
        name,
      ) => `select '${name}' as name, count(*) || ' rows, ' || coalesce(md5(string_agg(x::text, ' ' order by x::text)), '') as digest
        from ${name} x where tenant_id = '${tenantId}'`,
    );
    const rows = await sql.unsafe<{ name: string; digest: string }[]>(parts.join(' union all '));
    return Object.fromEntries(rows.map((row) => [row.name, row.digest]));
  });
}

export type UserState = {
  readonly id: string;
  readonly status: string;
  readonly home: string | null;
  /** By target name; custom ones as `attributes.<name>`; without those that have no value. */
  readonly values: Readonly<Record<string, string>>;
};

export type PortalState = {
  readonly users: ReadonlyMap<string, UserState>;
  /** `<user> <organization> <role> <source>`. */
  readonly grants: ReadonlySet<string>;
};

export function readPortal(db: Db, tenantId: TenantId): Promise<PortalState> {
  return db.tenant(tenantId, async (tx) => {
    const [users, grants] = await Promise.all([selectUsers(tx), selectGrants(tx)]);
    return { users: new Map(users.map((user) => [user.id, user])), grants: new Set(grants) };
  });
}

type UserRow = {
  readonly id: string;
  readonly status: string;
  readonly home: string | null;
  readonly columns: Readonly<Record<string, string | null>>;
  readonly custom: Readonly<Record<string, string | null>>;
};

async function selectUsers({ sql, tenantId }: TenantTx): Promise<UserState[]> {
  const rows = await sql<UserRow[]>`
    select id, status, quota_home_id as home, attributes as custom,
      jsonb_build_object('username', username, 'email', email, 'displayName', display_name, 'givenName', given_name,
        'familyName', family_name, 'phone', phone, 'employeeId', employee_id, 'department', department, 'jobTitle', job_title) as columns
    from users where tenant_id = ${tenantId}`;
  return rows.map(({ columns, custom, ...user }) => ({
    ...user,
    values: withoutNulls({
      ...columns,
      ...Object.fromEntries(Object.entries(custom).map(([name, value]) => [`attributes.${name}`, value])),
    }),
  }));
}

export function withoutNulls(values: Readonly<Record<string, unknown>>): Record<string, string> {
  const kept = Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(kept.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function selectGrants({ sql, tenantId }: TenantTx): Promise<string[]> {
  const rows = await sql<{ key: string }[]>`
    select user_id || ' ' || organization_id || ' ' || role || ' ' || source as key from grants where tenant_id = ${tenantId}`;
  return rows.map((row) => row.key);
}
