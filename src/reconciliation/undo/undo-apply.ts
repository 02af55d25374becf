/**
 * Applying the plan of an undo: values, standings and grants go back to what they were, the rows that did it are marked
 * undone, and the links of their subjects are held, in the same transaction: the next run finds nothing to repeat.
 */
import { addRuleGrants, removeRuleGrants, type GrantChange } from '../../access/access.ts';
import { recordEvent } from '../../audit/audit.ts';
import type { ConnectionId, OrganizationId, RunId } from '../../core/ids.ts';
import type { ChangeOp } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { restoreUsers, type UserRestore } from '../../users/users.ts';
import { mustFind } from '../connections/connections.ts';
import { updateConnectionRow } from '../connections/connections-store.ts';
import { noQuarantine } from '../connections/quarantine.ts';
import type { Change } from '../plan/changes.ts';
import { supersedeRuns } from '../run/runs-store.ts';
import type { UndoScope } from './undo-plan.ts';

export type UndoneRun = {
  readonly id: RunId;
  readonly scope: UndoScope;
  /** The undone run was an undo itself: links are given back as they were, not held. */
  readonly isUndo: boolean;
  /** Who asked for it. */
  readonly actor: string;
};

/** What the plan keeps beside a row (undo-plan). */
type Restore = {
  readonly undoes?: readonly (number | readonly number[])[];
  readonly provenance?: UserRestore['provenance'];
  readonly absent?: readonly string[];
  readonly standing?: UserRestore['standing'];
  readonly quotaHome?: UserRestore['quotaHome'];
  readonly grant?: NonNullable<GrantChange['first']> | null;
};

type Restored = Change & { readonly restore: Restore };

/** First of all, before the first row: no run of the connection may come between. */
export async function beginUndo(
  tx: TenantTx,
  at: { readonly runId: RunId; readonly connectionId: ConnectionId },
  undone: UndoneRun,
): Promise<void> {
  const planned = await tx.sql`
    select 1 from changes
    where tenant_id = ${tx.tenantId} and run_id = ${at.runId} and state = 'planned' and class <> 'conflict' limit 1`;
  if (planned.length === 0) return;
  // plans that wait rest on what is taken back now
  const waiting = await tx.sql<{ id: RunId }[]>`
    select id from runs
    where tenant_id = ${tx.tenantId} and connection_id = ${at.connectionId} and id <> ${at.runId} and status in ('planned', 'held')`;
  await supersedeRuns(
    tx,
    waiting.map((run) => run.id),
  );
  const connection = await mustFind(tx, at.connectionId);
  if (undone.isUndo || undone.scope.keepsRunning || connection.status !== 'active') return;
  const reason = `Run ${undone.id} was undone by run ${at.runId}. Correct what led to it, release the held links, then resume.`;
  await updateConnectionRow(tx, at.connectionId, {
    ...noQuarantine,
    status: 'paused',
    statusReason: reason,
    nextRunAt: null,
  });
  await recordEvent(tx, {
    actor: undone.actor,
    action: 'connection.paused',
    target: `connection:${at.connectionId}`,
    details: { reason, runId: at.runId },
  });
}

/** Applies rows of one op; returns the seqs that were applied. */
export async function applyRestores(
  tx: TenantTx,
  at: { readonly runId: RunId; readonly connectionId: ConnectionId },
  op: ChangeOp,
  rows: readonly Change[],
): Promise<number[]> {
  const restored = await withRestores(tx, at.runId, rows);
  switch (op) {
    case 'grant':
      return addRuleGrants(tx, at.runId, restored.flatMap(toGrantChange));
    case 'revoke':
      return removeRuleGrants(tx, restored.flatMap(toGrantChange));
    case 'update':
    case 'quota_home':
    case 'key':
    case 'reactivate':
    case 'suspend':
    case 'remove':
    case 'create':
      return restoreUsers(tx, at.runId, restored.flatMap(toUserRestore));
    case 'link':
    case 'unlink':
    case 'keep':
    case 'dispute':
    case 'error':
      return rows.map((row) => row.seq);
  }
}

async function withRestores(tx: TenantTx, runId: RunId, rows: readonly Change[]): Promise<Restored[]> {
  const stored = await tx.sql<{ seq: number; restore: Restore | null }[]>`
    select seq, prior -> 'restore' as restore from changes
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and seq = any(${rows.map((row) => row.seq)}::int[])`;
  const restores = new Map(stored.map((row) => [row.seq, row.restore ?? {}]));
  return rows.map((row) => ({ ...row, restore: restores.get(row.seq) ?? {} }));
}

function toGrantChange(row: Restored): GrantChange[] {
  if (row.userId === null || row.organizationId === null || row.role === null || row.grantSource === null) return [];
  const { seq, userId, role, grantSource: source } = row;
  return [
    {
      seq,
      userId,
      organizationId: row.organizationId as OrganizationId,
      role,
      source,
      first: row.restore.grant ?? undefined,
    },
  ];
}

