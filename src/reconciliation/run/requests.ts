/** Use cases of runs: ask for one, approve, discard, cancel. Executing is `run.ts`; dispatching is schedule's. */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type RunId, type TenantId } from '../../core/ids.ts';
import type { RunMode } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { mustFind } from '../connections/connections.ts';
import { requireUnpaused } from './refusals.ts';
import { insertRun, selectRun, type RunSummary } from './runs-store.ts';

/** An approval is for the plan as it was read; after this it is too old to be meant. */
const approvalHours = 72;

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

export type Approval = {
  readonly actor: string;
  /** The digest the person saw; another one means the plan is not what they approved. */
  readonly digest: string;
};

/** Approves a waiting plan and queues it for apply. Everything in it is applied, what guards held included. */
export function approveRun(db: Db, tenantId: TenantId, runId: RunId, approval: Approval): Promise<void> {
  return db.tenant(tenantId, async (tx) => {
    const run = await lockWaiting(tx, runId);
    if (run.digest !== approval.digest) {
      throw new RollcallError('digest_mismatch', 'The plan is not the one that was approved: its digest differs.', {
        remedy: 'Look at the plan again and approve what it shows now.',
        details: { digest: run.digest },
      });
    }
    if (Date.now() - Date.parse(run.finishedAt ?? run.createdAt) > approvalHours * 3_600_000) {
      throw new RollcallError('approval_expired', `The plan is older than ${approvalHours} hours.`, {
        remedy: 'Start a new run and approve its plan.',
      });
    }
    const connection = await mustFind(tx, run.connectionId);
    if (run.kind !== 'undo') requireUnpaused(connection);
    if (connection.version !== run.connectionVersion) {
      throw new RollcallError('connection_state', `${connection.name} was changed after this plan was made.`, {
        remedy: 'Start a new run: it uses the new settings.',
      });
    }
    await tx.sql`
      update changes set state = 'planned' where tenant_id = ${tenantId} and run_id = ${runId} and state = 'held'`;
    const queued = await queueForApply(tx, runId, approval.actor);
    if (!queued)
      throw new RollcallError('run_live', 'Another run of this connection is under way; approve when it has ended.');
    await recordEvent(tx, {
      actor: approval.actor,
      action: 'run.approved',
      target: `run:${runId}`,
      details: { digest: approval.digest },
    });
  });
}

async function queueForApply(tx: TenantTx, runId: RunId, actor: string): Promise<boolean> {
  const rows = await tx.sql`
    update runs r set status = 'queued', phase = 'apply', approved_by = ${actor}, approved_at = now(), finished_at = null
    where r.tenant_id = ${tx.tenantId} and r.id = ${runId} and not exists (
      select 1 from runs o
      where o.tenant_id = r.tenant_id and o.connection_id = r.connection_id and o.id <> r.id and o.status in ('queued', 'running')
        and o.kind in ('full', 'delta', 'import', 'undo'))
    returning 1`;
  return rows.length === 1;
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

/** Stops a queued or running run at its next transaction: the fence refuses it. */
export function cancelRun(db: Db, tenantId: TenantId, runId: RunId, actor: string): Promise<void> {
  return db.tenant(tenantId, async (tx) => {
    const result = await tx.sql`
      update runs set status = 'canceled', finished_at = now()
      where tenant_id = ${tenantId} and id = ${runId} and status in ('queued', 'running')`;
    if (result.count === 0) throw new RollcallError('run_state', `Run ${runId} is neither queued nor running.`);
    await tx.sql`
      update changes set state = 'skipped' where tenant_id = ${tenantId} and run_id = ${runId} and state in ('planned', 'held')`;
    await recordEvent(tx, { actor, action: 'run.canceled', target: `run:${runId}` });
  });
}

async function lockWaiting(tx: TenantTx, runId: RunId): Promise<RunSummary> {
  await tx.sql`select 1 from runs where tenant_id = ${tx.tenantId} and id = ${runId} for update`;
  const run = await selectRun(tx, runId);
  if (run === null) {
    throw new RollcallError('not_found', `There is no run ${runId}.`, { remedy: 'List them with: rollcall runs list' });
  }
  if (run.status !== 'planned' && run.status !== 'held') {
    throw new RollcallError('run_state', `Run ${runId} does not wait for approval: it is ${run.status}.`, {
      remedy: 'Only planned and held runs can be approved or discarded.',
    });
  }
  return run;
}
