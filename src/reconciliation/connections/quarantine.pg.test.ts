/** Quarantine: when it begins, whom it tells, when it ends. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { RollcallError, type ErrorCode } from '../../core/errors.ts';
import { newId, type RunId } from '../../core/ids.ts';
import { createScheduledRuns } from '../reconciliation.ts';
import type { Connection, RunSummary } from '../reconciliation.ts';

const database = useDatabase();
const hourMs = 3_600_000;

type Patient = Engine & {
  fail(code: ErrorCode, more?: { retryAfterSeconds: number }): void;
  recover(): void;
  connection(): Promise<Connection>;
  /** Types of what the outbox holds for the tenant, in order. */
  told(): Promise<string[]>;
  /** A run of the schedule. */
  tick(at: string): Promise<RunSummary>;
};

async function createPatient(count = 3, document: Record<string, unknown> = {}): Promise<Patient> {
  const engine = await createEngine(database.db, {
    document: { schedule: { cron: '0 * * * *' }, ...document },
  });
  for (let n = 0; n < count; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  await engine.sync();
  const { reconciliation, tenantId, connectionId } = engine;
  const sent = await database.db.tenant(
    tenantId,
    (tx) => tx.sql<{ id: string }[]>`select max(id)::text as id from outbox_messages`,
  );
  return {
    ...engine,
    fail: (code, more = { retryAfterSeconds: 0 }) => {
      const options = more.retryAfterSeconds === 0 ? {} : more;
      engine.directory.beforeEvent = () => Promise.reject(new RollcallError(code, `It is ${code}.`, options));
    },
    recover: () => {
      engine.directory.beforeEvent = () => Promise.resolve();
    },
    connection: () => reconciliation.findConnection(tenantId, connectionId),
    told: () =>
      database.db.tenant(tenantId, async (tx) => {
        const rows = await tx.sql<{ type: string }[]>`
          select type from outbox_messages where id > coalesce(${sent[0]?.id ?? null}::bigint, 0) order by id`;
        return rows.map((row) => row.type);
      }),
    tick: async (scheduledFor) => {
      const [made] = await database.db.engine((tx) =>
        createScheduledRuns(tx, [{ tenantId, connectionId, scheduledFor }]),
      );
      const { signal } = new AbortController();
      return reconciliation.executeRun(tenantId, made?.runId ?? newId<RunId>(), { signal });
    },
  };
}

describe('a quarantine', () => {
  test('begins at once where the directory refuses the credentials, and says why, since when and until when', async () => {
    const patient = await createPatient();
    patient.fail('directory_auth');
    expect((await patient.run()).status).toBe('failed');
    const connection = await patient.connection();
    expect(connection).toMatchObject({ status: 'quarantined', failedRuns: 1, quarantineRetries: 0 });
    expect(connection.statusReason).toBe('It is directory_auth.');
    expect(connection.statusText).toMatch(
      /^In quarantine since .* after 1 failed run: It is directory_auth\. Next try /,
    );
    // the fake schedule has a slot every hour: the first one after the pause
    const waitMs = Date.parse(connection.nextRunAt ?? '') - Date.now();
    expect(waitMs).toBeGreaterThan(hourMs + 14 * 60_000);
    expect(waitMs).toBeLessThan(hourMs + 20 * 60_000);
  });

  test('begins with the fifth failed run in a row, and a good one in between starts the count anew', async () => {
    const patient = await createPatient();
    patient.fail('directory_unreachable');
    for (let n = 0; n < 4; n += 1) await patient.run();
    expect(await patient.connection()).toMatchObject({ status: 'active', failedRuns: 4 });
    patient.recover();
    await patient.run();
    expect(await patient.connection()).toMatchObject({ status: 'active', failedRuns: 0, statusText: null });
    patient.fail('directory_unreachable');
    for (let n = 0; n < 5; n += 1) await patient.run();
    expect(await patient.connection()).toMatchObject({ status: 'quarantined', failedRuns: 5 });
  });

  test('begins where the document of the connection says so', async () => {
    const patient = await createPatient(3, { quarantine: { failedRuns: 2 } });
    patient.fail('directory_unreachable');
    await patient.run();
    expect((await patient.connection()).status).toBe('active');
    await patient.run();
    expect(await patient.connection()).toMatchObject({ status: 'quarantined', failedRuns: 2 });
  });

  test('is told once, not with every retry, and its end is told once too', async () => {
    const patient = await createPatient();
    patient.fail('directory_auth');
    await patient.run();
    await patient.tick('2026-03-01T10:00:00Z');
    await patient.tick('2026-03-01T11:00:00Z');
    expect(await patient.told()).toEqual(['connection.quarantined']);
    expect(await patient.connection()).toMatchObject({ failedRuns: 3, quarantineRetries: 2 });
    patient.recover();
    expect((await patient.tick('2026-03-01T12:00:00Z')).status).toBe('succeeded');
    expect(await patient.told()).toEqual(['connection.quarantined', 'connection.recovered']);
    expect(await patient.connection()).toMatchObject({ status: 'active', failedRuns: 0, quarantinedAt: null });
  });

  test('waits longer after each retry of the schedule, not after one by hand', async () => {
    const patient = await createPatient();
    patient.fail('directory_auth');
    await patient.run();
    const waitMs = async () => Date.parse((await patient.connection()).nextRunAt ?? '') - Date.now() - hourMs;
    expect(await waitMs()).toBeLessThan(20 * 60_000);
    const { tenantId, connectionId, reconciliation } = patient;
    const byHand = await reconciliation.retryConnection({ tenantId, connectionId, requestedBy: 'test' });
    await reconciliation.executeRun(tenantId, byHand, { signal: new AbortController().signal });
    expect(await waitMs()).toBeLessThan(20 * 60_000);
    for (let n = 0; n < 3; n += 1) await patient.tick(`2026-03-01T1${n}:00:00Z`);
    expect(await waitMs()).toBeGreaterThan(119 * 60_000);
  });

  test('ends by a retry by hand that succeeds; a connection outside of one can not be retried', async () => {
    const patient = await createPatient();
    const { tenantId, connectionId, reconciliation } = patient;
    const retry = () => reconciliation.retryConnection({ tenantId, connectionId, requestedBy: 'test' });
    await expect(retry()).rejects.toThrow(/not in quarantine: it is active/);
    patient.fail('directory_auth');
    await patient.run();
    patient.recover();
    const runId = await retry();
    const run = await reconciliation.executeRun(tenantId, runId, { signal: new AbortController().signal });
    expect([run.kind, run.status]).toEqual(['full', 'succeeded']);
    expect((await patient.connection()).status).toBe('active');
  });

  test('ends by resuming, which forgets the failures; a pause forgets it too', async () => {
    const patient = await createPatient();
    const { tenantId, connectionId, reconciliation } = patient;
    patient.fail('directory_auth');
    await patient.run();
    await reconciliation.resumeConnection('test', tenantId, connectionId);
    expect(await patient.connection()).toMatchObject({ status: 'active', failedRuns: 0, quarantinedAt: null });
    await patient.run();
    await reconciliation.pauseConnection('test', tenantId, connectionId, 'Migration');
    expect(await patient.connection()).toMatchObject({ status: 'paused', quarantinedAt: null, nextRunAt: null });
    expect((await patient.connection()).statusText).toBe('Paused: Migration.');
    await patient.run('plan');
    expect((await patient.connection()).status).toBe('paused');
  });

  test('is not ended by an approved plan: that says nothing about the directory', async () => {
    const patient = await createPatient();
    patient.directory.put({ id: 'p0', name: 'Renamed' });
    const waiting = await patient.run('plan');
    patient.fail('directory_auth');
    await patient.run('plan');
    expect((await patient.approve(waiting)).status).toBe('succeeded');
    expect((await patient.connection()).status).toBe('quarantined');
  });

  test('gives a directory the time it asked for, below the number of failures too', async () => {
    const patient = await createPatient();
    patient.fail('directory_throttled', { retryAfterSeconds: 5 * 3600 });
    await patient.run();
    const connection = await patient.connection();
    expect(connection.status).toBe('active');
    expect(Date.parse(connection.nextRunAt ?? '') - Date.now()).toBeGreaterThan(5.9 * hourMs);
  });
});

describe('a run most of whose objects can not be used', () => {
  const poisonous = {
    mappings: [
      { target: 'displayName', expression: 'object.displayName' },
      { target: 'jobTitle', expression: 'object.department.startsWith("X") ? "x" : "y"' },
    ],
  };
  /** Twenty users who could be read; now the mapping fails for those who have no department any more. */
  const spoil = async (bad: number, document: Record<string, unknown> = {}): Promise<Patient> => {
    const patient = await createPatient(0, { ...poisonous, ...document });
    for (let n = 0; n < 20; n += 1) patient.directory.put({ id: `p${n}`, name: `Person ${n}`, department: 'X' });
    await patient.sync();
    for (let n = 0; n < bad; n += 1) patient.directory.put({ id: `p${n}`, department: null });
    patient.directory.put({ id: 'p19', name: 'Renamed' });
    return patient;
  };

  test('applies nothing, keeps the reasons, and quarantines its connection', async () => {
    const patient = await spoil(11);
    const run = await patient.run();
    expect([run.status, run.error?.['code']]).toEqual(['failed', 'too_many_failures']);
    expect((await patient.users()).map((user) => user.name)).not.toContain('Renamed');
    const rows = await patient.changes(run.id);
    expect(rows.filter((row) => row.op === 'error')).toHaveLength(11);
    expect(new Set(rows.map((row) => row.state))).toEqual(new Set(['skipped']));
    expect((await patient.connection()).statusText).toMatch(/11 of 20 users that were read can not be used/);
    for (let n = 0; n < 11; n += 1) patient.directory.put({ id: `p${n}`, department: 'X' });
    await patient.tick('2026-03-01T10:00:00Z');
    expect((await patient.connection()).status).toBe('active');
    expect((await patient.users()).map((user) => user.name)).toContain('Renamed');
  });

  test('goes on where exactly half of them are bad', async () => {
    const patient = await spoil(10);
    expect((await patient.run()).status).not.toBe('failed');
    expect((await patient.connection()).status).toBe('active');
    expect((await patient.users()).map((user) => user.name)).toContain('Renamed');
  });

  test('stops at the share that the document of the connection says', async () => {
    const patient = await spoil(5, { quarantine: { failedObjects: { count: 10, percent: 20 } } });
    const run = await patient.run();
    expect(run.error?.['code']).toBe('too_many_failures');
    expect((await patient.connection()).statusText).toMatch(
      /5 of 20 users that were read can not be used: more than 20 %/,
    );
  });

  test('shows a person who asked for a plan what is wrong, and stops nothing', async () => {
    const patient = await spoil(20);
    const run = await patient.run('plan');
    // a jobTitle gone from everybody is not plausible either
    expect(run.status).toBe('held');
    expect((await patient.connection()).status).toBe('active');
  });
});
