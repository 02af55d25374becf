import { describe, expect, test } from 'vitest';
import { checkPlausibility, type Baseline, type Reading } from './sanity.ts';

const baseline: Baseline = {
  users: 100,
  groups: 20,
  filled: { mail: 90 },
  mappedGroups: { g1: { name: 'Staff', members: 50 } },
};
const same: Reading = { ...baseline, newUsers: 0, unmapped: [] };
const checks = (reading: Partial<Reading>, before: Baseline | null = baseline) =>
  checkPlausibility({ ...same, ...reading }, before).map((found) => found.check);

describe('plausibility of a full read', () => {
  test('an unchanged directory is plausible', () => {
    expect(checks({})).toEqual([]);
  });
  test('an empty directory never is, not even the first time', () => {
    expect(checks({ users: 0 })).toEqual(['empty']);
    expect(checks({ users: 0 }, null)).toEqual(['empty']);
  });
  test('20 % fewer passes, more than 20 % and more than 10 does not', () => {
    expect(checks({ users: 80 })).toEqual([]);
    expect(checks({ users: 79 })).toEqual(['shrunk']);
    expect(checks({ users: 20 }, { ...baseline, users: 30, filled: {} })).toEqual([]);
  });
  test('a mapped group that is gone or emptied', () => {
    expect(checks({ mappedGroups: {} })).toEqual(['group_gone']);
    expect(checks({ mappedGroups: { g1: { name: 'Staff', members: 0 } } })).toEqual(['group_emptied']);
  });
  test('a group whose mapping a person ended is not missed', () => {
    expect(checks({ mappedGroups: {}, unmapped: ['g1'] })).toEqual([]);
  });
  test('an attribute that nobody has any more', () => {
    expect(checks({ filled: {} })).toEqual(['attribute_gone']);
  });
  test('more than half of the ids never seen before', () => {
    expect(checks({ newUsers: 50 })).toEqual([]);
    expect(checks({ newUsers: 51 })).toEqual(['swapped']);
  });
});
