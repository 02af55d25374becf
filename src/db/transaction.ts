/**
 * One transaction on one reserved connection. `begin` and the settings leave in the same packet as the first statement
 * of `work` (two round trips instead of four); a lost connection rejects, and the connection is always given back or
 * destroyed.
 */
import { PgDialect } from 'drizzle-orm/pg-core';
import { PostgresJsSession, PostgresJsTransaction } from 'drizzle-orm/postgres-js';
import type postgres from 'postgres';
import { RollcallError } from '../core/errors.ts';
import type { Query } from './db.ts';
import { databaseErrorCode, inFailedTransaction } from './failures.ts';

export type Pool = {
  readonly sql: postgres.Sql;
  /** Longest wait for a free connection. */
  readonly acquireTimeoutMs: number;
};

export type BoundSql = postgres.ReservedSql & postgres.TransactionSql;

/** See TenantTx. */
export type AtEnd = (answer: Promise<unknown>) => void;

const dialect = new PgDialect({ casing: 'snake_case' });

/** Drizzle's builder on a transaction of ours; Drizzle's own nested transactions become savepoints. */
export function bindQuery(sql: BoundSql): Query {
  const session = new PostgresJsSession<BoundSql, Record<string, never>, Record<string, never>>(
    sql,
    dialect,
    undefined,
  );
  return new PostgresJsTransaction(dialect, session, undefined);
}

/** `open` returns the statements that follow `begin`; they must not depend on each other's results. */
export async function runInTransaction<T>(
  pool: Pool,
  open: (sql: BoundSql) => readonly PromiseLike<unknown>[],
  work: (sql: BoundSql, atEnd: AtEnd) => Promise<T>,
): Promise<T> {
  const reserved = await reserve(pool);
  let isClean = false;
  try {
    const sql = addSavepoints(reserved);
    const result = await workThenCommit(sql, open, work);
    isClean = true;
    return result;
  } catch (error) {
    isClean = await rollBack(reserved, error);
    throw error;
  } finally {
    if (isClean) reserved.release();
  }
}

/**
 * Reads that depend on nothing: `begin`, all of them and `commit` leave in one packet. Each outcome comes by itself, in
 * order; a statement that fails fails those behind it too (25P02, in_failed_sql_transaction).
 */
export async function readInOnePacket(
  pool: Pool,
  statements: (sql: BoundSql) => readonly postgres.PendingQuery<postgres.Row[]>[],
): Promise<{ readonly reads: readonly Promise<postgres.Row[]>[]; readonly ended: Promise<void> }> {
  const reserved = await reserve(pool);
  const sql = addSavepoints(reserved);
  let queries: postgres.PendingQuery<postgres.Row[]>[];
  try {
    queries = [sql`begin read only`, ...statements(sql), sql`commit`];
  } catch (error) {
    // nothing was sent
    reserved.release();
    throw error;
  }
  // sent now and in this order; a bare query would be sent when it is awaited
  for (const query of queries) void query.execute();
  const ended = Promise.allSettled(queries).then(async (outcomes) => {
    const committed = outcomes.at(-1);
    if (committed?.status === 'fulfilled' || (await rollBack(reserved, committed?.reason))) reserved.release();
  });
  return { reads: queries.slice(1, -1), ended };
}

async function workThenCommit<T>(
  sql: BoundSql,
  open: (sql: BoundSql) => readonly PromiseLike<unknown>[],
  work: (sql: BoundSql, atEnd: AtEnd) => Promise<T>,
): Promise<T> {
  const ends: Promise<unknown>[] = [];
  const atEnd: AtEnd = (answer) => {
    ends.push(answer);
    // told below, unless the work fails first
    answer.catch(() => undefined);
  };
  const opened = Promise.all([sql`begin`, ...open(sql)]);
  // awaited below; when `work` fails first, this failure is the same lost connection
  const openFailure = opened.then(
    () => undefined,
    (error: unknown) => error,
  );
  let result: T;
  try {
    result = await work(sql, atEnd);
  } catch (error) {
    const lost = await openFailure;
    if (lost !== undefined) throw lost;
    // what a statement met may be the failure of one before it that nobody waited for, and that was answered by then
    const before = databaseErrorCode(error) === undefined ? null : await failureOf(ends);
    throw before === null ? error : before.reason;
  }
  await opened;
  const committed = await sql`commit`;
  const failed = await failureOf(ends);
  if (failed !== null) throw failed.reason;
  // Postgres answers the commit of a failed transaction with ROLLBACK and no error
  if (committed.command === 'ROLLBACK') {
    throw new RollcallError('internal', 'A statement failed, its failure was not passed on, and nothing was saved.');
  }
  return result;
}

