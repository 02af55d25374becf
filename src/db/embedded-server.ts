/** Starts, finds and stops the server process of embedded Postgres, by its postmaster.pid. */
import { spawn } from 'node:child_process';
import { open, readFile, readlink, realpath, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isRollcallError, RollcallError } from '../core/errors.ts';
import { identity, minimalEnvironment, type Account, type Binaries } from './embedded-account.ts';
import type { Layout } from './embedded.ts';

export type Server = { readonly pid: number; readonly layout: Layout };

export type StartOptions = {
  readonly layout: Layout;
  readonly account: Account;
  readonly binaries: Binaries;
  readonly flags: Readonly<Record<string, string>>;
};

/** Crash recovery replays up to max_wal_size; on a slow disk that takes minutes. */
const readyTimeoutMs = 300_000;
const stopTimeoutMs = 60_000;
const orphanTimeoutMs = 30_000;
const pollMs = 10;
const longestLogBytes = 10 * 2 ** 20;

type PidFile = { readonly pid: number; readonly status: string };

/** Lines of postmaster.pid (src/include/utils/pidfile.h): 1 is the pid, 8 the status. */
async function readPidFile(layout: Layout): Promise<PidFile | undefined> {
  let text: string;
  try {
    text = await readFile(join(layout.data, 'postmaster.pid'), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const lines = text.split('\n');
  return { pid: Number(lines[0]), status: (lines[7] ?? '').trim() };
}

/** The live server of this data folder, once it is ready; a stale pid file is removed. */
export async function findServer(layout: Layout): Promise<Server | undefined> {
  const file = await readPidFile(layout);
  if (file === undefined) return undefined;
  if (!isAlive(file.pid) || !(await servesFolder(file.pid, layout))) {
    await removeStaleFiles(layout);
    return undefined;
  }
  const server = { pid: file.pid, layout };
  return (await waitUntilReady(server, () => !isAlive(file.pid))) ? server : undefined;
}

/**
 * The pid in them may have gone to a foreign process (or to a zombie nobody reaps), for which Postgres itself would
 * refuse to start. The socket's folder belongs to this data folder alone.
 */
async function removeStaleFiles(layout: Layout): Promise<void> {
  const socket = join(layout.sockets, '.s.PGSQL.5432');
  for (const file of [socket, `${socket}.lock`, join(layout.data, 'postmaster.pid')]) await rm(file, { force: true });
}

/** Starts the server; waits for the last processes of a killed one, which notice its end within seconds. */
export async function startServer(options: StartOptions): Promise<Server> {
  const deadline = Date.now() + orphanTimeoutMs;
  for (;;) {
    try {
      return await spawnServer(options);
    } catch (error) {
      const isWaiting = isRollcallError(error) && /pre-existing shared memory/.test(error.raw ?? '');
      if (!isWaiting || Date.now() > deadline) throw error;
      await delay(200);
    }
  }
}

async function spawnServer(options: StartOptions): Promise<Server> {
  const { layout } = options;
  const offset = await trimLog(layout.serverLog);
  const log = await open(layout.serverLog, 'a', 0o600);
  try {
    const flags = Object.entries(options.flags).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const child = spawn(options.binaries.postgres, ['-D', layout.data, ...flags], {
      ...identity(options.account),
      cwd: '/',
      env: minimalEnvironment,
      // its own process group: Ctrl-C must reach us first, who stop it last
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    let hasEnded = false;
    let spawnError: Error | undefined;
    child.once('exit', () => {
      hasEnded = true;
    });
    child.once('error', (error) => {
      spawnError = error;
      hasEnded = true;
    });
    child.unref();
    const server = { pid: child.pid ?? 0, layout };
    if (await waitUntilReady(server, () => hasEnded)) return server;
    throw await startFailure(layout, offset, spawnError);
  } finally {
    await log.close();
  }
}

/** SIGINT is "fast shutdown" (PostgreSQL manual, section 18.5). */
export async function stopServer(server: Server): Promise<void> {
  signal(server.pid, 'SIGINT');
  const deadline = Date.now() + stopTimeoutMs;
  while (await isRunning(server)) {
    if (Date.now() > deadline) {
      throw new RollcallError('data_folder', `The embedded database (process ${server.pid}) does not stop.`, {
        remedy: 'Look at postgres.log in the data folder; nothing is lost when it is killed, the next start recovers.',
      });
    }
    await delay(pollMs);
  }
}

/** Postgres removes its pid file last; a zombie of ours has removed it too. */
async function isRunning(server: Server): Promise<boolean> {
  const file = await readPidFile(server.layout);
  return file?.pid === server.pid && isAlive(server.pid);
}

async function waitUntilReady(server: Server, hasEnded: () => boolean): Promise<boolean> {
  const deadline = Date.now() + readyTimeoutMs;
  while (!hasEnded()) {
    const file = await readPidFile(server.layout);
    if (file?.pid === server.pid && file.status === 'ready') return true;
    if (Date.now() > deadline) {
      throw new RollcallError('data_folder', 'The embedded database did not become ready.', {
        remedy: 'Look at postgres.log in the data folder.',
      });
    }
    await delay(pollMs);
  }
  return false;
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/**
 * The postmaster's working folder is its data folder. The number alone proves nothing: after a reboot it may belong to
 * another Postgres. Without /proc (macOS) a live pid is taken for ours, as Postgres itself would.
 */
async function servesFolder(pid: number, layout: Layout): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(layout.data));
  } catch (error) {
    // EACCES: a process of another user, so not one that we started
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EACCES')) return false;
    throw error;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // ESRCH: it is gone already, which is what was wanted
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Length of the log before this start, so that a failure shows only its own lines. */
async function trimLog(file: string): Promise<number> {
  try {
    const { size } = await stat(file);
    if (size <= longestLogBytes) return size;
    await truncate(file, 0);
    return 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw error;
  }
}

async function startFailure(layout: Layout, offset: number, cause: Error | undefined): Promise<RollcallError> {
  const text = await readFile(layout.serverLog, 'utf8');
  const raw = text.slice(offset).trim().slice(-2000);
  const second = /lock file "postmaster.pid" already exists|pre-existing shared memory/.test(raw);
  return new RollcallError(
    'data_folder',
    second
      ? `Another Rollcall already uses ${layout.data}.`
      : `The embedded database in ${layout.data} does not start.`,
    {
      ...(cause === undefined ? {} : { cause }),
      raw: raw === '' ? String(cause ?? 'no output') : raw,
      remedy: second
        ? 'Stop it, or name another data folder for this one.'
        : 'Look at postgres.log in the data folder; free disk space and permissions are the usual reasons.',
    },
  );
}
