/** What the rooms are made of: the database (embedded or given), the master key, the dialer. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RollcallError } from '../core/errors.ts';
import { findEmbeddedPostgres, migrate, openDb, startEmbeddedPostgres, type Db } from '../db/db.ts';
import { systemClock } from '../platform/clock.ts';
import type { Lifecycle } from '../platform/lifecycle.ts';
import type { Logger } from '../platform/logger.ts';
import { Secret, SecretBox } from '../platform/secrets.ts';
import { installQueue } from '../schedule/schedule.ts';
import { dataFolderOf, type Config } from './config.ts';
import type { Environment } from './environment.ts';

export type Foundation = {
  readonly databaseUrl: Secret;
  readonly masterKey: Secret;
  /** False when a running server was joined: then its owner has migrated it. */
  readonly isOwner: boolean;
};

/** `own`: a daemon, which starts the embedded server and stops it. `join`: a command beside a daemon that may be running. */
export type Tenure = 'own' | 'join';

export async function layFoundation(
  config: Config,
  environment: Environment,
  context: { readonly lifecycle: Lifecycle; readonly logger: Logger; readonly tenure: Tenure },
): Promise<Foundation> {
  if (environment.databaseUrl !== undefined) {
    if (environment.masterKey === undefined) {
      throw new RollcallError('invalid_config', 'ROLLCALL_MASTER_KEY is not set.', {
        remedy:
          'With DATABASE_URL the key has to come from outside, or a restored database could not be read. Make one with: openssl rand -base64 32',
      });
    }
    // before the database is touched: a key that can not be used is a fault of the environment
    openSecretBox(environment.masterKey);
    return { databaseUrl: environment.databaseUrl, masterKey: environment.masterKey, isOwner: true };
  }
  const dataFolder = dataFolderOf(config, environment);
  const running = context.tenure === 'join' ? await findEmbeddedPostgres(dataFolder) : undefined;
  if (running !== undefined) {
    const masterKey = environment.masterKey ?? readOrMakeMasterKey(dataFolder);
    return { databaseUrl: new Secret(running), masterKey, isOwner: false };
  }
  const url = await ownEmbeddedPostgres(dataFolder, context);
  const masterKey = environment.masterKey ?? readOrMakeMasterKey(dataFolder);
  return { databaseUrl: new Secret(url), masterKey, isOwner: true };
}

const watchEveryMs = 1000;

/** Starts the server and starts it again when it dies; folder, socket and password stay, so its address does too. */
async function ownEmbeddedPostgres(
  dataFolder: string,
  { lifecycle, logger }: { readonly lifecycle: Lifecycle; readonly logger: Logger },
): Promise<string> {
  let server = await startEmbeddedPostgres({ dataFolder, log: logger });
  const { signal } = lifecycle;
  const watch = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await systemClock.sleep(watchEveryMs, signal);
        if ((await findEmbeddedPostgres(dataFolder)) !== undefined) continue;
        logger.error({ folder: dataFolder }, 'the embedded database died; it is started again');
        await server.stop();
        server = await startEmbeddedPostgres({ dataFolder, log: logger });
      } catch (error) {
        if (!signal.aborted)
          logger.error({ err: error }, 'the embedded database can not be started; it is tried again');
      }
    }
  };
  const watching = watch();
  lifecycle.own('embedded Postgres', async () => {
    await watching;
    await server.stop();
  });
  return server.url;
}

/** Readable by us alone. Of two simultaneous starts one makes it, the other reads it. */
export function readOrMakeMasterKey(dataFolder: string): Secret {
  const file = join(dataFolder, 'master.key');
  try {
    mkdirSync(dataFolder, { recursive: true });
    writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    const exists = cause instanceof Error && Reflect.get(cause, 'code') === 'EEXIST';
    if (!exists) {
      throw new RollcallError('data_folder', `The master key ${file} can not be written.`, {
        cause,
        raw: cause instanceof Error ? cause.message : String(cause),
        remedy: 'Make the data folder writable for this account, or set dataFolder in the configuration.',
      });
    }
  }
  return new Secret(readFileSync(file, 'utf8').trim());
}

export function openSecretBox(masterKey: Secret): SecretBox {
  const text = masterKey.reveal().trim();
  if (!/^[0-9A-Za-z+/]{43}=$/.test(text)) {
    throw new RollcallError('invalid_config', 'ROLLCALL_MASTER_KEY is not base64 of 32 bytes.', {
      remedy: 'Make one with: openssl rand -base64 32',
    });
  }
  return new SecretBox(Buffer.from(text, 'base64'));
}

/** Rollcall's tables and pg-boss's, under one advisory lock. */
export async function migrateAll(databaseUrl: Secret, logger: Logger): Promise<void> {
  const url = databaseUrl.reveal();
  await migrate({ url, log: logger, afterwards: (sql) => installQueue(url, sql) });
}

export function openDatabase(
  databaseUrl: Secret,
  config: Config,
  context: { readonly lifecycle: Lifecycle; readonly logger: Logger; readonly applicationName: string },
): Db {
  const db = openDb({
    url: databaseUrl.reveal(),
    max: config.database.poolSize,
    engineMax: config.database.enginePoolSize,
    applicationName: context.applicationName,
    log: context.logger,
  });
  context.lifecycle.own('database pools', () => db.close());
  return db;
}
