/** One exchange: whole, in time, of bounded size, and never somewhere else. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { EntraSimulator } from '../../../test/simulators/entra/entra.ts';
import { startEntraSimulator } from '../../../test/simulators/entra/entra.ts';
import { failureOf } from '../../../test/simulators/entra/harness.ts';
import type { HttpRequest, HttpsChannel } from './https-exchange.ts';
import { openHttpsChannel } from './https-exchange.ts';

let simulator: EntraSimulator;
let channel: HttpsChannel;
beforeAll(async () => {
  simulator = await startEntraSimulator();
});
beforeEach(() => {
  channel = openHttpsChannel({}, simulator.caPem);
});
afterEach(async () => {
  channel.close();
  await simulator.idle();
  simulator.clearFaults();
});
afterAll(async () => simulator.stop());

const request = (change: Partial<HttpRequest> = {}): HttpRequest => ({
  url: `${simulator.url}/v1.0/organization`,
  method: 'GET',
  headers: {},
  timeoutMs: 5_000,
  maxBytes: 100_000,
  signal: new AbortController().signal,
  ...change,
});

test('an answer that does not come in time is an unreachable host, not an abort', async () => {
  simulator.fault({ route: 'organization', type: 'hang' });
  const error = await failureOf(channel.send(request({ timeoutMs: 50 })));
  expect(error).toMatchObject({ code: 'directory_unreachable', raw: 'ETIMEDOUT' });
  expect(String(error)).toContain('did not answer within 0.05 seconds');
});

test('an answer above the limit is cut off where it passes it', async () => {
  simulator.fault({ route: 'organization', type: 'huge' });
  expect(await failureOf(channel.send(request()))).toMatchObject({ code: 'directory_limit' });
});

test('a body that ends too early is an error, never a short body', async () => {
  for (const type of ['truncated', 'reset_in_body', 'reset'] as const) {
    simulator.fault({ route: 'organization', type });
    expect(await failureOf(channel.send(request()))).toMatchObject({ code: 'directory_unreachable' });
  }
});

test('a redirect is an answer like any other: nothing follows it', async () => {
  simulator.clearRequests();
  simulator.fault({ route: 'organization', type: 'redirect' });
  const reply = await channel.send(request());
  expect(reply.status).toBe(302);
  expect(simulator.requests).toHaveLength(1);
});

test("the caller's abort comes back as the caller's own reason", async () => {
  const reason = new Error('enough');
  simulator.fault({ route: 'organization', type: 'hang' });
  const aborter = new AbortController();
  const sending = channel.send(request({ signal: aborter.signal }));
  setTimeout(() => aborter.abort(reason), 20);
  expect(await failureOf(sending)).toBe(reason);
  expect(await failureOf(channel.send(request({ signal: AbortSignal.abort(reason) })))).toBe(reason);
});
