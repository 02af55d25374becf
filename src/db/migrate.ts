/** Brings the schema up to date under one advisory lock: replicas that start together migrate once. */
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator';
import type postgres from 'postgres';
import { RollcallError } from '../core/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { translateFailure } from './failures.ts';
import { openPool } from './pools.ts';
import { ensureRoles } from './roles.ts';

/** Key of pg_advisory_lock: "rollcall" migrations. */
const migrationLock = 7_012_100_001;
const oldestServerVersion = 150_000;
const lockTimeoutMs = 300_000;
const migrationsFolder = join(import.meta.dirname, '../../drizzle');

export type MigrateOptions = {
  /** A login that owns the database: the one of DATABASE_URL. */
  readonly url: string;
  readonly log?: Pick<Logger, 'info'>;
  /** More set-up for the same lock (pg-boss makes its own schema); runs after ours, on the same connection. */
  readonly afterwards?: (sql: postgres.Sql) => Promise<void>;
};

export async function migrate(options: MigrateOptions): Promise<void> {
  const sql = openPool({ url: options.url, role: 'owner', max: 1, applicationName: 'rollcall migrate' });
  try {
    const serverVersion = await readServerVersion(sql);
    checkServerVersion(serverVersion);
    // one connection, so the session's lock is the one the migrations run under; it ends with the connection
    await sql`select set_config('lock_timeout', ${`${lockTimeoutMs}`}, false)`;
    await sql`select pg_advisory_lock(${migrationLock})`;
    await ensureRoles(sql, serverVersion);
    await applyMigrations(drizzle(sql, { casing: 'snake_case' }), { migrationsFolder });
    await options.afterwards?.(sql);
    options.log?.info({ serverVersion }, 'the database schema is up to date');
  } catch (error) {
    throw translateFailure(error);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function readServerVersion(sql: postgres.Sql): Promise<number> {
  const [row] = await sql`select current_setting('server_version_num')::int as version`;
  return Number(row?.['version']);
}

/** `version` as server_version_num has it: 150004 is 15.4. */
export function checkServerVersion(version: number): void {
  if (version >= oldestServerVersion) return;
  throw new RollcallError('database_too_old', `The database is PostgreSQL ${Math.floor(version / 10_000)}.`, {
    remedy: `Rollcall needs PostgreSQL ${oldestServerVersion / 10_000} or newer: upgrade the server.`,
    raw: `server_version_num ${version}`,
    details: { version, oldestServerVersion },
  });
}
