/** The simulator keeps to what is documented, also where that is awkward: a wrong simulator proves wrong clients right. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EntraSimulator } from './entra.ts';
import { startEntraSimulator } from './entra.ts';
import { createVirtualClock } from './harness.ts';
import { createSampleTenant } from './sample-tenant.ts';

const clock = createVirtualClock();
let simulator: EntraSimulator;
let token = '';

type Answer = {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: Record<string, unknown>;
};

async function ask(path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, ...options.headers };
    const url = path.startsWith('https://') ? path : `${simulator.url}${path}`;
    const outgoing = request(url, { ca: simulator.caPem, method: options.method ?? 'GET', headers, agent: false });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text };
        resolve({ status: incoming.statusCode ?? 0, headers: { ...incoming.headers }, body });
      });
    });
    outgoing.end(options.body);
  });
}

const codeOf = (answer: Answer): unknown => (answer.body['error'] as { code?: unknown } | undefined)?.code;

async function round(path: string): Promise<{ pages: Record<string, unknown>[][]; deltaLink: string }> {
  const pages: Record<string, unknown>[][] = [];
  for (let url = path; ;) {
    const { body } = await ask(url);
    pages.push(body['value'] as Record<string, unknown>[]);
    const next = body['@odata.nextLink'];
    expect(typeof next === 'string' ? 1 : 0).not.toBe(typeof body['@odata.deltaLink'] === 'string' ? 1 : 0);
    if (typeof next !== 'string') return { pages, deltaLink: String(body['@odata.deltaLink']) };
    url = next;
  }
}

beforeAll(async () => {
  simulator = await startEntraSimulator({
    seed: 9,
    now: () => clock.now(),
    behavior: { userPageSize: 10, edgesPerPage: 6, emptyPageEvery: 3 },
  });
  createSampleTenant(simulator, { users: 25, sharedCount: 3 });
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: simulator.app.clientId,
    client_secret: simulator.app.clientSecret,
    scope: `${simulator.url}/.default`,
  });
  simulator.app.expiresInSeconds = 30 * 24 * 3_600;
  const { body } = await ask(`/${simulator.tenantId}/oauth2/v2.0/token`, { method: 'POST', body: form.toString() });
  token = String(body['access_token']);
});
afterAll(async () => simulator.stop());

describe('who may ask', () => {
  test('no token, a foreign token and an expired token are 401 with WWW-Authenticate', async () => {
    for (const authorization of ['', 'Bearer made-up']) {
      const answer = await ask('/v1.0/users/delta', { headers: { authorization } });
      expect([answer.status, codeOf(answer)]).toEqual([401, 'InvalidAuthenticationToken']);
      expect(answer.headers['www-authenticate']).toContain('Bearer');
    }
  });

  test("another cloud's scope and another grant are refused at the token endpoint", async () => {
    const form = { client_id: simulator.app.clientId, client_secret: simulator.app.clientSecret };
    const post = async (more: Record<string, string>) =>
      ask(`/${simulator.tenantId}/oauth2/v2.0/token`, {
        method: 'POST',
        body: new URLSearchParams({ ...form, ...more }).toString(),
      });
    const scope = 'https://graph.microsoft.us/.default';
    expect((await post({ grant_type: 'client_credentials', scope })).body['error_codes']).toEqual([70011]);
    expect((await post({ grant_type: 'password', scope })).status).toBe(400);
  });
});

describe('what a delta query refuses', () => {
  test.each([
    ['/v1.0/users/delta?$top=5', 400],
    ['/v1.0/users/delta?$orderby=displayName', 400],
    ['/v1.0/groups/delta?$expand=members', 400],
    ["/v1.0/users/delta?$filter=displayName%20eq%20'x'", 400],
    ['/v1.0/users/delta?$select=skills', 501],
    ['/v1.0/users/delta?$deltatoken=made-up', 400],
    ['/v1.0/users/delta?$skiptoken=made-up', 400],
    ['/v1.0/users/$count', 400],
    ['/v1.0/nothing', 404],
  ])('%s is %i', async (path, status) => {
    expect((await ask(path)).status).toBe(status);
  });

  test('a link of users does not work for groups, and a link with options added is refused', async () => {
    const { body } = await ask('/v1.0/users/delta?$select=displayName');
    const next = String(body['@odata.nextLink']);
    expect((await ask(next.replace('/users/', '/groups/'))).status).toBe(400);
    expect((await ask(`${next}&$select=mail`)).status).toBe(400);
    // Decoded once, as careless code does, it is another token.
    expect((await ask(next.replaceAll('%2B', '+'))).status).toBe(400);
  });
});

describe('what a delta query says', () => {
  test('everybody once, on pages of which some are empty, and only what was selected', async () => {
    const { pages } = await round('/v1.0/users/delta?$select=displayName,mail');
    expect(pages.some((page) => page.length === 0)).toBe(true);
    const users = pages.flat();
    expect(users).toHaveLength(26);
    expect(new Set(users.map((user) => user['id'])).size).toBe(26);
    for (const user of users)
      expect(Object.keys(user).every((key) => ['id', 'displayName', 'mail'].includes(key))).toBe(true);
  });

  test('a big group repeats over pages with other members; a group without members has no such property', async () => {
    const lonely = simulator.tenant.createGroup({ displayName: 'lonely' });
    const { pages } = await round('/v1.0/groups/delta?$select=displayName,members');
    const counts = new Map<unknown, number>();
    for (const group of pages.flat()) counts.set(group['id'], (counts.get(group['id']) ?? 0) + 1);
    expect(Math.max(...counts.values())).toBeGreaterThan(1);
    expect(pages.flat().find((group) => group['id'] === lonely)).not.toHaveProperty('members@delta');
    for (const page of pages) expect(new Set(page.map((group) => group['id'])).size).toBe(page.length);
  });

  test('the same link gives the same page again', async () => {
    const first = await ask('/v1.0/users/delta?$select=displayName');
    const next = String(first.body['@odata.nextLink']);
    expect((await ask(next)).body['value']).toEqual((await ask(next)).body['value']);
  });

  test('a soft-deleted member is silent in groups/delta, before and after the restore', async () => {
    const { tenant } = simulator;
    const user = tenant.createUser({ displayName: 'Silent' });
    const group = tenant.createGroup({ displayName: 'quiet' });
    tenant.addMember(group, user);
    const { deltaLink } = await round('/v1.0/groups/delta?$select=displayName,members');
    tenant.softDelete(user);
    const afterDelete = await round(deltaLink);
    expect(afterDelete.pages.flat()).toEqual([]);
    tenant.restore(user);
    expect((await round(afterDelete.deltaLink)).pages.flat()).toEqual([]);
  });

  test('only selected properties count as changes, and latest starts without data', async () => {
    const user = simulator.tenant.createUser({ displayName: 'Quiet Change' });
    const { pages, deltaLink } = await round('/v1.0/users/delta?$select=displayName&$deltatoken=latest');
    expect(pages.flat()).toEqual([]);
    simulator.tenant.patchUser(user, { jobTitle: 'unselected' });
    const silent = await round(deltaLink);
    expect(silent.pages.flat()).toEqual([]);
    simulator.tenant.patchUser(user, { displayName: null });
    expect((await round(silent.deltaLink)).pages.flat()).toEqual([{ id: user, displayName: null }]);
  });

  test('a link lives seven days', async () => {
    const { deltaLink } = await round('/v1.0/users/delta?$select=displayName');
    clock.advance(6.9 * 24 * 3_600_000);
    expect((await ask(deltaLink)).status).toBe(200);
    clock.advance(0.2 * 24 * 3_600_000);
    expect(codeOf(await ask(deltaLink))).toBe('syncStateNotFound');
  });
});

test('an empty bucket answers 429 with the time to wait, and more for those who do not', async () => {
  simulator.throttle({ units: 2, perMs: 10_000 });
  const statuses: number[] = [];
  const waits: number[] = [];
  for (let count = 0; count < 5; count += 1) {
    const answer = await ask('/v1.0/organization');
    statuses.push(answer.status);
    if (answer.status === 429) waits.push(Number(answer.headers['retry-after']));
  }
  clock.advance(13_000);
  statuses.push((await ask('/v1.0/organization')).status);
  simulator.throttle(null);
  expect(statuses).toEqual([200, 200, 429, 429, 429, 200]);
  expect(waits).toEqual([10, 11, 12]);
});

describe('the sample company', () => {
  test('is the same for the same seed, and has its odd ones', async () => {
    const [first, second] = await Promise.all([startEntraSimulator({ seed: 4 }), startEntraSimulator({ seed: 4 })]);
    const [one, two] = [createSampleTenant(first), createSampleTenant(second)];
    await Promise.all([first.stop(), second.stop()]);
    expect(one).toEqual(two);
    expect(one.people.length).toBeGreaterThanOrEqual(300);
    expect(new Set(one.people.map((person) => person.userPrincipalName)).size).toBe(one.people.length);
    for (const person of one.people) expect(person.userPrincipalName).toMatch(/^[a-z0-9.-]+@contoso\.example$/);
    const [left, right] = one.odd.sameMail.map((id) => one.people.find((person) => person.id === id)?.mail);
    expect(left).toBe(right);
    expect(one.people.find((person) => person.id === one.odd.withoutMail)?.mail).toBeNull();
    expect(one.shared).toHaveLength(25);
  });
});

test('the stand-alone simulator says in one line how to reach it, and ends on SIGTERM', async () => {
  const program = fileURLToPath(new URL('main.ts', import.meta.url));
  const child = spawn(process.execPath, [program, '--users', '20'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const said = JSON.parse(line.toString('utf8')) as Record<string, unknown>;
  expect(said).toMatchObject({ users: 21, clientSecret: expect.any(String), url: expect.stringMatching(/^https:/) });
  expect(readFileSync(String(said['caFile']), 'utf8')).toBe(simulator.caPem);
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});
