/** Connections cut at random moments, some while the database refuses new ones: whatever was asked for comes to an end. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startCutProxy, type CutProxy } from '../../test/setup/cut-proxy.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { scale } from '../../test/setup/full.ts';
import { isRollcallError } from '../core/errors.ts';
import type { TenantId } from '../core/ids.ts';
import { openDb, type Db, type TenantTx } from './db.ts';

const cuts = scale(20, 500);
const lanes = 8;
const acquireTimeoutMs = 4_000;
/** Waiting for a connection, the rollback's own limit, and a machine that is busy. */
const longestMs = acquireTimeoutMs + 10_000;

const database = useDatabase();
let proxy: CutProxy;
let tenantId: TenantId;
let db: Db;

beforeAll(async () => {
  proxy = await startCutProxy(database.url);
  ({ tenantId } = await createTenant(database.db));
  db = openDb({ url: proxy.url, max: 6, applicationName: 'random cuts', acquireTimeoutMs });
});
afterAll(async () => {
  await db.close();
  await proxy.close();
});

const works: readonly ((tx: TenantTx) => Promise<unknown>)[] = [
  async () => undefined,
  async ({ sql }) => sql`select 1`,
  async ({ sql }) => {
    for (let n = 0; n < 5; n += 1) await sql`select ${n}::int, pg_sleep(0.002)`;
  },
  ({ sql }) => Promise.all([sql`select 1`, sql`select ${'a'}::text`, sql`select pg_sleep(0.01)`, sql`select 3`]),
  async ({ sql }) => {
    for (let n = 0; n < 3; n += 1) {
      await sql.savepoint(async (inner) => {
        await inner`select ${n}::int`;
        await inner`select pg_sleep(0.003)`;
      });
    }
  },
  async ({ sql }) => {
    await expect(sql.savepoint((inner) => inner`select 1 / ${0}::int`)).rejects.toThrow();
    await sql`select 2`;
  },
  ({ query }) =>
    query.transaction(async (inner) => {
      await inner.execute('select 1');
      await inner.execute('select pg_sleep(0.004)');
    }),
  ({ sql }) => sql.unsafe(`select ${Math.floor(Math.random() * 1e6)}`),
  async ({ sql }) => sql`select ${'x'.repeat(300_000)}::text`,
  async ({ sql }) => sql`select repeat('x', 1000) from generate_series(1, 2000)`,
];

function askOnce(): Promise<unknown> {
  const work = works[Math.floor(Math.random() * works.length)];
  if (work === undefined || Math.random() < 0.1) return db.look((sql) => sql`select 1`);
  return Math.random() < 0.1 ? db.engine(({ sql }) => sql`select pg_sleep(0.002)`) : db.tenant(tenantId, work);
}

it(
  `every transaction ends, in its result or as database_unavailable, over ${cuts} cuts`,
  async () => {
    let isOver = false;
    const seen = { ended: 0, lost: 0 };
    const lane = async (): Promise<void> => {
      while (!isOver) {
        const late = delay(longestMs, 'late' as const, { ref: false });
        const outcome = await Promise.race([
          askOnce().then(
            () => 'ended' as const,
            (error: unknown) => error,
          ),
          late,
        ]);
        if (outcome === 'ended') seen.ended += 1;
        else if (isRollcallError(outcome, 'database_unavailable')) seen.lost += 1;
        else throw outcome === 'late' ? new Error('A transaction did not end.') : outcome;
      }
    };
    const working = Promise.all(Array.from({ length: lanes }, lane));
    const cutting = async (): Promise<void> => {
      for (let n = 0; n < cuts; n += 1) {
        await delay(Math.random() * (n % 2 === 0 ? 100 : 400));
        const isAway = Math.random() < 0.5;
        proxy.refuse(isAway);
        proxy.cut(Math.random() < 0.5 ? 'reset' : 'end');
        if (isAway) await delay(Math.random() * (Math.random() < 0.2 ? 1000 : 60));
        proxy.refuse(false);
      }
    };
    try {
      await Promise.race([cutting(), working]);
    } finally {
      isOver = true;
      proxy.refuse(false);
    }
    await working;
    expect([seen.ended > cuts, seen.lost > cuts / 4]).toEqual([true, true]);
  },
  scale(120_000, 900_000),
);
