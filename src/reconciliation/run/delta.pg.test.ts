/** What increments say, and what the mirror ends with. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import {
  absent,
  complete,
  group,
  members,
  ScriptedDirectory,
  sweep,
  tombstone,
  user,
} from '../../../test/fakes/scripted-directory.ts';
import type { DirectoryEvent } from '../../connectors/contract/contract.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

type Scene = Engine & {
  readonly script: ScriptedDirectory;
  /** An increment that says this, approved whatever it wants. */
  delta(...events: readonly DirectoryEvent[]): Promise<void>;
  full(...events: readonly DirectoryEvent[]): Promise<void>;
  mirror(): Promise<unknown>;
  grantees(): Promise<(string | null)[]>;
};

/** Three users; Ann and Bob are Staff. */
async function createScene(...more: readonly DirectoryEvent[]): Promise<Scene> {
  const script = new ScriptedDirectory();
  const engine = await createEngine(database.db, {
    connector: script.connector(),
    document: {
      roles: [{ group: 'Staff', role: 'user' }],
      guards: { leaversSmall: { count: 50 }, groupLoss: { count: 50 } },
    },
  });
  const settle = async (read: 'full' | 'delta', events: readonly DirectoryEvent[]) => {
    script.says(...events, complete(read));
    const run = await engine.run('auto', read);
    if (run.status === 'planned' || run.status === 'held') await engine.approve(run);
    else expect(run.status).toBe('succeeded');
  };
  const scene: Scene = {
    ...engine,
    script,
    delta: (...events) => settle('delta', events),
    full: (...events) => settle('full', events),
    mirror: () => mirrorOf(engine),
    grantees: async () => (await engine.users()).filter((found) => found.roles.length > 0).map((found) => found.name),
  };
  await scene.full(...start, ...more);
  return scene;
}

const people = [user('ann'), user('bob'), user('cid')];
const start = [...people, group('staff', 'Staff'), members('staff', 'set', 'ann', 'bob')];

async function mirrorOf(engine: Engine): Promise<{ objects: Record<string, string>; staff: string[] }> {
  return database.db.tenant(engine.tenantId, async (tx) => {
    const objects = await tx.sql<{ anchor: string; name: string; standing: string }[]>`
      select anchor, display_name as name,
        case when deleted_at is not null then 'deleted' when absent_since is not null then 'absent' else 'live' end as standing
      from mirror_objects where connection_id = ${engine.connectionId} and kind = 'user' order by anchor`;
    const staff = await tx.sql<{ member: string }[]>`
      select member_anchor as member from mirror_edges
      where connection_id = ${engine.connectionId} and group_anchor = 'staff' order by 1`;
    return {
      objects: Object.fromEntries(objects.map((row) => [row.anchor, `${row.standing} ${row.name}`])),
      staff: staff.map((row) => row.member),
    };
  });
}

const everybodyAbsent = { ann: 'absent ann', bob: 'absent bob', cid: 'absent cid' };
const allLive = { ann: 'live ann', bob: 'live bob', cid: 'live cid' };

describe('members in an increment', () => {
  test.each<[string, DirectoryEvent[], string[]]>([
    ['added stand beside those who were there', [members('staff', 'add', 'cid')], ['ann', 'bob', 'cid']],
    ['removed go, and only they', [members('staff', 'remove', 'ann', 'nobody')], ['bob']],
    ['set replace all', [members('staff', 'set', 'cid')], ['cid']],
    ['set to none empty the group', [members('staff', 'set')], []],
    [
      'set and added in parts are the union',
      [members('staff', 'set', 'cid'), members('staff', 'add', 'ann')],
      ['ann', 'cid'],
    ],
    ['added before a set do not count', [members('staff', 'add', 'cid'), members('staff', 'set', 'ann')], ['ann']],
    [
      'added, then removed are out',
      [members('staff', 'add', 'cid'), members('staff', 'remove', 'cid')],
      ['ann', 'bob'],
    ],
    ['removed, then added are in', [members('staff', 'remove', 'ann'), members('staff', 'add', 'ann')], ['ann', 'bob']],
    [
      'said twice count once',
      [members('staff', 'add', 'cid', 'cid'), members('staff', 'add', 'cid')],
      ['ann', 'bob', 'cid'],
    ],
    ['of other groups change nothing here', [group('other'), members('other', 'set', 'cid')], ['ann', 'bob']],
  ])('%s', async (_what, events, staff) => {
    const scene = await createScene();
    await scene.delta(...events);
    expect(await scene.mirror()).toEqual({ objects: allLive, staff });
    expect(await scene.grantees()).toEqual(staff);
  });
});

test('who was absent and is named by a sweep is live again', async () => {
  const scene = await createScene();
  await scene.delta(sweep('user', 'ann', 'bob'));
  expect(await scene.mirror()).toMatchObject({ objects: { ...allLive, cid: 'absent cid' } });
  await scene.delta(sweep('user', 'ann', 'bob', 'cid'));
  expect(await scene.mirror()).toMatchObject({ objects: allLive });
});

