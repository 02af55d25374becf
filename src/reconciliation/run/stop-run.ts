/**
 * Stopping a run at the edge of a chunk, in two transactions. The first ends the run: no later transaction of it passes
 * the fence. The second waits for the chunks under way, whose transactions hold the row of the run, and says what became
 * of the plan: whole chunks are applied, and the rows say which. In one transaction this would be a race that the worker
 * can win again and again, since its next chunk may take its lock before ours is given.
 * Nothing needs to be taken back: a run compares the directory with what is there, so the next one plans the rest.
 */
import type { ConnectionId, RunId, TenantId } from '../../core/ids.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';
import { countChanges, skipOpenChanges } from '../plan/changes.ts';

export type Stopped = {
  readonly runId: RunId;
  /** Changes that were applied, and stay. */
  readonly applied: number;
  /** Changes that were planned and not applied. */
  readonly left: number;
  /** Both in a sentence, with who stopped it. */
  readonly message: string;
};

/** First transaction, of one run. False: it is neither queued nor running. */
export async function endRun(tx: TenantTx, runId: RunId): Promise<boolean> {
  const ended = await tx.sql`
    update runs set status = 'canceled', finished_at = now()
    where tenant_id = ${tx.tenantId} and id = ${runId} and status in ('queued', 'running')`;
  return ended.count === 1;
}

/**
 * First transaction of a pause: every run that would apply something. A plan may go on, and an undo pauses its connection
 * itself.
 */
export async function endRunsOf(tx: TenantTx, connectionId: ConnectionId): Promise<RunId[]> {
  const live = await tx.sql<{ id: RunId }[]>`
    update runs set status = 'canceled', finished_at = now()
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and status in ('queued', 'running')
      and kind not in ('undo', 'push') and (mode = 'auto' or approved_at is not null)
    returning id`;
  return live.map((run) => run.id);
}

/** Second transaction. `because` begins the sentence: `Canceled by operator:ada`. */
export function settleStopped(db: Db, tenantId: TenantId, runId: RunId, because: string): Promise<Stopped> {
  return db.tenant(tenantId, async (tx) => {
    // a plan that is being written may take long and touches nobody; its worker puts its rows aside
    await tx.sql`
      select 1 from runs where tenant_id = ${tenantId} and id = ${runId} and phase = 'apply' for update`;
    const left = await skipOpenChanges(tx, runId, `${because} before this was applied; the next run plans it again.`);
    const counts = await countChanges(tx, runId);
    const applied = counts.reduce((sum, row) => sum + (row.state === 'applied' ? row.rows : 0), 0);
    const message = `${because}: ${describeRest(applied, left)}`;
    await tx.sql`
      update runs set counts = counts || ${JSON.stringify({ changes: counts, stopped: { applied, left } })}::jsonb, digest = null,
        progress = null, error = ${JSON.stringify({ code: 'canceled', message })}::jsonb
      where tenant_id = ${tenantId} and id = ${runId}`;
    await enqueue(tx, 'run.canceled', { runId, applied, left, message });
    return { runId, applied, left, message };
  });
}

/** Rows of a plan that was being written when its run was stopped; called by its worker. */
export async function skipRowsOfStopped(tx: TenantTx, runId: RunId): Promise<void> {
  const [run] = await tx.sql<{ status: string; phase: string | null }[]>`
    select status, phase from runs where tenant_id = ${tx.tenantId} and id = ${runId}`;
  if (run?.status !== 'canceled' || run.phase === 'apply') return;
  await skipOpenChanges(tx, runId, 'The run was stopped while it planned this.');
}

function describeRest(applied: number, left: number): string {
  if (applied + left === 0) return 'nothing was applied.';
  const all = (applied + left).toLocaleString('en-US');
  const rest = left === 0 ? '' : ' The next run plans the rest again.';
  return `${applied.toLocaleString('en-US')} of ${all} changes were applied and stay.${rest}`;
}
