/**
 * undo/: the inverse of a run, or of one user's or one request's part in it, as a run of its own: planned over the rows
 * that were applied (undo-plan), guarded, approved and applied like any other (undo-apply). Then the connection is
 * paused and the touched links are held (held-links), so that the next run does not repeat the mistake.
 */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type RunId, type TenantId, type UserId } from '../../core/ids.ts';
import type { RunMode } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { mustFind } from '../connections/connections.ts';
import { insertRun, mustFindRun, type RunSummary } from '../run/runs-store.ts';
import { undoableOps, type UndoScope } from './undo-plan.ts';

export type UndoRequest = {
  readonly tenantId: TenantId;
  readonly runId: RunId;
  readonly requestedBy: string;
  /** `plan` (as a rule) stops before the first write; `auto` applies what no guard holds. */
  readonly mode: RunMode;
  /** Only what the run did to this user. */
  readonly userId?: UserId | undefined;
  /** Only what one request of pushes did. */
  readonly requestId?: string | undefined;
  /** ISO 8601: only what was done from then on; of a day of pushes. */
  readonly since?: string | undefined;
  /** The connection is not paused; only where a part is undone, because its links are held. */
  readonly keepsRunning?: boolean | undefined;
};

/** Queues the undo of a run; throws not_found, run_state, run_live, invalid_input. */
export function requestUndo(db: Db, request: UndoRequest): Promise<RunId> {
  const scope: UndoScope = {
    userId: request.userId ?? null,
    requestId: request.requestId ?? null,
    since: request.since ?? null,
    keepsRunning: request.keepsRunning ?? false,
  };
  const isWhole = scope.userId === null && scope.requestId === null && scope.since === null;
  if (scope.keepsRunning && isWhole) {
    throw new RollcallError('invalid_input', 'A connection can not keep running when a whole run of it is undone.', {
      remedy: 'Its next run would repeat what is undone. Leave that option out, or name the user or the request.',
    });
  }
  return db.tenant(request.tenantId, async (tx) => {
    const run = await mustFindRun(tx, request.runId);
    await requireUndoable(tx, run, scope);
    const connection = await mustFind(tx, run.connectionId);
    const id = newId<RunId>();
    await insertRun(tx, request.tenantId, {
      id,
      connectionId: run.connectionId,
      connectionVersion: connection.version,
      kind: 'undo',
      mode: request.mode,
      requestedBy: request.requestedBy,
      scheduledFor: null,
      undo: { of: run.id, scope },
    });
    await recordEvent(tx, {
      actor: request.requestedBy,
      action: 'run.undo_requested',
      target: `run:${run.id}`,
      details: {
        by: id,
        mode: request.mode,
        userId: scope.userId,
        requestId: scope.requestId,
        since: scope.since ?? null,
      },
    });
    return id;
  });
}

/** The days of pushes in which something was done since then, the latest first. */
export async function findPushedSince(
  { sql, tenantId }: TenantTx,
  connectionId: ConnectionId,
  since: string,
): Promise<RunId[]> {
  const rows = await sql<{ id: RunId }[]>`
    select r.id from runs r
    where r.tenant_id = ${tenantId} and r.connection_id = ${connectionId} and r.kind = 'push'
      -- a day's run is made by the first push of the day
      and r.created_at > ${since}::timestamptz - interval '1 day'
      and exists (
        select 1 from changes c
        where c.tenant_id = r.tenant_id and c.run_id = r.id and c.state = 'applied' and c.applied_at >= ${since}::timestamptz)
    order by r.created_at desc`;
  return rows.map(({ id }) => id);
}

type Applied = { readonly applied: number; readonly undone: number; readonly withoutPrior: number };

async function requireUndoable(tx: TenantTx, run: RunSummary, scope: UndoScope): Promise<void> {
  if (run.status === 'queued' || run.status === 'running') {
    throw new RollcallError('run_state', `Run ${run.id} is still ${run.status}; it can be undone when it has ended.`, {
      remedy: `Wait for it (rollcall runs watch ${run.id}), or cancel it.`,
    });
  }
  if (typeof run.counts['prunedAt'] === 'string') {
    throw new RollcallError('run_state', `Run ${run.id} is older than history is kept, so not all it did is known.`, {
      remedy: 'Correct its users by hand, or by another run.',
    });
  }
  const [rows] = await tx.sql<Applied[]>`
    select count(*) filter (where state = 'applied')::int as applied, count(*) filter (where state = 'undone')::int as undone,
      count(*) filter (where state = 'applied' and prior is null and op not in ('grant', 'revoke') and kind <> 'joiner')::int as "withoutPrior"
    from changes
    where tenant_id = ${tx.tenantId} and run_id = ${run.id} and op = any(${undoableOps as string[]}) and user_id is not null
      and (${scope.userId}::uuid is null or user_id = ${scope.userId}::uuid)
      and (${scope.requestId}::uuid is null or request_id = ${scope.requestId}::uuid)
      and (${scope.since ?? null}::timestamptz is null or applied_at >= ${scope.since ?? null}::timestamptz)`;
  if ((rows?.withoutPrior ?? 0) > 0) {
    throw new RollcallError('run_state', `Run ${run.id} was recorded by a version that could not undo.`, {
      remedy: 'Correct its users by hand, or by another run.',
    });
  }
  if ((rows?.applied ?? 0) > 0) return;
  throw new RollcallError('run_state', `Run ${run.id} can not be undone: ${whyNothing(run, scope, rows?.undone ?? 0)}`);
}

function whyNothing(run: RunSummary, scope: UndoScope, undone: number): string {
  const time = scope.since === null || scope.since === undefined ? '' : ` since ${scope.since}`;
  const part = scope.userId === null ? (scope.requestId === null ? time : ' in this request') : ' for this user';
  if (undone > 0) return `what it did${part} is undone already.`;
  if (appliedRows(run) > 0 && part === '') return 'its change rows are purged, so nobody knows any more what it did.';
  return `it changed nothing${part}.`;
}

/** As counted when the run ended. */
function appliedRows(run: RunSummary): number {
  const changes = run.counts['changes'];
  if (!Array.isArray(changes)) return 0;
  return changes.reduce((sum: number, row: unknown) => {
    const is = typeof row === 'object' && row !== null && Reflect.get(row, 'state') === 'applied';
    const rows: unknown = is ? Reflect.get(row, 'rows') : 0;
    return sum + (typeof rows === 'number' ? rows : 0);
  }, 0);
}