/** The one that broke the transaction, not those that found it broken. */
async function failureOf(ends: readonly Promise<unknown>[]): Promise<PromiseRejectedResult | null> {
  const outcomes = await Promise.allSettled(ends);
  const failures = outcomes.filter((end) => end.status === 'rejected');
  return failures.find((end) => databaseErrorCode(end.reason) !== inFailedTransaction) ?? null;
}

/**
 * True when the connection may be used again. One that does not roll back soon (an unfinished COPY, a statement nobody
 * awaits, a network that swallows everything) is destroyed: the server rolls back by itself then.
 */
async function rollBack(reserved: postgres.ReservedSql, reason: unknown): Promise<boolean> {
  const outcome = reserved`rollback`.then(
    () => 'done' as const,
    (error: unknown) => error ?? reason,
  );
  const result = await within(rollbackTimeoutMs, outcome);
  if (result === 'done') return true;
  reserved.destroy(new Error('The transaction could not be rolled back.', { cause: result ?? reason }));
  return false;
}

const rollbackTimeoutMs = 2_000;

/** The promise's value, or undefined when it takes longer. */
async function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, undefined);
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

async function reserve(pool: Pool): Promise<postgres.ReservedSql> {
  const pending = pool.sql.reserve();
  const reserved = await within(pool.acquireTimeoutMs, pending);
  if (reserved !== undefined) return reserved;
  // the reservation can not be withdrawn: give it back when it comes; if it fails, there is nothing to give back
  pending.then(
    (late) => late.release(),
    () => undefined,
  );
  throw new RollcallError('database_unavailable', 'No database connection became free in time.', {
    remedy: 'Raise the number of connections, or look for long transactions in pg_stat_activity.',
    retryAfterSeconds: 5,
  });
}

/** Leaves at once; never rejects. Awaited, because a bare `then` would overtake the `begin` that is on its way. */
async function sent(statement: PromiseLike<unknown>): Promise<void> {
  await Promise.allSettled([statement]);
}

type SavepointWork<T> = (sql: postgres.TransactionSql) => T | Promise<T>;

/** A reserved connection lacks what postgres.js's own `begin` adds; Drizzle needs `savepoint`. */
function addSavepoints(reserved: postgres.ReservedSql): BoundSql {
  let count = 0;
  async function savepoint<T>(nameOrWork: string | SavepointWork<T>, named?: SavepointWork<T>): Promise<T> {
    const work = typeof nameOrWork === 'string' ? named : nameOrWork;
    if (work === undefined) throw new TypeError('savepoint needs a function');
    count += 1;
    const name = `rollcall_${count}`;
    // what fails here fails what comes after it, and the commit; nothing but time is lost by not waiting
    const opened = sent(reserved.unsafe(`savepoint ${name}`));
    let result: T;
    try {
      result = await work(bound);
    } catch (error) {
      await opened;
      await reserved.unsafe(`rollback to savepoint ${name}`);
      throw error;
    }
    void sent(reserved.unsafe(`release savepoint ${name}`));
    return result;
  }
  function prepare(): Promise<never> {
    return Promise.reject(new TypeError('Two-phase commit is not used.'));
  }
  // the same function object, so that what Drizzle and callers hold is one client
  const bound = Object.assign(reserved, { savepoint, prepare }) as unknown as BoundSql;
  return bound;
}
