/** A database per test file, cloned from the migrated template (about 50 ms), and the fixtures every room needs. */
import { afterAll, beforeAll, inject } from 'vitest';
import { newId, type OrganizationId, type TenantId } from '../../src/core/ids.ts';
import { textKey } from '../../src/core/text-keys.ts';
import { openDb, type Db, type DbOptions } from '../../src/db/db.ts';
import { openAdmin, withDatabase } from './server.ts';

export type TestDatabase = {
  readonly db: Db;
  /** As the owner; for a process of its own, or for `openDb` with other options. */
  readonly url: string;
  close(): Promise<void>;
};

let made = 0;

/** Clones the template. Fails the test that left connections of `db` in use, by the time limit of close(). */
export async function createTestDatabase(options: Omit<DbOptions, 'url'> = {}): Promise<TestDatabase> {
  const adminUrl = inject('adminUrl');
  made += 1;
  const name = `rollcall_test_${process.pid}_${made}`;
  const admin = openAdmin(adminUrl);
  try {
    await admin.unsafe(`create database ${name} template ${inject('templateDatabase')} strategy file_copy`);
  } finally {
    await admin.end();
  }
  const url = withDatabase(adminUrl, name);
  const db = openDb({ max: 8, applicationName: name, ...options, url });
  return {
    db,
    url,
    close: async () => {
      await db.close();
      const dropper = openAdmin(adminUrl);
      try {
        await dropper.unsafe(`drop database ${name} with (force)`);
      } finally {
        await dropper.end();
      }
    },
  };
}

/**
 * One database for the tests of a file or `describe`: call it at the top and read the result inside tests only.
 *
 *   const database = useDatabase();
 *   it('...', async () => { await database.db.tenant(...) });
 */
export function useDatabase(options: Omit<DbOptions, 'url'> = {}): TestDatabase {
  let current: TestDatabase | undefined;
  beforeAll(async () => {
    current = await createTestDatabase(options);
  });
  afterAll(async () => {
    await current?.close();
  });
  function get(): TestDatabase {
    if (current === undefined) throw new Error('useDatabase(): read the database inside a test or hook, not before.');
    return current;
  }
  return {
    get db() {
      return get().db;
    },
    get url() {
      return get().url;
    },
    close: () => get().close(),
  };
}

export type TestTenant = {
  readonly tenantId: TenantId;
  /** The root organization; the same id under its other brand. */
  readonly organizationId: OrganizationId;
  readonly name: string;
  readonly slug: string;
  /** `<slug>.rollcall.test`. */
  readonly builtInDomain: string;
};

/** A root organization with its closure row and its built-in domain, as plain SQL: rooms test against it. */
export async function createTenant(db: Db, options: { readonly name?: string } = {}): Promise<TestTenant> {
  made += 1;
  const name = options.name ?? `Tenant ${made}`;
  const slug = `${(textKey(name) ?? 'tenant').replaceAll(/[^a-z0-9]+/g, '-')}-${made}`;
  const tenantId = newId<TenantId>();
  const builtInDomain = `${slug}.rollcall.test`;
  await db.tenant(tenantId, async ({ sql }) => {
    await sql`insert into organizations (tenant_id, id, name, name_key, slug, created_by)
      values (${tenantId}, ${tenantId}, ${name}, ${textKey(name)}, ${slug}, 'system')`;
    await sql`insert into organization_closure (tenant_id, ancestor_id, descendant_id, depth)
      values (${tenantId}, ${tenantId}, ${tenantId}, 0)`;
    await sql`insert into domains (tenant_id, name, status) values (${tenantId}, ${builtInDomain}, 'built_in')`;
  });
  return { tenantId, organizationId: tenantId as string as OrganizationId, name, slug, builtInDomain };
}
