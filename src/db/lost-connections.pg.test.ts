/**
 * postgres.js 3.4.9 ends the process or hangs when a connection is lost inside a transaction; patches/ mends it. These
 * tests cut connections in every state; without the patch most of them time out or kill the worker.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type postgres from 'postgres';
import { isRollcallError } from '../core/errors.ts';
import type { TenantId } from '../core/ids.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { startCutProxy, type CutProxy } from '../../test/setup/cut-proxy.ts';
import { openAdmin } from '../../test/setup/server.ts';
import { isConnectionLost, openDb, type Db } from './db.ts';

type Cut = () => Promise<void>;
type State = (db: Db, tenantId: TenantId, cut: Cut) => Promise<unknown>;

/** Starts a statement and lets it reach the server before the cut; its failure is what the scope reports. */
async function cutDuring(statement: PromiseLike<unknown>, admin: postgres.Sql, cut: Cut): Promise<void> {
  const running = Promise.allSettled([statement]);
  await untilActive(admin);
  await cut();
  const [outcome] = await running;
  if (outcome.status === 'rejected') throw outcome.reason;
}

/** A cut leaves its server process asleep until it wants to answer; the name tells this test's from older ones. */
let victims = 0;

async function untilActive(admin: postgres.Sql): Promise<void> {
  for (;;) {
    const [row] = await admin`select count(*)::int as n from pg_stat_activity
      where application_name = ${`victim ${victims}`} and state = 'active' and query like '%pg_sleep%'`;
    if (Number(row?.['n']) > 0) return;
  }
}

