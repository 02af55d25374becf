/**
 * How long runs are remembered. Within the days that are kept nothing is touched, so every run of that time can be
 * undone. Of older ones the change rows go, except those that still answer a question: what explains a value, a role or a
 * standing that a user has now, and everything of a run that an open case or held links rest on. A run whose rows are all
 * gone goes too. Batches of one transaction each, walked by sequence number, so that what is kept is not met again in the
 * same round.
 */
import type { RunId, TenantId } from '../../core/ids.ts';
import type { Db, TenantTx } from '../../db/db.ts';

export type Pruned = { readonly rows: number; readonly runs: number };

type Cutoff = { readonly before: string; readonly again: string };

const batchRows = 5000;
const runsAtOnce = 200;
/** Rows that are still needed are looked at again after this long: most will be superseded one day. */
const againDays = 30;

export async function pruneHistory(
  deps: { readonly db: Db; readonly now: () => Date },
  keepDays: number,
  signal: AbortSignal,
): Promise<Pruned> {
  const now = deps.now().getTime();
  const daysAgo = (days: number) => new Date(now - days * 86_400_000).toISOString();
  const cutoff: Cutoff = { before: daysAgo(keepDays), again: daysAgo(againDays) };
  const tenants = await deps.db.engine(
    (tx) => tx.sql<{ id: TenantId }[]>`select distinct tenant_id as id from organizations order by 1`,
  );
  let rows = 0;
  let runs = 0;
  for (const { id } of tenants) {
    for await (const runId of walkOldRuns(deps.db, id, cutoff, signal)) {
      rows += await pruneRun(deps.db, id, runId, signal);
      if (!signal.aborted && (await dropEmptyRun(deps.db, id, runId))) runs += 1;
    }
    if (signal.aborted) break;
  }
  return { rows, runs };
}

/** By id, which rises with each page. */
async function* walkOldRuns(db: Db, tenantId: TenantId, cutoff: Cutoff, signal: AbortSignal): AsyncGenerator<RunId> {
  let after = '00000000-0000-0000-0000-000000000000';
  while (!signal.aborted) {
    const from = after;
    const page = await db.tenant(
      tenantId,
      (tx) => tx.sql<{ id: RunId }[]>`
        select r.id from runs r
        where r.tenant_id = ${tenantId} and r.id > ${from}::uuid
          and r.status in ('succeeded', 'partly', 'failed', 'canceled', 'discarded', 'superseded')
          and coalesce(r.finished_at, r.created_at) < ${cutoff.before}
          and coalesce((r.counts ->> 'prunedAt')::timestamptz, '-infinity') < ${cutoff.again}
          and not exists (
            select 1 from cases k where k.tenant_id = r.tenant_id and k.run_id = r.id and k.status = 'open')
          and not exists (
            select 1 from links l where l.tenant_id = r.tenant_id and l.held_run_id = r.id and l.state = 'held')
        order by r.id limit ${runsAtOnce}`,
    );
    const last = page.at(-1);
    if (last === undefined) return;
    for (const run of page) {
      if (signal.aborted) return;
      yield run.id;
    }
    after = last.id;
  }
}

async function pruneRun(db: Db, tenantId: TenantId, runId: RunId, signal: AbortSignal): Promise<number> {
  let deleted = 0;
  let afterSeq = -1;
  while (!signal.aborted) {
    const from = afterSeq;
    const batch = await db.tenant(tenantId, (tx) => pruneBatch(tx, runId, from));
    if (batch === null) return deleted;
    deleted += batch.deleted;
    afterSeq = batch.lastSeq;
  }
  return deleted;
}

async function pruneBatch(
  tx: TenantTx,
  runId: RunId,
  afterSeq: number,
): Promise<{ readonly deleted: number; readonly lastSeq: number } | null> {
  // before the first row goes: from now on the run can not be undone, because a part of it would be
  if (afterSeq < 0) {
    await tx.sql`
      update runs set counts = counts || jsonb_build_object('prunedAt', now())
      where tenant_id = ${tx.tenantId} and id = ${runId}`;
  }
  const [bound] = await tx.sql<{ seq: number | null }[]>`
    select max(seq) as seq from (
      select seq from changes where tenant_id = ${tx.tenantId} and run_id = ${runId} and seq > ${afterSeq}
      order by seq limit ${batchRows}) x`;
  const lastSeq = bound?.seq ?? null;
  if (lastSeq === null) return null;
  const result = await tx.sql`
    delete from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.seq > ${afterSeq} and c.seq <= ${lastSeq}
      and not ${isNeeded(tx)}`;
  return { deleted: result.count, lastSeq };
}

/** The newest word about something the user has now: what `explain` names. */
function isNeeded(tx: TenantTx) {
  const isNewest = tx.sql`(n.applied_at, n.run_id, n.seq) > (c.applied_at, c.run_id, c.seq)`;
  const ofSameUser = tx.sql`n.tenant_id = c.tenant_id and n.user_id = c.user_id and n.state = 'applied'`;
  return tx.sql`(
    c.state = 'applied' and c.user_id is not null
    and exists (select 1 from users u where u.tenant_id = c.tenant_id and u.id = c.user_id and u.status <> 'removed')
    and (
      (c.op in ('create', 'update', 'key') and exists (
        select 1 from jsonb_object_keys(case when jsonb_typeof(c.after) = 'object' then c.after else '{}' end) k(attribute)
        where not exists (
          select 1 from changes n
          where ${ofSameUser} and n.op in ('create', 'update', 'key') and n.after ? k.attribute and ${isNewest})))
      or (c.op in ('suspend', 'reactivate') and not exists (
        select 1 from changes n where ${ofSameUser} and n.op in ('suspend', 'reactivate') and ${isNewest}))
      or (c.op = 'grant' and exists (
        select 1 from grants g
        where g.tenant_id = c.tenant_id and g.user_id = c.user_id and g.organization_id = c.organization_id and g.role = c.role
          and g.run_id = c.run_id))))`;
}

/** Kept while anything names it: a row, a case, a role that is still held, an undo of it. */
async function dropEmptyRun(db: Db, tenantId: TenantId, runId: RunId): Promise<boolean> {
  return db.tenant(tenantId, async (tx) => {
    const result = await tx.sql`
      delete from runs r
      where r.tenant_id = ${tenantId} and r.id = ${runId}
        and not exists (select 1 from changes c where c.tenant_id = r.tenant_id and c.run_id = r.id)
        and not exists (select 1 from cases k where k.tenant_id = r.tenant_id and k.run_id = r.id)
        and not exists (select 1 from links l where l.tenant_id = r.tenant_id and l.held_run_id = r.id)
        and not exists (select 1 from runs o where o.tenant_id = r.tenant_id and o.undo_of = r.id)`;
    return result.count === 1;
  });
}
