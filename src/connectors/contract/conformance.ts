/**
 * The suite every pull connector passes, whatever its protocol: one list of guarantees, one fixture per directory.
 * A fixture offers a connector with settings for a live throw-away directory, a handle to change that directory, and
 * ways to break a read midway. Call `describeConnectorConformance` from a test file of the connector's room.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isRollcallError } from '../../core/errors.ts';
import {
  readAll,
  requestOf,
  prove,
  testSteps,
  failureOf,
  expectNoCanary,
  testTimeoutMs,
  type ConformanceFixture,
  type Get,
} from './conformance-fixture.ts';
import { describeOne } from './conformance-one.ts';
import type { DirectoryEvent } from './contract.ts';

export { readAll } from './conformance-fixture.ts';
export type { BrokenRead, ConformanceFixture, DirectoryHandle, Snapshot } from './conformance-fixture.ts';

export function describeConnectorConformance<S, X>(
  name: string,
  makeFixture: () => Promise<ConformanceFixture<S, X>>,
): void {
  describe(`connector conformance: ${name}`, { timeout: testTimeoutMs }, () => {
    let made: ConformanceFixture<S, X> | undefined;
    const fixture = (): ConformanceFixture<S, X> => {
      if (made === undefined) throw new Error('The fixture did not start.');
      return made;
    };
    beforeAll(async () => {
      made = await makeFixture();
    }, testTimeoutMs);
    afterAll(async () => {
      await made?.stop();
    }, testTimeoutMs);

    describeReads(fixture);
    describeObjects(fixture);
    describeMembers(fixture);
    describeAbsence(fixture);
    describeOne(fixture);
    describeFailures(fixture);
  });
}

function describeReads<S, X>(fixture: Get<S, X>): void {
  test('a full read ends with exactly one complete(full), as its last event', async () => {
    const { completes, events } = await readAll(fixture());
    expect(completes.map((event) => event.mode)).toEqual(['full']);
    expect(events.at(-1)?.type).toBe('complete');
  });

  test('two reads of an unchanged directory say the same', async () => {
    const [first, second] = [await readAll(fixture()), await readAll(fixture())];
    expect([...second.objects.keys()].toSorted()).toEqual([...first.objects.keys()].toSorted());
    expect(Object.fromEntries(second.objects)).toEqual(Object.fromEntries(first.objects));
  });

  test('an aborted read throws and never completes', async () => {
    const aborter = new AbortController();
    const events: DirectoryEvent[] = [];
    const reading = (async () => {
      const request = { ...requestOf(fixture(), { signal: aborter.signal }), mode: 'full' as const, cursor: null };
      for await (const event of fixture().connector.read(request)) {
        events.push(event);
        aborter.abort(new Error('stopped by the test'));
      }
    })();
    await failureOf(reading);
    expect(events.some((event) => event.type === 'complete')).toBe(false);
  });

  test('a read whose signal is aborted beforehand throws at once', async () => {
    await failureOf(readAll(fixture(), { signal: AbortSignal.abort(new Error('already stopped')) }));
  });
}

function describeObjects<S, X>(fixture: Get<S, X>): void {
  test('a user keeps the anchor over a rename, and shows its new name', async () => {
    const { directory } = fixture();
    const anchor = await directory.addUser({ name: 'Rina Before', email: 'rina@example.org' });
    const before = (await readAll(fixture())).objects.get(anchor);
    await directory.renameUser(anchor, 'Rina After');
    const after = (await readAll(fixture())).objects.get(anchor);
    expect(before).toMatchObject({ kind: 'user', name: 'Rina Before', isActive: true, inactiveReason: null });
    expect(after?.name).toBe('Rina After');
    expect(after?.locator).not.toBe(before?.locator);
  });

  test('anchors are lower case', async () => {
    for (const anchor of (await readAll(fixture())).objects.keys()) expect(anchor).toBe(anchor.toLowerCase());
  });

  test('non-ASCII and reserved characters in names arrive unchanged', async () => {
    const { directory } = fixture();
    const names = ['Chloé Müller', '山田 太郎', 'Smith, "Jo" + Co <x>; #1 \\ a=b', 'Zoë 🦊'];
    const anchors: string[] = [];
    for (const name of names) anchors.push(await directory.addUser({ name }));
    const group = await directory.addGroup('Gruppe Ä, "B" + C \\ D');
    await directory.addMembers(group, anchors);
    const { objects, members } = await readAll(fixture());
    expect(anchors.map((anchor) => objects.get(anchor)?.name)).toEqual(names);
    expect(objects.get(group)?.name).toBe('Gruppe Ä, "B" + C \\ D');
    expect([...(members.get(group) ?? [])].toSorted()).toEqual(anchors.toSorted());
  });

  test('a changed and a cleared attribute are seen by the next read', async () => {
    const { directory, emailAttribute } = fixture();
    const anchor = await directory.addUser({ name: 'Mail Mover', email: 'one@example.org' });
    const emailNow = async () => (await readAll(fixture())).objects.get(anchor)?.attributes[emailAttribute] ?? null;
    expect(await emailNow()).toBe('one@example.org');
    await directory.setEmail(anchor, 'two@example.org');
    expect(await emailNow()).toBe('two@example.org');
    await directory.setEmail(anchor, null);
    expect(await emailNow()).toBeNull();
  });

  test('a disabled user is still read, as inactive, with a reason', async () => {
    const { directory } = fixture();
    const anchor = await directory.addUser({ name: 'Dora Disabled' });
    await directory.disableUser(anchor);
    const object = (await readAll(fixture())).objects.get(anchor);
    expect(object?.isActive).toBe(false);
    expect(object?.inactiveReason).toBeTruthy();
  });

  test('a deleted user is not in the next full read', async () => {
    const { directory } = fixture();
    const anchor = await directory.addUser({ name: 'Gone Soon' });
    expect((await readAll(fixture())).objects.has(anchor)).toBe(true);
    await directory.deleteUser(anchor);
    expect((await readAll(fixture())).objects.has(anchor)).toBe(false);
  });
}

function describeMembers<S, X>(fixture: Get<S, X>): void {
  test('members come after their group, and a removed member is gone from the next read', async () => {
    const { directory } = fixture();
    const [ann, bob] = [await directory.addUser({ name: 'Ann M' }), await directory.addUser({ name: 'Bob M' })];
    const group = await directory.addGroup('pair');
    await directory.addMembers(group, [ann, bob]);
    const first = await readAll(fixture());
    expect([...(first.members.get(group) ?? [])].toSorted()).toEqual([ann, bob].toSorted());
    const groupAt = first.events.findIndex((event) => event.type === 'upsert' && event.object.anchor === group);
    const membersAt = first.events.findIndex((event) => event.type === 'members' && event.groupAnchor === group);
    expect(groupAt).toBeGreaterThanOrEqual(0);
    expect(membersAt).toBeGreaterThan(groupAt);
    await directory.removeMembers(group, [ann]);
    expect([...((await readAll(fixture())).members.get(group) ?? [])]).toEqual([bob]);
  });

  test('nested and cyclic groups are reported as direct edges', async () => {
    const { directory } = fixture();
    const user = await directory.addUser({ name: 'Nested User' });
    const [outer, inner] = [await directory.addGroup('outer'), await directory.addGroup('inner')];
    await directory.addMembers(inner, [user]);
    await directory.addMembers(outer, [inner]);
    await directory.addMembers(inner, [outer]);
    const { members } = await readAll(fixture());
    expect([...(members.get(outer) ?? [])]).toEqual([inner]);
    expect([...(members.get(inner) ?? [])].toSorted()).toEqual([outer, user].toSorted());
  });

  test('a big group is complete, in events of at most 5,000 members', async () => {
    const { directory } = fixture();
    const anchors = await directory.addUsers('big', fixture().bigGroupSize ?? 1_700);
    const group = await directory.addGroup('everybody');
    await directory.addMembers(group, anchors);
    const { members, events } = await readAll(fixture());
    expect(members.get(group)?.size).toBe(anchors.length);
    for (const event of events) if (event.type === 'members') expect(event.memberAnchors.length).toBeLessThan(5_001);
  });
}

function describeAbsence<S, X>(fixture: Get<S, X>): void {
  test('deleted and never seen anchors are proven deleted, living ones present, each exactly once', async () => {
    const { directory, unknownAnchor } = fixture();
    const living = await directory.addUser({ name: 'Still Here' });
    const deleted = await directory.addUser({ name: 'Not Here' });
    await directory.deleteUser(deleted);
    const verdicts = await prove(fixture(), 'user', [living, deleted, unknownAnchor]);
    expect(Object.fromEntries(verdicts)).toEqual({
      [living]: 'present',
      [deleted]: 'deleted',
      [unknownAnchor]: 'deleted',
    });
  });

  test('a deleted group is proven deleted, a living one present', async () => {
    const { directory } = fixture();
    const [living, deleted] = [await directory.addGroup('living group'), await directory.addGroup('deleted group')];
    await directory.deleteGroup(deleted);
    const verdicts = await prove(fixture(), 'group', [deleted, living]);
    expect(Object.fromEntries(verdicts)).toEqual({ [living]: 'present', [deleted]: 'deleted' });
  });

  test('when the directory can not be asked, the verdict is unknown or the proof throws: never deleted', async () => {
    const { connector, unreachableSettings, unknownAnchor } = fixture();
    const request = requestOf(fixture(), { settings: unreachableSettings });
    const verdicts: string[] = [];
    try {
      for await (const { verdict } of connector.proveAbsent(request, 'user', [unknownAnchor])) verdicts.push(verdict);
    } catch (error) {
      expect(isRollcallError(error)).toBe(true);
    }
    expect(verdicts.every((verdict) => verdict === 'unknown')).toBe(true);
  });
}

function describeFailures<S, X>(fixture: Get<S, X>): void {
  test('a read that breaks midway throws and never completes', async () => {
    expect(fixture().brokenReads.length).toBeGreaterThan(0);
    for (const broken of fixture().brokenReads) {
      const prepared = await broken.prepare();
      const events: DirectoryEvent[] = [];
      const error = await failureOf(readAll(fixture(), prepared, events));
      await prepared.restore();
      expect.soft(isRollcallError(error) ? error.code : error, broken.name).toBe(broken.code);
      expect
        .soft(
          events.filter((event) => event.type === 'complete'),
          broken.name,
        )
        .toEqual([]);
      expectNoCanary(fixture().canaries, error);
    }
  });

  test('a wrong secret gives directory_auth and shows no secret', async () => {
    const error = await failureOf(readAll(fixture(), { secrets: fixture().wrongSecrets }));
    expect(isRollcallError(error, 'directory_auth'), String(error)).toBe(true);
    expectNoCanary(fixture().canaries, error);
  });

  test('an unreachable host gives directory_unreachable', async () => {
    const error = await failureOf(readAll(fixture(), { settings: fixture().unreachableSettings }));
    expect(isRollcallError(error, 'directory_unreachable'), String(error)).toBe(true);
  });

  test('test() says ok on a healthy connection, and yields failed instead of throwing on a bad one', async () => {
    const healthy = await testSteps(fixture(), {});
    expect(healthy.filter((step) => step.outcome === 'failed')).toEqual([]);
    expect(healthy.some((step) => step.outcome === 'ok')).toBe(true);
    const refused = await testSteps(fixture(), { secrets: fixture().wrongSecrets });
    const unreachable = await testSteps(fixture(), { settings: fixture().unreachableSettings });
    for (const steps of [refused, unreachable]) {
      expect(steps.filter((step) => step.outcome === 'failed')).toHaveLength(1);
      for (const step of steps) expectNoCanary(fixture().canaries, step);
    }
  });
}
