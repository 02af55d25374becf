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
