/**
 * A small tenant whose next run does everything a run can do: joiners, movers, a username swap, leavers, people who
 * come back, roles that come and go, a disputed match, a poison object. Its database is a template, so that each death
 * starts from the same rows, ids included.
 */
import { pino } from 'pino';
import { inject } from 'vitest';
import type { ConnectionId, RunId, TenantId } from '../../src/core/ids.ts';
import { openDb, type Db } from '../../src/db/db.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { SecretBox } from '../../src/platform/secrets.ts';
import { createReconciliation, type Reconciliation, type RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { openAdmin, withDatabase } from '../setup/server.ts';
import { createTenant } from '../setup/database.ts';
import { MemoryDirectory } from '../fakes/memory-directory.ts';

const out = { count: 1_000, percent: 100 };

export type History = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  readonly domain: string;
  readonly template: string;
  /** Of the run that waits for approval where the template stands after its plan. */
  readonly planned: RunSummary | null;
  drop(): Promise<void>;
};

let made = 0;

/** The first read is applied; the directory has changed since. With `isPlanned` that change is a plan that waits. */
export async function makeHistory({ isPlanned }: { readonly isPlanned: boolean }): Promise<History> {
  made += 1;
  const template = `rollcall_history_${process.pid}_${made}`;
  await asAdmin((sql) => sql.unsafe(`create database ${template} template ${inject('templateDatabase')}`));
  const db = openDb({ url: withDatabase(inject('adminUrl'), template), max: 4 });
  try {
    const tenant = await createTenant(db, { name: 'Contoso' });
    const { tenantId, builtInDomain: domain } = tenant;
    const directory = new MemoryDirectory();
    const reconciliation = openReconciliation(db, directory);
    const { id: connectionId } = await reconciliation.createConnection('test', tenantId, {
      name: 'Directory',
      kind: 'ldap',
      organization: tenant.slug,
      ceiling: 'admin',
      roles: [
        { everyone: 'user' },
        { group: 'Auditors', role: 'view_only_admin' },
        { group: 'Finance', role: 'billing_admin' },
      ],
      guards: {
        leaversMax: 1_000,
        leavers: out,
        leaversSmall: out,
        revokes: out,
        groupLoss: out,
        adminGrants: 1_000,
        joiners: out,
        keyChanges: out,
        emailChanges: out,
      },
    });
    fillBefore(directory, domain);
    await sync(reconciliation, tenantId, connectionId);
    // somebody who left once comes back in the run under test
    directory.people.delete('p20');
    await sync(reconciliation, tenantId, connectionId);
    await db.tenant(tenantId, async ({ sql }) => {
      await sql`
        insert into users (tenant_id, id, email, email_key, display_name, employee_id, employee_id_key)
        select ${tenantId}, gen_random_uuid(), 'twin' || n || '@else.test', 'twin' || n || '@else.test', 'Twin ' || n, 'e-77', 'e-77'
        from generate_series(1, 2) n`;
    });
    changeDirectory(directory, domain);
    const planned = isPlanned ? await start(reconciliation, tenantId, connectionId, 'plan') : null;
    const drop = () => asAdmin((sql) => sql.unsafe(`drop database if exists ${template} with (force)`));
    return { tenantId, connectionId, domain, template, planned, drop };
  } finally {
    await db.close();
  }
}

function personOf(domain: string, n: number) {
  return {
    id: `p${n}`,
    name: `Person ${n}`,
    username: `p${n}@${domain}`,
    email: `p${n}@mail.test`,
    department: 'Sales',
  };
}

function fillBefore(directory: MemoryDirectory, domain: string): void {
  for (let n = 1; n <= 24; n += 1) directory.put(personOf(domain, n));
  directory.team('g1', 'Auditors', ['p1', 'p2', 'p3', 'g3']);
  directory.team('g2', 'Finance', ['p4', 'p5']);
  directory.team('g3', 'Nested', ['p6', 'p7']);
}

export function changeDirectory(directory: MemoryDirectory, domain: string): void {
  for (const n of [31, 32, 33, 34]) directory.put(personOf(domain, n));
  for (const n of [8, 9, 10]) directory.put({ id: `p${n}`, department: 'Support', email: `new${n}@mail.test` });
  directory.put({ id: 'p11', username: `p12@${domain}` }, { id: 'p12', username: `p11@${domain}` });
  directory.put({ id: 'p13', isActive: false }, { id: 'p14', isActive: false });
  for (const n of [15, 16, 17]) directory.people.delete(`p${n}`);
  directory.put(personOf(domain, 20));
  directory.put({ id: 'p40', name: 'Shared', username: null, email: null, employeeId: 'e-77' });
  directory.team('g1', 'Auditors', ['p1', 'p2', 'p31', 'g3']);
  directory.team('g2', 'Finance', ['p5', 'p6', 'p32']);
  directory.team('g3', 'Nested', ['p7', 'p8', 'g1']);
}

export function directoryNow(history: History): MemoryDirectory {
  const directory = new MemoryDirectory();
  fillBefore(directory, history.domain);
  changeDirectory(directory, history.domain);
  return directory;
}

export function openReconciliation(db: Db, directory: MemoryDirectory): Reconciliation {
  return createReconciliation({
    db,
    connectors: new Map([['ldap', directory.connector()]]),
    secretBox: new SecretBox(Buffer.alloc(32, 7)),
    nextSlot: (_cron, _zone, after) => new Date(after.getTime() + 3_600_000).toISOString(),
    now: () => new Date(),
    clock: systemClock,
    log: pino({ level: 'silent' }),
  });
}

/** A copy of the history's rows under a name of its own. */
export async function cloneHistory(history: History): Promise<{ readonly url: string; drop(): Promise<void> }> {
  made += 1;
  const name = `rollcall_death_${process.pid}_${made}`;
  await asAdmin((sql) => sql.unsafe(`create database ${name} template ${history.template} strategy file_copy`));
  return {
    url: withDatabase(inject('adminUrl'), name),
    drop: () => asAdmin((sql) => sql.unsafe(`drop database if exists ${name} with (force)`)),
  };
}

async function asAdmin(work: (sql: ReturnType<typeof openAdmin>) => Promise<unknown>): Promise<void> {
  const sql = openAdmin(inject('adminUrl'));
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}

async function start(
  reconciliation: Reconciliation,
  tenantId: TenantId,
  connectionId: ConnectionId,
  mode: 'plan' | 'auto',
): Promise<RunSummary> {
  const request = { tenantId, connectionId, read: 'full', mode, requestedBy: 'test' } as const;
  const runId: RunId = await reconciliation.requestRun(request);
  return reconciliation.executeRun(tenantId, runId, { signal: new AbortController().signal });
}

async function sync(reconciliation: Reconciliation, tenantId: TenantId, connectionId: ConnectionId): Promise<void> {
  const run = await start(reconciliation, tenantId, connectionId, 'auto');
  if (run.status !== 'planned' && run.status !== 'held') return;
  await reconciliation.approveRun(tenantId, run.id, { actor: 'test', digest: run.digest ?? '' });
  await reconciliation.executeRun(tenantId, run.id, { signal: new AbortController().signal });
}
