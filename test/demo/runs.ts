/** Runs as the demo carries them out and shows them: the use cases and the renderers of the CLI. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionId, RunId, TenantId } from '../../src/core/ids.ts';
import { changeKinds, type ChangeKind, type RunMode } from '../../src/core/vocabulary.ts';
import type { Change, RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { renderPeople } from './plan-table.ts';
import type { Place, Scene } from './scene.ts';

/** More than the sample's people can have. */
const mostRows = 10_000;
const pollMs = 100;

/** Reads the directory; `plan` stops there, `auto` goes on to apply what no guard holds. */
export async function startRun(
  scene: Scene,
  place: Place,
  connectionId: ConnectionId,
  mode: RunMode,
): Promise<RunSummary> {
  const { reconciliation } = scene.office;
  const runId = await reconciliation.requestRun({
    tenantId: place.tenantId,
    connectionId,
    read: 'delta',
    mode,
    requestedBy: place.principal.actor,
  });
  return execute(scene, place.tenantId, runId);
}

/** Says yes to exactly this plan, by its digest, and applies it. */
export async function approveAndApply(scene: Scene, place: Place, run: RunSummary): Promise<RunSummary> {
  if (run.digest === null) throw new Error(`The run of ${run.connectionName} has no plan to approve.`);
  const { actor } = place.principal;
  await scene.office.reconciliation.approveRun(place.tenantId, run.id, { actor, digest: run.digest });
  return execute(scene, place.tenantId, run.id);
}

/** The daemon's worker looks for queued runs too; whoever of the two comes first does it. */
async function execute(scene: Scene, tenantId: TenantId, runId: RunId): Promise<RunSummary> {
  const { reconciliation } = scene.office;
  let run = await reconciliation.executeRun(tenantId, runId, { signal: scene.signal });
  while (run.status === 'queued' || run.status === 'running') {
    await delay(pollMs, undefined, { signal: scene.signal });
    run = await reconciliation.getRun(tenantId, runId);
  }
  if (run.status === 'failed') throw new Error(`The run of ${run.connectionName} failed: ${textOf(run.error)}`);
  return run;
}

function textOf(error: RunSummary['error']): string {
  return [error?.['message'], error?.['remedy'], error?.['raw']].filter((part) => typeof part === 'string').join(' ');
}

export async function showRun(scene: Scene, place: Place, run: RunSummary): Promise<void> {
  const { reconciliation, organizations } = scene.office;
  const changes: Record<ChangeKind, readonly Change[]> = { joiner: [], mover: [], leaver: [], conflict: [] };
  for (const kind of changeKinds) {
    changes[kind] = await reconciliation.listChanges(place.tenantId, { runId: run.id, kind, limit: mostRows });
  }
  const { items } = await organizations.list(place.principal, { limit: 100, cursor: undefined });
  const plan = { run, changes, organizations: new Map<string, string>(items.map(({ id, name }) => [id, name])) };
  scene.narrator.show(renderPeople(plan, scene.narrator.width - 2));
}
