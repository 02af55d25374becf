/** What requests share when they arrive together must not be seen by any of them. */
import { describe, expect, test } from 'vitest';
import { gatherTurn } from './gather-turn.ts';

describe('what is asked for in one turn', () => {
  test('is read at once, after the last one asked, and each hears its own', async () => {
    const revoked = new Set<string>();
    const asked: (readonly string[])[] = [];
    const read = gatherTurn<string, string>(async (keys) => {
      asked.push(keys);
      return new Map(keys.filter((key) => !revoked.has(key)).map((key) => [key, `of ${key}`]));
    });
    const first = read('a');
    const second = read('b');
    revoked.add('a');
    const third = read('a');
    expect(await Promise.all([first, second, third])).toEqual([undefined, 'of b', undefined]);
    expect(asked).toEqual([['a', 'b']]);
  });

  test('is never kept: the next one is read anew', async () => {
    let value = 'valid';
    const read = gatherTurn<string, string>(async (keys) => new Map(keys.map((key) => [key, value])));
    expect(await read('a')).toBe('valid');
    value = 'revoked';
    expect(await read('a')).toBe('revoked');
  });

  test('while reads are under way goes into none of them, but into the next one', async () => {
    const turns: PromiseWithResolvers<string>[] = [];
    const read = gatherTurn<string, string>(async (keys) => {
      const turn = Promise.withResolvers<string>();
      turns.push(turn);
      const value = await turn.promise;
      return new Map(keys.map((key) => [key, value]));
    });
    const answers = [read('a')];
    await expect.poll(() => turns.length).toBe(1);
    answers.push(read('a'));
    await expect.poll(() => turns.length).toBe(2);
    answers.push(read('a'), read('a'));
    turns[0]?.resolve('first');
    turns[1]?.resolve('second');
    expect(await Promise.all(answers.slice(0, 2))).toEqual(['first', 'second']);
    await expect.poll(() => turns.length).toBe(3);
    turns[2]?.resolve('third');
    expect(await Promise.all(answers)).toEqual(['first', 'second', 'third', 'third']);
    expect(turns).toHaveLength(3);
  });

  test('that can not be read is told to all of them, and the next one is read all the same', async () => {
    let isBroken = true;
    const read = gatherTurn<string, string>(async (keys) => {
      if (isBroken) throw new Error('the database is away');
      return new Map(keys.map((key) => [key, key]));
    });
    const outcomes = await Promise.allSettled([read('a'), read('b')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isBroken = false;
    expect(await read('a')).toBe('a');
  });
});
