/**
 * npm run --silent sandbox -- [--users N] [--groups G] [--big-group] [--tenants T --users-per-tenant N]
 *
 * A throw-away instance for load generators and conformance tools: the real daemon on free ports with a database of its
 * own, one organization and one SCIM connection, filled on request; with --tenants, so many further ones beside it. Prints one line of JSON when it is ready, serves
 * until SIGTERM or SIGINT, then removes everything.
 */
import '../../src/first.ts';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { operatorPrincipal } from '../../src/access/access.ts';
import { describeError } from '../../src/core/errors.ts';
import { openDb, type Db } from '../../src/db/db.ts';
import { createSignalReader } from '../../src/platform/lifecycle.ts';
import type { Office } from '../../src/app/app.ts';
import { startInstallation, type Installation } from './installation.ts';
import { analyzePreloaded, preload, type Preload } from './preload.ts';

const mostUsers = 1_000_000;
const mostGroups = 100_000;
const mostTenants = 1_000;
/** Members of the first group with --big-group. */
const bigGroupMembers = 100_000;
const domain = 'sandbox.example';
const connectionName = 'Sandbox SCIM';

type Size = { readonly users: number; readonly groups: number; readonly hasBigGroup: boolean };
type Sizes = Size & { readonly tenants: number; readonly usersPerTenant: number };
type Ready = Record<string, string | readonly Record<string, string>[]>;

const stop = new AbortController();
const readSignal = createSignalReader(() => performance.now());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (readSignal(signal)?.isForced === false) stop.abort(new Error(signal));
  });
}

process.exitCode = await main();

async function main(): Promise<number> {
  try {
    await run(readSize(), stop.signal);
    return 0;
  } catch (error) {
    // asked to stop before it was ready: everything is removed, which is all that was wanted
    if (stop.signal.aborted) return 0;
    process.stderr.write(`sandbox: ${describeError(error)}\n`);
    return 1;
  }
}

function readSize(): Sizes {
  const { values } = parseArgs({
    options: {
      users: { type: 'string', default: '0' },
      groups: { type: 'string', default: '0' },
      'big-group': { type: 'boolean', default: false },
      tenants: { type: 'string', default: '0' },
      'users-per-tenant': { type: 'string', default: '0' },
    },
  });
  return {
    users: readCount('--users', values.users, mostUsers),
    groups: readCount('--groups', values.groups, mostGroups),
    hasBigGroup: values['big-group'],
    tenants: readCount('--tenants', values.tenants, mostTenants),
    usersPerTenant: readCount('--users-per-tenant', values['users-per-tenant'], mostUsers),
  };
}

function readCount(name: string, text: string, most: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 0 && count <= most) return count;
  throw new Error(`${name} takes a count from 0 to ${most.toLocaleString('en-US')}, not "${text}".`);
}

async function run(size: Sizes, signal: AbortSignal): Promise<void> {
  await using installation = await startInstallation({
    name: 'sandbox',
    maxInFlight: 10_000,
    signal,
    writeLog: (text) => process.stderr.write(text),
  });
  const line = await furnish(installation, size);
  process.stdout.write(`${JSON.stringify(line)}\n`);
  await Promise.race([stopOf(signal), installation.failure]);
}

async function furnish(installation: Installation, size: Sizes): Promise<Ready> {
  return installation.withOffice(async (office) => {
    const main = await addTenant(installation, office, { slug: 'sandbox', domain }, size);
    const others: Record<string, string>[] = [];
    for (let number = 1; number <= size.tenants; number += 1) {
      const names = { slug: `tenant-${number}`, domain: `tenant-${number}.example` };
      const { scimUrl, scimToken } = await addTenant(installation, office, names, {
        users: size.usersPerTenant,
        groups: Math.min(1, size.usersPerTenant),
        hasBigGroup: false,
      });
      others.push({ scimUrl, scimToken });
    }
    if (size.users + size.usersPerTenant > 0) {
      await using db = openSandboxDb(installation.databaseUrl);
      await analyzePreloaded(db.db);
    }
    return {
      apiUrl: `${installation.origin}/api/v1`,
      ...main,
      databaseUrl: installation.databaseUrl,
      managementUrl: installation.managementUrl,
      ...(others.length === 0 ? {} : { tenants: others }),
    };
  });
}

type Names = { readonly slug: string; readonly domain: string };
type Tenant = Record<'scimUrl' | 'scimToken' | 'adminToken' | 'organizationId', string>;

async function addTenant(installation: Installation, office: Office, names: Names, size: Size): Promise<Tenant> {
  const actor = `operator:${installation.operator}`;
  const root = await office.organizations.createRoot(actor, { name: 'Sandbox', slug: names.slug });
  const { tenantId, id: organizationId } = root;
  await office.organizations.proveDomain(actor, tenantId, names.domain);
  const connection = await office.reconciliation.createConnection(actor, tenantId, {
    name: connectionName,
    kind: 'scim',
    organization: root.slug,
    roles: [{ everyone: 'user' }],
  });
  const principal = operatorPrincipal(installation.operator, tenantId, organizationId);
  const token = { name: 'sandbox' };
  const scim = await office.access.createToken(principal, { ...token, kind: 'scim', connectionId: connection.id });
  const admin = await office.access.createToken(principal, { ...token, kind: 'api', organizationId, role: 'admin' });
  const place = { tenantId, organizationId, connectionId: connection.id, domain: names.domain };
  await fill(installation, place, size);
  return {
    scimUrl: `${installation.origin}/scim/v2/${connection.id}`,
    scimToken: scim.text,
    adminToken: admin.text,
    organizationId,
  };
}

type Place = Pick<Preload, 'tenantId' | 'organizationId' | 'connectionId' | 'domain'>;

async function fill(installation: Installation, place: Place, size: Size): Promise<void> {
  if (size.users === 0 && size.groups === 0) return;
  await using db = openSandboxDb(installation.databaseUrl);
  const [rule] = await db.db.tenant(
    place.tenantId,
    (tx) => tx.sql<{ id: string }[]>`
      select id from role_mappings where tenant_id = ${place.tenantId} and connection_id = ${place.connectionId}`,
  );
  if (rule === undefined) throw new Error('The connection has no role mapping.');
  await preload(
    db.db,
    {
      ...place,
      connectionName,
      ruleId: rule.id,
      users: size.users,
      groups: size.groups,
      bigGroupMembers: size.hasBigGroup ? bigGroupMembers : 0,
    },
    (text) => process.stderr.write(`${text}\n`),
  );
}

function openSandboxDb(url: string): { readonly db: Db } & AsyncDisposable {
  const log = pino({ level: 'warn' }, pino.destination({ fd: 2, sync: true }));
  const db = openDb({ url, max: 2, applicationName: 'sandbox', log });
  return { db, [Symbol.asyncDispose]: () => db.close() };
}

async function stopOf(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => {
    stopped.resolve();
  });
  await stopped.promise;
}
