/** Runs of a story, each compared with its own rows: what was shown is what was applied, and nothing else changed. */
import { expect } from 'vitest';
import type { RunId } from '../../src/core/ids.ts';
import type { RunMode } from '../../src/core/vocabulary.ts';
import type { Change, RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { addFailpoints, Killed } from '../crash/failpoints.ts';
import { readPortal, type PortalState } from './portal-rows.ts';
import { contentOf, expectEffects, expectGivenWithinCeiling, isOpen } from './promises.ts';
import type { Wired, World } from './world.ts';

export async function requestRun(world: World, wired: Wired, mode: RunMode, read: 'full' | 'delta'): Promise<RunId> {
  const { tenantId, engine } = world;
  return engine.reconciliation.requestRun({
    tenantId,
    connectionId: wired.connectionId,
    read,
    mode,
    requestedBy: 'test',
  });
}

/** Runs to where it stops, and remembers what a person would be shown. */
export async function run(
  world: World,
  wired: Wired,
  mode: RunMode = 'auto',
  read: 'full' | 'delta' = 'full',
): Promise<void> {
  await execute(world, await requestRun(world, wired, mode, read));
}

/** The newest run of the connection that waits for a person. */
export async function findWaiting(world: World, wired: Wired): Promise<RunSummary | null> {
  const runs = await world.engine.reconciliation.listRuns(world.tenantId, {
    connectionId: wired.connectionId,
    limit: 50,
  });
  return runs.find((one) => one.status === 'planned' || one.status === 'held') ?? null;
}

export async function approve(
  world: World,
  wired: Wired,
  approval: { readonly actor: string; readonly digest: string | null },
): Promise<void> {
  const waiting = await findWaiting(world, wired);
  if (waiting === null) throw new Error(`No run of ${wired.name} waits for anybody.`);
  const digest = approval.digest ?? waiting.digest ?? '';
  await world.engine.reconciliation.approveRun(world.tenantId, waiting.id, { actor: approval.actor, digest });
  const { status } = await world.engine.reconciliation.getRun(world.tenantId, waiting.id);
  if (status === 'queued') await execute(world, waiting.id);
  else world.lastRun = await world.engine.reconciliation.getRun(world.tenantId, waiting.id);
}

type Moment = { readonly portal: PortalState; readonly rows: readonly Change[] };

/** `crashAt`: the worker dies at that failpoint, and another one takes over, as the queue would see to it. */
export async function execute(world: World, runId: RunId, crashAt: number | null = null): Promise<void> {
  let before: Moment | null = null;
  const onProgress = ({ phase, done }: { readonly phase: string; readonly done: number }): void => {
    // a plan that is made again has other rows
    if (phase === 'decide') before = null;
    if (phase !== 'apply' || done > 0 || before !== null) return;
    world.watched.beforeNext(async () => {
      before = { portal: await readPortal(world.db, world.tenantId), rows: await world.engine.changes(runId) };
    });
  };
  const options = { signal: new AbortController().signal, onProgress };
  if (crashAt !== null)
    await dieIn(world, crashAt, () => world.engine.reconciliation.executeRun(world.tenantId, runId, options));
  const open = await world.engine.reconciliation.getRun(world.tenantId, runId);
  world.lastRun =
    open.status === 'queued' || open.status === 'running'
      ? await world.engine.reconciliation.executeRun(world.tenantId, runId, options)
      : open;
  await compare(world, runId, before);
}

async function dieIn(world: World, at: number, work: () => Promise<unknown>): Promise<void> {
  world.watched.use(addFailpoints(world.db, at).db);
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
  } finally {
    world.watched.use(null);
  }
}

async function compare(world: World, runId: RunId, before: Moment | null): Promise<void> {
  const rows = await world.engine.changes(runId);
  const shown = world.shown.get(runId);
  if (before === null) {
    expect(rows.filter((row) => row.state === 'applied' && shown === undefined)).toEqual([]);
    world.shown.set(runId, rows.filter(isOpen));
    return;
  }
  const wanted = before.rows.filter((row) => row.state === 'planned');
  if (shown !== undefined && shown.length > 0) {
    expect(wanted.map(contentOf), 'what is applied is what the person was shown').toEqual(shown.map(contentOf));
  }
  const bySeq = new Map(rows.map((row) => [row.seq, row]));
  const kept = wanted.filter(
    (row) => bySeq.get(row.seq)?.state === 'applied' && bySeq.get(row.seq)?.cause === row.cause,
  );
  // of a run that was held, a part was applied before it waited
  const earlier = new Set(before.rows.filter((row) => row.state === 'applied').map((row) => row.seq));
  const applied = rows.filter((row) => row.state === 'applied' && !earlier.has(row.seq));
  if (applied.length > 0) world.lastApplied = runId;
  const turned = applied.filter((row) => row.cause === 'last_admin');
  expect(
    applied.filter((row) => !turned.includes(row)).map(contentOf),
    'the rows applied are those of the digest, without the stale ones',
  ).toEqual(kept.filter((row) => row.cause !== 'last_admin').map(contentOf));
  for (const row of wanted) expect(bySeq.get(row.seq)?.state, `${row.op} ${row.subject}`).not.toBe('planned');
  expectGivenWithinCeiling(world, applied);
  expectEffects(before.portal, applied, await readPortal(world.db, world.tenantId));
  world.shown.set(runId, rows.filter(isOpen));
}
