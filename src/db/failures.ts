/** Translates what the driver says about a lost or refused database into one RollcallError; leaves all else alone. */
import { isRollcallError, RollcallError } from '../core/errors.ts';

/** Codes of postgres.js and Node for a connection that could not be made or was lost. */
const lostCodes: ReadonlySet<string> = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/**
 * SQLSTATEs (PostgreSQL manual, appendix A) after which the same call may succeed: connection exceptions, no
 * resources (disk, memory, connections), shutdown and crash recovery, IO errors, a standby that took no writes yet.
 */
const unavailableStates = /^(08...|53...|57P0[1235]|58030|25006|25P03)$/;

/** Name, password or database refused; waiting does not help. */
const refusedStates = /^(28...|3D000)$/;

type Coded = { readonly code: string; readonly message: string };

function isCoded(error: unknown): error is Coded {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

/** Drizzle wraps the driver's error, so the chain of causes is searched; five deep is more than anybody nests. */
function findCoded(error: unknown): Coded | undefined {
  let current = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth += 1) {
    if (current instanceof RollcallError) return undefined;
    if (isCoded(current)) return current;
    current = current.cause;
  }
  return undefined;
}

/** SQLSTATE (or driver code) of an error, also when Drizzle wrapped it. */
export function databaseErrorCode(error: unknown): string | undefined {
  return findCoded(error)?.code;
}

export function isConnectionLost(error: unknown): boolean {
  const code = databaseErrorCode(error);
  return code !== undefined && (lostCodes.has(code) || unavailableStates.test(code));
}

/** in_failed_sql_transaction (PostgreSQL manual, appendix A): another statement of the transaction failed before. */
export const inFailedTransaction = '25P02';

/** Deadlock, serialization, lock not available: the same work may succeed a moment later. */
const busyStates: ReadonlySet<string> = new Set(['40P01', '40001', '55P03']);

/** The database was lost or busy, also after translation: nothing is wrong with the work itself. */
export function isPassingFailure(error: unknown): boolean {
  if (isRollcallError(error, 'database_unavailable')) return true;
  return isConnectionLost(error) || busyStates.has(databaseErrorCode(error) ?? '');
}

/** The error to throw at the edge of a scope: a RollcallError where the database is the problem, else the same error. */
export function translateFailure(error: unknown): unknown {
  const coded = findCoded(error);
  if (coded === undefined) return error;
  const raw = `${coded.code}: ${coded.message}`;
  if (lostCodes.has(coded.code) || unavailableStates.test(coded.code)) {
    return new RollcallError('database_unavailable', 'The database can not be reached or refuses work just now.', {
      cause: error,
      raw,
      remedy: 'Check that PostgreSQL runs, has free disk space and accepts connections; the call may be repeated.',
      retryAfterSeconds: 5,
    });
  }
  if (refusedStates.test(coded.code)) {
    return new RollcallError('invalid_config', 'The database refuses this login.', {
      cause: error,
      raw,
      remedy: 'Check user, password and database name in DATABASE_URL.',
    });
  }
  if (coded.code === '22023' && /role "rollcall_/.test(coded.message)) {
    return new RollcallError('database_roles', 'The database roles of Rollcall do not exist on this server.', {
      cause: error,
      raw,
      remedy: 'Run `rollcall migrate`; it makes them or prints the statements for your DBA.',
    });
  }
  return error;
}
