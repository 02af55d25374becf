/**
 * Phases correlate and decide: affected subjects in batches -> pure decision -> change rows. Then what only the whole
 * plan can show: usernames that two subjects want, objects that match one user, an organization's last Admin.
 */
import { readRules, type Correlation } from '../../core/correlation.ts';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { decideSubject } from '../../core/decide.ts';
import { grantableRoles, isWithinCeiling } from '../../core/roles.ts';
import type { DecisionContext } from '../../core/subject.ts';
import { textKey } from '../../core/text-keys.ts';
import type { TenantTx } from '../../db/db.ts';
import type { Comparison } from './comparison.ts';
import { toNewChanges, type NewChange } from './changes.ts';
import { followRemovals, noteFreed } from './freed-usernames.ts';
import { fillCorrelationKeys } from './correlation-specs.ts';
import { addDue, markLeaving } from './leavers.ts';
import { completeDesired, nextAffected, selectAffected } from './selection.ts';
import { replaceLinks } from './replacements.ts';
import { shieldLastAdmin } from '../apply/last-admin.ts';
import { loadSubjects, wantedOfRun } from './subjects.ts';

const batchSubjects = 2_000;
/** A few megabytes. */
const keptAnchors = 50_000;

export type PlanOptions = {
  readonly runId: RunId;
  readonly connectionId: ConnectionId;
  readonly correlation: Correlation;
  readonly context: DecisionContext;
  readonly comparison: Comparison;
  /** Writes rows in a transaction of its own: a plan is not read before its run says that it is finished. */
  readonly insert: (rows: readonly NewChange[]) => Promise<void>;
  readonly onProgress: (done: number, total: number) => void;
};

export type Decided = {
  readonly subjects: number;
  /** Which ones; null when they are too many to be kept in memory. */
  readonly anchors: readonly string[] | null;
};

/** Writes the plan's rows in the caller's transaction. */
export async function writePlan(tx: TenantTx, options: PlanOptions): Promise<Decided> {
  const { runId, connectionId, context } = options;
  const grantable = grantableRoles.filter((role) => isWithinCeiling(role, context.ceiling));
  if (readRules(options.correlation).some((rule) => rule.spec !== null)) await fillCorrelationKeys(tx);
  const changed = await selectAffected(tx, connectionId, grantable, options.comparison);
  const total = changed + (await addDue(tx, connectionId, context.leaver));
  if (total > 0 && !options.comparison.isWhole) await completeDesired(tx, connectionId);
  await markLeaving(tx, connectionId, context.leaver.graceDays, null);
  await tx.sql`
    create temporary table run_wants (seq int, anchor text collate "C", user_id uuid, key text collate "C", owner_id uuid, is_create boolean)
    on commit drop`;
  let seq = 1;
  let done = 0;
  let last = '';
  const kept: string[] = [];
  await using writing = writeBeside(options.insert);
  for (;;) {
    const anchors = await nextAffected(tx, last, batchSubjects);
    const newest = anchors.at(-1);
    if (newest === undefined) break;
    const decided = await decideBatch(tx, options, anchors, seq);
    await writing.write(decided);
    last = newest;
    if (total <= keptAnchors) kept.push(...anchors);
    seq += decided.length;
    done += anchors.length;
    await insertWants(tx, decided);
    options.onProgress(done, total);
  }
  await writing.end();
  await disputeSharedMatches(tx, runId);
  seq += await replaceLinks(tx, { runId, connectionId }, seq);
  await noteFreed(tx, runId);
  await settleUsernames(tx, runId, seq);
  await followRemovals(tx, runId);
  await shieldLastAdmin(tx, runId);
  return { subjects: total, anchors: total <= keptAnchors ? kept : null };
}

/** On connections of their own, while the next batches are read and decided. */
const writesAtOnce = 2;

/** `write` waits only where too many writes are under way; it, or `end`, throws what one of them failed with. None is left. */
function writeBeside(insert: PlanOptions['insert']) {
  const underWay: Promise<PromiseSettledResult<void>[]>[] = [];
  const finishOne = async (): Promise<void> => {
    for (const outcome of (await underWay.shift()) ?? []) if (outcome.status === 'rejected') throw outcome.reason;
  };
  return {
    write: async (rows: readonly NewChange[]): Promise<void> => {
      if (underWay.length >= writesAtOnce) await finishOne();
      underWay.push(Promise.allSettled([insert(rows)]));
    },
    end: async (): Promise<void> => {
      while (underWay.length > 0) await finishOne();
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await Promise.all(underWay);
    },
  };
}

async function decideBatch(
  tx: TenantTx,
  options: PlanOptions,
  anchors: readonly string[],
  firstSeq: number,
): Promise<NewChange[]> {
  if (anchors.length === 0) return [];
  const subjects = await loadSubjects(tx, {
    connectionId: options.connectionId,
    anchors,
    wanted: wantedOfRun(tx, anchors),
    correlation: options.correlation,
    provenDomains: [...options.context.provenDomains],
  });
  const rows: NewChange[] = [];
  for (const subject of subjects) {
    rows.push(...toNewChanges(subject, decideSubject(subject, options.context), firstSeq + rows.length));
  }
  return rows;
}

