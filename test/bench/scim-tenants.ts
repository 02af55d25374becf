/**
 * Goal P11: many tenants at once, each at the 25 requests a second that Entra's gallery asks for, with its mix of calls
 * in an incremental cycle. Requests leave when they are due, whatever the answers take, and their time counts from then.
 */
import { createClient, percentilesOf, type Answer, type Call, type Client } from './load.ts';
import { cpuSeconds } from './processes.ts';
import { tell, type Report } from './report.ts';
import type { Sandbox } from './sandbox.ts';
import { newUser, patchOf } from './scim-bench.ts';

const perSecond = 25;
const seconds = 10;
/** Until what the service compiles, and each connection plans, is ready: the first seconds cost a tenth more. */
const warmUpSeconds = 15;
/** Of twenty: most are questions, every fourth is a change, some are new people, one is a member of a group. */
const mix = 'qqqgqpqqcqqpqgqqpqcm';

type Tenant = {
  readonly client: Client;
  readonly number: number;
  readonly ids: readonly string[];
  readonly groupId: string;
};

export async function measureTenants(sandbox: Sandbox, report: Report, usersPerTenant: number): Promise<void> {
  const places = sandbox.tenants ?? [];
  if (places.length === 0) return;
  tell(`${places.length} tenants at ${perSecond} requests a second each`);
  const tenants = await Promise.all(
    places.map(async ({ scimUrl, scimToken }, index) => openTenant(createClient(scimUrl, scimToken, 8), index + 1)),
  );
  try {
    await play(tenants, usersPerTenant, warmUpSeconds, 'warm');
    const before = cpuSeconds(sandbox.pid);
    const { durations, failures } = await play(tenants, usersPerTenant, seconds, 'run');
    const after = cpuSeconds(sandbox.pid);
    const percentileMs = percentilesOf(durations);
    report('tenants_requests', durations.length, 'requests');
    report('tenants_errors', failures.length, 'answers', 0);
    if (failures[0] !== undefined) tell(`the first failure: ${failures[0]}`);
    report('tenants_p50', percentileMs(50), 'ms');
    report('tenants_p95', percentileMs(95), 'ms');
    report('tenants_p99', percentileMs(99), 'ms', 50);
    report('tenants_cpu_node', ((after.node - before.node) * 1000) / durations.length, 'ms/request');
    report('tenants_cpu_all', ((after.all - before.all) * 1000) / durations.length, 'ms/request');
  } finally {
    for (const { client } of tenants) client.close();
  }
}

async function openTenant(client: Client, number: number): Promise<Tenant> {
  const ids = await readIds(client, '/Users?count=100&attributes=id');
  const [groupId] = await readIds(client, '/Groups?count=1&attributes=id');
  if (groupId === undefined) throw new Error(`Tenant ${number} has no group.`);
  return { client, number, ids, groupId };
}

async function readIds(client: Client, path: string): Promise<string[]> {
  const { status, body } = await client.send({ method: 'GET', path });
  if (status !== 200) throw new Error(`${path}: ${status} ${body.slice(0, 200)}`);
  return ((JSON.parse(body) as { Resources?: { id: string }[] }).Resources ?? []).map(({ id }) => id);
}

async function play(
  tenants: readonly Tenant[],
  usersPerTenant: number,
  forSeconds: number,
  round: string,
): Promise<{ readonly durations: Float64Array; readonly failures: string[] }> {
  const total = tenants.length * perSecond * forSeconds;
  const durations = new Float64Array(total);
  const failures: string[] = [];
  const startedAt = performance.now();
  const gapMs = 1000 / (tenants.length * perSecond);
  const open: Promise<void>[] = [];
  const send = async (index: number): Promise<void> => {
    const tenant = tenants[index % tenants.length];
    if (tenant === undefined) return;
    const { call, isExpected } = callOf(tenant, Math.floor(index / tenants.length), usersPerTenant, round);
    const answer = await tenant.client
      .send(call)
      .catch((error: unknown): Answer => ({ status: 0, body: String(error) }));
    durations[index] = performance.now() - (startedAt + index * gapMs);
    if (!isExpected(answer.status)) failures.push(`${call.method} ${answer.status} ${answer.body.slice(0, 200)}`);
  };
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor((performance.now() - startedAt) / gapMs) + 1);
    while (sent < due) open.push(send(sent++));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(open);
  return { durations, failures };
}

function callOf(
  { ids, groupId, number }: Tenant,
  turn: number,
  usersPerTenant: number,
  round: string,
): { readonly call: Call; readonly isExpected: (status: number) => boolean } {
  const id = ids[(turn * 31) % ids.length] ?? '';
  const name = `user${((turn * 37) % usersPerTenant) + 1}@tenant-${number}.example`;
  switch (mix.charAt((turn + number) % mix.length)) {
    case 'g':
      return { call: { method: 'GET', path: `/Users/${id}` }, isExpected: (status) => status === 200 };
    case 'p':
      return {
        call: {
          method: 'PATCH',
          path: `/Users/${id}`,
          body: patchOf({ op: 'Replace', path: 'displayName', value: `${round} ${turn}` }),
        },
        isExpected: (status) => status === 200,
      };
    case 'c':
      return {
        call: { method: 'POST', path: '/Users', body: newUser(`${round}${turn}x`, number) },
        isExpected: (status) => status === 201,
      };
    case 'm':
      return {
        call: {
          method: 'PATCH',
          path: `/Groups/${groupId}`,
          body: patchOf({ op: turn % 2 === 0 ? 'Remove' : 'Add', path: 'members', value: [{ value: id }] }),
        },
        isExpected: (status) => status === 204,
      };
    default:
      return {
        call: { method: 'GET', path: `/Users?filter=${encodeURIComponent(`userName eq "${name}"`)}` },
        isExpected: (status) => status === 200,
      };
  }
}
