import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { isRollcallError } from '../core/errors.ts';
import { cutPage, decodeCursor, encodeCursor } from './page.ts';

const key = z.tuple([z.string().nullable(), z.string()]);

describe('keyset pages', () => {
  it('gives a cursor only when a further row was read, and the cursor is the last row shown', () => {
    const page = cutPage(['a', 'b', 'c'], 2, (row) => [row], String);
    expect(page.items).toEqual(['a', 'b']);
    expect(decodeCursor(page.nextCursor ?? '', z.tuple([z.string()]))).toEqual(['b']);
    expect(cutPage(['a', 'b'], 2, (row) => [row], String).nextCursor).toBeNull();
  });

  it('round-trips null and text', () => {
    expect(decodeCursor(encodeCursor([null, 'ß"']), key)).toEqual([null, 'ß"']);
    expect(decodeCursor(undefined, key)).toBeNull();
  });

  it.each(['', '%%%', 'bnVsbA', encodeCursor([1, 2]), encodeCursor(['a'])])(
    'refuses the edited cursor %j',
    (cursor) => {
      expect(() => decodeCursor(cursor, key)).toThrow(expect.toSatisfy((e) => isRollcallError(e, 'invalid_input')));
    },
  );
});
