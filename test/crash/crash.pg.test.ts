/** A process may die anywhere: the end state equals that of an undisturbed run (design.md promise 6). */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectSameRows, type Rows } from '../e2e/site-rows.ts';
import { isFull, scale } from '../setup/full.ts';
import { dieAndRecover } from './deaths.ts';
import { nameWrite, type Failpoint } from './failpoints.ts';
import { makeHistory, type History } from './history.ts';

/** Deaths side by side. */
const concurrency = 3;
const timeoutMs = 20 * 60_000;
const seed = Number(process.env['ROLLCALL_SEED'] ?? 20_261_122);

const histories = [
  { name: 'a run that reads, plans and applies', isPlanned: false, least: 140 },
  { name: 'the apply of a plan that was approved', isPlanned: true, least: 50 },
];

describe.each(histories)('$name', ({ isPlanned, least }) => {
  let history: History;
  let undisturbed: Rows;
  let points: readonly Failpoint[];

  beforeAll(async () => {
    history = await makeHistory({ isPlanned });
    const quiet = await dieAndRecover(history, []);
    undisturbed = quiet.rows;
    points = quiet.met;
  }, 60_000);
  afterAll(() => history?.drop());

  async function expectHarmless(fatal: readonly number[]): Promise<void> {
    const { rows, deaths } = await dieAndRecover(history, fatal);
    expect(deaths.length).toBeGreaterThan(0);
    try {
      expectSameRows(rows, undisturbed);
    } catch (error) {
      const where = deaths.map((point) => `${point.ordinal} (${point.name})`).join(', then ');
      throw new Error(`The tables differ after a death at ${where}.`, { cause: error });
    }
  }

  it('has a failpoint at each write and each commit, and does everything a run can do', () => {
    expect(points.length).toBeGreaterThan(least);
    const applied = new Set(
      (undisturbed['changes'] ?? []).map((row) => {
        const change = JSON.parse(row) as { class: string; state: string };
        return change.state === 'applied' ? change.class : '';
      }),
    );
    expect([...applied].filter(Boolean).toSorted()).toEqual([
      'conflict',
      'create',
      'grant',
      'key',
      'link',
      'revoke',
      'suspend',
      'update',
    ]);
    expect(points.filter((point) => point.name === 'commit')).toHaveLength(
      points.filter((point) => point.name === 'after commit').length,
    );
  });

  it(
    isFull ? 'may die at any failpoint' : 'may die after any commit, and at failpoints drawn at random',
    async () => {
      const inside = points.filter((point) => point.name !== 'after commit');
      const after = points.filter((point) => point.name === 'after commit');
      const drawn = isFull ? inside : fc.sample(fc.constantFrom(...inside), { numRuns: 6, seed });
      const chosen = new Set([...after, ...drawn].map((point) => point.ordinal));
      console.log(`${chosen.size} deaths at ${points.length} failpoints (seed ${seed})`);
      await inTurns([...chosen], (ordinal) => expectHarmless([ordinal]));
    },
    timeoutMs,
  );

  it(
    'may die twice in a row, at random pairs of failpoints',
    async () => {
      const ordinal = fc.integer({ min: 1, max: points.length });
      const pairs = fc.sample(fc.tuple(ordinal, ordinal), { numRuns: scale(6, 300), seed });
      await inTurns(pairs, expectHarmless);
    },
    timeoutMs,
  );
});

describe('a statement', () => {
  it('is a failpoint when it writes, wherever its verb stands', () => {
    expect(nameWrite('select 1')).toBeNull();
    expect(nameWrite('with a as (select 1) select * from a')).toBeNull();
    expect(nameWrite('  insert into users (id) values (1)')).toBe('insert into users (id) values (1)');
    expect(nameWrite('with gone as (select 1) update changes set x = 1')).toBe('with ... update changes');
    expect(nameWrite('copy stage.a from stdin')).toBe('copy stage.a from stdin');
  });
});

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const take = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: concurrency }, take));
}
