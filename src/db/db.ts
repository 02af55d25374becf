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
import { RollcallError } from '../core/errors.ts';
import { isUuid, type TenantId } from '../core/ids.ts';
import type { Logger } from '../platform/logger.ts';
import { translateFailure } from './failures.ts';
import { openPool, type PoolRole } from './pools.ts';
import { bindQuery, readInOnePacket, runInTransaction, type AtEnd, type BoundSql, type Pool } from './transaction.ts';

export {
  databaseErrorCode,
  inFailedTransaction,
  isConnectionLost,
  isPassingFailure,
  translateFailure,
} from './failures.ts';
export { migrate, type MigrateOptions } from './migrate.ts';
export { rowsOf, type RowColumn } from './rows.ts';
export { overtaken, writeAll, type Write } from './writes.ts';
export { analyzeGrownTables } from './statistics.ts';
export {
  analyzeTables,
  copyRows,
  createStageTables,
  dropOrphanStages,
  dropStageTables,
  stageTableName,
  type CopyValue,
} from './stage.ts';
export {
  findEmbeddedPostgres,
  startEmbeddedPostgres,
  type EmbeddedOptions,
  type EmbeddedPostgres,
} from './embedded.ts';

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
export type TenantTx = Scope & {
  readonly scope: 'tenant';
  readonly tenantId: TenantId;
  /**
   * What nobody waits for, because nothing is decided by its answers: it is answered together with the commit. Where
   * Postgres refuses it, nothing is saved, and the transaction throws what it threw. Its statements have to be sent already.
   */
  readonly atEnd: AtEnd;
};

/** One transaction as rollcall_engine: connections, runs, outbox, tokens, jobs of every tenant. */
export type EngineTx = Scope & { readonly scope: 'engine' };

/** Owner scope for schema `stage`. */
export type Stage = {
  /** Runs one DDL or bookkeeping statement in schema stage; identifiers come from `stageTableName` only. */
  readonly sql: postgres.Sql;
};

export type Db = {
  /** Commits when `work` resolves, rolls back when it throws; a lost connection rejects and never hangs. */
  tenant<T>(tenantId: TenantId, work: (tx: TenantTx) => Promise<T>, options?: TransactionOptions): Promise<T>;
  engine<T>(work: (tx: EngineTx) => Promise<T>): Promise<T>;
  /**
   * Look-ups of any tenants, each a single reading statement that runs with its own tenant set, all of them in one
   * round trip; their plans are kept. Answers in order, each to be awaited, with failures as the driver tells them
   * (`translateFailure`); a statement that fails fails those behind it.
   */
  lookUp(lookUps: readonly LookUp[]): Promise<readonly Promise<postgres.Row[]>[]>;
  /** One reading statement as rollcall_engine and no transaction around it: a single round trip, for hot look-ups. */
  look<T>(statement: (sql: postgres.Sql) => PromiseLike<T>): Promise<T>;
  readonly stage: Stage;
  /** Short round trip used by /readyz; throws database_unavailable. */
  ping(): Promise<void>;
  close(): Promise<void>;
};

export type TransactionOptions = {
  /**
   * For look-ups by one key: the plan for any is the right one, and planning anew costs more than running. What reads
   * many rows is planned with its values by default, as Postgres finds best.
   */
  readonly keepsPlans?: boolean;
};

export type LookUp = {
  readonly tenantId: TenantId;
  readonly statement: (sql: postgres.TransactionSql) => postgres.PendingQuery<postgres.Row[]>;
};

export type DbOptions = {
  /** `postgresql://user:password@host:port/database`; `?host=/folder` for a Unix socket. */
  readonly url: string;
  /** Connections of the tenant pool, the largest one; 10 unless given. The owner's takes 4 at most. */
  readonly max?: number;
  /** Connections of the engine's pool; 4 unless given, and never more than `max`. */
  readonly engineMax?: number;
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string;
  readonly log?: Pick<Logger, 'debug' | 'warn'>;
  /** Longest wait for a free connection; 30 s unless given. */
  readonly acquireTimeoutMs?: number;
  /** Longest wait of ping(); 5 s unless given. */
  readonly pingTimeoutMs?: number;
  /** Called with every statement, the role it runs as and its parameters; for tests. */
  readonly onStatement?: (role: PoolRole, text: string, parameters: readonly unknown[]) => void;
};

/** How long close() waits for transactions to end before it cuts them. */
const closeTimeoutMs = 10_000;

