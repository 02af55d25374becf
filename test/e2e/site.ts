/**
 * What the tests of crashes and takeovers stand on: a directory of real size (slapd), an installation whose first plan
 * waits for approval, and any number of databases cloned from that moment, so that a disturbed run and an undisturbed
 * one start from the same rows. The daemons are real processes.
 */
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import postgres from 'postgres';
import { expect, inject, vi } from 'vitest';
import { stringify } from 'yaml';
import { checkConfig } from '../../src/app/config.ts';
import { openSecretBox, migrateAll } from '../../src/app/resources.ts';
import { createRooms, type Rooms } from '../../src/app/rooms.ts';
import type { ConnectionId, RunId, TenantId } from '../../src/core/ids.ts';
import { openDb, type Db } from '../../src/db/db.ts';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { Secret } from '../../src/platform/secrets.ts';
import { writeLdif } from '../servers/ldif.ts';
import { startOpenldap, type Openldap } from '../servers/openldap.ts';
import { createTenant } from '../setup/database.ts';
import { principalOf, silentLogger } from '../setup/people.ts';
import { openAdmin, withDatabase } from '../setup/server.ts';
import {
  makeFolder,
  removeFolder,
  startRollcall,
  writeConfig,
  type Daemon,
  type LogLine,
  type RunOptions,
} from './daemon-process.ts';
import { readRows, type Rows } from './site-rows.ts';

/** Two chunks of new users, and about as many grants. */
export const people = 2_200;
const groups = 20;
/** The least that pg-boss takes: a silent worker is noticed after this long. */
const heartbeatSeconds = 10;

const configText = stringify({
  http: { host: '127.0.0.1', port: 0 },
  management: { port: 0 },
  outbound: { allowPrivateRanges: ['127.0.0.0/8'] },
  schedule: { heartbeatSeconds, pollSeconds: 0.5 },
});

