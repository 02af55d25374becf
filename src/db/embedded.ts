/**
 * Embedded Postgres: one server of our own in a data folder, for a first look, a small installation and the tests. It
 * listens on a Unix socket only, runs as its own account, survives the daemon (whose next start adopts it), and is
 * stopped with it. One daemon per data folder: who holds the advisory lock owns the server.
 *
 * Only the binaries of the package are used: its own class passes passwords in clear and takes over our signals.
 */
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir, totalmem } from 'node:os';
import { createHash } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type postgres from 'postgres';
import { RollcallError } from '../core/errors.ts';
import type { Logger } from '../platform/logger.ts';
import {
  checkReachable,
  copyWhereNeeded,
  findAccount,
  identity,
  locatePackage,
  minimalEnvironment,
  type Account,
  type Binaries,
} from './embedded-account.ts';
import { findServer, startServer, stopServer, type Server } from './embedded-server.ts';
import { databaseErrorCode } from './failures.ts';
import { openPool } from './pools.ts';

const run = promisify(execFile);

/** Key of pg_try_advisory_lock in database `postgres`: the daemon that owns this server. */
const ownerLock = 7_012_100_002;
const databaseName = 'rollcall';

export type EmbeddedOptions = {
  readonly dataFolder: string;
  /** Where a copy of the binaries goes if they can not be executed where they are. */
  readonly cacheFolder?: string;
  /** Gives up durability for speed; data does not survive a power cut. */
  readonly testMode?: boolean;
  readonly log?: Pick<Logger, 'info' | 'warn'>;
};

export type EmbeddedPostgres = {
  /** Of database `rollcall`, which exists. Contains the password. */
  readonly url: string;
  /** True when a server that a killed daemon left behind was taken over. */
  readonly isAdopted: boolean;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type Layout = {
  readonly data: string;
  readonly sockets: string;
  readonly password: string;
  readonly serverLog: string;
};

export function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  return inDataFolder(resolve(options.dataFolder), () => start(options));
}

async function start(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  // first: without it no data folder would help, and a folder is not left behind
  const packaged = await locatePackage();
  const layout = layOut(resolve(options.dataFolder));
  const account = await findAccount();
  await prepareFolders(resolve(options.dataFolder), layout, account);
  const password = await readOrMakePassword(layout.password);
  const binaries = await copyWhereNeeded(
    packaged,
    account,
    options.cacheFolder ?? join(resolve(options.dataFolder), 'cache'),
  );
  await initialize(layout, account, binaries, password);

  const left = await findServer(layout);
  const server =
    left ?? (await startServer({ layout, account, binaries, flags: serverFlags(layout, options.testMode === true) }));
  const lock = await takeOwnership(layout, password, server, left !== undefined);
  if (left !== undefined)
    options.log?.info({ pid: left.pid }, 'took over the database a previous Rollcall left running');
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= stopOwned(lock, server));
  return {
    url: urlOf(layout, password, databaseName),
    isAdopted: left !== undefined,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Url of the server that runs in this data folder; undefined when none does. For tools beside the daemon. */
export function findEmbeddedPostgres(dataFolder: string): Promise<string | undefined> {
  return inDataFolder(resolve(dataFolder), async () => {
    const layout = layOut(resolve(dataFolder));
    const server = await findServer(layout);
    if (server === undefined) return undefined;
    const password = await readFile(layout.password, 'utf8');
    return urlOf(layout, password.trim(), databaseName);
  });
}

/** What the file system refuses (not writable, no folder, full, another account's) becomes a sentence. */
async function inDataFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof RollcallError || !(cause instanceof Error && 'syscall' in cause)) throw cause;
    throw new RollcallError('data_folder', `The data folder ${folder} can not be used by this account.`, {
      cause,
      raw: cause.message,
      remedy:
        'Run this as the user the data folder belongs to, make it writable for this one, or set dataFolder in the configuration.',
    });
  }
}

function layOut(folder: string): Layout {
  // sun_path has 108 bytes on Linux and 104 on macOS, and the file's name takes 15 of them
  const inside = join(folder, 'run');
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return {
    data: join(folder, 'postgres'),
    sockets: Buffer.byteLength(inside) <= 85 ? inside : join(tmpdir(), `rollcall-${digest}`),
    password: join(folder, 'postgres.password'),
    serverLog: join(folder, 'postgres.log'),
  };
}

function urlOf(layout: Layout, password: string, database: string): string {
  return `postgresql://postgres:${encodeURIComponent(password)}@localhost/${database}?host=${encodeURIComponent(layout.sockets)}`;
}

async function prepareFolders(folder: string, layout: Layout, account: Account): Promise<void> {
  try {
    await makeFolder(folder);
    await checkReachable(folder, account);
    await mkdir(layout.sockets, { recursive: true, mode: 0o700 });
    await chmod(layout.sockets, 0o700);
    if (account.uid !== undefined && account.gid !== undefined) await chown(layout.sockets, account.uid, account.gid);
  } catch (cause) {
    if (cause instanceof RollcallError) throw cause;
    throw new RollcallError('data_folder', `The data folder ${folder} can not be prepared.`, {
      cause,
      raw: String(cause),
      remedy: 'Make it writable for the user Rollcall runs as, or name another one.',
    });
  }
}

