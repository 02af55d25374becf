/** Whatever goes wrong on the way: the read is either as good as without the fault, or it throws and completes nothing. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { FaultType, RouteName } from '../../../test/simulators/entra/faults.ts';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import {
  applyTo,
  cursorOf,
  effective,
  emptyMirror,
  failureOf,
  startHarness,
} from '../../../test/simulators/entra/harness.ts';
import { createSampleTenant } from '../../../test/simulators/entra/sample-tenant.ts';
import { isRollcallError } from '../../core/errors.ts';
import { systemClock } from '../../platform/clock.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import { entraConnector } from './entra.ts';

// Many reads in one test, and machines are busy at times.
vi.setConfig({ testTimeout: 30_000 });

let harness: Harness;
let faultFree: ReturnType<typeof effective>;

const mirrorOf = (events: readonly DirectoryEvent[]) => effective(applyTo(emptyMirror(), events));

beforeAll(async () => {
  harness = await startHarness({ seed: 7, behavior: { userPageSize: 50, groupPageSize: 15, edgesPerPage: 150 } });
  createSampleTenant(harness.simulator, { users: 90, sharedCount: 5 });
  faultFree = mirrorOf(await harness.read());
});
afterEach(() => {
  harness.simulator.clearFaults();
  harness.simulator.clearRequests();
});
afterAll(async () => harness.stop());

/** Faults of one moment that a second attempt heals. */
const passing: readonly FaultType[] = [
  'server_error',
  'bad_gateway_html',
  'unavailable',
  'throttle',
  'html',
  'empty_object',
  'malformed',
  'truncated',
  'reset',
  'reset_in_body',
  'unauthorized',
  'missing_value',
  'value_not_array',
  'not_found',
];
/** Faults that nothing heals but a new read. */
const ending: readonly [FaultType, string][] = [
  ['redirect', 'directory_protocol'],
  ['neither_link', 'directory_protocol'],
  ['both_links', 'directory_protocol'],
  ['repeat_link', 'directory_protocol'],
  ['foreign_link', 'directory_protocol'],
  ['plain_http_link', 'directory_protocol'],
  ['null_id', 'directory_protocol'],
  ['expired_page_token', 'directory_incomplete'],
  ['gone', 'directory_history_lost'],
  ['sync_state_not_found', 'directory_history_lost'],
];
const routes: readonly RouteName[] = ['users/delta', 'groups/delta'];
const places = routes.flatMap((route) => [1, 2].map((ordinal) => ({ route, ordinal })));
const latePlaces = places.filter((place) => place.ordinal === 2);

describe('a fault on the first or second page of users or groups', () => {
  test.each(passing)('%s, once: the read says what it says without it', async (type) => {
    for (const place of places) {
      harness.simulator.clearFaults();
      harness.simulator.fault({ ...place, type });
      const events = await harness.read();
      expect(mirrorOf(events), `${place.route} ${place.ordinal}`).toEqual(faultFree);
      expect(events.filter((event) => event.type === 'complete')).toHaveLength(1);
    }
  });

  test.each(passing.filter((type) => type !== 'throttle'))('%s, for ever: throws and never completes', async (type) => {
    for (const place of latePlaces) {
      harness.simulator.clearFaults();
      harness.simulator.fault({ ...place, type, times: Infinity });
      const seen: DirectoryEvent[] = [];
      const error = await failureOf(harness.read(null, { seen }));
      expect(isRollcallError(error) && error.code.startsWith('directory_'), String(error)).toBe(true);
      expect(seen.some((event) => event.type === 'complete')).toBe(false);
    }
  });

  test.each(ending)('%s: throws %s and never completes', async (type, code) => {
    for (const place of places) {
      harness.simulator.clearFaults();
      harness.simulator.fault({ ...place, type });
      const seen: DirectoryEvent[] = [];
      const error = await failureOf(harness.read(null, { seen }));
      expect(isRollcallError(error) ? error.code : error, `${place.route} ${place.ordinal}`).toBe(code);
      expect(seen.some((event) => event.type === 'complete' || event.type === 'reset')).toBe(false);
    }
  });

  test.each(['duplicate_ids', 'member_without_type'] as const)('%s: changes nothing', async (type) => {
    for (const place of places) {
      harness.simulator.clearFaults();
      harness.simulator.fault({ ...place, type });
      const { objects, edges } = mirrorOf(await harness.read());
      expect({ objects, edges }).toEqual(faultFree);
    }
  });

  test('an answer of 100 MB is cut off, not collected', async () => {
    harness.simulator.fault({ route: 'users/delta', type: 'huge', times: Infinity });
    const error = await failureOf(harness.read());
    expect(isRollcallError(error, 'directory_limit'), String(error)).toBe(true);
  });

  test('a delta read whose history is lost says reset, and nothing after it', async () => {
    const cursor = cursorOf(await harness.read());
    for (const type of ['gone', 'sync_state_not_found'] as const) {
      for (const route of routes) {
        harness.simulator.clearFaults();
        harness.simulator.fault({ route, type });
        const events = await harness.read(cursor);
        expect(events.at(-1)?.type).toBe('reset');
        expect(events.some((event) => event.type === 'complete')).toBe(false);
      }
    }
  });
});

