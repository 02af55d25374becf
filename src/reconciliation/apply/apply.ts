/**
 * Phase apply: planned rows, class by class, in chunks of one transaction each: fence, locks, versions, effects,
 * provenance, row states and outbox together. On a constraint error a chunk is halved until the bad row stands alone.
 */
import { addRuleGrants, removeRuleGrants, revokeTokensCreatedBy } from '../../access/access.ts';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { changeClasses, type ChangeClass, type ChangeOp } from '../../core/vocabulary.ts';
import { databaseErrorCode } from '../../db/db.ts';
import type { TenantTx } from '../../db/db.ts';
import { enqueueEach } from '../../outbox/outbox.ts';
import { applyUserChanges, moveQuotaHomes } from '../../users/users.ts';
import { openCases } from '../cases/cases.ts';
import { noteEmptySeats } from '../cases/no-super-admin.ts';
import { writeLinks } from './links.ts';
import { chunkBounds, selectBySeq, selectPlanned, setChangeStates, type Change } from '../plan/changes.ts';
import { applyRestores, beginUndo, markUndone, type UndoneRun } from '../undo/undo-apply.ts';
import { toGrantChange, toUserChange } from './effects.ts';
import { shieldLastAdmin } from './last-admin.ts';

export type ApplyScope = {
  readonly runId: RunId;
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  /** Of an undo: the run whose changes are taken back. */
  readonly undone: UndoneRun | null;
};

const chunkRows = 2_000;
/** Usernames that depend on each other must change in one statement; beyond this many a guard has long held them. */
const keyRows = 50_000;
/** A chunk of these never waits for what another one of the same class does. */
const adding: ReadonlySet<ChangeClass> = new Set(['create', 'update', 'link', 'grant']);
const reducing: ReadonlySet<ChangeClass> = new Set(['revoke', 'suspend', 'remove']);

type InTransaction = <T>(work: (tx: TenantTx) => Promise<T>) => Promise<T>;

/** Applies every planned row; `inTransaction` opens a fenced transaction. Returns rows handled. */
export async function applyPlan(
  scope: ApplyScope,
  inTransaction: InTransaction,
  /** After each chunk: what it throws ends the apply there, once no other one is open. */
  onProgress: (done: number, failed: number) => void,
): Promise<number> {
  let done = 0;
  let failed = 0;
  await inTransaction(async (tx) => {
    if (scope.undone !== null) await beginUndo(tx, scope, scope.undone);
    await setOutdatedAside(tx, scope.runId);
  });
  for (const changeClass of changeClasses) {
    await applyClass(scope, changeClass, inTransaction, (chunk) => {
      done += chunk.rows;
      failed += chunk.failed;
      onProgress(done, failed);
    });
  }
  return done;
}

/**
 * The planned rows of one class, chunk by chunk. Chunks that only add go on two connections at once: one is read and
 * prepared while the other one is written. What takes something away goes one after the other, because it is counted
 * over the whole organization. What `onChunk` throws ends the apply once no chunk is open any more.
 */
async function applyClass(
  scope: ApplyScope,
  changeClass: ChangeClass,
  inTransaction: InTransaction,
  onChunk: (chunk: { readonly rows: number; readonly failed: number }) => void,
): Promise<void> {
  const limit = changeClass === 'key' ? keyRows : chunkRows;
  const bounds = await inTransaction((tx) => chunkBounds(tx, scope.runId, changeClass, limit));
  const work = async (): Promise<void> => {
    for (let bound = bounds.shift(); bound !== undefined; bound = bounds.shift()) {
      const chunk = bound;
      try {
        const done = await inTransaction(async (tx) => {
          const rows = await selectPlanned(tx, scope.runId, changeClass, chunk);
          return { rows: rows.length, failed: await applyChunk(tx, scope, changeClass, rows) };
        });
        onChunk(done);
      } catch (error) {
        bounds.length = 0;
        throw error;
      }
    }
  };
  const lanes = Array.from({ length: adding.has(changeClass) ? 2 : 1 }, work);
  for (const lane of await Promise.allSettled(lanes)) if (lane.status === 'rejected') throw lane.reason;
}

/**
 * A link that begins or ends is about the user as the plan saw it. Where someone edited, protected or promoted the user
 * meanwhile, nothing of that subject is done (design.md promise 2): an approval may come days after its plan.
 */
async function setOutdatedAside(tx: TenantTx, runId: RunId): Promise<void> {
  await tx.sql`
    with outdated as (
      select c.anchor from changes c
      join users u on u.tenant_id = c.tenant_id and u.id = c.user_id
      where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.class in ('link', 'remove') and c.op in ('link', 'unlink')
        and c.state = 'planned'
        and ((u.version <> c.expected_version and u.last_run_id is distinct from c.run_id)
          or (c.cause like 'matched:%' and (u.status = 'removed' or u.is_protected or exists (
            select 1 from grants g
            where g.tenant_id = u.tenant_id and g.user_id = u.id and g.role <> 'user' and g.run_id is distinct from c.run_id))))
    )
    update changes c set state = 'stale' from outdated o
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.anchor = o.anchor and c.state = 'planned'`;
}

