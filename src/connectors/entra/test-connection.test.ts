/** "Test connection" names the one thing that is wrong, in words an admin can act on. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Harness, ReadOptions } from '../../../test/simulators/entra/harness.ts';
import { startHarness } from '../../../test/simulators/entra/harness.ts';
import { createSampleTenant } from '../../../test/simulators/entra/sample-tenant.ts';
import { createDialer } from '../../platform/dialer.ts';
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

test('a healthy connection passes every step, and counts', async () => {
  const steps = await harness.test();
  expect(steps.map((step) => [step.step, step.outcome])).toEqual(
    ['dns', 'tcp', 'tls', 'token', 'read_users', 'read_groups', 'page', 'counts'].map((step) => [step, 'ok']),
  );
  expect(steps.at(-1)?.facts).toEqual({ users: 31, groups: 32 });
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
  expect(steps.map((step) => step.outcome)).toEqual(Array.from({ length: 8 }, () => 'ok'));
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
