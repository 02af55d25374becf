/** Proof of absence: only an answered question proves anything. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import { failureOf, startHarness } from '../../../test/simulators/entra/harness.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { AbsenceVerdict } from '../contract/contract.ts';
import { proveByIds } from './absence.ts';
import { entraConnector } from './entra.ts';
import type { GraphSession } from './graph-session.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness({ seed: 41 });
});
afterEach(() => {
  harness.simulator.clearFaults();
  harness.simulator.clearRequests();
});
afterAll(async () => harness.stop());

async function prove(anchors: readonly string[], kind: 'user' | 'group' = 'user', verdicts: AbsenceVerdict[] = []) {
  const { clock, settings, secrets } = harness;
  const connector = entraConnector({ clock, random: () => 0.5 });
  const request = { settings, secrets, attributes: [], signal: AbortSignal.timeout(10_000) };
  for await (const verdict of connector.proveAbsent(request, kind, anchors)) verdicts.push(verdict);
  return new Map(verdicts.map(({ anchor, verdict }) => [anchor, verdict]));
}

test('present, soft-deleted, permanently deleted, of the other kind: each is told apart from the living', async () => {
  const { tenant } = harness.simulator;
  const [living, soft, hard] = ['a', 'b', 'c'].map((name) => tenant.createUser({ displayName: name }));
  const group = tenant.createGroup({ displayName: 'g' });
  tenant.softDelete(soft ?? '');
  tenant.hardDelete(hard ?? '');
  const verdicts = await prove([living ?? '', soft ?? '', hard ?? '', group, 'not-an-id', living ?? '']);
  expect(Object.fromEntries(verdicts)).toEqual({
    [living ?? '']: 'present',
    [soft ?? '']: 'deleted',
    [hard ?? '']: 'deleted',
    [group]: 'deleted',
    'not-an-id': 'unknown',
  });
});

test('asks for a thousand at a time', async () => {
  const ids = Array.from({ length: 2_001 }, () => harness.simulator.random.guid());
  expect((await prove(ids)).size).toBe(2_001);
  const asked = harness.simulator.requests.filter((request) => request.route === 'getByIds');
  expect(asked.map((request) => (JSON.parse(request.body) as { ids: string[] }).ids.length)).toEqual([1_000, 1_000, 1]);
  expect(asked.every((request) => request.method === 'POST' && request.body.includes('"types":["user"]'))).toBe(true);
});

test.each(['server_error', 'html', 'empty_object', 'truncated', 'missing_value', 'throttle', 'redirect'] as const)(
  '%s without end: throws, and no verdict is given',
  async (type) => {
    harness.simulator.fault({ route: 'getByIds', type, times: Infinity });
    const verdicts: AbsenceVerdict[] = [];
    const error = await failureOf(prove([harness.simulator.random.guid()], 'user', verdicts));
    expect(isRollcallError(error), String(error)).toBe(true);
    expect(verdicts).toEqual([]);
  },
);

test('a missing permission throws, and no verdict is given', async () => {
  harness.simulator.app.permissions = ['User.Read.All'];
  const verdicts: AbsenceVerdict[] = [];
  const error = await failureOf(prove([harness.simulator.random.guid()], 'group', verdicts));
  harness.simulator.app.permissions = ['User.Read.All', 'GroupMember.Read.All'];
  expect(isRollcallError(error, 'directory_permission')).toBe(true);
  expect(verdicts).toEqual([]);
});

test('an answer in parts throws: the rest would look deleted', async () => {
  const postForPage = async () => ({ value: [], '@odata.nextLink': 'https://graph.test/more' });
  const session = { graphUrl: 'https://graph.test', postForPage } as unknown as GraphSession;
  const proving = (async () => {
    for await (const verdict of proveByIds(session, 'user', [harness.simulator.random.guid()])) {
      expect(verdict).toBeUndefined();
    }
  })();
  expect(isRollcallError(await failureOf(proving), 'directory_protocol')).toBe(true);
});
