/** The manager of a user, where a mapping asks for it: whole in every upsert, though pages say it only when it changed. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import { cursorOf, failureOf, startHarness } from '../../../test/simulators/entra/harness.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { Cursor, DirectoryEvent } from '../contract/contract.ts';
import { managerIn } from './managers.ts';

let harness: Harness;
const users: string[] = [];
let [first, second, boss] = ['', '', ''];

beforeEach(async () => {
  harness = await startHarness({ seed: 81, behavior: { userPageSize: 10 } });
  const { tenant } = harness.simulator;
  users.splice(0);
  for (let index = 0; index < 50; index += 1) users.push(tenant.createUser({ displayName: `U${index}` }));
  [first = '', second = '', boss = ''] = users;
  tenant.setManager(first, boss);
});
afterEach(async () => harness.stop());

const read = async (cursor: Cursor | null = null) => harness.read(cursor, { attributes: ['manager'] });

const managers = (events: readonly DirectoryEvent[]): Record<string, unknown> =>
  Object.fromEntries(
    events.flatMap((event) =>
      event.type === 'upsert' && event.object.kind === 'user'
        ? [[event.object.anchor, event.object.attributes['manager'] ?? null]]
        : [],
    ),
  );

test('a full read has it for everybody who has one, and asks nothing further', async () => {
  const seen = managers(await read());
  expect(seen[first]).toBe(boss);
  expect(Object.values(seen).filter((manager) => manager !== null)).toHaveLength(1);
  expect(harness.simulator.requests.some((request) => request.route === 'batch')).toBe(false);
});

test('without a mapping that reads it nobody is asked for it', async () => {
  expect(managers(await harness.read())[first]).toBeNull();
});

test('a delta read keeps the manager of a user of whom something else changed', async () => {
  const { tenant } = harness.simulator;
  const cursor = cursorOf(await read());
  tenant.patchUser(first, { jobTitle: 'Changed' });
  tenant.patchUser(second, { jobTitle: 'Changed' });
  expect(managers(await read(cursor))).toEqual({ [first]: boss, [second]: null });
});

test('and sees one given, exchanged and taken away', async () => {
  const { tenant } = harness.simulator;
  const cursor = cursorOf(await read());
  tenant.setManager(second, boss);
  const given = await read(cursor);
  expect(managers(given)).toEqual({ [second]: boss });
  tenant.setManager(second, first);
  tenant.setManager(first, null);
  expect(managers(await read(cursorOf(given)))).toEqual({ [second]: first, [first]: null });
});

test('the users of a page are asked for in one request; throttled parts again, after the time they name', async () => {
  const cursor = cursorOf(await read());
  for (const user of users.slice(5)) harness.simulator.tenant.patchUser(user, { jobTitle: 'Changed' });
  harness.simulator.clearRequests();
  harness.simulator.fault({ route: 'users/manager', type: 'throttle', ordinal: 3, times: 2, retryAfter: '17' });
  harness.simulator.fault({ route: 'users/manager', type: 'server_error', ordinal: 30 });
  const slept = harness.clock.sleptMs.length;
  expect(Object.keys(managers(await read(cursor)))).toHaveLength(45);
  const batches = harness.simulator.requests.filter((request) => request.route === 'batch');
  // pages of ten users: a batch for each of five, and one more for each that had parts to ask again
  expect(batches.length).toBeLessThanOrEqual(7);
  expect(harness.clock.sleptMs.slice(slept)).toContain(17_000);
});

test.each(['html', 'empty_object', 'truncated'] as const)(
  'a batch with the lasting fault %s completes nothing',
  async (type) => {
    const cursor = cursorOf(await read());
    harness.simulator.tenant.patchUser(first, { jobTitle: 'Changed' });
    harness.simulator.fault({ route: 'batch', type, times: Infinity });
    const seen: DirectoryEvent[] = [];
    const error = await failureOf(harness.read(cursor, { attributes: ['manager'], seen }));
    expect(isRollcallError(error), String(error)).toBe(true);
    expect(seen.some((event) => event.type === 'complete')).toBe(false);
  },
);

test('one user read now has it too', async () => {
  const [found] = await harness.find({ anchor: first }, { attributes: ['manager'] });
  expect(found?.object.attributes['manager']).toBe(boss);
});

test('what a page says of it', () => {
  const id = '6EA91A8D-E32E-41A1-B7BD-D2D185EED0E0';
  expect(managerIn({})).toBeUndefined();
  expect(managerIn({ 'manager@delta': [{ id, '@removed': { reason: 'deleted' } }] })).toBeNull();
  expect(managerIn({ 'manager@delta': [{ id: 'x' }, { id }] })).toBe(id.toLowerCase());
});
