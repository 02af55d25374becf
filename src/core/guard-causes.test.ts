import { expect, test } from 'vitest';
import { describeCause, nameLikelyCause } from './guard-causes.ts';

const cause = (name: string, users: number, groupName: string | null = null) =>
  describeCause({ cause: name, users, groupName });

test('a cause is named with its count and the group it speaks of', () => {
  expect(cause('left_group:g1', 1198, 'All Staff').words).toBe('1,198 left the group All Staff');
  expect(cause('left_group:g1', 2).words).toBe('2 left the group g1');
  expect([cause('deleted', 1).words, cause('deleted', 2).words]).toEqual([
    '1 was deleted in the directory',
    '2 were deleted in the directory',
  ]);
  expect(cause('undo:create', 3).words).toBe('3 are put back by the undo (create)');
});

test('the cause of most users is called the most likely one; where none has most, the two largest are', () => {
  const most = cause('left_group:g', 1198, 'All Staff');
  const [few, some, more] = [cause('deleted', 42), cause('disabled', 41), cause('out_of_scope', 40)];
  expect(nameLikelyCause([most, few])).toBe(' Most likely cause: 1,198 left the group All Staff.');
  expect(nameLikelyCause([few, some, more])).toContain(
    '42 were deleted in the directory, 41 were disabled in the directory',
  );
  expect(nameLikelyCause([])).toBe('');
});

test('no cause that a plan can have is told by its raw name', () => {
  const known = (
    'left_group:g in_group:g deleted disabled out_of_scope rule_ended:r ceiling:r excluded:r rule:r joined username attributes ' +
    'matched:employee_id returned enabled replaced delete_after quota_home:rule case undo:create last_admin disputed_match rehire ' +
    'duplicate_key drift problem correlation'
  ).split(' ');
  for (const name of known) {
    for (const users of [1, 2]) {
      expect(cause(name, users).words).not.toMatch(/for the cause|_/);
    }
  }
  expect(cause('last_admin', 1).words).toBe('1 is the last active Admin of an organization, and stays');
});
