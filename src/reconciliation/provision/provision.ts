/**
 * Provisioning on demand: one user is read from its directory now, put into the mirror, decided and applied, as a run of
 * kind `object` with change rows, provenance, guards and explanation like any other. It only ever adds memberships of
 * groups: that a group no longer names the user is for a read of everything to say.
 */
import { recordEvent } from '../../audit/audit.ts';
import type { FoundObject, ObjectReference } from '../../connectors/contract/contract.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type RunId, type TenantId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';
import { applyPushed } from '../apply/apply.ts';
import { settlePushed } from '../apply/links.ts';
import { openConnection, openSecrets, type ConnectionsDeps, type OpenConnection } from '../connections/connections.ts';
import { findObject, type ExplainDeps } from '../explain/explain.ts';
import { explainObjects, type ObjectExplanation } from '../explain/explain-object.ts';
import { writeFound } from '../mirror/found-object.ts';
import { mapperOf } from '../mirror/read-directory.ts';
import { countChanges, digestPlan, selectChanges, type Change } from '../plan/changes.ts';
import { decisionContext } from '../plan/decision-context.ts';
import { judgePlan, type Judgment } from '../plan/judge.ts';
import { markLeaving } from '../plan/leavers.ts';
import { decideNow, insertDecided } from '../push/decide-now.ts';
import { finishRun } from '../run/runs-store.ts';
import { requireUnpaused } from '../run/refusals.ts';

export type Provisioned = {
  readonly runId: RunId;
  /** `succeeded`, `partly`, or `held` where a guard wants a person's word. */
  readonly status: 'succeeded' | 'partly' | 'held';
  /** False where the directory said nothing new about the user itself. */
  readonly isChanged: boolean;
  readonly changes: readonly Change[];
  readonly explanation: ObjectExplanation;
};

export type ProvisionRequest = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** Immutable id, or a name that people use. */
  readonly reference: string;
  readonly actor: string;
  readonly signal: AbortSignal;
};

const readTimeoutMs = 30_000;

export async function provisionObject(
  deps: ExplainDeps & ConnectionsDeps,
  request: ProvisionRequest,
): Promise<Provisioned> {
  const { tenantId, connectionId } = request;
  const open = await deps.db.tenant(tenantId, (tx) => openConnection(tx, deps.connectors, connectionId));
  requireUnpaused(open.row);
  // what is pushed is in the mirror as it was pushed last: there is nothing to ask
  const found = open.connection.kind === 'scim' ? null : await readFromDirectory(deps, open, request);
  return deps.db.tenant(tenantId, async (tx) => {
    await lockAgainstRuns(tx, connectionId);
    const current = await openConnection(tx, deps.connectors, connectionId);
    if (current.row.version !== open.row.version) {
      throw new RollcallError('connection_state', `${open.row.name} was changed while the user was read.`, {
        remedy: 'Repeat the command: it uses the new settings.',
      });
    }
    const isChanged = found === null ? false : await writeFound(tx, connectionId, found, mapperOf(current));
    const anchor = found?.object.anchor ?? (await findObject(tx, connectionId, request.reference));
    return applyOne(tx, deps, current, { anchor, isChanged, actor: request.actor });
  });
}

async function readFromDirectory(
  deps: ConnectionsDeps,
  open: OpenConnection,
  { reference, signal, tenantId }: ProvisionRequest,
): Promise<FoundObject> {
  const connector = deps.connectors.get(open.connection.kind);
  if (connector === undefined) {
    throw new RollcallError('connection_state', `${open.row.name} has nothing to read.`);
  }
  const ask = (by: ObjectReference) =>
    connector.readObject(
      {
        settings: connector.settingsSchema.parse(open.row.settings),
        secrets: openSecrets(deps, connector, open.row),
        attributes: mapperOf(open).attributes,
        signal: AbortSignal.any([signal, AbortSignal.timeout(readTimeoutMs)]),
        tenantId,
      },
      by,
    );
  const byAnchor = await ask({ anchor: reference.toLowerCase() });
  const found = byAnchor.length > 0 ? byAnchor : await ask({ name: reference });
  const [first, ...more] = found;
  if (first === undefined) {
    throw new RollcallError('not_found', `${open.row.name} has no user ${reference} among what it reads.`, {
      remedy: 'Check the name and the filter of the connection. A user that was deleted is a matter for the next run.',
    });
  }
  if (more.length === 0) return first;
  const names = found.map(({ object }) => `${object.name} (${object.anchor})`).join(', ');
  throw new RollcallError('invalid_input', `Several users of ${open.row.name} match ${reference}: ${names}.`, {
    remedy: 'Give the immutable id.',
  });
}

