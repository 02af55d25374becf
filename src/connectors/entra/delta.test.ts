/** Full and delta reads against a directory that changes, also while it is being read. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Harness, Mirror } from '../../../test/simulators/entra/harness.ts';
import {
  applyTo,
  cursorOf,
  effective,
  emptyMirror,
  failureOf,
  startHarness,
} from '../../../test/simulators/entra/harness.ts';
import { liveOneDay } from '../../../test/simulators/entra/live-one-day.ts';
import { anyMutation, mutate } from '../../../test/simulators/entra/mutate.ts';
import { createSampleTenant } from '../../../test/simulators/entra/sample-tenant.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';

vi.setConfig({ testTimeout: 30_000 });

const dayMs = 24 * 3_600_000;

async function withHarness(work: (harness: Harness) => Promise<void>): Promise<void> {
  const harness = await startHarness({ seed: 11, behavior: { userPageSize: 4, groupPageSize: 3, edgesPerPage: 5 } });
  try {
    await work(harness);
  } finally {
    await harness.stop();
  }
}

const upserts = (events: readonly DirectoryEvent[]) =>
  events.flatMap((event) => (event.type === 'upsert' ? [event.object] : []));

describe('delta reads', () => {
  let harness: Harness;
  beforeAll(async () => {
    harness = await startHarness({ seed: 3 });
    createSampleTenant(harness.simulator, { users: 40, sharedCount: 5 });
  });
  afterAll(async () => harness.stop());

  test('nothing happened: no events but complete, with a new position', async () => {
    const cursor = cursorOf(await harness.read());
    const events = await harness.read(cursor);
    expect(events.map((event) => event.type)).toEqual(['complete']);
    expect(cursorOf(events)).not.toEqual(cursor);
  });

  test('a changed user comes whole, with the attributes that did not change', async () => {
    const cursor = cursorOf(await harness.read());
    const id = harness.simulator.tenant.createUser({
      displayName: 'Mira Whole',
      userPrincipalName: 'mira@contoso.example',
      mail: 'mira@contoso.example',
      department: 'IT',
    });
    const created = await harness.read(cursor);
    harness.simulator.tenant.patchUser(id, { department: 'Legal', mail: null });
    const [changed] = upserts(await harness.read(cursorOf(created)));
    expect(changed).toMatchObject({ anchor: id, name: 'Mira Whole', locator: 'mira@contoso.example', isActive: true });
    expect(changed?.attributes['department']).toBe('Legal');
    expect(changed?.attributes['mail'] ?? null).toBeNull();
  });

  test('soft-deleted is a restorable tombstone, permanently deleted is not, restored is an upsert', async () => {
    const { tenant } = harness.simulator;
    const [soft, hard] = ['soft', 'hard'].map((name) => tenant.createUser({ displayName: name, accountEnabled: true }));
    const group = tenant.createGroup({ displayName: 'short-lived' });
    const first = cursorOf(await harness.read());
    tenant.softDelete(soft ?? '');
    tenant.hardDelete(hard ?? '');
    tenant.deleteGroup(group);
    const second = await harness.read(first);
    const tombstones = second.flatMap((event) =>
      event.type === 'tombstone' ? [[event.anchor, event.isRestorable]] : [],
    );
    expect(Object.fromEntries(tombstones)).toEqual({ [soft ?? '']: true, [hard ?? '']: false, [group]: false });
    tenant.restore(soft ?? '');
    expect(upserts(await harness.read(cursorOf(second))).map((object) => object.anchor)).toEqual([soft]);
  });

  test('members come and go by anchor; devices are counted, not kept', async () => {
    const { tenant } = harness.simulator;
    const [ann, bob] = ['Ann', 'Bob'].map((name) => tenant.createUser({ displayName: name }));
    const group = tenant.createGroup({ displayName: 'pair' });
    tenant.addMember(group, ann ?? '');
    const cursor = cursorOf(await harness.read());
    tenant.removeMember(group, ann ?? '');
    tenant.addMember(group, bob ?? '');
    tenant.addMember(group, '0f0f0f0f-0000-4000-8000-000000000001', 'device');
    const events = await harness.read(cursor);
    const changes = events.flatMap((event) => (event.type === 'members' ? [[event.change, event.memberAnchors]] : []));
    expect(changes).toEqual([
      ['remove', [ann]],
      ['add', [bob]],
    ]);
    expect(events.find((event) => event.type === 'notice')).toMatchObject({ code: 'members_ignored' });
  });

  test('a day of the sample company arrives as one of each kind of change', async () => {
    const sample = createSampleTenant(harness.simulator, { users: 60, domain: 'day.example' });
    const full = await harness.read();
    const day = liveOneDay(harness.simulator, sample);
    const events = await harness.read(cursorOf(full));
    const seen = new Set(
      events.flatMap((event) =>
        event.type === 'upsert' ? [event.object.anchor] : event.type === 'tombstone' ? [event.anchor] : [],
      ),
    );
    for (const { anchors, description } of day) {
      for (const anchor of anchors) expect(seen.has(anchor), description).toBe(true);
    }
    const mirror = applyTo(applyTo(emptyMirror(), full), events);
    expect(effective(mirror)).toEqual(effective(applyTo(emptyMirror(), await harness.read())));
  });
});

describe('the position', () => {
  let harness: Harness;
  beforeAll(async () => {
    harness = await startHarness({ seed: 5 });
    harness.simulator.tenant.createUser({ displayName: 'One' });
  });
  afterAll(async () => harness.stop());

  const reasonOf = (events: readonly DirectoryEvent[]): string => {
    expect(events).toHaveLength(1);
    const [event] = events;
    return event?.type === 'reset' ? event.reason : `no reset: ${event?.type}`;
  };

  test('another tenant, another selection, another Graph address, another shape: reset, and no request', async () => {
    const cursor = cursorOf(await harness.read());
    harness.simulator.clearRequests();
    const tenantId = '11111111-1111-4111-8111-111111111111';
    expect(reasonOf(await harness.read(cursor, { settings: { tenantId } }))).toContain('tenant');
    expect(reasonOf(await harness.read(cursor, { attributes: ['companyName'] }))).toContain('properties');
    const graphUrl = 'https://graph.elsewhere.test';
    expect(reasonOf(await harness.read(cursor, { settings: { graphUrl } }))).toContain('address');
    expect(reasonOf(await harness.read({ cookie: 'of another connector' }))).toContain('position');
    expect(harness.simulator.requests).toEqual([]);
  });

  test('a link that leads elsewhere is not followed, although it stands in our own position', async () => {
    const cursor = {
      ...cursorOf(await harness.read()),
      usersDeltaLink: 'https://graph.attacker.test/v1.0/users/delta?x',
    };
    harness.simulator.clearRequests();
    expect(reasonOf(await harness.read(cursor))).toContain('address');
    expect(harness.simulator.requests).toEqual([]);
  });

  test('older than six days: reset before the service forgets it; within six days it works', async () => {
    const cursor = cursorOf(await harness.read());
    harness.clock.advance(5.9 * dayMs);
    expect((await harness.read(cursor)).at(-1)?.type).toBe('complete');
    harness.clock.advance(0.2 * dayMs);
    expect(reasonOf(await harness.read(cursor))).toContain('six days');
  });
});

describe('changes while a full read goes on', () => {
  test('a member who leaves a group after the page that showed it is not in the result', async () => {
    await withHarness(async (harness) => {
      const { tenant } = harness.simulator;
      const users = Array.from({ length: 40 }, (_, index) => tenant.createUser({ displayName: `U${index}` }));
      const group = tenant.createGroup({ displayName: 'team' });
      for (const user of users) tenant.addMember(group, user);
      let left = '';
      const events = await readChanging(harness, (event) => {
        if (left !== '' || event.type !== 'members') return;
        left = event.memberAnchors[0] ?? '';
        tenant.removeMember(group, left);
      });
      const { edges } = effective(applyTo(emptyMirror(), events));
      expect(edges[group]).toEqual(users.filter((user) => user !== left).toSorted());
      expect(events.some((event) => event.type === 'members' && event.change === 'remove')).toBe(false);
    });
  });

  test('a user deleted meanwhile is not in the result', async () => {
    await withHarness(async (harness) => {
      const { tenant } = harness.simulator;
      const users = Array.from({ length: 24 }, (_, index) => tenant.createUser({ displayName: `U${index}` }));
      let left = '';
      const events = await readChanging(harness, (event) => {
        if (left !== '' || event.type !== 'upsert') return;
        left = event.object.anchor;
        tenant.softDelete(left);
      });
      expect([...applyTo(emptyMirror(), events).objects.keys()].toSorted()).toEqual(
        users.filter((user) => user !== left).toSorted(),
      );
    });
  });
});

/** A full read whose reader changes the directory as events arrive. */
async function readChanging(harness: Harness, react: (event: DirectoryEvent) => void): Promise<DirectoryEvent[]> {
  const seen: DirectoryEvent[] = [];
  const push = seen.push.bind(seen);
  seen.push = (...events) => {
    events.forEach(react);
    return push(...events);
  };
  return harness.read(null, { seen });
}