/** The rows a push just wrote, in the caller's transaction; returns the anchors that stay open (see `settleLinks`). */
export async function applyPushed(tx: TenantTx, scope: ApplyScope, seqs: readonly number[]): Promise<Set<string>> {
  const rows = await selectBySeq(tx, scope.runId, seqs);
  const byClass = Map.groupBy(rows, (row) => row.class);
  for (const changeClass of changeClasses) {
    const chunk = byClass.get(changeClass);
    if (chunk !== undefined) await applyChunk(tx, scope, changeClass, chunk);
  }
  // a row that the last-Admin shield turned into a conflict has become one of another class
  const turned = rows.length === 0 ? [] : await selectBySeq(tx, scope.runId, seqs);
  await applyChunk(
    tx,
    scope,
    'conflict',
    turned.filter((row) => row.state === 'planned'),
  );
  const open = turned.filter((row) => row.state === 'stale' || row.cause === 'last_admin');
  return new Set(open.flatMap((row) => (row.anchor === null ? [] : [row.anchor])));
}

/** Answers how many rows failed. */
async function applyChunk(
  tx: TenantTx,
  scope: ApplyScope,
  changeClass: ChangeClass,
  rows: readonly Change[],
): Promise<number> {
  if (rows.length === 0) return 0;
  let open = rows;
  if (reducing.has(changeClass)) {
    const seqs = rows.map((row) => row.seq);
    const shielded = await shieldLastAdmin(tx, scope.runId, seqs);
    if (shielded > 0) {
      const now = await selectBySeq(tx, scope.runId, seqs);
      open = now.filter((row) => row.class === changeClass && row.state === 'planned');
    }
  }
  let failed = 0;
  // a link that ends makes room for the one that takes its place
  const byOp = [...Map.groupBy(open, (row) => row.op)].toSorted(
    ([a], [b]) => Number(b === 'unlink') - Number(a === 'unlink'),
  );
  for (const [op, ofOp] of byOp) failed += await applyHalving(tx, scope, op, ofOp);
  return failed;
}

async function applyHalving(tx: TenantTx, scope: ApplyScope, op: ChangeOp, rows: readonly Change[]): Promise<number> {
  try {
    await tx.sql.savepoint(() => applyRows(tx, scope, op, rows));
    return 0;
  } catch (error) {
    const code = databaseErrorCode(error);
    if (code === undefined || !code.startsWith('23')) throw error;
    const [only] = rows;
    if (rows.length === 1 && only !== undefined) {
      await setChangeStates(tx, scope.runId, [only.seq], 'failed', describeConstraint(code, error));
      return 1;
    }
    const half = Math.ceil(rows.length / 2);
    const failed = await applyHalving(tx, scope, op, rows.slice(0, half));
    return failed + (await applyHalving(tx, scope, op, rows.slice(half)));
  }
}

function describeConstraint(code: string, error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (code === '23505') return `Another user has this value already (${text}).`;
  if (code === '23503') return `What it refers to is gone (${text}).`;
  return text;
}

async function applyRows(tx: TenantTx, scope: ApplyScope, op: ChangeOp, rows: readonly Change[]): Promise<void> {
  const applied = await (scope.undone === null ? applyOp : applyRestores)(tx, scope, op, rows);
  const done = new Set(applied);
  const rest = rows.filter((row) => !done.has(row.seq)).map((row) => row.seq);
  await setChangeStates(tx, scope.runId, applied, op === 'keep' ? 'conflict' : 'applied');
  // a grant is left out when an exclusion or protection came meanwhile: that is the person's word, not staleness
  await setChangeStates(tx, scope.runId, rest, op === 'grant' ? 'skipped' : 'stale');
  const appliedRows = rows.filter((row) => done.has(row.seq));
  if (scope.undone === null) await writeLinks(tx, scope, op, appliedRows);
  else await markUndone(tx, scope, scope.undone, appliedRows);
  if (op === 'grant') await noteEmptySeats(tx, scope, appliedRows);
  if (op === 'suspend' || op === 'remove') {
    await revokeTokensCreatedBy(
      tx,
      appliedRows.flatMap((row) => (row.userId === null ? [] : [row.userId])),
    );
  }
  await announce(tx, scope, op, appliedRows);
}

async function applyOp(tx: TenantTx, scope: ApplyScope, op: ChangeOp, rows: readonly Change[]): Promise<number[]> {
  switch (op) {
    case 'create':
    case 'update':
    case 'key':
    case 'reactivate':
    case 'suspend':
    case 'remove':
      return applyUserChanges(
        tx,
        scope,
        rows.flatMap((row) => toUserChange(row, op)),
      );
    case 'quota_home':
      return moveQuotaHomes(tx, scope.runId, rows);
    case 'grant':
      return addRuleGrants(tx, scope.runId, rows.flatMap(toGrantChange));
    case 'revoke':
      return removeRuleGrants(tx, rows.flatMap(toGrantChange));
    case 'link':
    case 'unlink':
    case 'keep':
      return rows.map((row) => row.seq);
    case 'dispute':
    case 'error':
      await openCases(tx, scope.connectionId, scope.runId, rows);
      return rows.map((row) => row.seq);
  }
}

/** What the outside must hear about single users: those who lost or regained their access. */
async function announce(tx: TenantTx, scope: ApplyScope, op: ChangeOp, rows: readonly Change[]): Promise<void> {
  if (op !== 'suspend' && op !== 'remove' && op !== 'reactivate') return;
  const type = { suspend: 'user.suspended', remove: 'user.removed', reactivate: 'user.reactivated' }[op];
  await enqueueEach(
    tx,
    type,
    rows.map((row) => ({
      userId: row.userId,
      subject: row.subject,
      reason: row.reason,
      connection: scope.connectionName,
      runId: scope.runId,
    })),
  );
}
