/**
 * Every scenario of test/scenarios/*.yaml: told in one tenant, while a twin with equal names, local parts, ids and
 * groups stands beside it and must not notice. docs/scenarios.md says how to read and write one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { changeDirectory, pushAgain } from './directory-steps.ts';
import { fingerprint } from './portal-rows.ts';
import { expectExplained, expectMembershipsOfGrants, expectWithinCeilings } from './promises.ts';
import { approve, findWaiting, run } from './runs.ts';
import { parseScenarios, type Scenario, type Step, type Way } from './schema.ts';
import { takeStep } from './steps.ts';
import { createWorld, type Wired, type World } from './world.ts';

const database = useDatabase();
/** A scenario takes less than a second on a quiet machine; five are told at a time, and a machine may be busy. */
const timeoutMs = 120_000;

const files = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.yaml'))
  .toSorted()
  .map((name) => parseScenarios(name, readFileSync(join(import.meta.dirname, name), 'utf8')));

for (const { subject, scenarios } of files) {
  describe.concurrent(subject, () => {
    for (const scenario of scenarios) {
      for (const way of scenario.ways) {
        it(
          scenario.ways.length === 1 ? scenario.name : `${scenario.name} (${way})`,
          () => tell(scenario, way),
          timeoutMs,
        );
      }
    }
  });
}

it('has at least 80 scenarios, each with a name of its own', () => {
  const names = files.flatMap((file) => file.scenarios.map((scenario) => scenario.name));
  expect(names.length).toBeGreaterThanOrEqual(80);
  expect(new Set(names).size).toBe(names.length);
});

async function tell(scenario: Scenario, way: Way): Promise<void> {
  const world = await begin(scenario, way);
  const twin = await begin(scenario, way);
  const all = { withBookkeeping: true };
  let still = await fingerprint(database.db, twin.tenantId, all);
  for (const [index, step] of scenario.when.entries()) {
    const other = step.step === 'elsewhere' ? world : twin;
    if (other === world) still = await fingerprint(database.db, world.tenantId, all);
    await inStep(index, step, () => takeStep(world, twin, step));
    expect(await fingerprint(database.db, other.tenantId, all), 'the other tenant is as it was').toEqual(still);
    if (other === world) still = await fingerprint(database.db, twin.tenantId, all);
  }
  await expectNothingLeft(world);
  for (const one of [world, twin]) {
    await expectWithinCeilings(one);
    await expectMembershipsOfGrants(one);
  }
  await expectExplained(world);
}

async function begin(scenario: Scenario, way: Way): Promise<World> {
  const world = await createWorld(database.db, scenario, way);
  const directories = [scenario.given.directory, scenario.given.second?.directory ?? {}];
  for (const [index, wired] of world.wired.entries()) {
    await changeDirectory(world, wired, directories[index] ?? {});
    if (wired.isPushed || scenario.given.firstRun === 'not yet') continue;
    await run(world, wired);
    if ((await findWaiting(world, wired)) !== null)
      await approve(world, wired, { actor: 'operator:test', digest: null });
    const { status, error } = world.lastRun ?? {};
    expect({ status, error }, `the first run of ${wired.name}`).toEqual({ status: 'succeeded', error: null });
  }
  await takeStep(world, world, { step: 'then', value: {}, in: null, refused: null });
  return world;
}

/** A failure names the step it came in. */
async function inStep(index: number, step: Step, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Error) error.message = `when[${index}] ${step.step}: ${error.message}`;
    throw error;
  }
}

/**
 * A further run over the unchanged directory has an empty plan, and writes nothing but its own record. Where a person
 * wrote after the last run, the first further one notes on the link what it compared; the next one has nothing to note.
 */
async function expectNothingLeft(world: World): Promise<void> {
  for (const wired of world.wired) {
    const written = await runOnceMore(world, wired);
    if (world.lastRun?.status === 'failed') continue;
    const isNoted = written.join() === 'links';
    expect(isNoted ? await runOnceMore(world, wired) : written, 'a further run writes nothing').toEqual([]);
  }
}

/** Which tables it wrote, those that every run keeps about itself aside. */
async function runOnceMore(world: World, wired: Wired): Promise<string[]> {
  const before = await fingerprint(database.db, world.tenantId, { withBookkeeping: false });
  if (wired.isPushed) await pushAgain(world, wired);
  else if (!(await isPaused(world, wired))) await runAgain(world, wired);
  const after = await fingerprint(database.db, world.tenantId, { withBookkeeping: false });
  return Object.keys(after).filter((table) => after[table] !== before[table]);
}

async function isPaused(world: World, wired: Wired): Promise<boolean> {
  return (await world.engine.reconciliation.findConnection(world.tenantId, wired.connectionId)).status !== 'active';
}

async function runAgain(world: World, wired: Wired): Promise<void> {
  const waiting = await findWaiting(world, wired);
  await run(world, wired, waiting?.mode ?? 'auto');
  const rows = world.lastRun === null ? [] : await world.engine.changes(world.lastRun.id);
  // what waits for a person, and what a last Admin keeps open, is decided the same way again
  const repeated = rows.filter((row) => row.state === 'skipped' || row.cause === 'last_admin');
  expect(
    rows.filter((row) => !repeated.includes(row)),
    'a further run has an empty plan',
  ).toEqual([]);
}