describe('links', () => {
  test('a link to another host is never requested, and the token never leaves', async () => {
    harness.simulator.fault({ route: 'users/delta', type: 'foreign_link' });
    const error = await failureOf(harness.read());
    expect(String(error)).toContain('graph.attacker.test');
    // refused by us: a request that finds nobody there would name the place too
    expect(isRollcallError(error, 'directory_protocol'), String(error)).toBe(true);
    expect(harness.simulator.requests.every((request) => !request.url.includes('attacker'))).toBe(true);
  });

  test('a repeated nextLink ends the round at its second sight', async () => {
    harness.simulator.fault({ route: 'groups/delta', type: 'repeat_link', ordinal: 2, times: Infinity });
    await failureOf(harness.read());
    const asked = harness.simulator.requests.filter((request) => request.route === 'groups/delta');
    expect(asked.length).toBeLessThanOrEqual(3);
  });
});

describe('throttling', () => {
  test('Retry-After is obeyed to the second, and said', async () => {
    const before = harness.clock.sleptMs.length;
    harness.simulator.fault({ route: 'users/delta', type: 'throttle', ordinal: 2, retryAfter: '37' });
    await harness.read();
    expect(harness.clock.sleptMs.slice(before)).toEqual([37_000]);
    expect(harness.waits.at(-1)).toMatch(/^Waiting 37 s for Microsoft/);
  });

  test('a Retry-After that is a date is obeyed; one that makes no sense becomes a pause of our own', async () => {
    const before = harness.clock.sleptMs.length;
    const date = new Date(harness.clock.now().getTime() + 20_000).toUTCString();
    harness.simulator.fault({ route: 'users/delta', type: 'throttle', retryAfter: date });
    await harness.read();
    harness.simulator.fault({ route: 'users/delta', type: 'throttle', retryAfter: 'garbage' });
    await harness.read();
    expect(harness.clock.sleptMs.slice(before)).toEqual([20_000, 500]);
  });

  test('waiting adds up to ten minutes at most; then the run is put off with the time that was asked', async () => {
    harness.simulator.fault({ route: 'groups/delta', type: 'throttle', times: Infinity, retryAfter: '200' });
    const before = harness.clock.sleptMs.length;
    const error = await failureOf(harness.read());
    expect(isRollcallError(error, 'directory_throttled') && error.retryAfterSeconds).toBe(200);
    expect(harness.clock.sleptMs.slice(before)).toEqual([200_000, 200_000, 200_000]);
  });

  test('a tenant with few resource units makes the read slower, not different', async () => {
    harness.simulator.throttle({ units: 2, perMs: 10_000 });
    const [before, asked] = [harness.clock.sleptMs.length, harness.simulator.requests.length];
    const events = await harness.read();
    harness.simulator.throttle(null);
    expect(mirrorOf(events)).toEqual(faultFree);
    const waits = harness.clock.sleptMs.slice(before);
    expect(waits.length).toBeGreaterThan(1);
    // Nobody asks a second time before the time that was named: each refusal costs one request.
    expect(harness.simulator.requests.length - asked).toBeLessThan(4 * waits.length + 10);
  });

  test('an abort ends a request under way at once', async () => {
    const aborter = new AbortController();
    const reason = new Error('stopped by the test');
    harness.simulator.fault({ route: 'users/delta', type: 'hang' });
    const reading = harness.read(null, { signal: aborter.signal });
    const timer = setTimeout(() => aborter.abort(reason), 50);
    expect(await failureOf(reading)).toBe(reason);
    clearTimeout(timer);
  });

  test('an abort ends a wait for Microsoft at once', async () => {
    const aborter = new AbortController();
    const reason = new Error('stopped by the test');
    harness.simulator.fault({ route: 'users/delta', type: 'throttle', retryAfter: '300' });
    const connector = entraConnector({ clock: systemClock, random: Math.random });
    const { settings, secrets } = harness;
    const reading = (async () => {
      const onWait = (): void => aborter.abort(reason);
      const request = { settings, secrets, attributes: [], signal: aborter.signal, onWait };
      for await (const event of connector.read({ ...request, mode: 'full', cursor: null })) {
        expect(event.type).not.toBe('complete');
      }
    })();
    expect(await failureOf(reading)).toBe(reason);
    await harness.simulator.idle();
  });
});
