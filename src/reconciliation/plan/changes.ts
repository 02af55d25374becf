/** Change rows: writing a plan, reading it, and its digest. */
import type { PendingQuery, Row } from 'postgres';
import type { ConnectionId, RunId, UserId } from '../../core/ids.ts';
import type { GrantableRole } from '../../core/roles.ts';
import type { Draft, Subject } from '../../core/subject.ts';
import type { ChangeClass, ChangeKind, ChangeOp, ChangeState } from '../../core/vocabulary.ts';
import { changeClasses } from '../../core/vocabulary.ts';
import { rowsOf, writeAll, type TenantTx, type Write } from '../../db/db.ts';
import { priorOf, priorOfNew } from './prior.ts';

/** A change row on its way into the plan. */
export type NewChange = Draft & {
  readonly seq: number;
  readonly anchor: string;
  readonly subject: string;
  readonly objectVersion: number;
  /** Where it is not the one of all rows that are written together. */
  readonly requestId?: string;
};

/** A change row as apply and every reader sees it. */
export type Change = {
  readonly runId: RunId;
  readonly seq: number;
  readonly connectionId: ConnectionId;
  readonly class: ChangeClass;
  readonly op: ChangeOp;
  readonly kind: ChangeKind;
  readonly anchor: string | null;
  readonly userId: UserId | null;
  readonly subject: string;
  readonly organizationId: string | null;
  readonly role: GrantableRole | null;
  readonly grantSource: string | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly expectedVersion: number | null;
  readonly objectVersion: number | null;
  readonly reason: string;
  readonly cause: string;
  readonly state: ChangeState;
  readonly error: string | null;
  readonly appliedAt: string | null;
};

export function toNewChanges(subject: Subject, drafts: readonly Draft[], firstSeq: number): NewChange[] {
  return drafts.map((draft, index) => ({
    ...draft,
    seq: firstSeq + index,
    anchor: subject.anchor,
    // an object without a link goes by its own name: the user it may match is somebody else so far
    subject: (subject.link === null ? null : subject.user?.attributes['displayName']) ?? subject.name,
    objectVersion: subject.objectVersion,
  }));
}

export type ChangesPlace = {
  readonly runId: RunId;
  readonly connectionId: ConnectionId;
  readonly requestId: string | null;
};

export async function insertChanges(tx: TenantTx, where: ChangesPlace, rows: readonly NewChange[]): Promise<void> {
  if (rows.length > 0) await insertSql(tx, where, 'planned', priorOf(tx, where.connectionId), rows);
}

/**
 * Rows whose effects belong to the same transaction: written down once, in their last state, before the effects (what
 * stood before is read here). Their seqs come from the sequence of pushes.
 */
export async function insertApplied(
  tx: TenantTx,
  where: AppliedPlace,
  rows: readonly Omit<NewChange, 'seq'>[],
): Promise<void> {
  await writeAll(tx, appliedWrites(tx, where, rows));
}

export type AppliedPlace = ChangesPlace & {
  /** All of objects that the same transaction made, so that there is nothing to read. */
  readonly areNew: boolean;
};

/** The same among the writes that are their effects: one, or none where nothing changes. */
export function appliedWrites(tx: TenantTx, where: AppliedPlace, rows: readonly Omit<NewChange, 'seq'>[]): Write[] {
  if (rows.length === 0) return [];
  const prior = where.areNew ? priorOfNew(tx) : priorOf(tx, where.connectionId);
  const sql = insertSql(
    tx,
    where,
    'applied',
    prior,
    rows.map((row) => ({ ...row, seq: null })),
  );
  return [{ table: 'changes', sql }];
}

