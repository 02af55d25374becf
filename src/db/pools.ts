/** One postgres.js pool per role, made from a libpq-style URL. */
import postgres from 'postgres';
import { drizzle } from 'drizzle-orm/postgres-js';
import { RollcallError } from '../core/errors.ts';

export type PoolRole = 'rollcall_tenant' | 'rollcall_engine' | 'owner';

export type PoolOptions = {
  readonly url: string;
  readonly role: PoolRole;
  readonly max: number;
  readonly applicationName: string;
  /** 0 keeps idle connections; 300 unless given. */
  readonly idleTimeoutSeconds?: number;
  /** Called with the text of every statement; tests count with it. */
  readonly onStatement?: ((role: PoolRole, text: string, parameters: readonly unknown[]) => void) | undefined;
  readonly onNotice?: ((notice: postgres.Notice) => void) | undefined;
};

/**
 * Time limits per role, in milliseconds; 0 is none. Tenant transactions may merge a whole directory, the engine's are
 * short, and a COPY into stage lasts as long as the directory takes to answer. An idle transaction is a frozen worker:
 * its locks, the fence of a run among them, must not outlive its heartbeat by much.
 */
const limits: Record<PoolRole, { statementMs: number; lockMs: number; idleInTransactionMs: number }> = {
  rollcall_tenant: { statementMs: 300_000, lockMs: 15_000, idleInTransactionMs: 30_000 },
  rollcall_engine: { statementMs: 30_000, lockMs: 10_000, idleInTransactionMs: 30_000 },
  owner: { statementMs: 0, lockMs: 60_000, idleInTransactionMs: 0 },
};

export type DatabaseAddress = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: 'require' | 'prefer' | 'verify-full' | false;
};

/**
 * Reads `postgresql://user:password@host:port/database`. A `host` parameter overrides the host and may be a socket's
 * folder (PostgreSQL manual, section 34.1.1.2, Connection URIs), which postgres.js's own reader does not know.
 */
export function parseDatabaseUrl(text: string): DatabaseAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new RollcallError('invalid_config', 'DATABASE_URL is not a PostgreSQL address.', {
      remedy: 'Write it as postgresql://user:password@host:5432/database.',
    });
  }
  const user = decodeURIComponent(url.username);
  return {
    host: url.searchParams.get('host') ?? url.hostname,
    port: Number(url.searchParams.get('port') ?? (url.port === '' ? '5432' : url.port)),
    user,
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)) || user,
    ssl: readSslMode(url.searchParams.get('sslmode')),
  };
}

function readSslMode(mode: string | null): DatabaseAddress['ssl'] {
  switch (mode) {
    case null:
    case 'disable':
      return false;
    case 'allow':
    case 'prefer':
      return 'prefer';
    case 'require':
      return 'require';
    case 'verify-ca':
    case 'verify-full':
      return 'verify-full';
    default:
      throw new RollcallError('invalid_config', `DATABASE_URL asks for the unknown sslmode "${mode}".`, {
        remedy: 'Use disable, prefer, require or verify-full.',
      });
  }
}

export function openPool(options: PoolOptions): postgres.Sql {
  checkPatch();
  const address = parseDatabaseUrl(options.url);
  const limit = limits[options.role];
  const sql = postgres({
    ...address,
    max: options.max,
    connect_timeout: 10,
    idle_timeout: options.idleTimeoutSeconds ?? 300,
    // the driver's own backoff grows to 20 s, which would keep callers waiting long after the database is back
    backoff: (retries: number) => Math.min(0.05 * 2 ** retries, 1),
    onnotice: options.onNotice ?? ignoreNotice,
    connection: {
      application_name: options.applicationName,
      TimeZone: 'UTC',
      ...(options.role === 'owner' ? {} : { role: options.role }),
      statement_timeout: limit.statementMs,
      lock_timeout: limit.lockMs,
      idle_in_transaction_session_timeout: limit.idleInTransactionMs,
    },
    ...(options.onStatement === undefined
      ? {}
      : {
          debug: (_connection: number, text: string, parameters: unknown[]) =>
            options.onStatement?.(options.role, text, parameters),
        }),
  });
  // drizzle() changes the client it is given (times and JSON pass as text); done here once so that both ways of asking
  // see the same values from the first statement on
  drizzle(sql);
  sql.options.parsers[timestamptzOid] = toRfc3339;
  return sql;
}

/** Of pg_type. */
const timestamptzOid = 1184;

/**
 * `2026-01-31 09:00:00.123456+00` as Postgres writes it in UTC becomes the same instant in RFC 3339, to the microsecond:
 * it goes back into comparisons as it came, and programs read it wherever it is shown.
 */
function toRfc3339(text: string): string {
  return text.replace(' ', 'T').replace(/\+00$/, 'Z');
}

/** An install with scripts switched off lacks the patch, and the first lost connection would end the process. */
function checkPatch(): void {
  if ('survivesLostConnections' in postgres) return;
  throw new RollcallError('internal', 'The database driver lacks its patch.', {
    remedy: 'Run `npx patch-package` in the folder of Rollcall, or install again with scripts switched on.',
  });
}

/** Notices ("relation already exists, skipping") are no events unless somebody asks for them. */
function ignoreNotice(): void {}
