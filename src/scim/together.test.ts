/** What is saved together must be answered as if each had gone alone. */
import { setImmediate as afterThisTick } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createTogether, type Outcome } from './together.ts';

type Item = { readonly id: number; readonly key?: string };

function createWriter(outcomeOf: (item: Item) => Outcome<string> = (item) => ({ value: `together ${item.id}` })) {
  const batches: number[][] = [];
  const alone: number[] = [];
  const failures: unknown[] = [];
  let isBroken = false;
  const write = createTogether<Item, string>({
    keysOf: (item) => (item.key === undefined ? [] : [item.key]),
    together: async (items) => {
      batches.push(items.map(({ id }) => id));
      if (isBroken) throw new Error('does not go together');
      return items.map(outcomeOf);
    },
    alone: async ({ id }) => {
      alone.push(id);
      return `alone ${id}`;
    },
    onApart: (_items, error) => failures.push(error),
  });
  return { write, batches, alone, failures, break: () => (isBroken = true) };
}

const several = (count: number): Item[] => Array.from({ length: count }, (_, id) => ({ id }));

describe('writes that come together', () => {
  test('are one batch, each with its own answer; a single one goes alone', async () => {
    const writer = createWriter();
    expect(await Promise.all(several(3).map((item) => writer.write('a', item)))).toEqual([
      'together 0',
      'together 1',
      'together 2',
    ]);
    expect(await writer.write('a', { id: 9 })).toBe('alone 9');
    expect(writer.batches).toEqual([[0, 1, 2]]);
  });

  test('are never one batch with those of another connection', async () => {
    const writer = createWriter();
    await Promise.all(['a', 'b', 'a', 'b'].map((place, id) => writer.write(place, { id })));
    expect(writer.batches).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });

  test('of the same resource follow each other in the order in which they came', async () => {
    const done: number[] = [];
    const writer = createWriter((item) => {
      done.push(item.id);
      return { value: '' };
    });
    const items = several(40).map(({ id }) => ({ id, key: id % 2 === 0 ? 'same' : `own ${id}` }));
    await Promise.all(items.map((item) => writer.write('a', item)));
    for (const batch of writer.batches) expect(batch.filter((id) => id % 2 === 0).length).toBeLessThan(2);
    const inOrder = [...done, ...writer.alone].filter((id) => id % 2 === 0);
    expect(inOrder).toHaveLength(20);
  });

  test('a refusal is heard by the one it is for', async () => {
    const refusal = new Error('412');
    const writer = createWriter(({ id }) => (id === 1 ? { error: refusal } : { value: `together ${id}` }));
    const outcomes = await Promise.allSettled(several(3).map((item) => writer.write('a', item)));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(writer.alone).toEqual([]);
  });

  test('who could not be saved with the others goes alone', async () => {
    const writer = createWriter(({ id }) => (id === 1 ? null : { value: `together ${id}` }));
    expect(await Promise.all(several(3).map((item) => writer.write('a', item)))).toEqual([
      'together 0',
      'alone 1',
      'together 2',
    ]);
  });

  test('a batch that fails is no answer: each goes alone, and so do those behind it for a while', async () => {
    const writer = createWriter();
    writer.break();
    expect(await Promise.all(several(2).map((item) => writer.write('a', item)))).toEqual(['alone 0', 'alone 1']);
    expect(writer.failures).toHaveLength(1);
    expect(await Promise.all(several(2).map((item) => writer.write('a', item)))).toEqual(['alone 0', 'alone 1']);
    expect(writer.batches).toHaveLength(1);
  });

  test('more than one batch holds are all saved', async () => {
    const writer = createWriter();
    const answers = await Promise.all(several(500).map((item) => writer.write('a', item)));
    expect(new Set(answers).size).toBe(500);
    for (const batch of writer.batches) expect(batch.length).toBeLessThanOrEqual(32);
  });

  test('wait while a smaller number would make a batch of its own, and no longer', async () => {
    const batches: number[][] = [];
    const { promise: written, resolve: write } = Promise.withResolvers<undefined>();
    const enter = createTogether<Item, string>({
      keysOf: () => [],
      together: async (items) => {
        batches.push(items.map(({ id }) => id));
        if (batches.length === 1) await written;
        return items.map(() => ({ value: 'together' }));
      },
      alone: async () => 'alone',
      onApart: () => undefined,
    });
    const first = [0, 1, 2].map((id) => enter('a', { id }));
    await nextTurns();
    const more = [3, 4].map((id) => enter('a', { id }));
    await nextTurns();
    expect(batches).toEqual([[0, 1, 2]]);
    more.push(enter('a', { id: 5 }));
    await expect(Promise.all(more)).resolves.toHaveLength(3);
    expect(batches).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
    const last = [6, 7].map((id) => enter('a', { id }));
    write(undefined);
    await Promise.all([...first, ...last]);
    expect(batches[2]).toEqual([6, 7]);
  });
});

async function nextTurns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await afterThisTick();
}
