import { describe, expect, it } from 'vitest';
import type { ErrorCode } from './errors.ts';
import { quarantineLimitsSchema } from './policy.ts';
import * as quarantine from './quarantine.ts';

const { quarantineDelayMs } = quarantine;
const usual = quarantineLimitsSchema.parse({});
const judgeFailure = (code: ErrorCode, failedRuns: number, limits = usual) =>
  quarantine.judgeFailure(code, failedRuns, limits);
const isMostlyFailed = (failed: number, objects: number, limits = usual) =>
  quarantine.isMostlyFailed(failed, objects, limits);

const minutes = (count: number) => count * 60_000;
const hours = (count: number) => minutes(count * 60);

describe('the pause of a quarantine', () => {
  it.each([
    [0, minutes(15)],
    [1, minutes(30)],
    [2, hours(1)],
    [5, hours(8)],
    [6, hours(16)],
    [7, hours(24)],
    [8, hours(24)],
    [10_000, hours(24)],
  ])('after %i retries is %i ms at least, and never more than a quarter longer', (retries, ms) => {
    expect(quarantineDelayMs(retries, () => 0)).toBe(ms);
    expect(quarantineDelayMs(retries, () => 0.999_999)).toBeLessThanOrEqual(ms * 1.25);
    expect(quarantineDelayMs(retries, () => 0.5)).toBe(ms * 1.125);
  });

  it('is the first one for a count that makes no sense', () => {
    expect(quarantineDelayMs(-3, () => 0)).toBe(minutes(15));
  });
});

describe('a failed run', () => {
  it('quarantines at once where the directory refused the credentials', () => {
    expect(judgeFailure('directory_auth', 0)).toBe('quarantine');
  });

  it('quarantines as the fifth in a row, and only counts as the fourth', () => {
    expect(judgeFailure('directory_unreachable', 3)).toBe('count');
    expect(judgeFailure('directory_unreachable', 4)).toBe('quarantine');
    expect(judgeFailure('directory_permission', 0)).toBe('count');
  });

  it('quarantines after as many as the connection says', () => {
    const two = quarantineLimitsSchema.parse({ failedRuns: 2 });
    expect(judgeFailure('directory_unreachable', 0, two)).toBe('count');
    expect(judgeFailure('directory_unreachable', 1, two)).toBe('quarantine');
  });

  it('does not count where a person caused it', () => {
    expect(judgeFailure('connection_state', 4)).toBe('ignore');
    expect(judgeFailure('canceled', 100)).toBe('ignore');
  });
});

describe('the share of failed objects', () => {
  it('counts from 20 objects on', () => {
    expect(isMostlyFailed(19, 19)).toBe(false);
    expect(isMostlyFailed(20, 20)).toBe(true);
  });

  it('is as large as the connection says, inclusive', () => {
    const strict = quarantineLimitsSchema.parse({ failedObjects: { count: 5, percent: 20 } });
    expect(isMostlyFailed(4, 4, strict)).toBe(false);
    expect(isMostlyFailed(1, 5, strict)).toBe(false);
    expect(isMostlyFailed(2, 5, strict)).toBe(true);
  });

  it('must be more than half', () => {
    expect(isMostlyFailed(10, 20)).toBe(false);
    expect(isMostlyFailed(11, 20)).toBe(true);
    expect(isMostlyFailed(500, 1000)).toBe(false);
    expect(isMostlyFailed(501, 1000)).toBe(true);
  });
});