describe('objects in an increment', () => {
  test.each<[string, DirectoryEvent[], Record<string, string>]>([
    ['who are not named stay as they are', [], allLive],
    ['of several words about one the last counts', [user('ann', { displayName: 'x' }), user('ann')], allLive],
    ['a tombstone deletes', [tombstone('ann')], { ...allLive, ann: 'deleted ann' }],
    ['a tombstone before an upsert does not', [tombstone('ann'), user('ann')], allLive],
    ['a tombstone after an upsert does', [user('ann'), tombstone('ann')], { ...allLive, ann: 'deleted ann' }],
    ['a tombstone of nobody known makes no object', [tombstone('zoe')], allLive],
    [
      'one who came and went in between stays a tombstone',
      [user('zoe'), tombstone('zoe')],
      { ...allLive, zoe: 'deleted zoe' },
    ],
    ['who left what is read is absent, not deleted', [absent('ann')], { ...allLive, ann: 'absent ann' }],
    [
      'whom a sweep does not name is absent, except who was read just now',
      [user('bob', { displayName: 'bob' }), sweep('user', 'ann'), sweep('user')],
      { ann: 'live ann', bob: 'live bob', cid: 'absent cid' },
    ],
    ['a sweep of groups says nothing about users', [sweep('group', 'staff')], allLive],
    ['a sweep that names nobody makes everybody absent', [sweep('user')], everybodyAbsent],
  ])('%s', async (_what, events, objects) => {
    const scene = await createScene();
    await scene.delta(...events);
    expect((await mirrorOf(scene)).objects).toEqual(objects);
    const active = (await scene.users()).filter((found) => found.status === 'active').map((found) => found.name);
    // absence without proof takes nothing away
    expect(active).toEqual(['ann', 'bob', 'cid'].filter((name) => objects[name]?.startsWith('deleted') === false));
  });
});

describe('a lost history', () => {
  test('makes the same run read in full, and what was said before the reset does not count', async () => {
    const scene = await createScene();
    scene.script.says(user('zoe'), tombstone('ann'), { type: 'reset', reason: 'the position expired' });
    await scene.full(...start);
    expect(scene.script.asked).toEqual(['full', 'full', 'full']);
    expect(await scene.mirror()).toEqual({ objects: allLive, staff: ['ann', 'bob'] });
  });

  test('a second time in the same run fails it', async () => {
    const scene = await createScene();
    scene.script.says({ type: 'reset', reason: 'gone' });
    scene.script.says({ type: 'reset', reason: 'gone' });
    const run = await scene.run('auto', 'delta');
    expect([run.status, run.error?.['code']]).toEqual(['failed', 'directory_history_lost']);
    expect(scene.script.asked).toEqual(['full', 'delta', 'full']);
  });

  test('a read that ends without its end mark fails the run, and the position stays where it was', async () => {
    const scene = await createScene();
    scene.script.says(tombstone('ann'), members('staff', 'set'));
    const run = await scene.run('auto', 'delta');
    expect([run.status, run.error?.['code']]).toEqual(['failed', 'directory_incomplete']);
    expect(await scene.mirror()).toEqual({ objects: allLive, staff: ['ann', 'bob'] });
  });
});

describe('a full read after increments', () => {
  test('empties a group that only increments had filled', async () => {
    const scene = await createScene(group('late', 'Late'));
    await scene.delta(members('staff', 'add', 'cid'));
    await scene.full(...people, group('staff', 'Staff'), members('staff', 'set'), group('late', 'Late'));
    expect(await scene.mirror()).toEqual({ objects: allLive, staff: [] });
    expect(await scene.grantees()).toEqual([]);
  });

  test('empties a group that was away and came back without members', async () => {
    const scene = await createScene();
    await scene.delta(tombstone('staff', 'group'));
    expect(await scene.grantees()).toEqual([]);
    await scene.full(...people, group('staff', 'Staff'));
    expect(await scene.mirror()).toEqual({ objects: allLive, staff: [] });
    expect(await scene.grantees()).toEqual([]);
  });

  test('that says what the mirror says writes nothing', async () => {
    const scene = await createScene(group('empty'));
    await scene.delta(members('staff', 'add', 'cid'), group('empty'));
    const same = [...people, group('staff', 'Staff'), members('staff', 'set', 'ann', 'bob', 'cid'), group('empty')];
    await scene.full(...same);
    scene.script.says(...same, complete('full'));
    const run = await scene.run();
    expect(run.counts).toMatchObject({ mirrored: { objectsWritten: 0, edgesAdded: 0, edgesRemoved: 0 } });
    expect(await scene.changes(run.id)).toEqual([]);
  });

  test('keeps members that were too many to hold in memory, and forgets those that a later set replaced', async () => {
    const scene = await createScene();
    const many: DirectoryEvent = {
      type: 'members',
      groupAnchor: 'big',
      change: 'set',
      memberAnchors: Array.from({ length: 210_000 }, (_, n) => `m${n}`),
    };
    await scene.full(
      ...people,
      group('staff', 'Staff'),
      group('big'),
      members('staff', 'set', 'bob', 'x'),
      many,
      members('big', 'add', 'one-more'),
      members('staff', 'set', 'cid'),
    );
    expect((await mirrorOf(scene)).staff).toEqual(['cid']);
    const [big] = await database.db.tenant(
      scene.tenantId,
      (tx) => tx.sql<{ count: number }[]>`
        select count(*)::int as count from mirror_edges where connection_id = ${scene.connectionId} and group_anchor = 'big'`,
    );
    expect(big?.count).toBe(210_001);
  });
});
