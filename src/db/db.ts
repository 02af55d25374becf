/**
 * db/: the client and its scopes, the migrator, embedded Postgres, and each room's schema.
 *
 * There is no query outside a scope. `tenant` runs as rollcall_tenant with the tenant set, so row-level security is
 * the second wall behind composite keys; `engine` runs as rollcall_engine, which sees every tenant but only the
 * tables that dispatch needs; `stage` is the owner, for COPY into schema `stage` and nothing else.
 */
import type { PgDatabase } from 'drizzle-orm/pg-core';
import type { PostgresJsQueryResultHKT } from 'drizzle-orm/postgres-js';
import type postgres from 'postgres';
import type { TenantId } from '../core/ids.ts';

/** Drizzle's builder, bound to the transaction. */
export type Query = PgDatabase<PostgresJsQueryResultHKT>;

type Scope = {
  /** Drizzle builder: ordinary reads and writes. */
  readonly query: Query;
  /**
   * postgres.js tag: set-based statements and hot paths. Values are parameters, never text. JSON goes in as
   * `${JSON.stringify(x)}::jsonb`, times as ISO text; times come back as text.
   */
  readonly sql: postgres.TransactionSql;
};

/** One transaction as rollcall_tenant, the tenant set. */
export type TenantTx = Scope & { readonly scope: 'tenant'; readonly tenantId: TenantId };

/** One transaction as rollcall_engine: connections, runs, outbox, tokens, jobs of every tenant. */
export type EngineTx = Scope & { readonly scope: 'engine' };

/** Owner scope for schema `stage`. */
export type Stage = {
  /** Runs one DDL or bookkeeping statement in schema stage; identifiers come from `stageTableName` only. */
  readonly sql: postgres.Sql;
};

export type Db = {
  /** Commits when `work` resolves, rolls back when it throws; a lost connection rejects and never hangs. */
  tenant<T>(tenantId: TenantId, work: (tx: TenantTx) => Promise<T>): Promise<T>;
  engine<T>(work: (tx: EngineTx) => Promise<T>): Promise<T>;
  readonly stage: Stage;
  /** Short round trip used by /readyz; throws database_unavailable. */
  ping(): Promise<void>;
  close(): Promise<void>;
};
