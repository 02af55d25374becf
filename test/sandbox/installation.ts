/**
 * A throw-away installation for the demo and the sandbox: the real daemon as a child process on free ports, with its
 * configuration, its database and its log in a temporary folder. Disposing it stops the daemon and removes the folder.
 */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { loadConfig, withOffice, type Environment, type Office } from '../../src/app/app.ts';
import { findEmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/db.ts';
import {
  makeFolder,
  removeFolder,
  startRollcall,
  writeConfig,
  type Daemon,
  type LogLine,
} from '../e2e/daemon-process.ts';

export type Installation = {
  readonly folder: string;
  readonly configFile: string;
  /** http://127.0.0.1:port */
  readonly origin: string;
  readonly managementUrl: string;
  readonly databaseUrl: string;
  readonly operator: string;
  /** Rejects when the daemon ends by itself; never resolves. */
  readonly failure: Promise<never>;
  /** The rooms in this process, joined to the daemon's database: what the commands of the CLI work with. */
  withOffice<Result>(work: (office: Office) => Promise<Result>): Promise<Result>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type InstallationOptions = {
  readonly name: 'demo' | 'sandbox';
  readonly maxInFlight?: number;
  readonly signal: AbortSignal;
  /** Where the log goes; a file in the folder unless given. */
  readonly writeLog?: (text: string) => void;
};

const root = join(import.meta.dirname, '..', '..');
const stopTimeoutMs = 20_000;

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const folder = await makeFolder(`rollcall-${options.name}-`);
  const dataFolder = join(folder, 'data');
  const logFile = join(folder, 'daemon.log');
  const log = options.writeLog === undefined ? createWriteStream(logFile) : null;
  const configFile = await writeConfig(
    folder,
    stringify({
      dataFolder,
      http: { host: '127.0.0.1', port: 0, maxInFlight: options.maxInFlight },
      management: { port: 0 },
      // directories on this machine, and a worker that looks often: nobody should have to wait
      outbound: { allowPrivateRanges: ['127.0.0.0/8'] },
      schedule: { pollSeconds: 0.5 },
      // a load generator is welcome here
      scim: { requestsPerSecond: 1_000_000 },
    }),
  );
  const daemon = startRollcall({
    args: ['serve', '-c', configFile],
    isDetached: true,
    onOutput: options.writeLog ?? ((text) => log?.write(text)),
  });
  const close = async (): Promise<void> => {
    try {
      await stopDaemon(daemon, dataFolder);
    } finally {
      log?.destroy();
      await removeFolder(folder);
    }
  };
  const failure = failureOf(daemon, log === null ? null : logFile);
  // at the usual end nobody listens any more
  failure.catch(() => undefined);
  // a daemon that ended instead says why in its log
  const hear = (message: string): Promise<LogLine> =>
    beforeStop(
      daemon.line(message).catch(() => failure),
      options.signal,
    );
  const urlOf = (line: LogLine): string => `http://127.0.0.1:${String(line['port'])}`;
  try {
    const managementUrl = urlOf(await hear('management listening'));
    const origin = urlOf(await hear('API listening'));
    await hear('worker ready');
    const databaseUrl = await findEmbeddedPostgres(dataFolder);
    if (databaseUrl === undefined) throw new Error('The embedded database is not running.');
    const environment = environmentOf(configFile, options.signal);
    return {
      folder,
      configFile,
      origin,
      managementUrl,
      databaseUrl,
      operator: environment.osUser,
      failure,
      withOffice: (work) => withOffice(loadConfig(configFile).config, environment, work),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Rejects with the reason of the signal as soon as it is aborted. */
export async function beforeStop<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopped = Promise.withResolvers<never>();
  const onAbort = (): void => {
    stopped.reject(signal.reason);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function environmentOf(configFile: string, stop: AbortSignal): Environment {
  const silent = { write: () => undefined, isTty: false, columns: undefined };
  return {
    argv: [],
    home: root,
    osUser: userInfo().username,
    isRoot: process.getuid?.() === 0,
    userHome: homedir(),
    configFile,
    databaseUrl: undefined,
    masterKey: undefined,
    stdout: silent,
    stderr: silent,
    stop,
  };
}

const shownLines = 15;

async function failureOf(daemon: Daemon, logFile: string | null): Promise<never> {
  const code = await daemon.exit;
  const lines = logFile === null ? [] : (await readFile(logFile, 'utf8')).trimEnd().split('\n').slice(-shownLines);
  throw new Error(
    [`The daemon ended by itself (${code === null ? 'killed' : `exit code ${code}`}). Its last words:`, ...lines].join(
      '\n',
    ),
  );
}

/** Also after a daemon that had to be killed nothing is left: its database is taken over and stopped. */
async function stopDaemon(daemon: Daemon, dataFolder: string): Promise<void> {
  const wasRunning = daemon.process.exitCode === null && daemon.process.signalCode === null;
  if (wasRunning) daemon.process.kill('SIGTERM');
  const timer = new AbortController();
  const code = await Promise.race([daemon.exit, delay(stopTimeoutMs, 'late' as const, { signal: timer.signal })]);
  timer.abort();
  if (code === 'late') {
    daemon.process.kill('SIGKILL');
    await daemon.exit;
  }
  if ((await findEmbeddedPostgres(dataFolder)) !== undefined) {
    const left = await startEmbeddedPostgres({ dataFolder });
    await left.stop();
  }
  if (wasRunning && code !== 0) throw new Error(`The daemon did not stop cleanly (${String(code)}).`);
}