/** Remembers which usernames the plan wants, and who has them now. */
async function insertWants(tx: TenantTx, rows: readonly NewChange[]): Promise<void> {
  const wants = rows.flatMap((row) => {
    if (row.class !== 'create' && row.class !== 'key') return [];
    const username = row.after?.['username'];
    const key = typeof username === 'string' ? textKey(username) : null;
    if (key === null && row.class === 'create') return [];
    return [{ seq: row.seq, anchor: row.anchor, user_id: row.userId, key, is_create: row.class === 'create' }];
  });
  if (wants.length === 0) return;
  await tx.sql`
    insert into run_wants
    select w.seq, w.anchor, w.user_id, w.key, u.id, w.is_create
    from jsonb_to_recordset(${JSON.stringify(wants)}::jsonb) as w(seq int, anchor text, user_id uuid, key text, is_create boolean)
    left join users u on u.tenant_id = ${tx.tenantId} and u.username_key = w.key and u.id <> w.user_id`;
}

/** Two objects of one read that match the same user: a person decides for both. */
async function disputeSharedMatches(tx: TenantTx, runId: RunId): Promise<void> {
  await tx.sql`
    create temporary table run_shared on commit drop as
    select anchor, user_id from changes
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and class = 'link' and cause like 'matched:%' and user_id in (
      select user_id from changes
      where tenant_id = ${tx.tenantId} and run_id = ${runId} and class = 'link' and cause like 'matched:%'
      group by user_id having count(*) > 1)`;
  await tx.sql`
    delete from changes c using run_shared s
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.anchor = s.anchor and c.class <> 'link'`;
  await tx.sql`
    update changes c set class = 'conflict', op = 'dispute', kind = 'conflict', user_id = null, expected_version = null, cause = 'disputed_match',
      reason = 'Several objects of this directory match the same user.',
      after = jsonb_build_object('caseKind', 'disputed_match', 'candidates', jsonb_build_array(s.user_id))
    from run_shared s
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.anchor = s.anchor`;
}

/**
 * A username may pass from one user to another in one run (swap, chain, a newcomer taking over a leaver's): then the
 * owner's own change frees it, or the owner's removal (freed-usernames.ts). What nobody frees, or two want, becomes a conflict, and with it whatever depended on it.
 */
async function settleUsernames(tx: TenantTx, runId: RunId, firstFreeSeq: number): Promise<void> {
  await tx.sql`create index on run_wants (key)`;
  await tx.sql`create index on run_wants (user_id)`;
  await tx.sql`analyze run_wants`;
  for (;;) {
    const lost = await tx.sql`
      with lost as (
        delete from run_wants w where w.key is not null and (
          exists (select 1 from run_wants o where o.key = w.key and o.seq <> w.seq)
          or (w.owner_id is not null and w.owner_id not in (select f.user_id from run_freed f)
            and not exists (select 1 from run_wants o where o.user_id = w.owner_id and not o.is_create)))
        returning w.seq, w.anchor, w.key, w.owner_id, w.is_create
      ), dropped as (
        delete from changes c using lost
        where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and lost.is_create and c.anchor = lost.anchor and c.seq <> lost.seq
      )
      update changes c set class = 'conflict', op = 'dispute', kind = 'conflict', expected_version = null, cause = 'duplicate_key',
        user_id = case when lost.is_create then null else c.user_id end,
        reason = 'The username ' || lost.key || ' belongs to another user or is wanted by two.',
        after = jsonb_build_object('caseKind', 'duplicate_key', 'username', lost.key, 'candidates', to_jsonb(array_remove(array[lost.owner_id], null)))
      from lost
      where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.seq = lost.seq`;
    if (lost.count === 0) break;
  }
  // a newcomer whose username is freed by this very plan gets it in the same statement as the owner's change
  await tx.sql`
    with late as (
      select w.seq, w.anchor, w.user_id, (row_number() over (order by w.seq))::int + ${firstFreeSeq - 1}::int as new_seq
      from run_wants w where w.is_create and w.owner_id is not null
    ), moved as (
      insert into changes (tenant_id, run_id, connection_id, seq, class, op, kind, anchor, user_id, subject, before, after, object_version, reason, cause)
      select c.tenant_id, c.run_id, c.connection_id, late.new_seq, 'key', 'key', c.kind, c.anchor, c.user_id, c.subject,
        '{"username": null}', jsonb_build_object('username', c.after -> 'username'), c.object_version,
        'The username becomes free in this run.', 'username'
      from late join changes c on c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.seq = late.seq
    )
    update changes c set after = c.after - 'username'
    from late where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.seq = late.seq`;
}