export type Site = {
  readonly url: string;
  /** As the owner: sees every row. */
  readonly sql: postgres.Sql;
  start(options?: StartOptions): Promise<SiteDaemon>;
  /** Changes of the waiting plan that are applied by now, of how many. */
  progress(): Promise<{ readonly applied: number; readonly all: number }>;
  /** Until no run is queued or running. */
  rest(timeoutMs?: number): Promise<void>;
  /** Everything sync has written, without ids and times. */
  rows(): Promise<Rows>;
  /** The connection is due now, and needs no approval any more. */
  makeDue(): Promise<void>;
  /** Until the runs of the schedule have ended; answers them. */
  served(timeoutMs?: number): Promise<readonly { readonly status: string; readonly epoch: number }[]>;
  /** Lets a daemon apply the waiting plan in peace; answers what it has written. */
  applyUndisturbed(): Promise<Rows>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type StartOptions = {
  /** Another address of the same database. */
  readonly databaseUrl?: string;
  readonly isNpmStart?: boolean;
};

export type SiteDaemon = {
  readonly daemon: Daemon;
  readonly api: string;
  readonly management: string;
  workerPid(): number;
  ask(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Response>;
  /** Approves the waiting plan, which starts applying it. */
  approve(): Promise<void>;
  stop(): Promise<number | null>;
  /** Daemon and worker at once, as a power cut would. */
  kill(): Promise<void>;
};

export type Planned = {
  readonly directory: Openldap;
  clone(): Promise<Site>;
  close(): Promise<void>;
};

type Facts = {
  readonly masterKey: string;
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  readonly runId: RunId;
  readonly digest: string;
  readonly token: string;
};

let made = 0;

function nextName(what: string): string {
  made += 1;
  return `rollcall_e2e_${process.pid}_${what}_${made}`;
}

export async function startDirectory(users = people): Promise<Openldap> {
  const folder = await makeFolder('rollcall-e2e-ldif-');
  try {
    const ldifPath = join(folder, 'entries.ldif');
    const stream = createWriteStream(ldifPath);
    await writeLdif(stream, { users, groups, membershipsPerUser: 2, seed: 7 });
    stream.end();
    await finished(stream);
    return await startOpenldap({ ldifPath });
  } finally {
    await removeFolder(folder);
  }
}

/** An installation whose first run has stopped at its plan. */
export async function preparePlan(): Promise<Planned> {
  const directory = await startDirectory();
  const template = nextName('plan');
  const folder = await makeFolder();
  const configFile = await writeConfig(folder, configText);
  const open = new Set<Site>();
  const close = async (): Promise<void> => {
    // a test that ran out of time has not come to its end
    for (const site of open) await site[Symbol.asyncDispose]();
    await dropDatabase(template);
    await directory.stop();
    await removeFolder(folder);
  };
  try {
    await cloneDatabase(inject('templateDatabase'), template);
    const facts = await makePlan(directory, withDatabase(inject('adminUrl'), template));
    const clone = async (): Promise<Site> => {
      const site = await openSite({ template, facts, configFile, onClose: () => open.delete(site) });
      open.add(site);
      return site;
    };
    return { directory, clone, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function cloneDatabase(from: string, to: string): Promise<void> {
  await asAdmin((sql) => sql.unsafe(`create database ${to} template ${from} strategy file_copy`));
}

async function dropDatabase(name: string): Promise<void> {
  await asAdmin((sql) => sql.unsafe(`drop database if exists ${name} with (force)`));
}

async function asAdmin(work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = openAdmin(inject('adminUrl'));
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}

function documentOf(directory: Openldap, slug: string): Record<string, unknown> {
  const out = { count: 1_000_000, percent: 100 };
  return {
    name: 'Directory',
    kind: 'ldap',
    organization: slug,
    ceiling: 'view_only_admin',
    schedule: { cron: '0 3 * * *' },
    settings: {
      host: directory.host,
      port: directory.tlsPort,
      caPem: directory.caPem,
      bindDn: directory.bindDn,
      baseDn: directory.peopleDn,
      groupBaseDn: directory.groupsDn,
    },
    secrets: { password: directory.password },
    roles: [{ everyone: 'user' }, { group: 'group0', role: 'view_only_admin' }],
    guards: { joiners: out, adminGrants: 1_000_000 },
  };
}

async function makePlan(directory: Openldap, url: string): Promise<Facts> {
  const masterKey = randomBytes(32).toString('base64');
  await migrateAll(new Secret(url), silentLogger);
  return withRooms(url, masterKey, async ({ access, reconciliation }, db) => {
    const { tenantId, organizationId, slug } = await createTenant(db, { name: 'Contoso' });
    await db.tenant(tenantId, async ({ sql }) => {
      await sql`insert into domains (tenant_id, name, status) values (${tenantId}, 'example.org', 'proven')`;
    });
    const { text: token } = await access.createToken(principalOf(tenantId, 'admin'), {
      kind: 'api',
      name: 'test',
      organizationId,
      role: 'admin',
    });
    const { id: connectionId } = await reconciliation.createConnection('test', tenantId, documentOf(directory, slug));
    const runId = await reconciliation.requestRun({
      tenantId,
      connectionId,
      read: 'full',
      mode: 'auto',
      requestedBy: 'test',
    });
    const { signal } = new AbortController();
    const { status, digest } = await reconciliation.executeRun(tenantId, runId, { signal });
    if (status !== 'planned' || digest === null) throw new Error(`The first run is ${status}.`);
    return { masterKey, tenantId, connectionId, runId, digest, token };
  });
}

async function withRooms<T>(url: string, masterKey: string, work: (rooms: Rooms, db: Db) => Promise<T>): Promise<T> {
  const checked = checkConfig(configText);
  if (!checked.isValid) throw new Error(`The configuration has faults: ${JSON.stringify(checked.faults)}`);
  const db = openDb({ url, max: 4, applicationName: 'test rooms' });
  try {
    const secretBox = openSecretBox(new Secret(masterKey));
    return await work(createRooms({ config: checked.config, db, secretBox, logger: silentLogger }), db);
  } finally {
    await db.close();
  }
}

type SiteOptions = {
  readonly template: string;
  readonly facts: Facts;
  readonly configFile: string;
  readonly onClose: () => void;
};

async function openSite({ template, facts, configFile, onClose }: SiteOptions): Promise<Site> {
  const name = nextName('site');
  await cloneDatabase(template, name);
  const url = withDatabase(inject('adminUrl'), name);
  const sql = postgres({ ...parseDatabaseUrl(url), max: 3, onnotice: () => undefined });
  const daemons = new Set<SiteDaemon>();
  const site: Site = {
    url,
    sql,
    async start({ databaseUrl = url, isNpmStart = false } = {}) {
      const env = { DATABASE_URL: databaseUrl, ROLLCALL_MASTER_KEY: facts.masterKey, ROLLCALL_CONFIG: configFile };
      const started = await startDaemon(facts, { args: isNpmStart ? [] : ['serve'], env, isNpmStart });
      daemons.add(started);
      return started;
    },
    progress: () => progressOf(sql),
    rest: (timeoutMs = 60_000) =>
      vi.waitFor(
        async () => {
          // what a failure shows tells a run that hangs from one that nobody took up
          const live = await sql`
            select r.id, r.status, r.phase, r.epoch, round(extract(epoch from now() - r.heartbeat_at)) as silent,
              (select json_agg(json_build_object('state', j.state, 'retries', j.retry_count, 'beat', j.heartbeat_on))
                from pgboss.job j where j.singleton_key = r.connection_id::text) as jobs
            from runs r where r.status in ('queued', 'running')`;
          expect(live).toEqual([]);
        },
        { timeout: timeoutMs, interval: 50 },
      ),
    rows: () => readRows(sql),
    async makeDue() {
      await sql`update connections set approved_version = version, next_run_at = now() - interval '1 minute'`;
    },
    served: (timeoutMs = 60_000) =>
      vi.waitFor(
        async () => {
          const runs = await sql<{ status: string; epoch: number }[]>`
            select status, epoch from runs where scheduled_for is not null order by id`;
          expect(runs.length).toBeGreaterThan(0);
          expect(runs.filter(({ status }) => status === 'queued' || status === 'running')).toEqual([]);
          return [...runs];
        },
        { timeout: timeoutMs, interval: 50 },
      ),
    async applyUndisturbed() {
      const daemon = await site.start();
      await daemon.approve();
      await site.rest();
      expect(await daemon.stop()).toBe(0);
      return site.rows();
    },
    async [Symbol.asyncDispose]() {
      onClose();
      for (const started of daemons) if (started.daemon.process.exitCode === null) await started.kill();
      await sql.end({ timeout: 1 });
      await dropDatabase(name);
    },
  };
  return site;
}

async function startDaemon(facts: Facts, options: RunOptions): Promise<SiteDaemon> {
  const daemon = startRollcall(options);
  const urlOf = (line: LogLine): string => `http://127.0.0.1:${String(line['port'])}`;
  const management = urlOf(await daemon.line('management listening'));
  const listening = await daemon.line('API listening');
  const api = urlOf(listening);
  await daemon.line('worker ready');
  const workerPid = (): number =>
    Number(daemon.lines.findLast(({ msg }) => msg === 'worker ready')?.['workerPid'] ?? 0);
  const ask: SiteDaemon['ask'] = (method, path, body) =>
    fetch(`${api}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${facts.token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
  return {
    daemon,
    api,
    management,
    workerPid,
    ask,
    async approve() {
      const answer = await ask('POST', `/runs/${facts.runId}/approve`, { digest: facts.digest });
      expect([answer.status, answer.ok ? '' : await answer.text()]).toEqual([202, '']);
    },
    stop() {
      daemon.process.kill('SIGTERM');
      return daemon.exit;
    },
    async kill() {
      killNow(workerPid());
      // under npm the daemon is a child of the process that was started
      killNow(Number(listening['pid']));
      daemon.process.kill('SIGKILL');
      await daemon.exit;
    },
  };
}

export function killNow(pid: number): void {
  // 0 and 1 are no processes of ours: our own group, and the first of all
  if (!(pid > 1)) throw new Error(`${pid} is no process.`);
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // it is gone already
    if (Reflect.get(Object(error), 'code') !== 'ESRCH') throw error;
  }
}

async function progressOf(sql: postgres.Sql): Promise<{ readonly applied: number; readonly all: number }> {
  const [row] = await sql<{ applied: number; all: number }[]>`
    select count(*) filter (where state = 'applied')::int as applied, count(*)::int as all
    from changes where run_id = (select max(id::text)::uuid from runs)`;
  return row ?? { applied: 0, all: 0 };
}

/**
 * Holds up the apply between its new users and their grants, and answers how to let it go on. The worker stands inside
 * a transaction then, waiting for a lock.
 */
export async function holdBeforeGrants(site: Site): Promise<() => Promise<void>> {
  const holder = await site.sql.reserve();
  await holder`begin`;
  await holder`lock table grants in share mode`;
  return async () => {
    await holder`rollback`;
    holder.release();
  };
}

/** Until the apply stands at the lock: some changes are applied, some are not. */
export async function untilHeld(site: Site): Promise<void> {
  await vi.waitFor(
    async () => {
      // this very lock: a worker that starts waits for others for a moment, too
      const waiting = await site.sql`
        select a.pid from pg_stat_activity a
        join pg_locks l on l.pid = a.pid and not l.granted and l.relation = 'grants'::regclass
        where a.datname = current_database() and a.application_name = 'rollcall worker'`;
      // grants are applied by two chunks at once
      expect(waiting.length).toBeGreaterThan(0);
    },
    { timeout: 30_000, interval: 20 },
  );
  const { applied, all } = await site.progress();
  expect([applied > 0, applied < all]).toEqual([true, true]);
}
