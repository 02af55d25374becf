/**
 * Failpoints: places where a process may die. They are found by wrapping the database scope, not by a list kept by
 * hand: each statement that writes, each commit, and the moment after each commit is one, in the order in which a run
 * meets them. Production opens its database without this wrapper, so none of them can be reached there.
 */
import type postgres from 'postgres';
import type { Db, EngineTx, TenantTx } from '../../src/db/db.ts';
import { bindQuery, type BoundSql } from '../../src/db/transaction.ts';

/** The process of this test is dead: nothing it asks the database for is done any more. */
export class Killed extends Error {
  readonly point: Failpoint;

  constructor(point: Failpoint) {
    super(`killed at ${point.ordinal}: ${point.name}`);
    this.point = point;
  }
}

export type Failpoint = {
  /** From 1. */
  readonly ordinal: number;
  /** The first words of the statement, `commit`, or `after commit`. */
  readonly name: string;
};

export type Failing = {
  readonly db: Db;
  /** The points met so far, the fatal one included. */
  readonly met: readonly Failpoint[];
  readonly isDead: () => boolean;
};

const writing = /^(insert|update|delete|create|drop|copy|alter|truncate|grant|analyze)\b/;

/** Null for a statement that only reads; a dying process leaves no trace there. */
export function nameWrite(text: string): string | null {
  const plain = text.replaceAll(/\s+/g, ' ').trim().toLowerCase();
  if (writing.test(plain)) return plain.slice(0, 60);
  if (!plain.startsWith('with ')) return null;
  const inner = /\b(insert into|update|delete from) [a-z_."]+/.exec(plain);
  return inner === null ? null : `with ... ${inner[0]}`;
}

/** Dies at the `fatal`-th point (never, where it is null). A dead one refuses everything, as the kernel would. */
export function addFailpoints(db: Db, fatal: number | null): Failing {
  const met: Failpoint[] = [];
  let death: Killed | null = null;

  const mustLive = (): void => {
    if (death !== null) throw death;
  };
  const pass = (name: string): void => {
    mustLive();
    const point = { ordinal: met.length + 1, name };
    met.push(point);
    if (point.ordinal !== fatal) return;
    death = new Killed(point);
    throw death;
  };

  const failing: Db = {
    tenant: (tenantId, work) => transact((body) => db.tenant(tenantId, body), work),
    engine: (work) => transact((body) => db.engine(body), work),
    stage: { sql: wrapSql(db.stage.sql, () => undefined) },
    ping: () => db.ping(),
    close: () => db.close(),
  };
  return { db: failing, met, isDead: () => death !== null };

  async function transact<Tx extends TenantTx | EngineTx, T>(
    open: (body: (tx: Tx) => Promise<T>) => Promise<T>,
    work: (tx: Tx) => Promise<T>,
  ): Promise<T> {
    mustLive();
    let hasWritten = false;
    const result = await open(async (tx) => {
      const sql = wrapSql(tx.sql, () => {
        hasWritten = true;
      });
      const done = await work({ ...tx, sql, query: bindQuery(sql as BoundSql) });
      if (hasWritten) pass('commit');
      else mustLive();
      return done;
    });
    if (hasWritten) pass('after commit');
    return result;
  }

  /** A client whose statements are points; what is only a part of a statement passes through. */
  function wrapSql<S extends postgres.Sql | postgres.TransactionSql>(sql: S, onWrite: () => void): S {
    return new Proxy(sql, {
      apply(target, self, args: readonly unknown[]) {
        const made: unknown = Reflect.apply(target, self, args);
        const isStatement = Array.isArray(args[0]) && 'raw' in args[0];
        if (isStatement) watch(made as Statement, () => textOf(args), onWrite);
        return made;
      },
      get(target, key, receiver) {
        const value: unknown = Reflect.get(target, key, receiver);
        if (key === 'savepoint') {
          return (work: (inner: unknown) => unknown) =>
            (value as (body: (inner: typeof sql) => unknown) => unknown).call(target, (inner) =>
              work(wrapSql(inner, onWrite)),
            );
        }
        if (key === 'begin') {
          return (work: (inner: unknown) => unknown) =>
            transactOwner(value as Begin, (inner, onInner) => work(wrapSql(inner, onInner)));
        }
        if (key === 'unsafe') {
          return (text: string, ...rest: unknown[]) => {
            const made = (value as (...all: unknown[]) => Statement).call(target, text, ...rest);
            watch(made, () => text, onWrite);
            return made;
          };
        }
        return value;
      },
    });
  }

  async function transactOwner(
    begin: Begin,
    work: (inner: postgres.TransactionSql, onWrite: () => void) => unknown,
  ): Promise<unknown> {
    mustLive();
    const result = await begin(async (inner) => {
      const done = await work(inner, () => undefined);
      pass('commit');
      return done;
    });
    pass('after commit');
    return result;
  }

  /** A statement runs when it is awaited, or opened for writing (COPY). */
  function watch(statement: Statement, text: () => string, onWrite: () => void): void {
    const check = (): void => {
      mustLive();
      const name = nameWrite(text());
      if (name === null) return;
      pass(name);
      onWrite();
    };
    const { then, writable } = statement;
    let isChecked = false;
    // oxlint-disable-next-line unicorn/no-thenable -- a statement of postgres.js is one already
    statement.then = (resolve, reject) => {
      try {
        if (!isChecked) check();
        isChecked = true;
      } catch (error) {
        return Promise.reject(error).then(resolve as never, reject as never);
      }
      return then.call(statement, resolve, reject);
    };
    statement.writable = async () => {
      check();
      return writable.call(statement);
    };
  }
}

type Begin = (body: (inner: postgres.TransactionSql) => Promise<unknown>) => Promise<unknown>;

type Statement = {
  then: (resolve?: unknown, reject?: unknown) => Promise<unknown>;
  writable: () => Promise<unknown>;
};

/** Fragments inside a statement may carry its verb. */
function textOf(args: readonly unknown[]): string {
  const [strings, ...values] = args as [readonly string[], ...unknown[]];
  return strings.map((text, index) => text + (index < values.length ? partOf(values[index]) : '')).join('');
}

function partOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return '?';
  const { strings, args } = value as { strings?: unknown; args?: unknown };
  return Array.isArray(strings) ? textOf([strings, ...(Array.isArray(args) ? (args as unknown[]) : [])]) : '?';
}
