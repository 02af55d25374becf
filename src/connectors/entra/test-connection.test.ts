/** "Test connection" names the one thing that is wrong, in words an admin can act on. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Harness, ReadOptions } from '../../../test/simulators/entra/harness.ts';
import { startHarness } from '../../../test/simulators/entra/harness.ts';
import { createSampleTenant } from '../../../test/simulators/entra/sample-tenant.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import type { TestStep } from '../contract/contract.ts';
import { entraConnector } from './entra.ts';
import type { EntraSettings } from './entra.ts';
import type { ConnectOptions } from './https-exchange.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness({ seed: 33 });
  createSampleTenant(harness.simulator, { users: 30, sharedCount: 5 });
});
afterEach(() => {
  harness.simulator.app.permissions = ['User.Read.All', 'GroupMember.Read.All'];
  harness.simulator.clearFaults();
});
afterAll(async () => harness.stop());

const dayMs = 86_400_000;

const factsOf = (steps: readonly TestStep[], name: string): unknown => steps.find((step) => step.step === name)?.facts;

async function failedStep(options: ReadOptions = {}): Promise<TestStep> {
  const steps = await harness.test(options);
  const last = steps.at(-1);
  expect(steps.filter((step) => step.outcome === 'failed')).toHaveLength(1);
  if (last?.outcome !== 'failed') throw new Error('The last step did not fail.');
  return last;
}

async function stepsWith(connect: ConnectOptions, settings: EntraSettings): Promise<TestStep[]> {
  const connector = entraConnector({ clock: harness.clock, random: Math.random, connect });
  const request = { settings, secrets: harness.secrets, attributes: [], signal: AbortSignal.timeout(10_000) };
  const steps: TestStep[] = [];
  for await (const step of connector.test(request)) steps.push(step);
  return steps;
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

const allSteps = 'dns tcp tls token read_users read_groups read_app_roles page deletions clock credential counts'.split(
  ' ',
);

test('a healthy connection passes every step, and counts', async () => {
  const { app, enterpriseApp } = harness.simulator;
  app.permissions = [...app.permissions, 'Application.Read.All'];
  app.secretExpiresAt = new Date(harness.clock.now().getTime() + 200 * dayMs);
  const role = enterpriseApp.addRole('Administrator');
  enterpriseApp.assign(role, '11111111-1111-4111-8111-111111111111', 'User');
  const steps = await harness.test({ settings: { appRolesOf: enterpriseApp.appId } });
  app.secretExpiresAt = null;
  expect(steps.map((step) => [step.step, step.outcome])).toEqual(allSteps.map((step) => [step, 'ok']));
  expect(factsOf(steps, 'counts')).toEqual({ users: 31, groups: 32 });
  expect(factsOf(steps, 'read_app_roles')).toEqual({ application: 'Contoso Portal', roles: 1, assignments: 1 });
  expect(factsOf(steps, 'tls')).toMatchObject({
    [new URL(harness.simulator.url).host]: {
      protocol: 'TLSv1.3',
      fingerprint256: expect.stringMatching(/^[0-9A-F:]+$/),
    },
  });
});

test('a few users come along as they were read, with the attributes the mapping asks for', async () => {
  const steps = await harness.test({ attributes: ['employeeId'] });
  const sample = steps.find((step) => step.step === 'page')?.sample ?? [];
  expect(sample).toHaveLength(5);
  for (const user of sample) {
    expect(user).toMatchObject({ kind: 'user', locator: expect.stringContaining('@contoso.example') });
  }
});

describe('the end of the credential', () => {
  test.each([
    [25, 'warning', /ends on .*in 25 days.*new one soon/],
    [31, 'ok', /ends on .*in 31 days/],
    [-1, 'failed', /has expired/],
  ] as const)('%i days away: %s', async (days, outcome, words) => {
    const { app } = harness.simulator;
    app.permissions = [...app.permissions, 'Application.Read.All'];
    app.secretExpiresAt = new Date(harness.clock.now().getTime() + days * dayMs + dayMs / 2);
    const steps = await harness.test();
    app.secretExpiresAt = null;
    const step = steps.find((one) => one.step === (days < 0 ? 'token' : 'credential'));
    expect(step).toMatchObject({ outcome, message: expect.stringMatching(words) });
  });

  test('that nobody knows is skipped with the way to learn it; one that was entered counts', async () => {
    const unknown = (await harness.test()).find((step) => step.step === 'credential');
    expect(unknown).toMatchObject({ outcome: 'skipped', message: expect.stringContaining('secrets.endsAt') });
    const secrets = { kind: 'client_secret', clientSecret: new Secret(harness.simulator.app.clientSecret) } as const;
    const entered = await harness.test({ secrets: { ...secrets, endsAt: '2026-03-20' } });
    expect(factsOf(entered, 'credential')).toMatchObject({ source: 'entered', days: 17 });
  });
});

test('a clock that is wrong is said, with by how much and in which direction', async () => {
  for (const [aheadMs, words] of [
    [240_000, /4 minutes ahead of/],
    [-240_000, /4 minutes behind/],
  ] as const) {
    const clock = { ...harness.clock, now: () => new Date(harness.clock.now().getTime() + aheadMs) };
    const connector = entraConnector({ clock, random: Math.random });
    const { settings, secrets } = harness;
    const steps: TestStep[] = [];
    const request = { settings, secrets, attributes: [], signal: AbortSignal.timeout(10_000) };
    for await (const step of connector.test(request)) steps.push(step);
    expect(steps.find((step) => step.step === 'clock')).toMatchObject({
      outcome: 'warning',
      message: expect.stringMatching(words),
    });
  }
});

test('deletions that can not be seen are a warning, and groups that hide their members too', async () => {
  const { simulator } = harness;
  const hiding = simulator.tenant.createGroup({ displayName: 'hiding', visibility: 'HiddenMembership' });
  simulator.fault({ route: 'deletedItems', type: 'html', times: Infinity });
  const steps = await harness.test();
  simulator.tenant.deleteGroup(hiding);
  expect(steps.find((step) => step.step === 'deletions')?.outcome).toBe('warning');
  const groups = steps.find((step) => step.step === 'read_groups');
  expect(groups).toMatchObject({ outcome: 'warning', message: expect.stringContaining('Member.Read.Hidden') });
});

test('app roles of an application that is not there fail at their step', async () => {
  harness.simulator.app.permissions = [...harness.simulator.app.permissions, 'Application.Read.All'];
  const step = await failedStep({ settings: { appRolesOf: '11111111-1111-4111-8111-111111111111' } });
  expect(step).toMatchObject({ step: 'read_app_roles', message: expect.stringContaining('appRolesOf') });
});

test('a name that does not resolve fails at dns', async () => {
  const nowhere = 'https://login.does-not-exist.invalid';
  const step = await failedStep({ settings: { authority: nowhere } });
  expect(step.step).toBe('dns');
  expect(step.message).toContain('login.does-not-exist.invalid could not be found');
});

test('a closed port fails at tcp', async () => {
  const graphUrl = `https://127.0.0.1:${await closedPort()}`;
  const step = await failedStep({ settings: { graphUrl } });
  expect(step.step).toBe('tcp');
  expect(step.message).toContain('refused the connection');
  expect(step.raw).toBe('ECONNREFUSED');
});

test('a certificate of an unknown authority fails at tls, and says how to trust it', async () => {
  const { caPem: _caPem, ...settings } = harness.settings;
  const steps = await stepsWith({}, settings);
  expect(steps.at(-1)).toMatchObject({ step: 'tls', outcome: 'failed' });
  expect(steps.at(-1)?.message).toMatch(/issued by an authority this server does not know.*caPem/);
  const connector = entraConnector({ clock: harness.clock, random: Math.random });
  const request = { settings, secrets: harness.secrets, attributes: [], signal: AbortSignal.timeout(10_000) };
  const slept = harness.clock.sleptMs.length;
  await expect(async () => {
    for await (const event of connector.read({ ...request, mode: 'full', cursor: null })) expect(event).toBeUndefined();
  }).rejects.toMatchObject({ code: 'directory_tls' });
  expect(harness.clock.sleptMs).toHaveLength(slept);
});

test('a certificate for another name fails at tls', async () => {
  const other = harness.simulator.url.replace('127.0.0.1', 'login.other.test');
  const dialer = createDialer({
    allowPrivateRanges: ['127.0.0.0/8'],
    resolveName: async () => [{ address: '127.0.0.1', family: 4 }],
  });
  const steps = await stepsWith({ lookup: dialer.lookup }, { ...harness.settings, authority: other, graphUrl: other });
  expect(steps.at(-1)).toMatchObject({ step: 'tls', outcome: 'failed', raw: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  expect(steps.at(-1)?.message).toContain('for another name');
});

test('through the dialer, with the private range allowed, everything works', async () => {
  const dialer = createDialer({ allowPrivateRanges: ['127.0.0.0/8'] });
  const steps = await stepsWith({ lookup: dialer.lookup }, harness.settings);
  expect(steps.map((step) => step.step)).toEqual(allSteps.filter((step) => step !== 'read_app_roles'));
  expect(steps.filter((step) => step.outcome === 'failed' || step.outcome === 'warning')).toEqual([]);
});

test('a wrong secret fails at token with its number', async () => {
  const step = await failedStep({ secret: 'wrong' });
  expect(step.step).toBe('token');
  expect(step.raw).toMatch(/^AADSTS7000215/);
});

test('a missing user or group permission fails at its step and is named', async () => {
  harness.simulator.app.permissions = ['GroupMember.Read.All'];
  expect(await failedStep()).toMatchObject({ step: 'read_users', message: expect.stringContaining('User.Read.All') });
  harness.simulator.app.permissions = ['User.Read.All'];
  expect(await failedStep()).toMatchObject({
    step: 'read_groups',
    message: expect.stringContaining('GroupMember.Read.All'),
  });
});

test('a permission that hides whether users are enabled fails at page', async () => {
  harness.simulator.app.permissions = ['User.ReadBasic.All', 'GroupMember.Read.All'];
  expect(await failedStep()).toMatchObject({ step: 'page', message: expect.stringContaining('ReadBasic') });
});

test('a property that Graph does not track fails with advice', async () => {
  const step = await failedStep({ settings: { properties: ['skills'] } });
  expect(step.message).toContain('properties');
});

test('counting is a help, not a condition', async () => {
  harness.simulator.fault({ route: 'users/$count', type: 'html', times: Infinity });
  const steps = await harness.test();
  expect(steps.at(-1)).toMatchObject({ step: 'counts', outcome: 'warning' });
});

test('throttled: says so within seconds instead of waiting', async () => {
  harness.simulator.fault({ route: 'users/delta', type: 'throttle', times: Infinity, retryAfter: '120' });
  const step = await failedStep();
  expect(step.message).toContain('wait longer than 5 seconds');
});

test('an address the operator does not allow is refused before anything is sent, literal or by name', async () => {
  const dialer = createDialer({ resolveName: async () => [{ address: '10.1.2.3', family: 4 }] });
  const connector = entraConnector({ clock: harness.clock, random: Math.random, connect: { lookup: dialer.lookup } });
  harness.simulator.clearRequests();
  for (const authority of [harness.simulator.url, 'https://login.internal.example']) {
    const settings = { ...harness.settings, authority, graphUrl: authority };
    const request = { settings, secrets: harness.secrets, attributes: [], signal: AbortSignal.timeout(10_000) };
    const steps = await stepsWith({ lookup: dialer.lookup }, settings);
    expect(steps).toHaveLength(1);
    expect(steps[0]).toMatchObject({ step: 'dns', outcome: 'failed', raw: 'address_not_allowed' });
    const events = connector.read({ ...request, mode: 'full', cursor: null });
    await expect(async () => {
      for await (const event of events) expect(event).toBeUndefined();
    }).rejects.toThrow(/not allowed/);
  }
  expect(harness.simulator.requests).toEqual([]);
});
