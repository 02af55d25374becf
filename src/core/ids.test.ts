/** Ids of version 7 (RFC 9562 section 5.7). */
import { expect, test } from 'vitest';
import { isUuid, newId } from './ids.ts';

test('ids carry their time, version and variant, and differ', () => {
  const now = Date.now() + 60_000;
  const ids = Array.from({ length: 10_000 }, () => newId(now));
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) {
    expect(isUuid(id)).toBe(true);
    expect(id).toMatch(/^.{14}7.{4}[89ab]/);
  }
  expect(Number.parseInt((ids[0] ?? '').replace('-', '').slice(0, 12), 16)).toBeGreaterThanOrEqual(now);
});

test('ids of one process come in order, also within a millisecond and when the clock goes back', () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => newId(Date.now() - (index % 3) * 1_000));
  expect(ids.toSorted()).toEqual(ids);
});
