/**
 * A person's word on a plan that waits, bound to its digest. Where the connection asks for two approvers, the first word
 * is kept with the run until the second comes, from somebody who neither asked for the run nor gave the first.
 */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import type { RunId, TenantId } from '../../core/ids.ts';
import { policySchema } from '../../core/policy.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { mustFind } from '../connections/connections.ts';
import { requireUnpaused } from './refusals.ts';
import { approvalHours, lockWaiting, type RunApproval, type RunSummary } from './runs-store.ts';

export type Approval = {
  readonly actor: string;
  /** The digest the person saw; another one means the plan is not what they approved. */
  readonly digest: string;
  /** Why the host operator does without a second person. */
  readonly overrideReason?: string | undefined;
};

export type Approved = {
  /** False: another person must approve too before anything is applied. */
  readonly isQueued: boolean;
  readonly approvals: readonly RunApproval[];
};

/** Approves a waiting plan and, once everybody has who must, queues it. Everything in it is applied, what guards held included. */
export function approveRun(db: Db, tenantId: TenantId, runId: RunId, approval: Approval): Promise<Approved> {
  return db.tenant(tenantId, async (tx) => {
    const run = await lockWaiting(tx, runId);
    requireSameDigest(run, approval.digest);
    const connection = await mustFind(tx, run.connectionId);
    if (run.kind !== 'undo') requireUnpaused(connection);
    if (connection.version !== run.connectionVersion) {
      throw new RollcallError('connection_state', `${connection.name} was changed after this plan was made.`, {
        remedy: 'Start a new run: it uses the new settings.',
      });
    }
    const { approvers } = policySchema.parse(connection.policy).approval;
    const standing = await standingApprovals(tx, run);
    const given = await addApproval(tx, run, standing, approval, approvers);
    const isQueued = given.length >= approvers || approval.overrideReason !== undefined;
    if (isQueued) await queueForApply(tx, runId, given);
    await recordEvent(tx, {
      actor: approval.actor,
      action: isQueued ? 'run.approved' : 'run.approved_first',
      target: `run:${runId}`,
      details: {
        digest: approval.digest,
        approvers,
        approvals: given.map((one) => one.actor),
        ...(approval.overrideReason === undefined ? {} : { overrideReason: approval.overrideReason }),
      },
    });
    return { isQueued, approvals: given };
  });
}

function requireSameDigest(run: RunSummary, digest: string): void {
  if (run.digest !== digest) {
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
}

/** What was said of this very digest, and not too long ago by the database's clock, which dated it. */
async function standingApprovals(tx: TenantTx, run: RunSummary): Promise<RunApproval[]> {
  return tx.sql<RunApproval[]>`
    select a.actor, a.at, a.digest, a.override from runs r
    cross join lateral jsonb_to_recordset(r.approvals) as a(actor text, at timestamptz, digest text, override text)
    where r.tenant_id = ${tx.tenantId} and r.id = ${run.id} and a.digest = ${run.digest}
      and a.at > now() - make_interval(hours => ${approvalHours})
    order by a.at`;
}

async function addApproval(
  tx: TenantTx,
  run: RunSummary,
  standing: readonly RunApproval[],
  approval: Approval,
  approvers: number,
): Promise<RunApproval[]> {
  const override = approval.overrideReason ?? null;
  if (override === null) requireSecondApprover(run, standing, approval.actor, approvers);
  else if (!approval.actor.startsWith('operator:')) {
    throw new RollcallError('forbidden', 'Only the operator of the host can do without a second person.');
  } else if (override.trim() === '') {
    throw new RollcallError('invalid_input', 'To do without a second person takes a reason; the audit keeps it.');
  }
  const others = standing.filter((one) => one.actor !== approval.actor);
  const [row] = await tx.sql<{ approvals: RunApproval[] }[]>`
    update runs set approvals = ${JSON.stringify(others)}::jsonb || jsonb_build_array(jsonb_build_object('actor', ${approval.actor}::text,
      'at', now(), 'digest', ${approval.digest}::text, 'override', ${override}::text))
    where tenant_id = ${tx.tenantId} and id = ${run.id}
    returning approvals`;
  return row?.approvals ?? [];
}

function requireSecondApprover(
  run: RunSummary,
  standing: readonly RunApproval[],
  actor: string,
  approvers: number,
): void {
  if (approvers < 2 || standing.length === 0) return;
  const isFirst = standing.some((one) => one.actor === actor);
  if (!isFirst && run.requestedBy !== actor) return;
  const what = isFirst ? 'have approved this plan already' : 'asked for this run';
  throw new RollcallError('second_approver', `You ${what}: its second approval must come from another person.`, {
    remedy: 'Let another Admin look at the plan and approve it.',
    details: { approvals: standing.map((one) => one.actor), requestedBy: run.requestedBy },
  });
}

async function queueForApply(tx: TenantTx, runId: RunId, approvals: readonly RunApproval[]): Promise<void> {
  await tx.sql`
    update changes set state = 'planned' where tenant_id = ${tx.tenantId} and run_id = ${runId} and state = 'held'`;
  const queued = await tx.sql`
    update runs r set status = 'queued', phase = 'apply', approved_by = ${approvals.map((one) => one.actor).join(', ')}, approved_at = now(),
      finished_at = null
    where r.tenant_id = ${tx.tenantId} and r.id = ${runId} and not exists (
      select 1 from runs o
      where o.tenant_id = r.tenant_id and o.connection_id = r.connection_id and o.id <> r.id and o.status in ('queued', 'running')
        and o.kind in ('full', 'delta', 'import', 'undo'))
    returning 1`;
  if (queued.length === 1) return;
  throw new RollcallError('run_live', 'Another run of this connection is under way; approve when it has ended.');
}
