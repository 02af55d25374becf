/**
 * One full read of Graph pages in a process of its own, so that time, CPU and memory are its own: `connector` is ours,
 * `bare` the least that reads them (https and JSON.parse, two rounds side by side). Prints its figures as JSON.
 */
import '../../src/first.ts';
// loaded with the first sign-in: once in the life of a worker, and no part of reading
import '../../src/connectors/entra/application-tokens.ts';
import { readFileSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { entraConnector } from '../../src/connectors/entra/entra.ts';
import { entraSettingsSchema } from '../../src/connectors/entra/settings.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { Secret } from '../../src/platform/secrets.ts';

export type EntraFigures = {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly users: number;
  readonly groups: number;
  readonly members: number;
  readonly peakMb: number;
  readonly idleMb: number;
};

type Counts = { users: number; groups: number; members: number };
const [mode = 'connector', url = ''] = process.argv.slice(2);
const caPem = readFileSync(new URL('../simulators/entra/certificates/test-ca.pem', import.meta.url), 'utf8');

async function readByConnector(): Promise<Counts> {
  const connector = entraConnector({ clock: systemClock, random: Math.random });
  const settings = entraSettingsSchema.parse({
    tenantId: '8f9e2c1a-0000-4000-8000-000000000000',
    clientId: '5b1d7c3e-0000-4000-8000-000000000000',
    authority: url,
    graphUrl: url,
    caPem,
  });
  const counts: Counts = { users: 0, groups: 0, members: 0 };
  const events = connector.read({
    settings,
    secrets: { kind: 'client_secret', clientSecret: new Secret('bench') },
    mode: 'full',
    cursor: null,
    attributes: [],
    signal: new AbortController().signal,
  });
  for await (const event of events) {
    if (event.type === 'upsert') counts[event.object.kind === 'user' ? 'users' : 'groups'] += 1;
    else if (event.type === 'members') counts.members += event.memberAnchors.length;
    else if (event.type === 'complete') return counts;
  }
  throw new Error('The read did not complete.');
}

type Page = { readonly value: readonly Record<string, unknown>[]; readonly '@odata.nextLink'?: string };

async function getPage(agent: Agent, address: string): Promise<Page> {
  return new Promise((resolve, reject) => {
    get(address, { agent }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')) as Page));
    }).on('error', reject);
  });
}

async function readBare(): Promise<Counts> {
  const agent = new Agent({ keepAlive: true, ca: caPem });
  const counts: Counts = { users: 0, groups: 0, members: 0 };
  const round = async (resource: 'users' | 'groups'): Promise<void> => {
    for (let next: string | undefined = `${url}/v1.0/${resource}/delta`; next !== undefined;) {
      const page: Page = await getPage(agent, next);
      counts[resource] += page.value.length;
      for (const item of page.value) counts.members += ((item['members@delta'] ?? []) as unknown[]).length;
      next = page['@odata.nextLink'];
    }
  };
  await Promise.all([round('users'), round('groups')]);
  agent.destroy();
  return counts;
}

const idleMb = process.resourceUsage().maxRSS / 1_000;
const before = process.cpuUsage();
const startedAt = performance.now();
const counts = await (mode === 'bare' ? readBare() : readByConnector());
const seconds = (performance.now() - startedAt) / 1_000;
const { user, system } = process.cpuUsage(before);
const figures: EntraFigures = {
  seconds,
  ...counts,
  cpuSeconds: (user + system) / 1e6,
  peakMb: process.resourceUsage().maxRSS / 1_000,
  idleMb,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
