/** A tenant with a directory in memory and the engine on it: what tests of reconciliation stand on. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import type { Connector } from '../../src/connectors/contract/contract.ts';
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

/** One connection of the tenant, and the directory behind it. */
export type Connected = {
  readonly directory: MemoryDirectory;
  readonly connectionId: ConnectionId;
  /** Runs to where it stops. */
  run(mode?: RunMode, read?: 'full' | 'delta'): Promise<RunSummary>;
  /** Runs, and approves whatever waits. */
  sync(): Promise<RunSummary>;
  approve(run: RunSummary): Promise<RunSummary>;
};

export type Engine = Connected & {
  readonly tenant: TestTenant;
  readonly tenantId: TenantId;
  readonly reconciliation: Reconciliation;
  /** A second connection of the tenant, over a directory of its own (of kind entra). */
  connect(document?: Readonly<Record<string, unknown>>): Promise<Connected>;
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
  /** In place of the directory in memory. */
  readonly connector?: Connector;
  readonly now?: () => Date;
};

export async function createEngine(db: Db, options: EngineOptions = {}): Promise<Engine> {
  const tenant = options.tenant ?? (await createTenant(db, { name: 'Contoso' }));
  const directory = options.directory ?? new MemoryDirectory();
  const second = new MemoryDirectory('entra');
  const { tenantId } = tenant;
  const reconciliation = createReconciliation({
    db,
    connectors: new Map([
      ['ldap', options.connector ?? directory.connector()],
      ['entra', second.connector()],
    ]),
    secretBox: new SecretBox(randomBytes(32)),
    nextSlot: (_cron, _zone, after) => new Date(after.getTime() + 3_600_000).toISOString(),
    now: options.now ?? (() => new Date()),
    clock: systemClock,
    log: pino({ level: 'silent' }),
  });
  const connect = async (own: MemoryDirectory, document: Readonly<Record<string, unknown>>): Promise<Connected> => {
    const connection = await reconciliation.createConnection('test', tenantId, {
      name: 'Directory',
      kind: 'ldap',
      organization: tenant.slug,
      ceiling: 'admin',
      roles: [{ everyone: 'user' }],
      ...document,
    });
    return connectedTo(reconciliation, tenantId, connection.id, own);
  };
  return {
    ...(await connect(directory, options.document ?? {})),
    tenant,
    tenantId,
    reconciliation,
    connect: (document) => connect(second, { name: 'Second', kind: 'entra', ...document }),
    changes: (runId) => reconciliation.listChanges(tenantId, { runId, limit: 10_000 }),
    users: () => selectUsers(db, tenantId),
  };
}

function connectedTo(
  reconciliation: Reconciliation,
  tenantId: TenantId,
  connectionId: ConnectionId,
  directory: MemoryDirectory,
): Connected {
  const { signal } = new AbortController();
  const execute = (runId: RunId) => reconciliation.executeRun(tenantId, runId, { signal });
  const run: Connected['run'] = async (mode = 'auto', read = 'full') =>
    execute(await reconciliation.requestRun({ tenantId, connectionId, read, mode, requestedBy: 'test' }));
  const approve: Connected['approve'] = async (waiting) => {
    await reconciliation.approveRun(tenantId, waiting.id, { actor: 'test', digest: waiting.digest ?? '' });
    return execute(waiting.id);
  };
  const sync: Connected['sync'] = async () => {
    const done = await run();
    return done.status === 'planned' || done.status === 'held' ? approve(done) : done;
  };
  return { directory, connectionId, run, approve, sync };
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
