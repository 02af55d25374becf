/** Links as a run leaves them: their state, what this source last said, and up to where they are settled. */
import type { PendingQuery, Row } from 'postgres';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import type { ChangeOp } from '../../core/vocabulary.ts';
import { rowsOf, writeAll, type TenantTx, type Write } from '../../db/db.ts';
import type { Change } from '../plan/changes.ts';

export type LinkScope = { readonly runId: RunId; readonly connectionId: ConnectionId };

export type LinkRow = Pick<Change, 'anchor' | 'userId' | 'after' | 'reason'>;

/** The link's state and the last values this source wrote. `isSettled`: a new link answers for its object at once. */
export async function writeLinks(
  tx: TenantTx,
  scope: LinkScope,
  op: ChangeOp,
  rows: readonly LinkRow[],
): Promise<void> {
  await writeAll(tx, linkWrites(tx, scope, op, rows));
}

/** The same among other writes: one, or none where the op leaves the link alone. */
export function linkWrites(
  tx: TenantTx,
  scope: LinkScope,
  op: ChangeOp,
  rows: readonly LinkRow[],
  isSettled = false,
): Write[] {
  const sql = rows.length === 0 ? null : linkSql(tx, scope, op, rows, isSettled);
  return sql === null ? [] : [{ table: 'links', sql }];
}

