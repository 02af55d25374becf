/**
 * The set-based door of users for reconciliation: change rows in, one statement per kind out. A row whose user is no
 * longer at the version the plan saw is returned as stale; nothing is overwritten silently.
 */
import type { ConnectionId, RunId, UserId } from '../core/ids.ts';
import { textKey } from '../core/text-keys.ts';
import { rowsOf, type RowColumn, type TenantTx, type Write } from '../db/db.ts';
import { lockUsers } from './lock-users.ts';
import { customPrefix, keyed, userColumns } from './user-columns.ts';

export type UserChange = {
  readonly seq: number;
  readonly op: 'create' | 'update' | 'key' | 'reactivate' | 'suspend' | 'remove';
  readonly userId: UserId;
  readonly after: Readonly<Record<string, unknown>>;
  readonly expectedVersion: number | null;
  readonly reason: string;
  /** Who says these values where it is not the run's connection: `connection:<id>`. */
  readonly source: string | null;
};

export type ApplyingRun = { readonly runId: RunId; readonly connectionId: ConnectionId };

/** Applies rows of one op; returns the seqs that were applied, the others are stale. */
export async function applyUserChanges(tx: TenantTx, run: ApplyingRun, rows: readonly UserChange[]): Promise<number[]> {
  const [first] = rows;
  if (first === undefined) return [];
  const patches = rows.map((row) => toPatch(row, run));
  if (first.op === 'create') return createUsers(tx, run, patches);
  const ids = patches.map(({ id }) => id);
  if (first.op === 'update' || first.op === 'key') {
    // one alone needs no order, and all that is asked of it stands in its own row, which Postgres looks at again
    if (ids.length > 1) await lockUsers(tx, ids);
    return updateUsers(tx, run, patches);
  }
  await lockUsers(tx, ids);
  return setStatus(tx, run, first.op, patches);
}

/**
 * New users, or new values of one user, as one write among others, which fails where one of them is stale. Several who are changed
 * have to be locked before.
 */
export function userWrite(tx: TenantTx, run: ApplyingRun, rows: readonly UserChange[]): Write {
  const patches = rows.map((row) => toPatch(row, run));
  const areNew = rows.every(({ op }) => op === 'create');
  const sql = areNew ? insertSql(tx, run, patches) : updateSql(tx, run, patches);
  return { table: 'users', sql, mustWrite: rows.length };
}

/** Columns, keys, custom attributes and provenance of one row, by column name. */
type Patch = {
  readonly seq: number;
  readonly id: UserId;
  readonly version: number | null;
  readonly patch: Readonly<Record<string, string | null>>;
  readonly custom: Readonly<Record<string, string | null>>;
  readonly provenance: Readonly<Record<string, string>>;
  readonly suspended_by: string;
  readonly reason: string;
};

function toPatch(row: UserChange, run: ApplyingRun): Patch {
  const patch: Record<string, string | null> = {};
  const custom: Record<string, string | null> = {};
  const provenance: Record<string, string> = {};
  for (const [target, raw] of Object.entries(row.after)) {
    const value = typeof raw === 'string' ? raw : null;
    const column = userColumns[target];
    if (target.startsWith(customPrefix)) custom[target.slice(customPrefix.length)] = value;
    else if (column !== undefined) {
      patch[column] = value;
      if (keyed.has(target)) patch[`${column}_key`] = textKey(value);
    } else continue;
    provenance[target] = row.source ?? `connection:${run.connectionId}`;
  }
  // at a hand-over it is another source than the run's that asserts the suspension from now on
  const by = row.after['suspendedBy'];
  const suspended_by = typeof by === 'string' ? by : `connection:${run.connectionId}`;
  const { seq, userId: id, expectedVersion: version, reason } = row;
  return { seq, id, version, patch, custom, provenance, suspended_by, reason };
}

/** What a directory can say of a user; the keys beside what they are keys of. */
const createdColumns = [
  'username',
  'username_key',
  'email',
  'email_key',
  'display_name',
  'display_name_key',
  'given_name',
  'family_name',
  'phone',
  'employee_id',
  'employee_id_key',
  'department',
  'job_title',
] as const;