describe.each(['terminate', 'reset', 'end'] as const)('a connection cut by %s', (how) => {
  const database = useDatabase();
  let proxy: CutProxy;
  let admin: postgres.Sql;
  let tenantId: TenantId;
  let db: Db;

  beforeAll(async () => {
    proxy = await startCutProxy(database.url);
    admin = openAdmin(database.url);
    ({ tenantId } = await createTenant(database.db));
  });
  afterAll(async () => {
    await admin.end();
    await proxy.close();
  });
  beforeEach(() => {
    // one connection per pool, so that the one that was cut is the one that must work again
    victims += 1;
    db = openDb({ url: proxy.url, max: 1, applicationName: `victim ${victims}` });
  });
  afterEach(async () => {
    await db.close();
  });

  const cut: Cut = async () => {
    if (how !== 'terminate') return proxy.cut(how);
    await admin`select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name like 'victim %'`;
  };

  const states: Record<string, State> = {
    'between two statements': (it, id) =>
      it.tenant(id, async ({ sql }) => {
        await sql`select 1`;
        await cut();
        await sql`select 2`;
      }),
    'between two statements of which the second is new to the connection': (it, id) =>
      it.tenant(id, async ({ sql }) => {
        await sql`select 1`;
        await cut();
        await sql`select ${'x'}::text, ${2}::int`;
      }),
    'before commit': (it, id) =>
      it.tenant(id, async ({ sql }) => {
        await sql`select 1`;
        await cut();
      }),
    'before the first statement': (it, id) =>
      it.tenant(id, async ({ sql }) => {
        await cut();
        await sql`select 1`;
      }),
    'during a statement': (it, id) => it.tenant(id, ({ sql }) => cutDuring(sql`select pg_sleep(8)`, admin, cut)),
    'with statements waiting behind a running one': (it, id) =>
      it.tenant(id, ({ sql }) =>
        cutDuring(
          Promise.all([sql`select pg_sleep(8)`, sql`select ${1}::int`, sql`select ${'a'}::text`, sql`select 4`]),
          admin,
          cut,
        ),
      ),
    'inside a savepoint': (it, id) =>
      it.tenant(id, ({ sql }) =>
        sql.savepoint(async (inner) => {
          await inner`select 1`;
          await cut();
          await inner`select 2`;
        }),
      ),
    'inside a transaction of Drizzle': (it, id) =>
      it.tenant(id, ({ query }) =>
        query.transaction(async (inner) => {
          await inner.execute('select 1');
          await cut();
          await inner.execute('select 2');
        }),
      ),
    'whose failure the work catches': (it, id) =>
      it.tenant(id, async ({ sql }) => {
        await sql`select 1`;
        await cut();
        await sql`select 2`.catch(() => undefined);
      }),
    'in an engine transaction': (it) => it.engine(({ sql }) => cutDuring(sql`select pg_sleep(8)`, admin, cut)),
  };

  it.each(Object.entries(states))('rejects as database_unavailable and recovers: %s', async (_name, state) => {
    // opened first, so that the cut meets a connection in the pool and not one being made
    await db.ping();
    await db.engine(({ sql }) => sql`select 1`);
    const failure: unknown = await state(db, tenantId, cut).then(
      () => 'nothing failed',
      (error: unknown) => error,
    );
    expect(isRollcallError(failure, 'database_unavailable'), String(failure)).toBe(true);
    await expectWorking(db, tenantId);
  });

  it('recovers when the connection was idle in the pool', async () => {
    await db.ping();
    await cut();
    // the loss may be noticed by the next statement only; the one after that must work
    await db
      .tenant(tenantId, ({ sql }) => sql`select 1`)
      .catch((error: unknown) => {
        expect(isRollcallError(error, 'database_unavailable')).toBe(true);
      });
    await expectWorking(db, tenantId);
  });

  it('recovers when statements outside transactions were running', async () => {
    const failure = await cutDuring(db.stage.sql`select pg_sleep(8)`, admin, cut).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    await expect(db.stage.sql`select 1 as one`).resolves.toMatchObject([{ one: 1 }]);
  });

  it('recovers when a COPY was running', async () => {
    await db.stage.sql`create unlogged table if not exists stage.cut (line text)`;
    const stream = await db.stage.sql`copy stage.cut from stdin`.writable();
    const ended = new Promise((resolve) => stream.once('close', resolve).once('error', resolve));
    stream.write('a line\n');
    await cut();
    await ended;
    // what was sent before the loss was noticed shares it
    await db.stage.sql`select 1`.catch((error: unknown) => expect(isConnectionLost(error)).toBe(true));
    await expect(db.stage.sql`select count(*)::int as n from stage.cut`).resolves.toMatchObject([{ n: 0 }]);
  });

  it('gives callers that wait for the connection their turn on a new one', async () => {
    await db.ping();
    const first = db.tenant(tenantId, ({ sql }) => cutDuring(sql`select pg_sleep(8)`, admin, cut));
    const waiting = Array.from({ length: 5 }, () => db.tenant(tenantId, ({ sql }) => sql`select 1 as one`));
    await expect(first).rejects.toMatchObject({ code: 'database_unavailable' });
    await expect(Promise.all(waiting)).resolves.toHaveLength(5);
  });

  it('says that the database is away while it refuses connections, and works when it is back', async () => {
    await db.ping();
    proxy.refuse(true);
    await cut();
    await expect(db.tenant(tenantId, ({ sql }) => sql`select 1`)).rejects.toMatchObject({
      code: 'database_unavailable',
    });
    await expect(db.ping()).rejects.toMatchObject({ code: 'database_unavailable' });
    proxy.refuse(false);
    await expectWorking(db, tenantId);
  });
});

describe('a connection cut while it is made', () => {
  const database = useDatabase();

  it('when the driver asks for the types of arrays: who waits for it is given another one', async () => {
    const proxy = await startCutProxy(database.url);
    const db = openDb({ url: proxy.url, max: 1, applicationName: 'victim of types' });
    try {
      const { tenantId } = await createTenant(database.db);
      proxy.cutAt('pg_catalog.pg_type');
      const [row] = await db.tenant(
        tenantId,
        ({ sql }) => sql<{ ids: string[] }[]>`select array_agg(id) as ids from organizations`,
      );
      expect(row?.ids).toEqual([tenantId]);
      proxy.cutAt('pg_catalog.pg_type');
      const failure = await db.look((sql) => sql`select 1`).catch((error: unknown) => error);
      expect(isRollcallError(failure, 'database_unavailable'), String(failure)).toBe(true);
      await expectWorking(db, tenantId);
    } finally {
      await db.close();
      await proxy.close();
    }
  });
});

/** The other pool's connection was idle: its loss may be noticed by its next statement only. */
async function expectWorking(db: Db, tenantId: TenantId): Promise<void> {
  for (const isLast of [false, true]) {
    try {
      const [row] = await db.tenant(tenantId, ({ sql }) => sql`select id from organizations`);
      expect(row?.['id']).toBe(tenantId);
      await db.engine(({ sql }) => sql`select 1`);
    } catch (error) {
      if (isLast || !isRollcallError(error, 'database_unavailable')) throw error;
    }
  }
}
