import { describe, expect, test } from 'vitest';
import { evaluateGuards, type GuardCounts } from './guard.ts';
import { guardLimitsSchema } from './policy.ts';

const limits = guardLimitsSchema.parse({});
const quiet: GuardCounts = {
  isFirstRun: false,
  liveLinks: 10_000,
  liveGrants: 10_000,
  joiners: 0,
  leavers: 0,
  revokes: 0,
  privilegedGrants: 0,
  keyChanges: 0,
  emailChanges: 0,
  groupLosses: [],
};
const breached = (counts: Partial<GuardCounts>) =>
  evaluateGuards({ ...quiet, ...counts }, limits).map((breach) => breach.guard);

describe('guards hold at the limit and pass just below it', () => {
  test.each([
    ['leavers over 500', { leavers: 500 }, { leavers: 501 }, 'leavers'],
    ['10 leavers and more than 10 %', { leavers: 9, liveLinks: 31 }, { leavers: 10, liveLinks: 99 }, 'leavers'],
    ['more than 10 %, not exactly', { leavers: 10, liveLinks: 100 }, { leavers: 11, liveLinks: 100 }, 'leavers'],
    ['3 leavers and more than 30 %', { leavers: 2, liveLinks: 4 }, { leavers: 3, liveLinks: 9 }, 'leavers'],
    ['revokes over 1,000', { revokes: 1000 }, { revokes: 1001 }, 'revokes'],
    ['20 revokes and more than 15 %', { revokes: 19, liveGrants: 20 }, { revokes: 20, liveGrants: 100 }, 'revokes'],
    ['any privileged grant', {}, { privilegedGrants: 1 }, 'privileged_grants'],
    ['50 joiners and more than 25 %', { joiners: 49, liveLinks: 10 }, { joiners: 50, liveLinks: 199 }, 'joiners'],
    [
      '20 usernames and more than 10 %',
      { keyChanges: 19, liveLinks: 20 },
      { keyChanges: 20, liveLinks: 199 },
      'key_changes',
    ],
    [
      '20 e-mail addresses and more than 10 %',
      { emailChanges: 20, liveLinks: 200 },
      { emailChanges: 20, liveLinks: 199 },
      'email_changes',
    ],
  ] as const)('%s', (_name, below, at, guard) => {
    expect(breached(below)).toEqual([]);
    expect(breached(at)).toEqual([guard]);
  });

  test('a mapped group that loses more than half is held alone', () => {
    const group = { groupAnchor: 'g', groupName: 'Staff', before: 20 };
    expect(breached({ groupLosses: [{ ...group, lost: 10 }] })).toEqual([]);
    expect(evaluateGuards({ ...quiet, groupLosses: [{ ...group, lost: 11 }] }, limits)).toMatchObject([
      { guard: 'group_loss', groupAnchor: 'g', count: 11, of: 20 },
    ]);
  });

  test('joiners are free in the first run', () => {
    expect(breached({ isFirstRun: true, joiners: 5000, liveLinks: 0 })).toEqual([]);
  });
});
