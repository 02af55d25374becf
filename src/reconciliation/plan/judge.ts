/** The end of every plan: guards, what they hold, the counts and the digest, written to the run. */
import { hash } from 'node:crypto';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import type { GuardLimits } from '../../core/policy.ts';
import type { Implausibility } from '../../core/sanity.ts';
import type { TenantTx } from '../../db/db.ts';
import { countChanges, digestPlan, type ChangeCount } from './changes.ts';
import { countCauses, guardResult, holdBreaches, holdRun } from './guards.ts';

const emptyPlanDigest = hash('sha256', '');

export type PlanOfRun = {
  readonly runId: RunId;
  readonly connectionId: ConnectionId;
  readonly isFirst: boolean;
  /** An undo is one deed: where a guard holds a class of it, all of it waits. */
  readonly isUndo: boolean;
  readonly limits: GuardLimits;
  readonly implausible: readonly Implausibility[];
};

export type Judgment = {
  readonly counts: readonly ChangeCount[];
  /** Null: nothing waits. */
  readonly digest: string | null;
  readonly guard: Readonly<Record<string, unknown>> | null;
};

export async function judgePlan(tx: TenantTx, plan: PlanOfRun): Promise<Judgment> {
  const { runId, connectionId, isFirst, implausible } = plan;
  const breaches = await holdBreaches(tx, { runId, connectionId, isFirstRun: isFirst }, plan.limits);
  if (implausible.length > 0 || (plan.isUndo && breaches.length > 0)) await holdRun(tx, runId);
  const counts = await countChanges(tx, runId);
  // a reading that is not plausible waits for a person's word even where it changes nobody
  const digest = (await digestPlan(tx, runId)) ?? (implausible.length > 0 ? emptyPlanDigest : null);
  const isHeld = implausible.length > 0 || breaches.length > 0;
  const guard = guardResult(implausible, breaches, isHeld ? await countCauses(tx, plan) : []);
  await tx.sql`
    update runs set is_first = ${isFirst}, digest = ${digest}, guard = ${guard === null ? null : JSON.stringify(guard)}::jsonb
    where tenant_id = ${tx.tenantId} and id = ${runId}`;
  return { counts, digest, guard };
}
