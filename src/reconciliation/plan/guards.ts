/** Phase guard: sums over the finished plan, the pure evaluation, and the hold of what was breached. */
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { evaluateGuards, type Breach, type GuardCounts, type GuardName } from '../../core/guard.ts';
import { describeCause, nameLikelyCause, type CauseCount, type HeldCause } from '../../core/guard-causes.ts';
import type { GuardLimits } from '../../core/policy.ts';
import type { Implausibility } from '../../core/sanity.ts';
import type { TenantTx } from '../../db/db.ts';

/** A breach with the users it holds, grouped by what brought it about. */
export type HeldBreach = Breach & { readonly causes: readonly HeldCause[] };

export async function holdBreaches(
  tx: TenantTx,
  run: { readonly runId: RunId; readonly connectionId: ConnectionId; readonly isFirstRun: boolean },
  limits: GuardLimits,
): Promise<HeldBreach[]> {
  const holding: HeldBreach[] = [];
  for (const breach of evaluateGuards(await countForGuards(tx, run), limits)) {
    // what was applied in the last 24 hours counts, and holds only where this plan adds to it
    const held = heldBy(tx, breach.guard, breach.groupAnchor);
    if ((await hold(tx, run.runId, held)) === 0) continue;
    const causes = await countCauses(tx, run, held);
    holding.push({ ...breach, message: `${breach.message}${nameLikelyCause(causes)}`, causes });
  }
  return holding;
}

/** What the run keeps of both checks; null where neither found anything. */
export function guardResult(
  implausible: readonly Implausibility[],
  breaches: readonly HeldBreach[],
  causes: readonly HeldCause[],
): Record<string, unknown> | null {
  return implausible.length === 0 && breaches.length === 0 ? null : { implausible, breaches, causes };
}

const causesShown = 10;

/** Users of the rows that are held, largest cause first. */
export async function countCauses(
  tx: TenantTx,
  run: { readonly runId: RunId; readonly connectionId: ConnectionId },
  which: ReturnType<typeof heldBy> | null = null,
): Promise<HeldCause[]> {
  const rows = await tx.sql<CauseCount[]>`
    select h.cause, h.users, m.display_name as "groupName" from (
      select cause, count(distinct coalesce(user_id::text, anchor))::int as users from changes
      where tenant_id = ${tx.tenantId} and run_id = ${run.runId} and state = 'held' and ${which ?? tx.sql`true`}
      group by cause order by 2 desc, 1 limit ${causesShown}) h
    left join mirror_objects m on m.tenant_id = ${tx.tenantId} and m.connection_id = ${run.connectionId} and m.kind = 'group'
      and m.anchor = substring(h.cause from '^(?:left|in)_group:(.*)$') collate "C"
    order by 2 desc, 1`;
  return rows.map(describeCause);
}

/** Every row of the run waits: the read was not plausible. */
export async function holdRun(tx: TenantTx, runId: RunId): Promise<void> {
  await tx.sql`update changes set state = 'held' where tenant_id = ${tx.tenantId} and run_id = ${runId} and state = 'planned'`;
}

type Sums = Omit<GuardCounts, 'isFirstRun' | 'liveLinks' | 'liveGrants' | 'groupLosses'>;

/**
 * This plan, plus what the connection applied in the last 24 hours without a person's word for it: what was approved is
 * out of the sum, or the first leaver after an approved mass change would be held again. So is what was undone.
 */
async function countForGuards(
  tx: TenantTx,
  run: { readonly runId: RunId; readonly connectionId: ConnectionId; readonly isFirstRun: boolean },
): Promise<GuardCounts> {
  const rows = tx.sql`
    select c.*, c.run_id = ${run.runId} as is_now from changes c
    join runs r on r.tenant_id = c.tenant_id and r.id = c.run_id
    where c.tenant_id = ${tx.tenantId} and c.connection_id = ${run.connectionId}
      and (c.run_id = ${run.runId} or (c.applied_at > now() - interval '24 hours' and c.state = 'applied'
        and (r.approved_at is null or c.applied_at < r.approved_at)))`;
  const [sums] = await tx.sql<Sums[]>`
    with counted as (${rows})
    select count(*) filter (where op = 'create')::int as joiners,
      count(distinct user_id) filter (where kind = 'leaver')::int as leavers,
      count(*) filter (where class = 'revoke')::int as revokes,
      count(*) filter (where class = 'grant' and role <> 'user' and is_now)::int as "privilegedGrants",
      count(*) filter (where class = 'key' and kind <> 'joiner')::int as "keyChanges",
      count(*) filter (where class = 'update' and after ? 'email' and before ->> 'email' is not null)::int as "emailChanges"
    from counted`;
  const groupLosses = await tx.sql<GuardCounts['groupLosses'][number][]>`
    with counted as (${rows}), lost as (
      select substring(cause from length('left_group:') + 1) collate "C" as anchor, count(distinct user_id)::int as lost
      from counted where class = 'revoke' and cause like 'left_group:%' group by 1
    )
    select lost.anchor as "groupAnchor", coalesce(m.display_name, lost.anchor) as "groupName", lost.lost,
      (select count(distinct user_id)::int from (
        select g.user_id from grants g
        join role_mappings r on r.tenant_id = g.tenant_id and g.source = 'rule:' || r.id
        where g.tenant_id = ${tx.tenantId} and r.connection_id = ${run.connectionId} and r.group_anchor = lost.anchor
        union
        select c.user_id from counted c where c.class = 'revoke' and c.cause = 'left_group:' || lost.anchor) x) as before
    from lost
    left join mirror_objects m on m.tenant_id = ${tx.tenantId} and m.connection_id = ${run.connectionId} and m.kind = 'group' and m.anchor = lost.anchor`;
  const [live] = await tx.sql<{ links: number; grants: number }[]>`
    select
      (select count(*)::int from links where tenant_id = ${tx.tenantId} and connection_id = ${run.connectionId} and state in ('linked', 'missing', 'held')) as links,
      (select count(*)::int from grants g join role_mappings r on r.tenant_id = g.tenant_id and g.source = 'rule:' || r.id
        where g.tenant_id = ${tx.tenantId} and r.connection_id = ${run.connectionId}) as grants`;
  return {
    isFirstRun: run.isFirstRun,
    liveLinks: live?.links ?? 0,
    liveGrants: live?.grants ?? 0,
    joiners: sums?.joiners ?? 0,
    leavers: sums?.leavers ?? 0,
    revokes: sums?.revokes ?? 0,
    privilegedGrants: sums?.privilegedGrants ?? 0,
    keyChanges: sums?.keyChanges ?? 0,
    emailChanges: sums?.emailChanges ?? 0,
    groupLosses,
  };
}

/** The rows of a guard's class. */
function heldBy(tx: TenantTx, guard: GuardName, groupAnchor: string | null) {
  return {
    leavers: tx.sql`kind = 'leaver'`,
    revokes: tx.sql`class = 'revoke'`,
    group_loss: tx.sql`class = 'revoke' and cause = ${`left_group:${groupAnchor ?? ''}`}`,
    privileged_grants: tx.sql`class = 'grant' and role <> 'user'`,
    joiners: tx.sql`kind = 'joiner'`,
    key_changes: tx.sql`class = 'key'`,
    email_changes: tx.sql`class = 'update' and after ? 'email'`,
  }[guard];
}

async function hold(tx: TenantTx, runId: RunId, which: ReturnType<typeof heldBy>): Promise<number> {
  const result = await tx.sql`
    update changes set state = 'held'
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and state in ('planned', 'held') and ${which}`;
  return result.count;
}
