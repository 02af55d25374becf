/** A database connection that is lost in the middle of a run or a request neither ends nor hangs the daemon. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isOpenldapInstalled } from '../servers/openldap.ts';
import { startCutProxy } from '../setup/cut-proxy.ts';
import { holdBeforeGrants, preparePlan, untilHeld, type Planned, type Site, type SiteDaemon } from './site.ts';
import { expectSameRows, type Rows } from './site-rows.ts';

let planned: Planned;
let undisturbed: Rows;

/** Every connection of the daemon at once, as a restart of the server would. */
async function endBackends(site: Site): Promise<void> {
  await site.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'rollcall%'`;
}

async function untilReady(daemon: SiteDaemon): Promise<void> {
  await vi.waitFor(
    async () => {
      expect((await fetch(`${daemon.management}/readyz`)).status).toBe(200);
    },
    { timeout: 10_000, interval: 50 },
  );
}

/** Requests that stand in the database, waiting for a lock that this holds. */
async function holdRequests(site: Site, daemon: SiteDaemon, count: number) {
  const holder = await site.sql.reserve();
  await holder`begin`;
  await holder`lock table organizations in access exclusive mode`;
  const answers = Array.from({ length: count }, () => daemon.ask('GET', '/organizations'));
  await vi.waitFor(
    async () => {
      const waiting = await site.sql`
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and application_name = 'rollcall api'`;
      expect(waiting.length).toBe(count);
    },
    { timeout: 10_000, interval: 20 },
  );
  return {
    answers,
    letGo: async () => {
      await holder`rollback`;
      holder.release();
    },
  };
}

describe.skipIf(!isOpenldapInstalled())('a database connection that is lost', { concurrent: true }, () => {
  beforeAll(async () => {
    planned = await preparePlan();
    await using site = await planned.clone();
    undisturbed = await site.applyUndisturbed();
  });

  afterAll(async () => {
    await planned?.close();
  });

  it('in the middle of an apply: the run goes on where it stood and ends as if nothing had happened', async () => {
    await using site = await planned.clone();
    const daemon = await site.start();
    const workerPid = daemon.workerPid();
    const letGo = await holdBeforeGrants(site);
    await daemon.approve();
    await untilHeld(site);
    await endBackends(site);
    await letGo();
    await untilReady(daemon);
    await site.rest();
    expectSameRows(await site.rows(), undisturbed);
    expect([daemon.workerPid(), daemon.daemon.process.exitCode]).toEqual([workerPid, null]);
    expect(await daemon.stop()).toBe(0);
  });

  it('in the middle of requests: each is answered 503 with a time to come back, and the next one is answered', async () => {
    await using site = await planned.clone();
    const daemon = await site.start();
    const { answers, letGo } = await holdRequests(site, daemon, 5);
    await endBackends(site);
    const seen = await Promise.all(answers);
    await letGo();
    expect(seen.map(({ status }) => status)).toEqual([503, 503, 503, 503, 503]);
    expect(seen.map(({ headers }) => headers.get('retry-after'))).toEqual(['5', '5', '5', '5', '5']);
    await untilReady(daemon);
    expect((await daemon.ask('GET', '/organizations')).status).toBe(200);
    expect(await daemon.stop()).toBe(0);
  });

  it('by a reset on the wire, in the middle of an apply and of requests, with the database away for a while', async () => {
    await using site = await planned.clone();
    const proxy = await startCutProxy(site.url);
    try {
      const daemon = await site.start({ databaseUrl: proxy.url });
      const letGo = await holdBeforeGrants(site);
      await daemon.approve();
      await untilHeld(site);
      const requests = await holdRequests(site, daemon, 3);
      proxy.refuse(true);
      proxy.cut('reset');
      const seen = await Promise.all(requests.answers);
      expect(seen.map(({ status }) => status)).toEqual([503, 503, 503]);
      expect((await fetch(`${daemon.management}/readyz`)).status).toBe(503);
      expect((await fetch(`${daemon.management}/livez`)).status).toBe(200);
      await requests.letGo();
      await letGo();
      proxy.refuse(false);
      await untilReady(daemon);
      expect((await daemon.ask('GET', '/organizations')).status).toBe(200);
      await site.rest();
      expectSameRows(await site.rows(), undisturbed);
      expect(await daemon.stop()).toBe(0);
    } finally {
      await proxy.close();
    }
  });
});
