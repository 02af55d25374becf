/**
 * Guards through the database: one less than the limit passes, the limit is held; unapproved changes of a day add up,
 * and what a person approved is out of the sum. The shares are tested in core/guard.test.ts.
 */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import type { RunSummary } from '../reconciliation.ts';

const database = useDatabase();
const people = 24;
const limit = 4;
const off = { count: 1_000_000, percent: 100 };
const disarmed = {
  leaversMax: 1_000_000,
  leavers: off,
  leaversSmall: off,
  revokesMax: 1_000_000,
  revokes: off,
  groupLoss: off,
  adminGrants: 1_000_000,
  joiners: off,
  keyChanges: off,
  emailChanges: off,
};
const atLimit = { count: limit, percent: 0 };

const staff = (engine: Engine, from: number) =>
  engine.directory.team(
    'staff',
    'All Staff',
    Array.from({ length: people - from }, (_, n) => `p${n + from + 1}`),
  );

type GuardCase = {
  readonly key: string;
  readonly guard: string;
  readonly limits: Record<string, unknown>;
  /** Makes the changes of the first `count` people. */
  change(engine: Engine, count: number): void;
  readonly likely: string;
  /** Only this plan counts. */
  readonly isOfPlanAlone?: true;
};

const each = (count: number, change: (id: string, n: number) => void) => {
  for (let n = 1; n <= count; n += 1) change(`p${n}`, n);
};
const remove = (engine: Engine, count: number) => each(count, (id) => engine.directory.people.delete(id));
const leaveStaff = (engine: Engine, count: number) => staff(engine, count);

const cases: GuardCase[] = [
  {
    key: 'leaversMax',
    guard: 'leavers',
    limits: { leaversMax: limit - 1 },
    change: remove,
    likely: 'deleted in the directory',
  },
  {
    key: 'leavers',
    guard: 'leavers',
    limits: { leavers: atLimit },
    change: remove,
    likely: 'deleted in the directory',
  },
  {
    key: 'leaversSmall',
    guard: 'leavers',
    limits: { leaversSmall: atLimit },
    change: (engine, count) => each(count, (id) => engine.directory.put({ id, isActive: false })),
    likely: 'disabled in the directory',
  },
  {
    key: 'revokesMax',
    guard: 'revokes',
    limits: { revokesMax: limit - 1 },
    change: leaveStaff,
    likely: 'left the group All Staff',
  },
  {
    key: 'revokes',
    guard: 'revokes',
    limits: { revokes: atLimit },
    change: leaveStaff,
    likely: 'left the group All Staff',
  },
  {
    key: 'groupLoss',
    guard: 'group_loss',
    limits: { groupLoss: atLimit },
    change: leaveStaff,
    likely: 'left the group All Staff',
  },
  {
    key: 'adminGrants',
    guard: 'privileged_grants',
    limits: { adminGrants: limit },
    change: (engine, count) =>
      engine.directory.team(
        'ops',
        'Ops',
        Array.from({ length: count }, (_, n) => `p${n + 1}`),
      ),
    likely: 'added to the group Ops',
    isOfPlanAlone: true,
  },
  {
    key: 'joiners',
    guard: 'joiners',
    limits: { joiners: atLimit },
    change: (engine, count) => each(count, (id) => engine.directory.put({ id: `new-${id}`, name: `New ${id}` })),
    likely: 'new in the directory',
  },
  {
    key: 'keyChanges',
    guard: 'key_changes',
    limits: { keyChanges: atLimit },
    change: (engine, count) =>
      each(count, (id) => engine.directory.put({ id, username: `new-${id}@${engine.tenant.builtInDomain}` })),
    likely: 'another username in the directory',
  },
  {
    key: 'emailChanges',
    guard: 'email_changes',
    limits: { emailChanges: atLimit },
    change: (engine, count) => each(count, (id) => engine.directory.put({ id, email: `new-${id}@mail.test` })),
    likely: 'other values in the directory',
  },
];

