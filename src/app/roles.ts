/** The two roles of the daemon: `api` answers HTTP, `worker` carries out runs. Each registers what it opens for closing. */
import { analyzeGrownTables, type Db } from '../db/db.ts';
import type { Logger } from '../platform/logger.ts';
import type { Lifecycle } from '../platform/lifecycle.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Secret } from '../platform/secrets.ts';
import { listen } from '../platform/http-server.ts';
import {
  createScheduledRuns,
  pruneHistory,
  purgeRemovedUsers,
  setNextSlots,
  sweepStages,
} from '../reconciliation/reconciliation.ts';
import { createSchedule, dispatchRun, openRunQueue, startWorker, type PeriodicJob } from '../schedule/schedule.ts';
import { createRequestLog, deleteOldRequests } from '../scim/scim.ts';
import { createApi } from './api.ts';
import type { Config } from './config.ts';
import { addConnectionMetrics } from './connection-metrics.ts';
import { openDatabase, openSecretBox } from './resources.ts';
import { createRooms, type Rooms } from './rooms.ts';

export type RoleOptions = {
  readonly config: Config;
  readonly databaseUrl: Secret;
  readonly masterKey: Secret;
  readonly logger: Logger;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
};

/** Requests in hand get this long to finish; runs in hand get it to hand over. */
const graceMs = 2000;

export type ApiRole = { readonly ping: () => Promise<void>; readonly url: string };

export async function runApiRole(options: RoleOptions): Promise<ApiRole> {
  const { config, logger, lifecycle, metrics } = options;
  const secretBox = openSecretBox(options.masterKey);
  const db = openDatabase(options.databaseUrl, config, { lifecycle, logger, applicationName: 'rollcall api' });
  const rooms = createRooms({ config, db, secretBox, logger });
  addConnectionMetrics(metrics, db, logger);
  const queue = await openRunQueue({
    url: options.databaseUrl.reveal(),
    logger,
    heartbeatSeconds: config.schedule.heartbeatSeconds,
    isWorker: false,
  });
  lifecycle.own('queue', () => queue.close(graceMs));
  const requestLog = createRequestLog({ db, clock: rooms.clock, log: logger });
  lifecycle.own('SCIM request log', () => requestLog.close());
  const api = createApi(rooms, {
    config,
    logger,
    metrics,
    db,
    pepper: secretBox.pepper(),
    requestLog,
    dispatch: (run) => dispatchRun({ db, queue, logger }, run),
    stopping: lifecycle.signal,
  });
  const server = await listen(api, { name: 'http', ...config.http });
  lifecycle.own('HTTP server', () => server.close(graceMs));
  logger.info({ host: server.host, port: server.port }, 'API listening');
  return { ping: () => db.ping(), url: `http://${server.host}:${server.port}` };
}

export async function runWorkerRole(options: RoleOptions): Promise<{ readonly ping: () => Promise<void> }> {
  const { config, logger, lifecycle } = options;
  const { heartbeatSeconds, concurrency, pollSeconds } = config.schedule;
  const secretBox = openSecretBox(options.masterKey);
  const db = openDatabase(options.databaseUrl, config, { lifecycle, logger, applicationName: 'rollcall worker' });
  const rooms = createRooms({ config, db, secretBox, logger });
  const url = options.databaseUrl.reveal();
  const queue = await openRunQueue({ url, logger, heartbeatSeconds, isWorker: true });
  const schedule = createSchedule({
    db,
    queue,
    ledger: { createScheduledRuns, setNextSlots },
    clock: rooms.clock,
    logger,
    heartbeatSeconds,
    random: Math.random,
  });
  const worker = await startWorker({
    schedule,
    queue,
    executeRun: (tenantId, runId, { signal }) =>
      rooms.reconciliation.executeRun(tenantId, runId, { signal, heartbeatMs: (heartbeatSeconds * 1000) / 3 }),
    periodic: periodicJobs(rooms, db, config),
    concurrency,
    pollSeconds,
    clock: rooms.clock,
    logger,
  });
  lifecycle.own('worker', () => worker.close(graceMs));
  return { ping: () => db.ping() };
}

function periodicJobs(rooms: Rooms, db: Db, config: Config): PeriodicJob[] {
  const { outbox } = rooms;
  return [
    ...reminderJobs(rooms),
    {
      name: 'outbox relay',
      everyMs: 2000,
      run: async (signal) => {
        await outbox.deliverDue({ signal });
      },
    },
    {
      name: 'statistics of grown tables',
      everyMs: 10_000,
      run: async () => {
        await analyzeGrownTables(db.stage);
      },
    },
    {
      name: 'outbox purge',
      everyMs: 3_600_000,
      run: async () => {
        await outbox.purgeDelivered();
      },
    },
    ...cleaningJobs(rooms, db, config),
  ];
}

function cleaningJobs({ clock, access }: Rooms, db: Db, config: Config): PeriodicJob[] {
  return [
    {
      name: 'access token purge',
      everyMs: 600_000,
      run: (signal) => untilNone(signal, () => access.deleteExpiredAccessTokens()),
    },
    {
      name: 'SCIM request log purge',
      everyMs: 600_000,
      run: (signal) => untilNone(signal, () => deleteOldRequests(db, config.scim.requestLogDays)),
    },
    {
      name: 'history',
      everyMs: 3_600_000,
      run: async (signal) => {
        await pruneHistory({ db, now: () => clock.now() }, config.history.keepDays, signal);
      },
    },
    {
      name: 'purge of removed users',
      everyMs: 3_600_000,
      run: async (signal) => {
        await purgeRemovedUsers({ db }, config.history.keepDays, signal);
      },
    },
    {
      name: 'stage sweep',
      everyMs: 3_600_000,
      run: async () => {
        await sweepStages(db, clock.now());
      },
    },
  ];
}

/** Of what ends by itself and stops something when it does. */
function reminderJobs({ access, reconciliation }: Rooms): PeriodicJob[] {
  return [
    {
      name: 'token reminders',
      everyMs: 3_600_000,
      run: async () => {
        await access.remindOfExpiry();
      },
    },
    {
      name: 'pushed leavers',
      everyMs: 60_000,
      run: async () => {
        await reconciliation.watchPushedLeavers();
      },
    },
    {
      name: 'credential reminders',
      everyMs: 3_600_000,
      run: async (signal) => {
        await reconciliation.remindOfCredentials(signal);
      },
    },
  ];
}

const maxBatches = 1_000;

/** Batch after batch, so that no transaction is long; what is left over is the next round's. */
async function untilNone(signal: AbortSignal, deleteBatch: () => Promise<number>): Promise<void> {
  for (let batch = 0; batch < maxBatches && !signal.aborted; batch += 1) if ((await deleteBatch()) === 0) return;
}
