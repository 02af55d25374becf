/** Retries on virtual time: how long, how often, and when it ends. */
import { describe, expect, test } from 'vitest';
import { createVirtualClock, failureOf } from '../../../test/simulators/entra/harness.ts';
import { RollcallError } from '../../core/errors.ts';
import { TryAgain, createPatience, parseRetryAfter } from './patience.ts';
import { mergeStreams } from './merge-streams.ts';

const outage = (retryAfterSeconds?: number): TryAgain =>
  new TryAgain(
    new RollcallError('directory_unreachable', 'down', retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  );

function patienceOf(random = 1, maxAttempts = 6) {
  const clock = createVirtualClock();
  const { signal } = new AbortController();
  const patience = createPatience({ clock, random: () => random, signal, maxWaitMs: 600_000, maxAttempts });
  return { clock, patience };
}

describe('pauses', () => {
  test("without the service's word they double from one second to at most sixty, and are spread", async () => {
    const { clock, patience } = patienceOf(1, 9);
    await failureOf(patience.during('x', async () => Promise.reject(outage())));
    expect(clock.sleptMs.map((ms) => ms / 1_000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    const spread = patienceOf(0.25, 3);
    await failureOf(spread.patience.during('x', async () => Promise.reject(outage())));
    expect(spread.clock.sleptMs).toEqual([250, 500]);
  });

  test('the budget is one for all requests together', async () => {
    const { clock, patience } = patienceOf();
    let calls = 0;
    const once = async (): Promise<string> => {
      calls += 1;
      if (calls % 2 === 1) throw outage(250);
      return 'done';
    };
    expect(await patience.during('first', once)).toBe('done');
    expect(await patience.during('second', once)).toBe('done');
    expect(await failureOf(patience.during('third', once))).toMatchObject({ code: 'directory_throttled' });
    expect(clock.sleptMs).toEqual([250_000, 250_000]);
  });

  test('who is told to wait makes the others wait too, and the time is paid for once', async () => {
    const clock = createVirtualClock();
    const sleeps: (() => void)[] = [];
    const held = { now: () => clock.now(), sleep: async () => new Promise<void>((resolve) => sleeps.push(resolve)) };
    const { signal } = new AbortController();
    const patience = createPatience({ clock: held, random: () => 1, signal, maxWaitMs: 100_000, maxAttempts: 2 });
    let throttled = 0;
    const throttledOnce = async (): Promise<string> => {
      throttled += 1;
      if (throttled <= 2) throw outage(80);
      return 'served';
    };
    let asked = 0;
    const first = patience.during('first', throttledOnce);
    const second = patience.during('second', throttledOnce);
    await new Promise((resolve) => setImmediate(resolve));
    const third = patience.during('third', async () => {
      asked += 1;
      return 'served';
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect([throttled, asked, sleeps.length]).toEqual([2, 0, 1]);
    for (const wake of sleeps) wake();
    expect(await Promise.all([first, second, third])).toEqual(['served', 'served', 'served']);
  });

  test('what does not heal is thrown at once', async () => {
    const { clock, patience } = patienceOf();
    const refusals = [
      new RollcallError('directory_auth', 'no'),
      new RollcallError('directory_tls', 'no'),
      new RollcallError('directory_unreachable', 'no such name', { details: { step: 'dns' } }),
      new Error('a bug'),
    ];
    for (const refusal of refusals) {
      expect(await failureOf(patience.during('x', async () => Promise.reject(refusal)))).toBe(refusal);
    }
    expect(clock.sleptMs).toEqual([]);
  });

  test.each([
    ['7', 7],
    [' 120 ', 120],
    ['0', 0],
    ['Mon, 02 Mar 2026 08:00:30 GMT', 30],
    ['Mon, 02 Mar 2026 07:00:00 GMT', 0],
    ['-5', null],
    ['1e9', null],
    ['soon', null],
    ['', null],
    [undefined, null],
  ])('Retry-After %j is %j seconds', (header, seconds) => {
    expect(parseRetryAfter(header, new Date('2026-03-02T08:00:00Z'))).toBe(seconds);
  });
});

describe('merged streams', () => {
  async function* count(name: string, to: number, log: string[]): AsyncGenerator<string, number> {
    try {
      for (let index = 0; index < to; index += 1) {
        log.push(`${name}${index}`);
        yield `${name}${index}`;
      }
      return to;
    } finally {
      log.push(`${name} closed`);
    }
  }

  test('give everything of both, and what both returned', async () => {
    const merged = mergeStreams([count('a', 3, []), count('b', 1, [])], () => undefined);
    const seen: string[] = [];
    let next = await merged.next();
    for (; next.done !== true; next = await merged.next()) seen.push(next.value);
    expect(seen.toSorted()).toEqual(['a0', 'a1', 'a2', 'b0']);
    expect(next.value).toEqual([3, 1]);
  });

  test('read at most one page ahead of a reader that pauses', async () => {
    const log: string[] = [];
    const merged = mergeStreams([count('a', 100, log)], () => undefined);
    await merged.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual(['a0', 'a1']);
    await merged.return([]);
    expect(log.at(-1)).toBe('a closed');
  });

  test('a failure of one stops the other, closes it, and is what the reader gets', async () => {
    const log: string[] = [];
    const failure = new Error('page 2');
    const stopper = new AbortController();
    async function* failing(): AsyncGenerator<string, number> {
      yield 'f0';
      throw failure;
    }
    async function* waiting(): AsyncGenerator<string, number> {
      try {
        yield 'w0';
        await new Promise((_resolve, reject) => {
          stopper.signal.addEventListener('abort', () => reject(new Error('stopped')));
        });
        return 1;
      } finally {
        log.push('waiting closed');
      }
    }
    const merged = mergeStreams([failing(), waiting()], () => stopper.abort());
    const reading = (async () => {
      for await (const page of merged) log.push(page);
    })();
    expect(await failureOf(reading)).toBe(failure);
    expect(log).toContain('waiting closed');
  });
});