async function engineOf({ limits }: GuardCase): Promise<Engine> {
  const engine = await createEngine(database.db, {
    document: {
      guards: { ...disarmed, ...limits },
      roles: [
        { group: 'All Staff', role: 'user' },
        { group: 'Ops', role: 'admin' },
      ],
    },
  });
  each(people, (id) =>
    engine.directory.put({ id, name: id, username: `${id}@${engine.tenant.builtInDomain}`, email: `${id}@mail.test` }),
  );
  staff(engine, 0);
  engine.directory.team('ops', 'Ops', []);
  const first = await engine.sync();
  expect([first.status, first.error]).toEqual(['succeeded', null]);
  return engine;
}

const breachesOf = (run: RunSummary) =>
  (run.guard?.['breaches'] ?? []) as { guard: string; count: number; message: string }[];

describe.each(cases)('the limit $key', (one) => {
  test('lets one less pass, and holds what adds up to it in a day', async () => {
    const engine = await engineOf(one);
    one.change(engine, limit - 1);
    const below = await engine.run();
    expect([below.status, below.guard]).toEqual(['succeeded', null]);
    one.change(engine, limit);
    const run = await engine.run();
    expect(run.status).toBe(one.isOfPlanAlone === true ? 'succeeded' : 'held');
  });

  test('holds at once what reaches it, names the cause, and once approved lets the next one pass', async () => {
    const engine = await engineOf(one);
    one.change(engine, limit);
    const run = await engine.run();
    expect(run.status).toBe('held');
    expect(breachesOf(run)).toMatchObject([{ guard: one.guard, count: limit }]);
    expect(breachesOf(run)[0]?.message).toContain(`Most likely cause: ${limit} `);
    expect(breachesOf(run)[0]?.message).toContain(one.likely);
    expect(run.guard?.['causes']).toMatchObject([{ users: limit }]);
    expect((await engine.approve(run)).status).toBe('succeeded');
    one.change(engine, limit + 1);
    const next = await engine.run();
    expect([next.status, next.guard]).toEqual(['succeeded', null]);
  });
});

test('an approval of one half does not take the unapproved other half out of the sum', async () => {
  const one = cases[1];
  if (one === undefined) throw new Error('no case');
  const engine = await engineOf(one);
  one.change(engine, limit - 1);
  expect((await engine.run()).status).toBe('succeeded');
  one.change(engine, limit + 1);
  const held = await engine.run();
  expect(held.status).toBe('held');
  expect((await engine.approve(held)).status).toBe('succeeded');
  // three were never approved: with one more they reach the limit again
  one.change(engine, limit + 2);
  expect((await engine.run()).status).toBe('held');
});

test('an approval does not take out of the sum what its own run applied before it', async () => {
  const engine = await createEngine(database.db, {
    document: {
      guards: { ...disarmed, revokesMax: 5, groupLoss: { count: 3, percent: 50 } },
      roles: [
        { group: 'All Staff', role: 'user' },
        { group: 'Ops', role: 'user' },
      ],
    },
  });
  const ops = (...members: string[]) => engine.directory.team('ops', 'Ops', members);
  each(people, (id) => engine.directory.put({ id, name: id }));
  staff(engine, 0);
  ops('p1', 'p2', 'p3', 'p4');
  await engine.sync();
  // two of the staff go at once, three of the four of Ops wait and are approved: two were never approved
  staff(engine, 2);
  ops('p4');
  const held = await engine.run();
  expect(breachesOf(held)).toMatchObject([{ guard: 'group_loss', count: 3 }]);
  expect((await engine.approve(held)).status).toBe('succeeded');
  staff(engine, 5);
  expect((await engine.run()).status).toBe('succeeded');
  staff(engine, 6);
  const next = await engine.run();
  expect([next.status, ...breachesOf(next)]).toMatchObject(['held', { guard: 'revokes', count: 6 }]);
});
