/**
 * Schedules of faults, drawn at random, printed and shrunk when one fails: whatever goes wrong and whenever, a read
 * that completes says what a read without faults says, and every other read fails cleanly with nothing complete.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EntraSimulator } from '../../../test/simulators/entra/entra.ts';
import type { Fault, FaultType, RouteName } from '../../../test/simulators/entra/faults.ts';
import type { Harness, Mirror } from '../../../test/simulators/entra/harness.ts';
import { applyTo, cursorOf, effective, emptyMirror, startHarness } from '../../../test/simulators/entra/harness.ts';
import { anyMutation, mutate } from '../../../test/simulators/entra/mutate.ts';
import { scale } from '../../../test/setup/full.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { Cursor, DirectoryEvent } from '../contract/contract.ts';

/** All but `hang`, which takes a real minute to notice. */
const faultTypes = [
  'server_error',
  'bad_gateway_html',
  'unavailable',
  'gateway_timeout',
  'throttle',
  'html',
  'empty_object',
  'malformed',
  'truncated',
  'reset',
  'reset_in_body',
  'redirect',
  'unauthorized',
  'missing_value',
  'value_not_array',
  'neither_link',
  'both_links',
  'repeat_link',
  'foreign_link',
  'plain_http_link',
  'null_id',
  'duplicate_ids',
  'member_without_type',
  'not_found',
  'expired_page_token',
  'gone',
  'gone_sync_state',
  'sync_state_not_found',
  'drip',
  'gzip',
  'huge',
  'json_bomb',
] as const satisfies readonly FaultType[];
const faultRoutes = [
  'users/delta',
  'groups/delta',
  'groups/members',
  'token',
  'servicePrincipals',
  'appRoleAssignedTo',
  'users/manager',
  'batch',
] as const satisfies readonly RouteName[];

const anyFault: fc.Arbitrary<Fault> = fc.record({
  // the pages weigh more: there are more of them
  route: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('users/delta' as const, 'groups/delta' as const) },
    { weight: 1, arbitrary: fc.constantFrom(...faultRoutes) },
  ),
  type: fc.constantFrom(...faultTypes),
  ordinal: fc.integer({ min: 1, max: 6 }),
  times: fc.constantFrom(1, 1, 1, 2, 7),
  retryAfter: fc.constantFrom('10', '200', 'soon', null),
});

const anySchedule = fc.record({
  seed: fc.nat(),
  hasAppRoles: fc.boolean(),
  before: fc.array(anyMutation, { minLength: 3, maxLength: 20 }),
  reads: fc.array(
    fc.record({
      mutations: fc.array(anyMutation, { maxLength: 4 }),
      faults: fc.array(anyFault, { maxLength: 4 }),
      isFull: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  ),
});
type Schedule = typeof anySchedule extends fc.Arbitrary<infer T> ? T : never;

/** What the engine keeps between reads: the mirror and the cursor, replaced together or not at all. */
type Kept = { readonly mirror: Mirror; readonly cursor: Cursor | null };

const copyOf = ({ objects, edges }: Mirror): Mirror => ({
  objects: new Map(objects),
  edges: new Map([...edges].map(([group, members]) => [group, new Set(members)])),
});

async function readInto(harness: Harness, kept: Kept, isFull: boolean, hasAppRoles: boolean): Promise<Kept> {
  const cursor = isFull ? null : kept.cursor;
  const settings = hasAppRoles ? { appRolesOf: harness.simulator.enterpriseApp.appId } : {};
  const seen: DirectoryEvent[] = [];
  try {
    // with app roles goes the manager: both need further requests
    await harness.read(cursor, { settings, seen, attributes: hasAppRoles ? ['manager'] : [] });
  } catch (error) {
    expect(isRollcallError(error) && error.code.startsWith('directory_'), String(error)).toBe(true);
    expect(seen.some((event) => event.type === 'complete' || event.type === 'reset')).toBe(false);
    return kept;
  }
  const last = seen.at(-1);
  expect(seen.filter((event) => event.type === 'complete' || event.type === 'reset')).toHaveLength(1);
  if (last?.type === 'reset') {
    expect(cursor).not.toBeNull();
    return { ...kept, cursor: null };
  }
  const mirror = cursor === null ? emptyMirror() : copyOf(kept.mirror);
  return { mirror: applyTo(mirror, seen), cursor: cursorOf(seen) };
}

function prepare(simulator: EntraSimulator): void {
  simulator.app.permissions = ['User.Read.All', 'GroupMember.Read.All', 'Application.Read.All'];
}

async function play({ seed, hasAppRoles, before, reads }: Schedule): Promise<void> {
  const behavior = { userPageSize: 3, groupPageSize: 2, edgesPerPage: 3, emptyPageEvery: 3 };
  const harness = await startHarness({ seed, behavior });
  try {
    prepare(harness.simulator);
    for (const change of before) mutate(harness.simulator, change);
    let kept: Kept = { mirror: emptyMirror(), cursor: null };
    for (const { mutations, faults, isFull } of reads) {
      for (const change of mutations) mutate(harness.simulator, change);
      for (const fault of faults) harness.simulator.fault(fault);
      const after = await readInto(harness, kept, isFull || kept.cursor === null, hasAppRoles);
      harness.simulator.clearFaults();
      const isComplete = after !== kept && after.cursor !== null;
      if (isComplete) await expectFaultFree(harness, after, hasAppRoles);
      kept = after;
    }
    const last = await readInto(harness, kept, false, hasAppRoles);
    await expectFaultFree(harness, last, hasAppRoles);
  } finally {
    await harness.stop();
  }
}

async function expectFaultFree(harness: Harness, kept: Kept, hasAppRoles: boolean): Promise<void> {
  const fresh = await readInto(harness, { mirror: emptyMirror(), cursor: null }, true, hasAppRoles);
  expect(effective(kept.mirror)).toEqual(effective(fresh.mirror));
}

test('any schedule of faults ends as one without, or fails cleanly', { timeout: 1_200_000 }, async () => {
  await fc.assert(fc.asyncProperty(anySchedule, play), { numRuns: scale(50, 2_000), seed: 20_261_122 });
});
