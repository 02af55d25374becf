/**
 * Random histories of directory changes, pushes, work by hand, changed rules, broken reads and dead workers: in the end
 * everybody stands as the last complete reads, the rules and the people say (model.ts), and a further run has nothing
 * to do. Every effect on the way is compared with its rows (test/scenarios/runs.ts). A history that failed once stays
 * in kept-histories.json.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { isFull, scale } from '../setup/full.ts';
import { readPortal } from '../scenarios/portal-rows.ts';
import { createWorld } from '../scenarios/world.ts';
import { parseScenarios } from '../scenarios/schema.ts';
import { takeStep } from '../scenarios/steps.ts';
import { history, type Event } from './histories.ts';
import { play } from './play.ts';

const database = useDatabase();
const seed = Number(process.env['ROLLCALL_SEED'] ?? 20_261_122);
const timeoutMs = 30 * 60_000;

const kept = JSON.parse(readFileSync(join(import.meta.dirname, 'kept-histories.json'), 'utf8')) as {
  readonly why: string;
  readonly history: readonly Event[];
}[];

it.each(kept)('kept: $why', async (one) => play(database.db, one.history), 60_000);

it(
  `any history ends in the state that the last complete reads, the rules and the people define (seed ${seed})`,
  async () => {
    const property = fc.asyncProperty(history, (events) => play(database.db, events));
    await fc.assert(property, {
      seed,
      numRuns: scale(10, 200),
      // a shorter history is worth its time in the long form only
      endOnFailure: !isFull,
      interruptAfterTimeLimit: timeoutMs,
      markInterruptAsFailure: true,
    });
  },
  timeoutMs,
);

const partial = fc.record({
  many: fc.integer({ min: 2, max: 14 }),
  unseen: fc.uniqueArray(fc.integer({ min: 1, max: 14 }), { minLength: 1 }),
  how: fc.constantFrom('unknown', 'present', 'breaks'),
  after: fc.nat(12),
});

it(
  `a partial read never makes a leaver, whatever it leaves out and wherever it breaks off (seed ${seed})`,
  async () => {
    const property = fc.asyncProperty(partial, async ({ many, unseen, how, after }) => {
      // somebody is left to be read, so that there is a place where a read can break off
      const hidden = unseen.filter((number) => number < many).map((number) => `p${number}`);
      const missing = Object.fromEntries(hidden.map((id) => [id, how === 'breaks' ? 'deleted' : 'unseen']));
      const when = [
        { directory: { people: { [`p1..p${many}`]: {} } } },
        { sync: 'approved' },
        {
          directory: {
            people: missing,
            ...(how === 'breaks'
              ? { read: `breaks after ${Math.min(after, many - hidden.length - 1)}` }
              : { proof: how }),
          },
        },
        { sync: 'approved' },
      ];
      const { scenarios } = parseScenarios(
        'partial',
        JSON.stringify({ subject: 'x', scenarios: [{ name: 'x', when }] }),
      );
      const [scenario] = scenarios;
      expect(scenario).toBeDefined();
      if (scenario === undefined) return;
      const world = await createWorld(database.db, scenario, 'pull');
      for (const step of scenario.when) await takeStep(world, world, step);
      const { users } = await readPortal(database.db, world.tenantId);
      expect([...users.values()].map((user) => user.status)).toEqual(Array.from({ length: many }, () => 'active'));
    });
    await fc.assert(property, { seed, numRuns: scale(12, 300) });
  },
  timeoutMs,
);
