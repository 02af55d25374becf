import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type postgres from 'postgres';
import { openAdmin, withDatabase } from '../../test/setup/server.ts';
import { createTenant } from '../../test/setup/database.ts';
import { migrate, openDb } from './db.ts';
import { parseDatabaseUrl } from './pools.ts';
import { databaseRoles } from './roles.ts';

describe('migrate', () => {
  const suffix = process.pid;
  let admin: postgres.Sql;

  beforeAll(() => {
    admin = openAdmin(inject('adminUrl'));
  });
  afterAll(async () => {
    await admin.end();
  });

  async function withEmptyDatabase(name: string, use: (url: string) => Promise<void>): Promise<void> {
    await admin.unsafe(`create database ${name}`);
    try {
      await use(withDatabase(inject('adminUrl'), name));
    } finally {
      await admin.unsafe(`drop database ${name} with (force)`);
    }
  }

  it('succeeds for every one of 24 processes that start at the same moment', async () => {
    await withEmptyDatabase(`rollcall_migrate_many_${suffix}`, async (url) => {
      const starts = await Promise.allSettled(Array.from({ length: 24 }, () => migrate({ url })));
      expect(starts.filter(({ status }) => status === 'rejected')).toEqual([]);
      const db = openDb({ url, max: 2 });
      await expect(createTenant(db)).resolves.toBeDefined();
      await db.close();
    });
  });

  it('changes nothing the second time', async () => {
    await withEmptyDatabase(`rollcall_migrate_twice_${suffix}`, async (url) => {
      await migrate({ url });
      const sql = openAdmin(url);
      const applied = await sql`select hash from drizzle.__drizzle_migrations`;
      await migrate({ url });
      expect(await sql`select hash from drizzle.__drizzle_migrations`).toEqual(applied);
      await sql.end();
    });
  });

  it('does what comes afterwards under the same lock, once at a time', async () => {
    await withEmptyDatabase(`rollcall_migrate_after_${suffix}`, async (url) => {
      let live = 0;
      let most = 0;
      const afterwards = async (sql: postgres.Sql): Promise<void> => {
        live += 1;
        most = Math.max(most, live);
        await sql`select pg_sleep(0.01)`;
        live -= 1;
      };
      await Promise.all(Array.from({ length: 6 }, () => migrate({ url, afterwards })));
      expect(most).toBe(1);
    });
  });

  it('works for a login that may only create roles and owns its database', async () => {
    const login = `rollcall_owner_${suffix}`;
    await admin.unsafe(`create role ${login} login createrole password 'pw'`);
    // a role made by somebody else can be granted only by whoever has the admin option on it
    for (const role of databaseRoles) await admin.unsafe(`grant ${role} to ${login} with admin option`);
    try {
      await withEmptyDatabase(`rollcall_migrate_owner_${suffix}`, async (url) => {
        await admin.unsafe(`alter database rollcall_migrate_owner_${suffix} owner to ${login}`);
        const asOwner = urlAs(url, login, 'pw');
        await migrate({ url: asOwner });
        const db = openDb({ url: asOwner, max: 2 });
        const tenant = await createTenant(db);
        const seen = await db.tenant(tenant.tenantId, ({ sql }) => sql`select current_user as name`);
        expect(seen).toMatchObject([{ name: 'rollcall_tenant' }]);
        await db.engine(({ sql }) => sql`select count(*) from runs`);
        await db.close();
      });
    } finally {
      await admin.unsafe(`drop role ${login}`);
    }
  });

  it('prints the statements for the DBA where the login may not create roles', async () => {
    const login = `rollcall_plain_${suffix}`;
    await admin.unsafe(`create role ${login} login password 'pw'`);
    try {
      await withEmptyDatabase(`rollcall_migrate_plain_${suffix}`, async (url) => {
        await admin.unsafe(`alter database rollcall_migrate_plain_${suffix} owner to ${login}`);
        await expect(migrate({ url: urlAs(url, login, 'pw') })).rejects.toMatchObject({
          code: 'database_roles',
          remedy: expect.stringContaining(`grant rollcall_tenant to "${login}"`),
        });
      });
    } finally {
      await admin.unsafe(`drop role ${login}`);
    }
  });

  it('says that a login is refused, not that the database is away', async () => {
    const login = `rollcall_nobody_${suffix}`;
    await expect(migrate({ url: urlAs(inject('adminUrl'), login, 'wrong') })).rejects.toMatchObject({
      code: 'invalid_config',
    });
  });

  it('says that the database is away when nobody listens', async () => {
    await expect(migrate({ url: 'postgresql://x:y@127.0.0.1:1/z' })).rejects.toMatchObject({
      code: 'database_unavailable',
      raw: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

function urlAs(url: string, user: string, password: string): string {
  const changed = new URL(url);
  // the parser is ours, so the test proves that it reads what it wrote
  expect(parseDatabaseUrl(url).user).not.toBe(user);
  changed.username = user;
  changed.password = password;
  return changed.href;
}
