/** Use cases of runs: ask for one, discard, cancel (approving: approvals.ts). Executing is `run.ts`; dispatching is schedule's. */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type RunId, type TenantId } from '../../core/ids.ts';
import type { RunMode } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { mustFind } from '../connections/connections.ts';
import { requireUnpaused } from './refusals.ts';
import { endRun, settleStopped, type Stopped } from './stop-run.ts';
import { insertRun, lockWaiting, mustFindRun } from './runs-store.ts';

export type RunRequest = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** `delta` asks for an increment; the run reads in full where one is due or none is possible. */
  readonly read: 'full' | 'delta';
  /** `plan` stops before the first write to a user. */
  readonly mode: RunMode;
  readonly requestedBy: string;
};

/** Queues a run; throws run_live, connection_state, not_found. */
export function requestRun(db: Db, request: RunRequest): Promise<RunId> {
  return db.tenant(request.tenantId, async (tx) => {
    const connection = await mustFind(tx, request.connectionId);
    if (connection.kind === 'scim') {
      throw new RollcallError(
        'connection_state',
        `${connection.name} is pushed to by its identity provider; there is nothing to read.`,
      );
    }
    if (request.mode === 'auto') requireUnpaused(connection);
    const id = newId<RunId>();
    await insertRun(tx, request.tenantId, {
      id,
      connectionId: request.connectionId,
      connectionVersion: connection.version,
      kind: request.read,
      mode: request.mode,
      requestedBy: request.requestedBy,
      scheduledFor: null,
    });
    return id;
  });
}

/**
 * A try of a connection in quarantine, now instead of when its pause ends. Reads everything; of a connection that is
 * pushed to, settles what waited. Throws connection_state where there is no quarantine, run_live, not_found.
 */
export function retryConnection(
  db: Db,
  request: Pick<RunRequest, 'tenantId' | 'connectionId' | 'requestedBy'>,
): Promise<RunId> {
  return db.tenant(request.tenantId, async (tx) => {
    const connection = await mustFind(tx, request.connectionId);
    if (connection.status !== 'quarantined') {
      throw new RollcallError(
        'connection_state',
        `${connection.name} is not in quarantine: it is ${connection.status}.`,
        {
          remedy: 'Start a run instead: rollcall run CONNECTION',
        },
      );
    }
    const id = newId<RunId>();
    await insertRun(tx, request.tenantId, {
      id,
      connectionId: request.connectionId,
      connectionVersion: connection.version,
      kind: connection.kind === 'scim' ? 'object' : 'full',
      mode: 'auto',
      requestedBy: request.requestedBy,
      scheduledFor: null,
    });
    return id;
  });
}

/** Throws the plan away; the next run makes a new one from the same differences. */
export function discardRun(db: Db, tenantId: TenantId, runId: RunId, actor: string): Promise<void> {
  return db.tenant(tenantId, async (tx) => {
    await lockWaiting(tx, runId);
    await tx.sql`update runs set status = 'discarded' where tenant_id = ${tenantId} and id = ${runId}`;
    await tx.sql`
      update changes set state = 'skipped' where tenant_id = ${tenantId} and run_id = ${runId} and state in ('planned', 'held')`;
    await recordEvent(tx, { actor, action: 'run.discarded', target: `run:${runId}` });
  });
}

/** Stops a queued or running run; one that applies ends its chunk first, and says how much it did. */
export async function cancelRun(db: Db, tenantId: TenantId, runId: RunId, actor: string): Promise<Stopped> {
  await db.tenant(tenantId, async (tx) => {
    const isEnded = await endRun(tx, runId);
    if (!isEnded) throw await notLive(tx, runId);
    await recordEvent(tx, { actor, action: 'run.canceled', target: `run:${runId}` });
  });
  return settleStopped(db, tenantId, runId, `Canceled by ${actor}`);
}

async function notLive(tx: TenantTx, runId: RunId): Promise<RollcallError> {
  const { status } = await mustFindRun(tx, runId);
  const isWaiting = status === 'planned' || status === 'held';
  return new RollcallError('run_state', `Run ${runId} is neither queued nor running: it is ${status}.`, {
    remedy: isWaiting ? 'Throw its plan away with: rollcall discard' : 'There is nothing to stop.',
  });
}
