import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextSlot, parseCron, requireTimeZone } from './cron.ts';

function next(cron: string, timeZone: string, after: string): string | undefined {
  return nextSlot(parseCron(cron), timeZone, new Date(after))?.toISOString();
}

function several(cron: string, timeZone: string, after: string, count: number): string[] {
  const slots: string[] = [];
  for (let at: Date | null = new Date(after); at !== null && slots.length < count;) {
    at = nextSlot(parseCron(cron), timeZone, at);
    if (at !== null) slots.push(at.toISOString().slice(0, 16));
  }
  return slots;
}

describe('a cron slot', () => {
  it.each([
    ['* * * * *', 'UTC', '2026-03-01T10:00:00Z', '2026-03-01T10:01:00.000Z'],
    ['*/15 * * * *', 'UTC', '2026-03-01T10:14:59Z', '2026-03-01T10:15:00.000Z'],
    ['0 2 * * *', 'Europe/Berlin', '2026-01-10T00:30:00Z', '2026-01-10T01:00:00.000Z'],
    ['0 2 * * *', 'Europe/Berlin', '2026-07-10T00:00:00Z', '2026-07-11T00:00:00.000Z'],
    ['30 9 * * mon-fri', 'America/New_York', '2026-11-06T15:00:00Z', '2026-11-09T14:30:00.000Z'],
    ['0 0 29 feb *', 'UTC', '2097-01-01T00:00:00Z', '2104-02-29T00:00:00.000Z'],
    ['0 12 1 * *', 'Pacific/Kiritimati', '2026-02-01T00:00:00Z', '2026-02-28T22:00:00.000Z'],
    ['0 12 1 * *', 'Pacific/Niue', '2026-02-01T22:59:00Z', '2026-02-01T23:00:00.000Z'],
    ['0 0 * * 7', 'UTC', '2026-03-02T00:00:00Z', '2026-03-08T00:00:00.000Z'],
    ['5/20 0 * * *', 'UTC', '2026-03-02T00:05:00Z', '2026-03-02T00:25:00.000Z'],
    ['@daily', 'UTC', '2026-03-02T00:00:00Z', '2026-03-03T00:00:00.000Z'],
  ])('%s in %s after %s is %s', (cron, timeZone, after, expected) => {
    expect(next(cron, timeZone, after)).toBe(expected);
  });

  it('on a restricted day of the month and of the week comes on either (POSIX)', () => {
    expect(several('0 0 13 * 5', 'UTC', '2026-03-07T00:00:00Z', 3)).toEqual([
      '2026-03-13T00:00',
      '2026-03-20T00:00',
      '2026-03-27T00:00',
    ]);
  });

  it('that never comes is null', () => {
    expect(next('0 0 30 2 *', 'UTC', '2026-01-01T00:00:00Z')).toBeUndefined();
  });
});

describe('around a clock change', () => {
  // Berlin 2026-03-29: 02:00 -> 03:00 at 01:00Z; 2026-10-25: 03:00 -> 02:00 at 01:00Z
  it('a daily slot in the skipped hour happens once, when the clock moves on', () => {
    expect(several('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28T01:30',
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ]);
  });

  it('several slots in the skipped hour become one', () => {
    expect(several('0,20,40 2 * * *', 'Europe/Berlin', '2026-03-29T00:00:00Z', 2)).toEqual([
      '2026-03-29T01:00',
      '2026-03-30T00:00',
    ]);
  });

  it('a daily slot in the repeated hour happens once, the first time', () => {
    expect(several('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ]);
  });

  it('an expression of elapsed time goes on without a hole or a doubled slot', () => {
    expect(several('*/30 * * * *', 'Europe/Berlin', '2026-03-29T00:15:00Z', 3)).toEqual([
      '2026-03-29T00:30',
      '2026-03-29T01:00',
      '2026-03-29T01:30',
    ]);
    expect(several('*/30 * * * *', 'Europe/Berlin', '2026-10-24T23:45:00Z', 5)).toEqual([
      '2026-10-25T00:00',
      '2026-10-25T00:30',
      '2026-10-25T01:00',
      '2026-10-25T01:30',
      '2026-10-25T02:00',
    ]);
  });

  it('of half an hour (Lord Howe) or a whole day (Samoa, 2011-12-30) holds as well', () => {
    expect(several('45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T00:00:00Z', 2)).toEqual([
      '2026-04-04T14:45',
      '2026-04-05T15:15',
    ]);
    expect(several('0 8 * * *', 'Pacific/Apia', '2011-12-29T00:00:00Z', 3)).toEqual([
      '2011-12-29T18:00',
      '2011-12-30T10:00',
      '2011-12-30T18:00',
    ]);
  });

  it('every slot is later than the one before, in any zone, and half-hourly slots are half an hour apart', () => {
    const zones = ['UTC', 'Europe/London', 'America/Sao_Paulo', 'Asia/Kathmandu', 'America/St_Johns', 'Africa/Cairo'];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.date({ min: new Date('2005-01-01'), max: new Date('2030-01-01'), noInvalidDate: true }),
        (zone, start) => {
          const daily = parseCron('17 2 * * *');
          const first = nextSlot(daily, zone, start);
          const second = first === null ? null : nextSlot(daily, zone, first);
          const hours = ((second?.getTime() ?? 0) - (first?.getTime() ?? 0)) / 3_600_000;
          expect(hours).toBeGreaterThan(21);
          expect(hours).toBeLessThan(27);
          const often = nextSlot(parseCron('*/30 * * * *'), zone, start);
          const gapMinutes = ((often?.getTime() ?? 0) - start.getTime()) / 60_000;
          expect(gapMinutes).toBeGreaterThan(0);
          expect(gapMinutes).toBeLessThanOrEqual(30);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('a faulty schedule is refused with a sentence', () => {
  it.each([
    ['* * * *', 'five fields'],
    ['60 * * * *', '60 is no minute'],
    ['* * * foo *', 'foo is no month'],
    ['* 5-3 * * *', 'runs backwards'],
    ['*/0 * * * *', 'step of 0'],
    ['1;2 * * * *', 'no minute'],
  ])('%s', (cron, sentence) => {
    expect(() => parseCron(cron)).toThrow(sentence);
  });

  it('knows a time zone when it sees one', () => {
    requireTimeZone('Europe/Berlin');
    expect(() => requireTimeZone('Mars/Olympus')).toThrow('"Mars/Olympus" is not a time zone.');
  });
});