/** Opens the pools; connections are made when first needed, so this neither waits nor fails. */
export function openDb(options: DbOptions): Db {
  const pools = openPools(options);
  const live = new Set<Promise<unknown>>();
  let isClosed = false;

  async function run<T>(
    pool: Pool,
    open: (sql: BoundSql) => readonly PromiseLike<unknown>[],
    work: (sql: BoundSql, atEnd: AtEnd) => Promise<T>,
  ): Promise<T> {
    if (isClosed) throw closed();
    const running = runInTransaction(pool, open, work);
    live.add(running);
    try {
      return await running;
    } catch (error) {
      throw translateFailure(error);
    } finally {
      live.delete(running);
    }
  }

  return {
    tenant: async (tenantId, work, options = {}) => {
      requireTenantId(tenantId);
      return run(
        pools.tenant,
        (sql) => [options.keepsPlans === true ? setTenantAndPlans(sql, tenantId) : setTenant(sql, tenantId)],
        (sql, atEnd) => work(new BoundTenantTx(tenantId, sql, atEnd)),
      );
    },
    engine: (work) =>
      run(
        pools.engine,
        () => [],
        (sql) => work({ scope: 'engine', sql, query: bindQuery(sql) }),
      ),
    lookUp: async (lookUps) => {
      if (isClosed) throw closed();
      const { answers, ended } = await lookUpAtOnce(pools.tenant, lookUps);
      live.add(ended);
      void ended.then(() => live.delete(ended));
      return answers;
    },
    look: async (statement) => {
      if (isClosed) throw closed();
      try {
        return await statement(pools.engine.sql);
      } catch (error) {
        throw translateFailure(error);
      }
    },
    stage: { sql: pools.owner.sql },
    ping: () => ping(pools.tenant.sql, options.pingTimeoutMs ?? 5_000),
    close: async () => {
      isClosed = true;
      await settleWithin(live, closeTimeoutMs);
      await Promise.all(Object.values(pools).map(({ sql }) => sql.end({ timeout: 2 })));
    },
  };
}

/** The policy casts the setting; a fault here is a bug of ours and gets a sentence instead of a cast error. */
function requireTenantId(tenantId: TenantId): void {
  if (!isUuid(tenantId)) throw new RollcallError('internal', `"${tenantId}" is not a tenant id.`);
}

async function lookUpAtOnce(pool: Pool, lookUps: readonly LookUp[]) {
  for (const { tenantId } of lookUps) requireTenantId(tenantId);
  try {
    const { reads, ended } = await readInOnePacket(pool, (sql) => statementsOf(sql, lookUps));
    const isSetting = settingsAmong(lookUps);
    return { answers: reads.filter((_, index) => isSetting[index] !== true), ended };
  } catch (error) {
    throw translateFailure(error);
  }
}

function statementsOf(sql: BoundSql, lookUps: readonly LookUp[]): postgres.PendingQuery<postgres.Row[]>[] {
  return lookUps.flatMap(({ tenantId, statement }, index) => {
    if (lookUps[index - 1]?.tenantId === tenantId) return [statement(sql)];
    return [setTenantAndPlans(sql, tenantId), statement(sql)];
  });
}

function setTenant(sql: BoundSql, tenantId: TenantId) {
  return sql<postgres.Row[]>`select set_config('rollcall.tenant_id', ${tenantId}, true)`;
}

function setTenantAndPlans(sql: BoundSql, tenantId: TenantId) {
  return sql<postgres.Row[]>`
    select set_config('rollcall.tenant_id', ${tenantId}, true), set_config('plan_cache_mode', 'force_generic_plan', true)`;
}

/** Drizzle's builder is made when it is first asked for: most transactions of a push are plain statements. */
class BoundTenantTx implements TenantTx {
  readonly scope = 'tenant';
  readonly tenantId: TenantId;
  readonly sql: BoundSql;
  readonly atEnd: AtEnd;
  #query: Query | undefined;

  constructor(tenantId: TenantId, sql: BoundSql, atEnd: AtEnd) {
    this.tenantId = tenantId;
    this.sql = sql;
    this.atEnd = atEnd;
  }

  get query(): Query {
    this.#query ??= bindQuery(this.sql);
    return this.#query;
  }
}

/** Which of those statements set a tenant: one stands in front of each look-up of another tenant than the last one. */
function settingsAmong(lookUps: readonly LookUp[]): boolean[] {
  return lookUps.flatMap(({ tenantId }, index) =>
    lookUps[index - 1]?.tenantId === tenantId ? [false] : [true, false],
  );
}

function closed(): RollcallError {
  return new RollcallError('shutting_down', 'The database is closed because Rollcall is stopping.');
}

function openPools(options: DbOptions): Record<'tenant' | 'engine' | 'owner', Pool> {
  const max = options.max ?? 10;
  const acquireTimeoutMs = options.acquireTimeoutMs ?? 30_000;
  function open(role: PoolRole, connections: number): Pool {
    const sql = openPool({
      url: options.url,
      role,
      max: connections,
      applicationName: options.applicationName ?? 'rollcall',
      onStatement: options.onStatement,
      onNotice: (notice) => options.log?.debug({ role, code: notice['code'] }, notice['message'] ?? 'notice'),
    });
    return { sql, acquireTimeoutMs };
  }
  return {
    tenant: open('rollcall_tenant', max),
    engine: open('rollcall_engine', Math.min(options.engineMax ?? 4, max)),
    owner: open('owner', Math.min(4, max)),
  };
}

async function ping(sql: postgres.Sql, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new RollcallError('database_unavailable', `The database did not answer within ${timeoutMs / 1000} s.`));
    }, timeoutMs);
  });
  try {
    await Promise.race([sql`select 1`, expired]);
  } catch (error) {
    throw translateFailure(error);
  } finally {
    clearTimeout(timer);
  }
}

async function settleWithin(promises: ReadonlySet<Promise<unknown>>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([Promise.allSettled(promises), expired]);
  clearTimeout(timer);
}
