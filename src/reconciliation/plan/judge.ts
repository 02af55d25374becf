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
    update runs set is_first = ${isFirst}, counts = counts || ${JSON.stringify(await unnamedJoiners(tx, runId))}::jsonb, digest = ${digest}, guard = ${guard === null ? null : JSON.stringify(guard)}::jsonb
    where tenant_id = ${tx.tenantId} and id = ${runId}`;
  return { counts, digest, guard };
}

/** Newcomers for whom the directory has no name in the tenant's domains: no fault, and nothing an admin should find out late. */
async function unnamedJoiners(tx: TenantTx, runId: RunId): Promise<{ readonly withoutUsername?: number }> {
  const [row] = await tx.sql<{ users: number }[]>`
    select count(*)::int as users from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.class = 'create' and c.after ->> 'username' is null
      and not exists (
        select 1 from changes k where k.tenant_id = c.tenant_id and k.run_id = c.run_id and k.op = 'key' and k.user_id = c.user_id)`;
  return row === undefined || row.users === 0 ? {} : { withoutUsername: row.users };
}
