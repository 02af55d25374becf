import { eq } from 'drizzle-orm';
import { describe, expect, it } from 'vitest';
import { isRollcallError } from '../core/errors.ts';
import { newId, type TenantId } from '../core/ids.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { startCutProxy } from '../../test/setup/cut-proxy.ts';
import { openDb, type TenantTx } from './db.ts';
import { organizations } from './schema/organizations.ts';

const inOwnWords = new TypeError('in the words of whoever sent it');

async function failing(sql: TenantTx['sql']): Promise<void> {
  try {
    await sql`select 1 / 0`;
  } catch {
    throw inOwnWords;
  }
}

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

  it('gives times as text and takes JSON as text, both ways of asking alike', async () => {
    const tenant = await createTenant(database.db);
    const [viaTag, viaBuilder] = await database.db.tenant(tenant.tenantId, async ({ sql, query }) => {
      const json = JSON.stringify({ a: [1, null] });
      const rows = await sql`select created_at, ${json}::jsonb as json from organizations`;
      return [rows[0], (await query.select().from(organizations))[0]] as const;
    });
    expect(viaTag?.['json']).toEqual({ a: [1, null] });
    expect(viaTag?.['created_at']).toBe(viaBuilder?.createdAt);
    expect(viaBuilder?.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/);
  });

  it('gives an instant as RFC 3339 in UTC, whatever the server keeps time by, and to the microsecond', async () => {
    const tenant = await createTenant(database.db);
    const at = '2026-07-01T10:00:00.000001Z';
    const [row] = await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`select ${at}::timestamptz as at, current_setting('TimeZone') as zone`,
    );
    expect(row).toEqual({ at, zone: 'UTC' });
  });

  it('rolls back everything when the work throws', async () => {
    const tenant = await createTenant(database.db);
    const attempt = database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`update organizations set name = 'never' where id = ${tenant.tenantId}`;
      throw new Error('no');
    });
    await expect(attempt).rejects.toThrow('no');
    expect(await nameOf(tenant.tenantId)).toBe(tenant.name);
  });

  it('does not report success when a statement failed and the work hid it', async () => {
    const tenant = await createTenant(database.db);
    const attempt = database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`update organizations set name = 'never' where id = ${tenant.tenantId}`;
      await sql`select 1 / 0`.catch(() => undefined);
    });
    await expect(attempt).rejects.toMatchObject({ code: 'internal' });
    expect(await nameOf(tenant.tenantId)).toBe(tenant.name);
  });

  it('throws what broke a statement that nobody waited for, and saves nothing', async () => {
    const tenant = await createTenant(database.db);
    const attempt = database.db.tenant(tenant.tenantId, async ({ sql, atEnd }) => {
      await sql`update organizations set name = 'never' where id = ${tenant.tenantId}`;
      atEnd(failing(sql));
    });
    await expect(attempt).rejects.toThrow(inOwnWords);
    expect(await nameOf(tenant.tenantId)).toBe(tenant.name);
  });

  it('throws it too where a later statement meets it first', async () => {
    const tenant = await createTenant(database.db);
    const attempt = database.db.tenant(tenant.tenantId, async ({ sql, atEnd }) => {
      atEnd(failing(sql));
      await sql`select 1`;
    });
    await expect(attempt).rejects.toThrow(inOwnWords);
  });

  it('saves what nobody waited for', async () => {
    const tenant = await createTenant(database.db);
    await database.db.tenant(tenant.tenantId, async ({ sql, atEnd }) => {
      const renaming = async () => {
        await sql`update organizations set name = 'Acme 3' where id = ${tenant.tenantId}`;
      };
      atEnd(renaming());
    });
    expect(await nameOf(tenant.tenantId)).toBe('Acme 3');
  });

  it('takes the connection that came back last, so that few are busy where few are needed', async () => {
    const db = openDb({ url: database.url, max: 3 });
    const tenantId = newId<TenantId>();
    const ask = () => db.tenant(tenantId, async ({ sql }) => (await sql`select pg_backend_pid() as pid`)[0]?.['pid']);
    // three at once
    await db.tenant(tenantId, () => db.tenant(tenantId, ask));
    const asked = [await ask(), await ask(), await ask(), await ask()];
    expect(new Set(asked).size).toBe(1);
    await db.close();
  });

  it('keeps what came before a savepoint that failed, by tag and by builder', async () => {
    const tenant = await createTenant(database.db);
    await database.db.tenant(tenant.tenantId, async ({ sql, query }) => {
      await sql`update organizations set name = 'kept' where id = ${tenant.tenantId}`;
      await expect(sql.savepoint((inner) => inner`select 1 / 0`)).rejects.toThrow('division by zero');
      const nested = query.transaction(async (inner) => {
        await inner.update(organizations).set({ name: 'lost' });
        throw new Error('no');
      });
      await expect(nested).rejects.toThrow('no');
    });
    expect(await nameOf(tenant.tenantId)).toBe('kept');
  });

  it('goes on after a savepoint that failed as the first thing of its transaction', async () => {
    const tenant = await createTenant(database.db);
    const [row] = await database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await expect(sql.savepoint((inner) => inner`select 1 / ${0}::int`)).rejects.toThrow('division by zero');
      return sql<{ one: number }[]>`select 1 as one`;
    });
    expect(row?.one).toBe(1);
  });

  it('passes a business error and a constraint error on as they are', async () => {
    const tenant = await createTenant(database.db);
    const duplicate = database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`insert into domains (tenant_id, name) values (${tenant.tenantId}, ${tenant.builtInDomain})`,
    );
    await expect(duplicate).rejects.toMatchObject({ code: '23505' });
  });

  it('runs no statement as the owner but those of stage', async () => {
    const statements: string[] = [];
    const db = openDb({ url: database.url, max: 2, onStatement: (role, text) => statements.push(`${role}: ${text}`) });
    const tenant = await createTenant(db);
    await db.tenant(tenant.tenantId, ({ query }) => query.select().from(organizations));
    await db.engine(({ sql }) => sql`select count(*) from runs`);
    await db.ping();
    expect(statements.length).toBeGreaterThan(5);
    expect(statements.filter((text) => text.startsWith('owner'))).toEqual([]);
    await db.stage.sql`select 1`;
    expect(statements.filter((text) => text.startsWith('owner') && text.includes('select 1'))).toHaveLength(1);
    await db.close();
  });

  it('refuses a tenant id that is none before it reaches the database', async () => {
    const nothing = async (): Promise<void> => undefined;
    await expect(database.db.tenant("x' or 'a" as TenantId, nothing)).rejects.toMatchObject({ code: 'internal' });
  });

  it('says that no connection became free instead of waiting for ever, and loses none by it', async () => {
    const db = openDb({ url: database.url, max: 1, acquireTimeoutMs: 100 });
    const tenantId = newId<TenantId>();
    const nested = db.tenant(tenantId, () => db.tenant(tenantId, ({ sql }) => sql`select 1`));
    await expect(nested).rejects.toMatchObject({ code: 'database_unavailable' });
    await expect(db.tenant(tenantId, ({ sql }) => sql`select 1`)).resolves.toHaveLength(1);
    await db.close();
  });

  it('answers everybody when many more ask than there are connections', async () => {
    const db = openDb({ url: database.url, max: 3 });
    const tenantId = newId<TenantId>();
    const asked = Array.from({ length: 300 }, (_unused, index) =>
      db.tenant(tenantId, async ({ sql }) => {
        const [row] = await sql`select ${index}::int as index, current_setting('rollcall.tenant_id') as tenant`;
        return row?.['tenant'] === tenantId ? row['index'] : 'a stranger';
      }),
    );
    expect(await Promise.all(asked)).toEqual(asked.map((_unused, index) => index));
    await db.close();
  });

  it('lets running transactions end when it is closed, and takes no new ones', async () => {
    const db = openDb({ url: database.url, max: 2 });
    const tenant = await createTenant(db);
    const running = db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`select pg_sleep(0.2)`;
      return sql`select id from organizations`;
    });
    await db.ping();
    const closing = db.close();
    await expect(db.tenant(tenant.tenantId, ({ sql }) => sql`select 1`)).rejects.toMatchObject({
      code: 'shutting_down',
    });
    await expect(running).resolves.toHaveLength(1);
    await closing;
  });

  it('gives a connection back clean after a COPY that the work did not finish', async () => {
    const db = openDb({ url: database.url, max: 1 });
    await database.db.stage.sql`create table stage.unfinished (x text)`;
    await database.db.stage.sql`grant all on stage.unfinished to rollcall_tenant`;
    const tenantId = newId<TenantId>();
    const attempt = db.tenant(tenantId, async ({ sql }) => {
      const sink = await sql`copy stage.unfinished from stdin`.writable();
      sink.on('error', () => undefined);
      sink.write('a\n');
      throw new Error('changed my mind');
    });
    await expect(attempt).rejects.toThrow('changed my mind');
    await expect(db.tenant(tenantId, ({ sql }) => sql`select 1`)).resolves.toHaveLength(1);
    expect(await database.db.stage.sql`select from stage.unfinished`).toHaveLength(0);
    await db.close();
  });

  it('answers readiness within seconds although the network swallows everything', async () => {
    const proxy = await startCutProxy(database.url);
    const db = openDb({ url: proxy.url, max: 1, pingTimeoutMs: 200 });
    await db.ping();
    proxy.freeze();
    const failure: unknown = await db.ping().catch((error: unknown) => error);
    expect(isRollcallError(failure, 'database_unavailable')).toBe(true);
    proxy.cut('end');
    await db.close();
    await proxy.close();
  });

  async function nameOf(tenantId: TenantId): Promise<unknown> {
    const [row] = await database.db.tenant(tenantId, ({ sql }) => sql`select name from organizations`);
    return row?.['name'];
  }
});