/** Each parent by itself: Node's recursive mkdir turns for ever where a file system has no room for a folder (/proc). */
async function makeFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    if (dirname(folder) !== folder) await makeFolder(dirname(folder));
  }
  try {
    await mkdir(folder, { mode: 0o755 });
  } catch (error) {
    // a simultaneous start was faster; a file of that name is refused by what comes next
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

/** Readable by us alone; the first of two simultaneous starts makes it, the other reads it. */
async function readOrMakePassword(file: string): Promise<string> {
  try {
    await writeFile(file, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const password = await readFile(file, 'utf8');
  return password.trim();
}

/** Makes the cluster beside and renames it, so that a crash in the middle leaves nothing that looks like data. */
async function initialize(layout: Layout, account: Account, binaries: Binaries, password: string): Promise<void> {
  if (await exists(join(layout.data, 'PG_VERSION'))) return;
  const part = `${layout.data}.${process.pid}`;
  const passwordFile = join(layout.sockets, `password.${process.pid}`);
  const owner = identity(account);
  try {
    await rm(part, { recursive: true, force: true });
    await mkdir(part, { mode: 0o700 });
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (owner.uid !== undefined && owner.gid !== undefined) {
      await chown(part, owner.uid, owner.gid);
      await chown(passwordFile, owner.uid, owner.gid);
    }
    const flags = ['-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8'];
    const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C', '--no-instructions'];
    await run(binaries.initdb, ['-D', part, ...flags, ...locale], {
      ...owner,
      cwd: '/',
      env: minimalEnvironment,
      timeout: 120_000,
    });
    await rename(part, layout.data);
  } catch (cause) {
    await rm(part, { recursive: true, force: true });
    // another start was faster: its cluster has the same password
    if (await exists(join(layout.data, 'PG_VERSION'))) return;
    const output = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
    throw new RollcallError('data_folder', `The database in ${layout.data} can not be initialized.`, {
      cause,
      raw: output === '' ? String(cause) : output,
      remedy: 'Check free space and permissions of the data folder.',
    });
  } finally {
    await rm(passwordFile, { force: true });
  }
}

async function exists(file: string): Promise<boolean> {
  return readFile(file).then(
    () => true,
    () => false,
  );
}

function serverFlags(layout: Layout, testMode: boolean): Record<string, string> {
  const megabytes = Math.floor(Math.min(totalmem() / 8, 512 * 2 ** 20) / 2 ** 20);
  const common = {
    listen_addresses: '',
    unix_socket_directories: layout.sockets,
    unix_socket_permissions: '0700',
    max_connections: '200',
    shared_buffers: `${megabytes}MB`,
    work_mem: '32MB',
    max_wal_size: '4GB',
    checkpoint_timeout: '15min',
    jit: 'off',
    log_min_messages: 'warning',
  };
  if (!testMode) return common;
  return {
    ...common,
    shared_buffers: '128MB',
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
    autovacuum: 'off',
    max_wal_size: '1GB',
  };
}

type OwnerLock = { readonly sql: postgres.Sql };

/** The lock lasts as long as its connection, that is, as long as this process. */
async function takeOwnership(
  layout: Layout,
  password: string,
  server: Server,
  isLeftBehind: boolean,
): Promise<OwnerLock> {
  const sql = openPool({
    url: urlOf(layout, password, 'postgres'),
    role: 'owner',
    max: 1,
    applicationName: 'rollcall owner',
    // an idle connection would be closed, and the lock with it
    idleTimeoutSeconds: 0,
  });
  try {
    const [row] = await sql`select pg_try_advisory_lock(${ownerLock}) as taken`;
    if (row?.['taken'] !== true) {
      throw new RollcallError('data_folder', `Another Rollcall already uses the data folder of ${layout.data}.`, {
        remedy: 'Stop it, or name another data folder for this one.',
        details: { postgresPid: server.pid },
      });
    }
    await createDatabase(sql);
    return { sql };
  } catch (error) {
    await sql.end({ timeout: 2 });
    if (!isLeftBehind) await stopServer(server);
    throw error;
  }
}

async function createDatabase(sql: postgres.Sql): Promise<void> {
  const found = await sql`select from pg_database where datname = ${databaseName}`;
  if (found.length > 0) return;
  try {
    await sql.unsafe(`create database ${databaseName}`);
  } catch (error) {
    // duplicate_database
    if (databaseErrorCode(error) !== '42P04') throw error;
  }
}

async function stopOwned(lock: OwnerLock, server: Server): Promise<void> {
  await lock.sql.end({ timeout: 2 });
  await stopServer(server);
}