function insertSql(
  tx: TenantTx,
  where: ChangesPlace,
  state: 'planned' | 'applied',
  prior: PendingQuery<Row[]>,
  rows: readonly (Omit<NewChange, 'seq'> & { readonly seq: number | null })[],
): PendingQuery<Row[]> {
  const json = (value: Readonly<Record<string, unknown>> | null) => (value === null ? null : JSON.stringify(value));
  return tx.sql`
    insert into changes (tenant_id, run_id, connection_id, request_id, seq, class, op, kind, anchor, user_id, subject, organization_id,
      role, grant_source, before, after, prior, expected_version, object_version, reason, cause, state, applied_at)
    select ${tx.tenantId}::uuid, ${where.runId}::uuid, ${where.connectionId}::uuid, coalesce(request_id, ${where.requestId}::uuid),
      coalesce(seq, nextval('push_change_seq')::int), class, op, kind, anchor, user_id, subject, organization_id, role, grant_source, before,
      after, ${prior}, expected_version, object_version, reason, cause, ${state},
      case when ${state} = 'applied' then now() end
    from ${rowsOf(tx.sql, {
      seq: ['int', rows.map((row) => row.seq)],
      class: ['text', rows.map((row) => row.class)],
      op: ['text', rows.map((row) => row.op)],
      kind: ['text', rows.map((row) => row.kind)],
      anchor: ['text', rows.map((row) => row.anchor)],
      user_id: ['uuid', rows.map((row) => row.userId)],
      subject: ['text', rows.map((row) => row.subject)],
      organization_id: ['uuid', rows.map((row) => row.organizationId)],
      role: ['text', rows.map((row) => row.role)],
      grant_source: ['text', rows.map((row) => row.grantSource)],
      before: ['jsonb', rows.map((row) => json(row.before))],
      after: ['jsonb', rows.map((row) => json(row.after))],
      expected_version: ['bigint', rows.map((row) => row.expectedVersion)],
      object_version: ['bigint', rows.map((row) => row.objectVersion)],
      reason: ['text', rows.map((row) => row.reason)],
      cause: ['text', rows.map((row) => row.cause)],
      request_id: ['uuid', rows.map((row) => row.requestId ?? null)],
    })}`;
}

const selectList = (tx: TenantTx) => tx.sql`
  c.run_id as "runId", c.seq, c.connection_id as "connectionId", c.class, c.op, c.kind, c.anchor, c.user_id as "userId", c.subject,
  c.organization_id as "organizationId", c.role, c.grant_source as "grantSource", c.before, c.after,
  c.expected_version::int as "expectedVersion", c.object_version::int as "objectVersion", c.reason, c.cause, c.state, c.error,
  c.applied_at as "appliedAt"`;

export type ChunkBound = { readonly after: number; readonly upTo: number };

/** Where each `limit` planned rows of one class end, in order of seq. */
export function chunkBounds(
  tx: TenantTx,
  runId: RunId,
  changeClass: ChangeClass,
  limit: number,
): Promise<ChunkBound[]> {
  return tx.sql<ChunkBound[]>`
    with ends as (
      select max(seq) as "upTo" from (
        select seq, (row_number() over (order by seq) - 1) / ${limit}::int as chunk from changes
        where tenant_id = ${tx.tenantId} and run_id = ${runId} and class = ${changeClass} and state = 'planned') planned
      group by chunk)
    select coalesce(lag("upTo") over (order by "upTo"), -1) as after, "upTo" from ends order by "upTo"`;
}

/** The planned rows of one class in a chunk, in order of seq. */
export function selectPlanned(
  tx: TenantTx,
  runId: RunId,
  changeClass: ChangeClass,
  bound: ChunkBound,
): Promise<Change[]> {
  return tx.sql<Change[]>`
    select ${selectList(tx)} from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.class = ${changeClass} and c.seq > ${bound.after}
      and c.seq <= ${bound.upTo} and c.state = 'planned'
    order by c.seq`;
}

export function selectBySeq(tx: TenantTx, runId: RunId, seqs: readonly number[]): Promise<Change[]> {
  return tx.sql<Change[]>`
    select ${selectList(tx)} from changes c
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.seq = any(${seqs as number[]}::int[])
    order by c.seq`;
}

