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
  if (!(await gatherCounted(tx, run))) return [];
  const holding: HeldBreach[] = [];
  for (const breach of await evaluate(tx, run, limits)) {
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

type PlannedRun = { readonly runId: RunId; readonly connectionId: ConnectionId; readonly isFirstRun: boolean };

/**
 * run_counted: the rows that guards count. Of this plan, and of what the connection applied in the last 24 hours without
 * a person's word for it: what was approved is out of the sum, or the first leaver after an approved mass change would be
 * held again. So is what was undone. False: the plan is empty, and nothing can be held.
 */
async function gatherCounted(tx: TenantTx, run: PlannedRun): Promise<boolean> {
  const [planned] = await tx.sql`
    select 1 from changes where tenant_id = ${tx.tenantId} and run_id = ${run.runId} limit 1`;
  if (planned === undefined) return false;
  const counted = tx.sql`
    c.class, c.op, c.kind, c.role, c.user_id, c.cause, c.class = 'update' and c.after ? 'email' and c.before ->> 'email' is not null as is_email,
    c.run_id = ${run.runId} as is_now`;
  const isCounted = tx.sql`(c.class not in ('grant', 'link') or c.role <> 'user' or c.kind = 'leaver')`;
  // runs of a day ago and younger; a standing run of pushes has rows up to its day's end
  await tx.sql`
    create temporary table run_counted on commit drop as
    select ${counted} from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${run.runId} and ${isCounted}
    union all
    select ${counted} from runs r
    join changes c on c.tenant_id = r.tenant_id and c.run_id = r.id
    where r.tenant_id = ${tx.tenantId} and r.connection_id = ${run.connectionId} and r.id <> ${run.runId}
      and (r.finished_at > now() - interval '24 hours' or r.finished_at is null and r.created_at > now() - interval '7 days')
      and c.applied_at > now() - interval '24 hours' and c.state = 'applied' and ${isCounted}
      and (r.approved_at is null or c.applied_at < r.approved_at)
      -- a first run, or one that was asked for its plan, applied nothing before: its rows need not be read
      and (r.approved_at is null or not (r.is_first or r.mode = 'plan'))`;
  return true;
}

/** What is a share of something large is looked up only where the counts alone would be a breach. */
async function evaluate(tx: TenantTx, run: PlannedRun, limits: GuardLimits): Promise<Breach[]> {
  const counts = await countForGuards(tx, run);
  const atLeast = { ...counts, liveLinks: 0, liveGrants: 0, groupLosses: await countGroupLosses(tx, run) };
  if (evaluateGuards(atLeast, limits).length === 0) return [];
  return evaluateGuards({ ...atLeast, ...(await countLive(tx, run.connectionId)) }, limits);
}

type Sums = Omit<GuardCounts, 'isFirstRun' | 'liveLinks' | 'liveGrants' | 'groupLosses'>;

async function countForGuards(tx: TenantTx, run: PlannedRun): Promise<Sums & { readonly isFirstRun: boolean }> {
  const [sums] = await tx.sql<Sums[]>`
    select count(*) filter (where op = 'create')::int as joiners,
      count(distinct user_id) filter (where kind = 'leaver')::int as leavers,
      count(*) filter (where class = 'revoke')::int as revokes,
      count(*) filter (where class = 'grant' and role <> 'user' and is_now)::int as "privilegedGrants",
      count(*) filter (where op = 'key' and kind <> 'joiner')::int as "keyChanges",
      count(*) filter (where is_email)::int as "emailChanges"
    from run_counted`;
  if (sums === undefined) throw new Error('An aggregate gives one row.');
  return { ...sums, isFirstRun: run.isFirstRun };
}

/** Who had a role by a group before: who has it now, and who lost it. */
function countGroupLosses(tx: TenantTx, run: PlannedRun): Promise<GuardCounts['groupLosses'][number][]> {
  return tx.sql<GuardCounts['groupLosses'][number][]>`
    with lost as (
      select distinct substring(cause from length('left_group:') + 1) collate "C" as anchor, user_id
      from run_counted where class = 'revoke' and cause like 'left_group:%'
    ), had as (
      select r.group_anchor as anchor, g.user_id from role_mappings r
      join grants g on g.tenant_id = r.tenant_id and g.source = 'rule:' || r.id
      where r.tenant_id = ${tx.tenantId} and r.connection_id = ${run.connectionId} and r.group_anchor in (select anchor from lost)
      union
      select anchor, user_id from lost
    )
    select l.anchor as "groupAnchor", coalesce(m.display_name, l.anchor) as "groupName", l.lost, h.before
    from (select anchor, count(*)::int as lost from lost group by anchor) l
    join (select anchor, count(*)::int as before from had group by anchor) h on h.anchor = l.anchor
    left join mirror_objects m on m.tenant_id = ${tx.tenantId} and m.connection_id = ${run.connectionId} and m.kind = 'group' and m.anchor = l.anchor
    order by l.anchor`;
}

async function countLive(
  tx: TenantTx,
  connectionId: ConnectionId,
): Promise<{ readonly liveLinks: number; readonly liveGrants: number }> {
  const [live] = await tx.sql<{ liveLinks: number; liveGrants: number }[]>`
    select
      (select count(*)::int from links where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and state in ('linked', 'missing', 'held')) as "liveLinks",
      (select count(*)::int from grants g join role_mappings r on r.tenant_id = g.tenant_id and g.source = 'rule:' || r.id
        where g.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId}) as "liveGrants"`;
  if (live === undefined) throw new Error('A select without from gives one row.');
  return live;
}

/** The rows of a guard's class. */
function heldBy(tx: TenantTx, guard: GuardName, groupAnchor: string | null) {
  return {
    // with the usernames that only their removal frees
    leavers: tx.sql`(kind = 'leaver' or class = 'remove' and op = 'key')`,
    revokes: tx.sql`class = 'revoke'`,
    group_loss: tx.sql`class = 'revoke' and cause = ${`left_group:${groupAnchor ?? ''}`}`,
    privileged_grants: tx.sql`class = 'grant' and role <> 'user'`,
    joiners: tx.sql`kind = 'joiner'`,
    key_changes: tx.sql`op = 'key'`,
    email_changes: tx.sql`class = 'update' and after ? 'email'`,
  }[guard];
}

async function hold(tx: TenantTx, runId: RunId, which: ReturnType<typeof heldBy>): Promise<number> {
  const result = await tx.sql`
    update changes set state = 'held'
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and state in ('planned', 'held') and ${which}`;
  return result.count;
}
