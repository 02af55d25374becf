/** Several daemons on one database, their ends, and what a worker may still do that was given up (design.md section 8). */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isOpenldapInstalled } from '../servers/openldap.ts';
import { holdBeforeGrants, preparePlan, untilHeld, type Planned, type Site, type SiteDaemon } from './site.ts';
import { expectSameRows, readTraces, type Rows } from './site-rows.ts';

let planned: Planned;
/** What one scheduled run leaves that nothing disturbs. */
let undisturbed: Rows;

const once = [{ status: 'succeeded', epoch: 1 }];
const takenOver = [{ status: 'succeeded', epoch: 2 }];

function isExecuting({ daemon }: SiteDaemon): boolean {
  return daemon.lines.some(({ msg }) => msg === 'run started');
}

/** The outbox relay writes what it has delivered; after that a site at rest writes nothing. */
async function untilDelivered({ sql }: Site): Promise<void> {
  await vi.waitFor(
    async () => {
      expect(await sql`select type from outbox_messages where delivered_at is null`).toEqual([]);
    },
    { timeout: 10_000, interval: 50 },
  );
}

async function stagedTables({ sql }: Site): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::int from pg_tables where schemaname = 'stage'`;
  return row?.count ?? 0;
}

/** Stops the worker while it waits for the directory, outside of any transaction: one inside would hold the fence until its time limit. */
async function freezeReading(site: Site, daemon: SiteDaemon): Promise<void> {
  await vi.waitFor(
    async () => {
      expect(await site.sql`select phase from runs where status = 'running'`).toEqual([{ phase: 'fetch' }]);
      process.kill(daemon.workerPid(), 'SIGSTOP');
      const [open] = await site.sql`
        select state, query from pg_stat_activity
        where datname = current_database() and application_name = 'rollcall worker' and xact_start is not null`;
      if (open !== undefined) process.kill(daemon.workerPid(), 'SIGCONT');
      expect(open).toBeUndefined();
    },
    { timeout: 10_000, interval: 20 },
  );
}

describe.skipIf(!isOpenldapInstalled())('several daemons on one database', { concurrent: true }, () => {
  beforeAll(async () => {
    planned = await preparePlan();
    await using site = await planned.clone();
    await site.makeDue();
    const daemon = await site.start();
    expect(await site.served()).toEqual(once);
    expect(await daemon.stop()).toBe(0);
    undisturbed = await site.rows();
  });

  afterAll(async () => {
    await planned?.close();
  });

  it('that start together with one connection due make one run, and both stop cleanly', async () => {
    await using site = await planned.clone();
    await site.makeDue();
    const daemons = await Promise.all([site.start(), site.start()]);
    expect(await site.served()).toEqual(once);
    expect(await Promise.all(daemons.map((daemon) => daemon.stop()))).toEqual([0, 0]);
    expect(daemons.filter(isExecuting)).toHaveLength(1);
    expectSameRows(await site.rows(), undisturbed);
  });

  it('of which the one that executes is killed: the other one ends the run', async () => {
    await using site = await planned.clone();
    await site.makeDue();
    const letGo = await holdBeforeGrants(site);
    const daemons = await Promise.all([site.start(), site.start()]);
    await untilHeld(site);
    const executing = daemons.find(isExecuting);
    const other = daemons.find((daemon) => daemon !== executing);
    await executing?.kill();
    await letGo();
    expect(await site.served()).toEqual(takenOver);
    expectSameRows(await site.rows(), undisturbed);
    expect(await other?.stop()).toBe(0);
  });

  it('SIGTERM to npm start in the middle of an apply: it drains, ends with 0, and the next start ends the run', async () => {
    await using site = await planned.clone();
    await site.makeDue();
    const letGo = await holdBeforeGrants(site);
    const first = await site.start({ isNpmStart: true });
    await untilHeld(site);
    const workerPid = first.workerPid();
    const exit = first.stop();
    await first.daemon.line('stopping');
    await letGo();
    expect(await exit).toBe(0);
    expect(() => process.kill(workerPid, 0)).toThrow('ESRCH');
    expect(await site.sql`select status, phase from runs where scheduled_for is not null`).toEqual([
      { status: 'queued', phase: 'apply' },
    ]);
    // the chunks that were open are finished, and nothing after them is begun
    expect((await site.progress()).applied).toBeGreaterThan(0);
    const second = await site.start();
    expect(await site.served()).toEqual(takenOver);
    expectSameRows(await site.rows(), undisturbed);
    expect(await second.stop()).toBe(0);
  });

  it('a worker that was frozen in the middle of an apply and wakes after takeover writes nothing', async () => {
    await using site = await planned.clone();
    await site.makeDue();
    const letGo = await holdBeforeGrants(site);
    const frozen = await site.start();
    await untilHeld(site);
    process.kill(frozen.workerPid(), 'SIGSTOP');
    await letGo();
    // what idle_in_transaction_session_timeout does after half a minute: the frozen session holds the fence until then
    await site.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'rollcall worker' and xact_start is not null`;
    const other = await site.start();
    expect(await site.served()).toEqual(takenOver);
    await expectSilence(site, frozen, other);
  });

  it('a worker that was frozen in the middle of a read and wakes after takeover writes nothing', async () => {
    await using site = await planned.clone();
    await site.makeDue();
    process.kill(planned.directory.pid, 'SIGSTOP');
    let frozen: SiteDaemon;
    try {
      frozen = await site.start();
      await freezeReading(site, frozen);
    } finally {
      process.kill(planned.directory.pid, 'SIGCONT');
    }
    const other = await site.start();
    expect(await site.served()).toEqual(takenOver);
    await expectSilence(site, frozen, other);
  });

  async function expectSilence(site: Site, frozen: SiteDaemon, other: SiteDaemon): Promise<void> {
    await untilDelivered(site);
    expectSameRows(await site.rows(), undisturbed);
    const before = await readTraces(site.sql);
    process.kill(frozen.workerPid(), 'SIGCONT');
    await vi.waitFor(() => expect(frozen.daemon.lines.map(({ msg }) => msg)).toContain('run stopped: no longer ours'), {
      timeout: 30_000,
    });
    expect(await Promise.all([frozen.stop(), other.stop()])).toEqual([0, 0]);
    expectSameRows(await readTraces(site.sql), before);
    expect(await stagedTables(site)).toBe(0);
    expect(await site.sql`select state from pgboss.job where name = 'runs' and state <> 'completed'`).toEqual([]);
  }
});