async function createUsers(tx: TenantTx, run: ApplyingRun, patches: readonly Patch[]): Promise<number[]> {
  const rows = await tx.sql<{ id: UserId }[]>`${insertSql(tx, run, patches)} returning id`;
  const created = new Set(rows.map(({ id }) => id));
  return patches.flatMap(({ seq, id }) => (created.has(id) ? [seq] : []));
}

function insertSql(tx: TenantTx, run: ApplyingRun, patches: readonly Patch[]) {
  const { sql } = tx;
  const said = createdColumns.map((column): [string, RowColumn] => [
    column,
    ['text', patches.map(({ patch }) => patch[column] ?? null)],
  ]);
  const users = rowsOf(sql, {
    seq: ['int', patches.map(({ seq }) => seq)],
    id: ['uuid', patches.map(({ id }) => id)],
    custom: ['jsonb', patches.map(({ custom }) => JSON.stringify(custom))],
    provenance: ['jsonb', patches.map(({ provenance }) => JSON.stringify(provenance))],
    ...Object.fromEntries(said),
  });
  const columns = sql.unsafe(createdColumns.join(', '));
  return sql`
    insert into users (tenant_id, id, ${columns}, attributes, provenance, last_run_id, quota_home_id, first_organization_id)
    select ${tx.tenantId}::uuid, r.id, ${columns}, custom, provenance, ${run.runId}::uuid, home.id, home.id
    from ${users}, (
      select nullif(organization_id, tenant_id) as id from connections where tenant_id = ${tx.tenantId} and id = ${run.connectionId}) home
    order by seq`;
}

/** `username = case when r.patch ? 'username' then r.patch ->> 'username' else u.username end, ...` */
const pickedColumns = createdColumns
  .map((column) => `${column} = case when r.patch ? '${column}' then r.patch ->> '${column}' else u.${column} end`)
  .join(', ');

/** One statement for all rows: usernames that depend on each other (swap, chain) change together. */
async function updateUsers(tx: TenantTx, run: ApplyingRun, patches: readonly Patch[]): Promise<number[]> {
  const rows = await tx.sql<{ seq: number }[]>`${updateSql(tx, run, patches)} returning r.seq`;
  return rows.map((row) => row.seq);
}

function updateSql(tx: TenantTx, run: ApplyingRun, patches: readonly Patch[]) {
  return tx.sql`
    update users u set ${tx.sql.unsafe(pickedColumns)}, attributes = u.attributes || r.custom, provenance = u.provenance || r.provenance,
      version = u.version + 1, last_run_id = ${run.runId}::uuid, updated_at = now()
    from jsonb_to_recordset(${JSON.stringify(patches)}::jsonb) as r(seq int, id uuid, version bigint, patch jsonb, custom jsonb, provenance jsonb)
    where ${areMeant(tx, run, patches)}`;
}

async function setStatus(
  tx: TenantTx,
  run: ApplyingRun,
  op: 'reactivate' | 'suspend' | 'remove',
  patches: readonly Patch[],
): Promise<number[]> {
  const status = { reactivate: 'active', suspend: 'suspended', remove: 'removed' }[op];
  const rows = await tx.sql<{ seq: number }[]>`
    update users u set status = ${status}, status_reason = r.reason, status_changed_at = now(),
      suspended_by = case when ${op !== 'reactivate'} then r.suspended_by end,
      username = case when ${op === 'remove'} then null else u.username end,
      username_key = case when ${op === 'remove'} then null else u.username_key end,
      version = u.version + 1, last_run_id = ${run.runId}::uuid, updated_at = now()
    from jsonb_to_recordset(${JSON.stringify(patches)}::jsonb) as r(seq int, id uuid, version bigint, suspended_by text, reason text)
    where ${areMeant(tx, run, patches)}
      and (${op === 'reactivate'} or not exists (
        select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id))
    returning r.seq`;
  return rows.map((row) => row.seq);
}

/**
 * Nobody but this run wrote the user since the plan saw it, and nobody protected the user. The ids are said once more as
 * an array: a plan that is kept for any tenant takes the rows for many and the tenant for small, and reads a large one whole.
 */
function areMeant(tx: TenantTx, run: ApplyingRun, patches: readonly Patch[]) {
  return tx.sql`u.tenant_id = ${tx.tenantId} and u.id = r.id and u.id = any(${patches.map(({ id }) => id)}::uuid[])
    and (u.version = r.version or u.last_run_id = ${run.runId}::uuid) and not u.is_protected`;
}