test('a full read that shows far fewer users than are counted says so; a count that fails stops nothing', async () => {
  await withHarness(async (harness) => {
    const { simulator } = harness;
    const users = Array.from({ length: 30 }, (_, index) => simulator.tenant.createUser({ displayName: `U${index}` }));
    expect((await harness.read()).some((event) => event.type === 'notice')).toBe(false);
    // the index still counts whom the round no longer shows
    for (const user of users.slice(0, 12)) simulator.tenant.softDelete(user);
    simulator.behavior.indexLag = 12;
    const fewer = await harness.read();
    expect(fewer.filter((event) => event.type === 'notice')).toMatchObject([{ code: 'count_differs' }]);
    simulator.fault({ route: 'users/$count', type: 'html', times: Infinity });
    const unknown = await harness.read();
    expect(unknown.filter((event) => event.type === 'notice')).toMatchObject([{ code: 'count_unknown' }]);
    expect(unknown.at(-1)?.type).toBe('complete');
  });
});

test('runs ask with low priority, so that Graph throttles them before what people wait for', async () => {
  await withHarness(async (harness) => {
    await harness.read();
    const pages = harness.simulator.requests.filter((request) => request.route === 'users/delta');
    expect(pages.map((request) => request.headers['x-ms-throttle-priority'])).toEqual(['low']);
  });
});