const standingKeys: ReadonlySet<string> = new Set(['status', 'suspendedBy']);

function toUserRestore(row: Restored): UserRestore[] {
  if (row.userId === null) return [];
  const { restore } = row;
  const absent = restore.absent ?? [];
  const values = Object.entries(row.after ?? {}).filter(
    ([target]) => !standingKeys.has(target) && !absent.includes(target),
  );
  return [
    {
      seq: row.seq,
      userId: row.userId,
      expectedVersion: row.expectedVersion,
      values: Object.fromEntries(values.map(([target, value]) => [target, typeof value === 'string' ? value : null])),
      provenance: restore.provenance ?? {},
      absent,
      standing: restore.standing ?? null,
      quotaHome: restore.quotaHome ?? null,
    },
  ];
}

/** Marks what was undone and holds the links of its subjects (or, of an undo, gives them back as they were). */
export async function markUndone(
  tx: TenantTx,
  at: { readonly runId: RunId; readonly connectionId: ConnectionId },
  undone: UndoneRun,
  rows: readonly Change[],
): Promise<void> {
  const seqs = (await withRestores(tx, at.runId, rows)).flatMap((row) => (row.restore.undoes ?? []).flat());
  if (seqs.length === 0) return;
  const touched = await tx.sql<{ anchor: string }[]>`
    update changes set state = 'undone'
    where tenant_id = ${tx.tenantId} and run_id = ${undone.id} and seq = any(${seqs}::int[]) and state in ('applied', 'undone')
    returning anchor`;
  const anchors = [...new Set(touched.flatMap((row) => (row.anchor === null ? [] : [row.anchor])))];
  if (undone.isUndo) await giveLinksBack(tx, at, undone, anchors);
  else await holdLinks(tx, at, undone, anchors);
}

/** The first row of each object in what is undone knows how its link stood before. */
function firstLinks(tx: TenantTx, undone: UndoneRun, anchors: readonly string[]) {
  const { userId, requestId, since = null } = undone.scope;
  return tx.sql`
    select distinct on (c.anchor) c.anchor, c.prior -> 'link' as link, c.op = 'create' as is_created from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${undone.id} and c.anchor = any(${anchors as string[]}) and c.state in ('applied', 'undone')
      and c.prior ? 'link'
      and (${userId}::uuid is null or c.user_id = ${userId}::uuid) and (${requestId}::uuid is null or c.request_id = ${requestId}::uuid)
      and (${since}::timestamptz is null or c.applied_at >= ${since}::timestamptz)
    order by c.anchor, c.seq`;
}

/**
 * A held link keeps its user, so that nobody else is taken for the object; one that the run made goes back to belonging
 * to nobody, and is held all the same. What it goes back to when released is remembered.
 */
async function holdLinks(
  tx: TenantTx,
  at: { readonly runId: RunId; readonly connectionId: ConnectionId },
  undone: UndoneRun,
  anchors: readonly string[],
): Promise<void> {
  await tx.sql`
    update links l set state = 'held', held_run_id = ${at.runId}, reason = ${`Held since run ${undone.id} was undone.`},
      held_state = case when f.anchor is null then coalesce(l.held_state, l.state) when f.is_created then 'removed' else f.link ->> 'state' end,
      user_id = case when f.anchor is null or f.is_created then l.user_id else (f.link ->> 'userId')::uuid end,
      matched_by = case when f.anchor is null or f.is_created then l.matched_by else f.link ->> 'matchedBy' end,
      applied = case when f.anchor is null or f.is_created then l.applied else coalesce(f.link -> 'applied', '{}') end,
      ended_at = case when f.anchor is null or f.is_created then l.ended_at else (f.link ->> 'endedAt')::timestamptz end, leaving_since = null,
      version = l.version + 1, updated_at = now()
    from unnest(${anchors as string[]}::text[]) as wanted(anchor)
    left join (${firstLinks(tx, undone, anchors)}) f on f.anchor = wanted.anchor
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${at.connectionId} and l.anchor = wanted.anchor
      and l.held_run_id is distinct from ${at.runId}`;
}

/** Only where the undo that is undone still holds them: what was released meanwhile is the runs' again. */
async function giveLinksBack(
  tx: TenantTx,
  at: { readonly connectionId: ConnectionId },
  undone: UndoneRun,
  anchors: readonly string[],
): Promise<void> {
  await tx.sql`
    update links l set state = f.link ->> 'state', user_id = (f.link ->> 'userId')::uuid, matched_by = f.link ->> 'matchedBy',
      applied = f.link -> 'applied', ended_at = (f.link ->> 'endedAt')::timestamptz, reason = f.link ->> 'reason', held_run_id = (f.link ->> 'heldRunId')::uuid,
      held_state = f.link ->> 'heldState', version = l.version + 1, updated_at = now()
    from (${firstLinks(tx, undone, anchors)}) f
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${at.connectionId} and l.anchor = f.anchor and l.state = 'held'
      and l.held_run_id = ${undone.id} and jsonb_typeof(f.link) = 'object'`;
}
