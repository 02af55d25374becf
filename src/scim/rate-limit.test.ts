import { describe, expect, it } from 'vitest';
import { isRollcallError } from '../core/errors.ts';
import { createRateLimit } from './rate-limit.ts';

function create(perSecond: number) {
  let nowMs = 1_000_000;
  const limit = createRateLimit(perSecond, { now: () => new Date(nowMs) });
  const isTaken = (token: string): boolean => {
    try {
      limit.take(token);
      return true;
    } catch (error) {
      if (isRollcallError(error, 'too_many_requests')) return false;
      throw error;
    }
  };
  return { limit, isTaken, pass: (ms: number) => (nowMs += ms) };
}

describe('rule 11: the rate of a token', () => {
  it('of 25 a second is never refused, however long it goes on', () => {
    const { isTaken, pass } = create(25);
    for (let sent = 0; sent < 10_000; sent += 1) {
      expect(isTaken('a')).toBe(true);
      pass(40);
    }
  });

  it('takes exactly twice the rate at once, then exactly the rate', () => {
    const { isTaken, pass } = create(25);
    const burst = Array.from({ length: 80 }, () => isTaken('a'));
    expect(burst.filter(Boolean)).toHaveLength(50);
    let taken = 0;
    for (let tick = 0; tick < 10_000; tick += 1) {
      pass(1);
      if (isTaken('a')) taken += 1;
    }
    expect(taken).toBe(250);
  });

  it('of one token does not touch another', () => {
    const { isTaken } = create(25);
    while (isTaken('a'));
    expect(isTaken('b')).toBe(true);
  });

  it('is told in headers, and refused with whole seconds to wait', () => {
    const { limit, pass } = create(25);
    expect(limit.take('a')).toEqual({
      'X-Rate-Limit-Limit': '50',
      'X-Rate-Limit-Remaining': '49',
      'X-Rate-Limit-Reset': '1001',
    });
    for (let sent = 1; sent < 50; sent += 1) limit.take('a');
    expect(() => limit.take('a')).toThrow(expect.objectContaining({ retryAfterSeconds: 1 }));
    pass(-10_000);
    expect(() => limit.take('a')).toThrow(expect.objectContaining({ code: 'too_many_requests' }));
  });
});