export type ChangeFilter = {
  readonly runId?: RunId;
  readonly userId?: UserId;
  readonly kind?: ChangeKind;
  readonly state?: ChangeState;
  readonly afterSeq?: number;
  readonly limit: number;
};

/** Rows of a plan in the order in which they are applied, or of one user, newest run first. */
export function selectChanges(tx: TenantTx, filter: ChangeFilter): Promise<Change[]> {
  const { sql } = tx;
  return sql<Change[]>`
    select ${selectList(tx)} from changes c
    where c.tenant_id = ${tx.tenantId} and c.seq > ${filter.afterSeq ?? -1}
      ${filter.runId === undefined ? sql`` : sql`and c.run_id = ${filter.runId}`}
      ${filter.userId === undefined ? sql`` : sql`and c.user_id = ${filter.userId}`}
      ${filter.kind === undefined ? sql`` : sql`and c.kind = ${filter.kind}`}
      ${filter.state === undefined ? sql`` : sql`and c.state = ${filter.state}`}
    order by c.run_id desc, c.seq limit ${filter.limit}`;
}

export async function setChangeStates(
  tx: TenantTx,
  runId: RunId,
  seqs: readonly number[],
  state: ChangeState,
  error: string | null = null,
): Promise<void> {
  if (seqs.length === 0) return;
  await tx.sql`
    update changes set state = ${state}, error = ${error}, applied_at = case when ${state} = 'applied' then now() end
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and seq = any(${seqs as number[]}::int[])`;
}

export async function countPlanned(tx: TenantTx, runId: RunId): Promise<number> {
  const [row] = await tx.sql<{ rows: number }[]>`
    select count(*)::int as rows from changes where tenant_id = ${tx.tenantId} and run_id = ${runId} and state = 'planned'`;
  return row?.rows ?? 0;
}

/** Rows that will never be applied under this run; returns how many. */
export async function skipOpenChanges(tx: TenantTx, runId: RunId, why: string): Promise<number> {
  const result = await tx.sql`
    update changes set state = 'skipped', error = ${why}
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and state in ('planned', 'held')`;
  return result.count;
}

/** Rows by kind of user change, and by class and state. */
export async function countChanges(tx: TenantTx, runId: RunId): Promise<ChangeCount[]> {
  // grouped twice, because distinct counts sort what grouping hashes
  return tx.sql<ChangeCount[]>`
    select class, op, kind, state, sum(rows)::int as rows, count(*)::int as subjects from (
      select class, op, kind, state, count(*) as rows from changes
      where tenant_id = ${tx.tenantId} and run_id = ${runId}
      group by class, op, kind, state, user_id, case when user_id is null then anchor end) subjects
    group by 1, 2, 3, 4 order by 1, 2, 3, 4`;
}

export type ChangeCount = {
  readonly class: ChangeClass;
  readonly op: ChangeOp;
  readonly kind: ChangeKind;
  readonly state: ChangeState;
  readonly rows: number;
  readonly subjects: number;
};

/**
 * Fingerprint of the rows that still wait, in the order in which they will be applied. Ids that a plan makes up
 * (users it would create) stay out of it, so that two runs over the same input have the same digest. Null: nothing
 * waits.
 */
export async function digestPlan(tx: TenantTx, runId: RunId): Promise<string | null> {
  const [row] = await tx.sql<{ digest: string | null }[]>`
    select encode(sha256(convert_to(string_agg(md5(concat_ws(E'\\x1f', class, op, kind, anchor, case when kind = 'joiner' then null else user_id end,
      organization_id, role, grant_source, coalesce(before, 'null')::text, coalesce(after, 'null')::text)), ''
      order by array_position(${changeClasses as unknown as string[]}::text[], class), seq), 'UTF8')), 'hex') as digest
    from changes where tenant_id = ${tx.tenantId} and run_id = ${runId} and state in ('planned', 'held')`;
  return row?.digest ?? null;
}

export async function deleteChanges(tx: TenantTx, runId: RunId): Promise<void> {
  await tx.sql`delete from changes where tenant_id = ${tx.tenantId} and run_id = ${runId}`;
}