describe('permissions', () => {
  test('users without accountEnabled are a missing permission, not active users', async () => {
    await withHarness(async (harness) => {
      harness.simulator.app.permissions = ['User.ReadBasic.All', 'GroupMember.Read.All'];
      harness.simulator.tenant.createUser({ displayName: 'Dora', accountEnabled: false });
      const error = await failureOf(harness.read());
      expect(isRollcallError(error, 'directory_permission') && error.remedy).toContain('User.Read.All');
    });
  });

  test('one user without it among others is skipped and named', async () => {
    await withHarness(async (harness) => {
      const { tenant } = harness.simulator;
      tenant.createUser({ displayName: 'Ann' });
      const odd = tenant.createUser({ displayName: 'Odd', accountEnabled: null });
      const events = await harness.read();
      expect(upserts(events).map((object) => object.name)).toEqual(['Ann']);
      expect(events.find((event) => event.type === 'notice')).toMatchObject({ anchor: odd });
    });
  });

  test('groups without names are a missing permission, not groups without names', async () => {
    await withHarness(async (harness) => {
      harness.simulator.tenant.createGroup({});
      const error = await failureOf(harness.read());
      expect(isRollcallError(error, 'directory_permission') && error.remedy).toContain('GroupMember.Read.All');
    });
  });

  test('a group that hides its members is named, unless they are seen', async () => {
    await withHarness(async (harness) => {
      const { tenant, app } = harness.simulator;
      const group = tenant.createGroup({ displayName: 'hiding', visibility: 'HiddenMembership' });
      for (let index = 0; index < 12; index += 1) {
        tenant.addMember(group, tenant.createUser({ displayName: `U${index}` }));
      }
      const hidden = await harness.read();
      expect(hidden.filter((event) => event.type === 'notice')).toMatchObject([
        { code: 'members_hidden', anchor: group },
      ]);
      app.permissions = [...app.permissions, 'Member.Read.Hidden'];
      const seen = await harness.read();
      expect(seen.some((event) => event.type === 'notice')).toBe(false);
      expect(effective(applyTo(emptyMirror(), seen)).edges[group]).toHaveLength(12);
    });
  });

  test('a missing group permission is named', async () => {
    await withHarness(async (harness) => {
      harness.simulator.app.permissions = ['User.Read.All'];
      const error = await failureOf(harness.read());
      expect(isRollcallError(error, 'directory_permission') && error.message).toContain('GroupMember.Read.All');
    });
  });
});

describe('any schedule of changes, faults and reads', () => {
  const step = fc.record({ change: anyMutation, isRead: fc.boolean() });
  const faults = fc.constantFrom('server_error', 'truncated', 'html', 'gone', 'neither_link', null);

  test('one full read and then deltas know what a fresh full read knows', { timeout: 60_000 }, async () => {
    const schedule = fc.array(fc.tuple(step, faults), { minLength: 5, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(schedule, async (steps) => {
        await withHarness(async (harness) => {
          const mirror: Mirror = emptyMirror();
          let cursor = null;
          for (const [{ change, isRead }, fault] of steps) {
            mutate(harness.simulator, change);
            if (!isRead) continue;
            if (fault !== null) harness.simulator.fault({ route: 'users/delta', type: fault });
            const events = await readOrNothing(harness, cursor);
            harness.simulator.clearFaults();
            if (events.at(-1)?.type !== 'complete') continue;
            if (cursor === null) mirror.objects.clear();
            applyTo(mirror, events);
            cursor = cursorOf(events);
          }
          const last = await harness.read(cursor);
          expect(effective(applyTo(mirror, last))).toEqual(effective(applyTo(emptyMirror(), await harness.read())));
        });
      }),
      { numRuns: 10, seed: 20_260_302 },
    );
  });
});

/** As the engine does: events of a read that did not complete are thrown away. */
async function readOrNothing(harness: Harness, cursor: Parameters<Harness['read']>[0]): Promise<DirectoryEvent[]> {
  try {
    return await harness.read(cursor);
  } catch (error) {
    expect(isRollcallError(error)).toBe(true);
    return [];
  }
}
