/** A tenant with a directory in memory and the engine on it: what tests of reconciliation stand on. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import type { ConnectionId, RunId, TenantId } from '../../src/core/ids.ts';
import type { RunMode } from '../../src/core/vocabulary.ts';
import type { Db } from '../../src/db/db.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { SecretBox } from '../../src/platform/secrets.ts';
import {
  createReconciliation,
  type Change,
  type Reconciliation,
  type RunSummary,
} from '../../src/reconciliation/reconciliation.ts';
import { createTenant, type TestTenant } from '../setup/database.ts';
import { MemoryDirectory } from './memory-directory.ts';

export type Engine = {
  readonly tenant: TestTenant;
  readonly tenantId: TenantId;
  readonly directory: MemoryDirectory;
  readonly reconciliation: Reconciliation;
  readonly connectionId: ConnectionId;
  /** Runs to where it stops. */
  run(mode?: RunMode): Promise<RunSummary>;
  /** Runs, and approves whatever waits. */
  sync(): Promise<RunSummary>;
  approve(run: RunSummary): Promise<RunSummary>;
  changes(runId: RunId): Promise<readonly Change[]>;
  users(): Promise<UserView[]>;
};

export type UserView = {
  readonly id: string;
  readonly username: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly department: string | null;
  readonly status: string;
  /** `role@organization`, in order. */
  readonly roles: readonly string[];
};

export type EngineOptions = {
  readonly document?: Readonly<Record<string, unknown>>;
  readonly tenant?: TestTenant;
  readonly directory?: MemoryDirectory;
};

export async function createEngine(db: Db, options: EngineOptions = {}): Promise<Engine> {
  const tenant = options.tenant ?? (await createTenant(db, { name: 'Contoso' }));
  const directory = options.directory ?? new MemoryDirectory();
  const { tenantId } = tenant;
  const reconciliation = createReconciliation({
    db,
    connectors: new Map([['ldap', directory.connector()]]),
    secretBox: new SecretBox(randomBytes(32)),
    nextSlot: (_cron, _zone, after) => new Date(after.getTime() + 3_600_000).toISOString(),
    now: () => new Date(),
    clock: systemClock,
    log: pino({ level: 'silent' }),
  });
  const connection = await reconciliation.createConnection('test', tenantId, {
    name: 'Directory',
    kind: 'ldap',
    organization: tenant.slug,
    ceiling: 'admin',
    roles: [{ everyone: 'user' }],
    ...options.document,
  });
  const signal = new AbortController().signal;
  const execute = (runId: RunId) => reconciliation.executeRun(tenantId, runId, { signal });
  const engine: Engine = {
    tenant,
    tenantId,
    directory,
    reconciliation,
    connectionId: connection.id,
    run: async (mode = 'auto') => {
      const request = { tenantId, connectionId: connection.id, read: 'full', mode, requestedBy: 'test' } as const;
      return execute(await reconciliation.requestRun(request));
    },
    approve: async (run) => {
      await reconciliation.approveRun(tenantId, run.id, { actor: 'test', digest: run.digest ?? '' });
      return execute(run.id);
    },
    sync: async () => {
      const run = await engine.run();
      return run.status === 'planned' || run.status === 'held' ? engine.approve(run) : run;
    },
    changes: (runId) => reconciliation.listChanges(tenantId, { runId, limit: 10_000 }),
    users: () => selectUsers(db, tenantId),
  };
  return engine;
}

async function selectUsers(db: Db, tenantId: TenantId): Promise<UserView[]> {
  return db.tenant(
    tenantId,
    (tx) => tx.sql<UserView[]>`
    select u.id, u.username, u.email, u.display_name as name, u.department, u.status,
      coalesce((
        select jsonb_agg(distinct g.role || '@' || o.slug order by g.role || '@' || o.slug) from grants g
        join organizations o on o.tenant_id = g.tenant_id and o.id = g.organization_id
        where g.tenant_id = u.tenant_id and g.user_id = u.id), '[]') as roles
    from users u where u.tenant_id = ${tenantId} order by u.display_name, u.id`,
  );
}