function linkSql(
  tx: TenantTx,
  scope: LinkScope,
  op: ChangeOp,
  rows: readonly LinkRow[],
  isSettled: boolean,
): PendingQuery<Row[]> | null {
  const isNew = op === 'create' || op === 'link';
  if (isNew) {
    const written = rowsOf(tx.sql, {
      anchor: ['text', rows.map((row) => row.anchor)],
      user_id: ['uuid', rows.map((row) => row.userId)],
      matched_by: ['text', rows.map((row) => textOf(row.after?.['matchedBy']) ?? 'joined')],
      reason: ['text', rows.map((row) => row.reason)],
    });
    // a new link takes what the mirror has
    return tx.sql`
      insert into links (tenant_id, connection_id, anchor, user_id, state, reason, matched_by, applied, settled_version)
      select ${tx.tenantId}::uuid, ${scope.connectionId}::uuid, r.anchor, r.user_id, 'linked', r.reason, r.matched_by, coalesce(m.mapped, '{}'),
        case when ${isSettled} then m.version else 0 end
      from ${written}
      join mirror_objects m on m.tenant_id = ${tx.tenantId} and m.connection_id = ${scope.connectionId} and m.kind = 'user' and m.anchor = r.anchor
      on conflict (tenant_id, connection_id, anchor) do update set user_id = excluded.user_id, state = 'linked', reason = excluded.reason,
        matched_by = excluded.matched_by, applied = excluded.applied, settled_version = greatest(links.settled_version, excluded.settled_version), leaving_since = null, ended_at = null, version = links.version + 1, updated_at = now()`;
  }
  const payload = JSON.stringify(
    rows.map((row) => ({
      anchor: row.anchor,
      state: row.after?.['linkState'] ?? 'linked',
      reason: row.reason,
      applied: row.after ?? {},
    })),
  );
  // the anchors are said once more: a plan for any connection takes the rows for many, and reads a large one whole
  const areMeant = tx.sql`l.tenant_id = ${tx.tenantId} and l.connection_id = ${scope.connectionId} and l.anchor = r.anchor
    and l.anchor = any(${rows.flatMap(({ anchor }) => (anchor === null ? [] : [anchor]))})`;
  if (op === 'update' || op === 'key') {
    return tx.sql`
      update links l set applied = l.applied || r.applied, resolved = l.resolved - array(select jsonb_object_keys(r.applied)), version = l.version + 1, updated_at = now()
      from jsonb_to_recordset(${payload}::jsonb) as r(anchor text, applied jsonb)
      where ${areMeant}`;
  }
  if (op === 'suspend' || op === 'remove' || op === 'unlink') {
    return tx.sql`
      update links l set state = r.state, reason = r.reason, leaving_since = null,
        ended_at = case when r.state <> 'linked' then coalesce(l.ended_at, now()) end, version = l.version + 1, updated_at = now()
      from jsonb_to_recordset(${payload}::jsonb) as r(anchor text, state text, reason text)
      where ${areMeant}`;
  }
  return null;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/**
 * Settles what has no open row left: its link now answers for this version of the object, and what that says is the
 * base of the next three-way comparison, written or not. Stale rows and those of a last Admin stay open, so the next
 * run decides them again; failed ones wait until their source changes. A live link whose object is gone and for which
 * nothing was planned waits (days of grace, a protected user) and stays open too. `anchors`: whom the plan decided;
 * null where that is not known here (a plan that was approved, or found again): all links are looked through, in two
 * transactions at once. Said again it settles nothing twice.
 */
export async function settleLinks(
  inTransaction: <T>(work: (tx: TenantTx) => Promise<T>) => Promise<T>,
  scope: LinkScope,
  anchors: readonly string[] | null,
): Promise<void> {
  if (anchors !== null)
    return inTransaction((tx) => settlePart(tx, scope, tx.sql`l.anchor = any(${anchors as string[]})`));
  const halves = [0, 1].map((half) =>
    inTransaction((tx) => settlePart(tx, scope, tx.sql`ascii(right(l.anchor, 1)) % 2 = ${half}`)),
  );
  for (const half of await Promise.allSettled(halves)) if (half.status === 'rejected') throw half.reason;
}

async function settlePart(tx: TenantTx, scope: LinkScope, part: ReturnType<TenantTx['sql']>): Promise<void> {
  const rows = tx.sql`
    select 1 from changes c
    where c.tenant_id = l.tenant_id and c.run_id = ${scope.runId} and c.connection_id = l.connection_id and c.anchor = l.anchor`;
  const isSettled = tx.sql`${part} and not exists (${rows} and (c.state in ('planned', 'held', 'stale') or c.cause = 'last_admin'))`;
  await tx.sql`
    ${settleStatement(tx, scope.connectionId)} and ${isSettled}
      and (l.state not in ('linked', 'missing') or m.deleted_at is null and m.is_in_scope or exists (${rows}))`;
  // an edit that came after the run began may be news to its plan
  await tx.sql`
    ${settleEditsStatement(tx, scope.connectionId)} and ${isSettled}
      and u.updated_at < (select r.started_at from runs r where r.tenant_id = ${tx.tenantId} and r.id = ${scope.runId})`;
}

/**
 * The same for pushed objects, whose open ones the caller knows: asking the change rows would read the whole standing
 * run of the day. Both halves are one statement, because a push pays for each.
 */
export async function settlePushed(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchors: readonly string[],
): Promise<void> {
  await writeAll(tx, settledWrites(tx, connectionId, anchors));
}

/** The same among other writes: one, or none for nobody. What a person wrote before them counts as answered to. */
export function settledWrites(tx: TenantTx, connectionId: ConnectionId, anchors: readonly string[]): Write[] {
  return anchors.length === 0 ? [] : [{ table: 'links', sql: settledSql(tx, connectionId, anchors) }];
}

function settledSql(tx: TenantTx, connectionId: ConnectionId, anchors: readonly string[]): PendingQuery<Row[]> {
  const isNew = tx.sql`l.settled_version <> m.version`;
  const edited = tx.sql`
    select u.version from users u
    where u.tenant_id = l.tenant_id and u.id = l.user_id and u.last_run_id is null and l.state in ('linked', 'missing')`;
  return tx.sql`
    update links l set ${settledColumns(tx, isNew)}, settled_user_version = coalesce((${edited}), l.settled_user_version)
    from mirror_objects m
    where ${isOfObject(tx, connectionId)} and l.anchor = any(${anchors as string[]}) and m.anchor = any(${anchors as string[]})
      and (${isNew} or l.settled_user_version <> (${edited}))`;
}

function settleStatement(tx: TenantTx, connectionId: ConnectionId) {
  return tx.sql`
    update links l set ${settledColumns(tx, tx.sql`true`)}
    from mirror_objects m
    where ${isOfObject(tx, connectionId)} and l.settled_version <> m.version`;
}

/** What the object says is the base of the next comparison, where `isNew`. */
function settledColumns(tx: TenantTx, isNew: PendingQuery<Row[]>) {
  return tx.sql`settled_version = m.version,
      applied = case when ${isNew} and l.state in ('linked', 'missing') then coalesce(m.mapped, '{}') else l.applied end,
      state = case when ${isNew} and l.state in ('linked', 'missing') then case when m.absent_since is null then 'linked' else 'missing' end else l.state end,
      leaving_since = case when ${isNew} and (m.deleted_at is null and m.is_in_scope) then null else l.leaving_since end,
      updated_at = case when ${isNew} then now() else l.updated_at end`;
}

function isOfObject(tx: TenantTx, connectionId: ConnectionId) {
  return tx.sql`l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId}
      and m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor`;
}

/** What a person wrote last, and this source has answered to. */
function settleEditsStatement(tx: TenantTx, connectionId: ConnectionId) {
  return tx.sql`
    update links l set settled_user_version = u.version
    from users u
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.state in ('linked', 'missing')
      and u.tenant_id = l.tenant_id and u.id = l.user_id and u.last_run_id is null and l.settled_user_version <> u.version`;
}