/** A run that reads everything has an older word about this user in its stage; two that wrote at once would mix them. */
async function lockAgainstRuns(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  await tx.sql`select 1 from connections where tenant_id = ${tx.tenantId} and id = ${connectionId} for no key update`;
  const [live] = await tx.sql<{ id: string }[]>`
    select id from runs
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and status in ('queued', 'running') and kind <> 'push' limit 1`;
  if (live === undefined) return;
  throw new RollcallError('run_live', `Run ${live.id} of this connection is under way, and decides about everybody.`, {
    remedy: 'Wait for it (rollcall runs watch), then repeat the command.',
  });
}

type Scope = Parameters<typeof applyPushed>[1];

async function applyOne(
  tx: TenantTx,
  deps: ExplainDeps,
  open: OpenConnection,
  what: { readonly anchor: string; readonly isChanged: boolean; readonly actor: string },
): Promise<Provisioned> {
  const { anchor, isChanged, actor } = what;
  const scope = await startRun(tx, open, actor);
  const context = await decisionContext(tx, open, deps);
  await markLeaving(tx, scope.connectionId, context.leaver.graceDays, [anchor]);
  const { decided, waiting } = await decideNow(tx, open, context, [anchor]);
  // the steps are told as they were before they were done
  const [explanation] = await explainObjects(tx, deps, scope.connectionId, [anchor]);
  if (explanation === undefined) throw new RollcallError('not_found', `This connection has no object ${anchor}.`);
  await outdateWaiting(tx, scope.connectionId, anchor);
  const rows = decided.length === 0 ? [] : await insertDecided(tx, { ...scope, requestId: null }, decided);
  const judgment = await judgePlan(tx, {
    ...scope,
    isFirst: open.row.approvedVersion === null,
    // one deed for one user: where a guard holds a part of it, all of it waits
    isUndo: true,
    limits: open.policy.guards,
    implausible: [],
  });
  if (judgment.guard === null) {
    const left = await applyPushed(
      tx,
      scope,
      rows.map((row) => row.seq),
    );
    if (!left.has(anchor) && !waiting.has(anchor)) await settlePushed(tx, scope.connectionId, [anchor]);
  }
  const status = await endRun(tx, scope, judgment.guard, what);
  const changes = await selectChanges(tx, { runId: scope.runId, limit: 1_000 });
  return { runId: scope.runId, status, isChanged, changes, explanation };
}

async function startRun(tx: TenantTx, open: OpenConnection, actor: string): Promise<Scope> {
  const connectionId = open.connection.id;
  const runId = newId<RunId>();
  await tx.sql`
    insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, phase, requested_by, started_at)
    values (${tx.tenantId}, ${runId}, ${connectionId}, ${open.row.version}, 'object', 'auto', 'running', 'decide', ${actor}, now())`;
  return { runId, connectionId, connectionName: open.row.name, undone: null };
}

async function endRun(
  tx: TenantTx,
  scope: Scope,
  guard: Judgment['guard'],
  { anchor, actor }: { readonly anchor: string; readonly actor: string },
): Promise<Provisioned['status']> {
  const counts = await countChanges(tx, scope.runId);
  const isPartly = counts.some((row) => row.state === 'failed' || row.state === 'stale');
  const status = guard !== null ? 'held' : isPartly ? 'partly' : 'succeeded';
  await finishRun(tx, scope.runId, {
    status,
    counts: { changes: counts, object: anchor },
    digest: await digestPlan(tx, scope.runId),
    guard,
    error: null,
  });
  await recordEvent(tx, {
    actor,
    action: 'object.provisioned',
    target: `run:${scope.runId}`,
    details: { connectionId: scope.connectionId, anchor },
  });
  if (counts.length > 0) {
    await enqueue(tx, status === 'held' ? 'run.held' : 'run.applied', {
      runId: scope.runId,
      connection: scope.connectionName,
      changes: counts,
    });
  }
  return status;
}

/** Plans that wait were made for the user as it was: approving them later must not do any of it a second time. */
async function outdateWaiting(tx: TenantTx, connectionId: ConnectionId, anchor: string): Promise<void> {
  await tx.sql`
    update changes c set state = 'stale', error = 'The user was provisioned on demand after this plan was made.'
    from runs r
    where c.tenant_id = ${tx.tenantId} and c.connection_id = ${connectionId} and c.anchor = ${anchor} and c.state in ('planned', 'held')
      and r.tenant_id = c.tenant_id and r.id = c.run_id and r.status in ('planned', 'held')`;
}
