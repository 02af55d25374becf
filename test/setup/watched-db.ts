/** A database whose statements and commits can be seen, stopped and timed: the scope of db/, wrapped. */
import type postgres from 'postgres';
import type { Db, EngineTx, TenantTx } from '../../src/db/db.ts';
import { bindQuery, type BoundSql } from '../../src/db/transaction.ts';

export type Watch = {
  /** Before a transaction opens and before a statement leaves; what it throws stops it. */
  before(text: string): void;
  /** Before the commit of a transaction, and after it. `hasWritten`: see `isWrite`. */
  beforeCommit(hasWritten: boolean): void;
  afterCommit(hasWritten: boolean): void;
  readonly isWrite: (text: string) => boolean;
  onTime?(text: string, ms: number): void;
};

type AnySql = postgres.Sql | postgres.TransactionSql;

export function watchDb(db: Db, watch: Watch): Db {
  return {
    tenant: (tenantId, work) => transact((body) => db.tenant(tenantId, body), work),
    engine: (work) => transact((body) => db.engine(body), work),
    lookUp: (lookUps) => db.lookUp(lookUps),
    look: (statement) => db.look((sql) => statement(watchSql(sql, () => undefined))),
    stage: { sql: watchSql(db.stage.sql, () => undefined) },
    ping: () => db.ping(),
    close: () => db.close(),
  };

  async function transact<Tx extends TenantTx | EngineTx, T>(
    open: (body: (tx: Tx) => Promise<T>) => Promise<T>,
    work: (tx: Tx) => Promise<T>,
  ): Promise<T> {
    watch.before('begin');
    let hasWritten = false;
    const result = await open(async (tx) => {
      const sql = watchSql(tx.sql, () => {
        hasWritten = true;
      });
      const done = await work({ ...tx, sql, query: bindQuery(sql as BoundSql) });
      watch.beforeCommit(hasWritten);
      return done;
    });
    watch.afterCommit(hasWritten);
    return result;
  }

  async function transactOwner(
    begin: Begin,
    work: (inner: postgres.TransactionSql) => Promise<unknown>,
  ): Promise<unknown> {
    watch.before('begin');
    const result = await begin(async (inner) => {
      const done = await work(watchSql(inner, () => undefined));
      watch.beforeCommit(true);
      return done;
    });
    watch.afterCommit(true);
    return result;
  }

  /** What is only a part of a statement passes through: a statement is what is awaited, or opened for writing (COPY). */
  function watchSql<S extends AnySql>(sql: S, onWrite: () => void): S {
    return new Proxy(sql, {
      apply(target, self, args: readonly unknown[]) {
        const made: unknown = Reflect.apply(target, self, args);
        if (Array.isArray(args[0]) && 'raw' in args[0]) watchStatement(made as Statement, () => textOf(args), onWrite);
        return made;
      },
      get(target, key, receiver) {
        const value: unknown = Reflect.get(target, key, receiver);
        if (key === 'savepoint') {
          return (work: (inner: unknown) => unknown) =>
            (value as Savepoint).call(target, (inner) => work(watchSql(inner, onWrite)));
        }
        if (key === 'begin') {
          return (work: (inner: unknown) => Promise<unknown>) => transactOwner(value as Begin, work);
        }
        if (key === 'unsafe') {
          return (text: string, ...rest: unknown[]) => {
            const made = (value as (...all: unknown[]) => Statement).call(target, text, ...rest);
            watchStatement(made, () => text, onWrite);
            return made;
          };
        }
        return value;
      },
    });
  }

  function watchStatement(statement: Statement, read: () => string, onWrite: () => void): void {
    const { then, writable } = statement;
    let hasLeft = false;
    const leave = (): void => {
      if (hasLeft) return;
      const text = read();
      watch.before(text);
      hasLeft = true;
      if (watch.isWrite(text)) onWrite();
      if (watch.onTime === undefined) return;
      const startedAt = performance.now();
      const report = (): void => watch.onTime?.(text, performance.now() - startedAt);
      void then.call(statement, report, report);
    };
    // oxlint-disable-next-line unicorn/no-thenable -- a statement of postgres.js is one already
    statement.then = (resolve, reject) => {
      try {
        leave();
      } catch (error) {
        return Promise.reject(error).then(resolve as never, reject as never);
      }
      return then.call(statement, resolve, reject);
    };
    statement.writable = async () => {
      watch.before(read());
      return writable.call(statement);
    };
  }
}

type Begin = (body: (inner: postgres.TransactionSql) => Promise<unknown>) => Promise<unknown>;
type Savepoint = (this: unknown, body: (inner: postgres.TransactionSql) => unknown) => unknown;

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
