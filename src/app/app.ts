/**
 * app/: composition. Configuration -> database and keys -> rooms -> HTTP servers and the worker process; everything
 * is closed in the reverse order. `serve` is the daemon, `runWorker` a worker on its own, `withOffice` the rooms for a
 * command of the host operator.
 */
import { describeError } from '../core/errors.ts';
import { systemClock } from '../platform/clock.ts';
import { listen } from '../platform/http-server.ts';
import { Lifecycle } from '../platform/lifecycle.ts';
import { createLogger, type Logger } from '../platform/logger.ts';
import { createManagementApp } from '../platform/management.ts';
import { createMetrics, renderMetrics, snapshotMetrics, type Metrics } from '../platform/metrics.ts';
import type { Config } from './config.ts';
import type { Environment } from './environment.ts';
import { layFoundation, migrateAll, openDatabase, openSecretBox } from './resources.ts';
import { runApiRole, runWorkerRole, type RoleOptions } from './roles.ts';
import { createRooms, type Rooms } from './rooms.ts';
import { superviseWorker, type Supervisor } from './supervisor.ts';

export { configFileOf, configJsonSchema, loadConfig } from './config.ts';
export type { Config } from './config.ts';
export type { Environment, Output } from './environment.ts';
export type { Rooms } from './rooms.ts';

type Stopped = 'clean' | 'abandoned';

/** Runs until `environment.stop`; resolves once everything is closed. Throws when it can not start. */
export async function serve(config: Config, environment: Environment): Promise<Stopped> {
  return runDaemon(config, environment, async (daemon) => {
    const { logger, lifecycle } = daemon;
    const foundation = await layFoundation(config, environment, { lifecycle, logger, tenure: 'own' });
    await migrateAll(foundation.databaseUrl, logger);
    const role: RoleOptions = { config, ...foundation, logger, lifecycle, metrics: daemon.metrics };
    daemon.ping = (await runApiRole(role)).ping;
    const supervisor = superviseWorker({
      settings: {
        config,
        databaseUrl: foundation.databaseUrl.reveal(),
        masterKey: foundation.masterKey.reveal(),
      },
      logger,
      clock: systemClock,
      signal: lifecycle.signal,
    });
    daemon.supervisor = supervisor;
    lifecycle.own('worker process', () => supervisor.close());
  });
}

/** The worker role in this process, for installations that scale it apart from the API. */
export async function runWorker(config: Config, environment: Environment): Promise<Stopped> {
  return runDaemon(config, environment, async (daemon) => {
    const { logger, lifecycle, metrics } = daemon;
    const foundation = await layFoundation(config, environment, { lifecycle, logger, tenure: 'own' });
    await migrateAll(foundation.databaseUrl, logger);
    daemon.ping = (await runWorkerRole({ config, ...foundation, logger, lifecycle, metrics })).ping;
  });
}

export async function migrateDatabase(config: Config, environment: Environment): Promise<void> {
  const logger = createLogger({ level: config.logging.level, fileDescriptor: 2 });
  await using lifecycle = new Lifecycle({ logger });
  const foundation = await layFoundation(config, environment, { lifecycle, logger, tenure: 'join' });
  await migrateAll(foundation.databaseUrl, logger);
}

export type Office = Rooms & { readonly config: Config; readonly ping: () => Promise<void> };

/** The rooms in process for one command; joins the embedded server of a running daemon, else starts it for the while. */
export async function withOffice<Result>(
  config: Config,
  environment: Environment,
  work: (office: Office) => Promise<Result>,
): Promise<Result> {
  // a command's words are its output: what went wrong is told once, as a sentence; the log is for looking deeper
  const logger = createLogger({
    level: config.logging.level === 'debug' || config.logging.level === 'trace' ? config.logging.level : 'silent',
    fileDescriptor: 2,
  });
  await using lifecycle = new Lifecycle({ logger });
  const foundation = await layFoundation(config, environment, { lifecycle, logger, tenure: 'join' });
  if (foundation.isOwner) await migrateAll(foundation.databaseUrl, logger);
  const db = openDatabase(foundation.databaseUrl, config, { lifecycle, logger, applicationName: 'rollcall command' });
  const rooms = createRooms({ config, db, secretBox: openSecretBox(foundation.masterKey), logger });
  return await work({ ...rooms, config, ping: () => db.ping() });
}

type Daemon = {
  readonly logger: Logger;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  ping: () => Promise<void>;
  supervisor: Supervisor | null;
};

async function runDaemon(
  config: Config,
  environment: Environment,
  start: (daemon: Daemon) => Promise<void>,
): Promise<Stopped> {
  const logger = createLogger({ level: config.logging.level, fileDescriptor: 1 });
  const lifecycle = new Lifecycle({ logger });
  const daemon: Daemon = {
    logger,
    lifecycle,
    metrics: createMetrics('api'),
    ping: () => Promise.reject(new Error('starting')),
    supervisor: null,
  };
  try {
    await openManagement(config, daemon);
    await start(daemon);
    logger.info({}, 'ready');
  } catch (error) {
    await lifecycle.shutDown('failed to start');
    throw error;
  }
  await stopOf(environment.stop);
  logger.info({ reason: describeError(environment.stop.reason) }, 'stopping');
  const result = await lifecycle.shutDown('asked to stop');
  logger.info({}, 'stopped');
  leaveSoon(result);
  return result;
}

/** A driver that still waits for a database that died must not keep a stopped daemon in the process list. */
function leaveSoon(result: Stopped): void {
  setTimeout(() => process.exit(result === 'clean' ? 0 : 1), 500).unref();
}

/** Up first and down late: a load balancer sees "not ready" while the rest starts and while it drains. */
async function openManagement(config: Config, daemon: Daemon): Promise<void> {
  const app = createManagementApp({
    ping: () => daemon.ping(),
    isStopping: () => daemon.lifecycle.signal.aborted,
    metricsText: async () => {
      const worker = await daemon.supervisor?.readMetrics();
      const own = await snapshotMetrics(daemon.metrics);
      return renderMetrics(worker === undefined || worker === null ? [own] : [own, worker]);
    },
    logger: daemon.logger,
  });
  const { headersTimeoutMs, requestTimeoutMs } = config.http;
  const server = await listen(app, { name: 'management', ...config.management, headersTimeoutMs, requestTimeoutMs });
  daemon.lifecycle.own('management server', () => server.close(500));
  daemon.logger.info({ host: server.host, port: server.port }, 'management listening');
}

async function stopOf(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => {
    stopped.resolve();
  });
  await stopped.promise;
}
