/**
 * The door of users for an undo: values go back to what they were, with the provenance they had, and so does the
 * standing. As in apply-changes, a row whose user is no longer at the version the plan saw is not touched.
 */
import type { RunId, UserId } from '../core/ids.ts';
import { textKey } from '../core/text-keys.ts';
import type { UserStatus } from '../core/vocabulary.ts';
import type { TenantTx } from '../db/db.ts';
import { lockUsers } from './lock-users.ts';
import { customPrefix, keyed, userColumns } from './user-columns.ts';

export type UserRestore = {
  readonly seq: number;
  readonly userId: UserId;
  readonly expectedVersion: number | null;
  /** target -> the value it had. */
  readonly values: Readonly<Record<string, string | null>>;
  /** target -> the source it had; null where it had none. */
  readonly provenance: Readonly<Record<string, string | null>>;
  /** Custom attributes that did not exist. */
  readonly absent: readonly string[];
  readonly standing: {
    readonly status: UserStatus;
    readonly suspendedBy: string | null;
    readonly statusReason: string | null;
  } | null;
  /** Present only where it changes. */
  readonly quotaHome: { readonly id: string | null } | null;
};

/** One statement for all rows, so that usernames may be swapped back; returns the seqs that were restored. */
export async function restoreUsers(tx: TenantTx, runId: RunId, rows: readonly UserRestore[]): Promise<number[]> {
  if (rows.length === 0) return [];
  const payload = JSON.stringify(rows.map(toPatch));
  await lockUsers(
    tx,
    rows.map(({ userId }) => userId),
  );
  const columns = ['username', 'username_key', 'email', 'email_key', 'display_name', 'display_name_key', 'given_name'];
  const more = ['family_name', 'phone', 'employee_id', 'employee_id_key', 'department', 'job_title'];
  const pick = (column: string) =>
    tx.sql`${tx.sql(column)} = case when r.patch ? ${column} then r.patch ->> ${column} else ${tx.sql(`u.${column}`)} end,`;
  const restored = await tx.sql<{ seq: number }[]>`
    update users u set ${[...columns, ...more].map(pick)}
      attributes = (u.attributes || r.custom) - array(select jsonb_array_elements_text(r.drop_custom)),
      provenance = (u.provenance || r.provenance) - array(select jsonb_array_elements_text(r.drop_provenance)),
      status = coalesce(r.standing ->> 'status', u.status),
      suspended_by = case when r.standing is null then u.suspended_by else r.standing ->> 'suspendedBy' end,
      status_reason = case when r.standing is null then u.status_reason else r.standing ->> 'statusReason' end,
      status_changed_at = case when r.standing is null then u.status_changed_at else now() end,
      quota_home_id = case when r.quota_home is null then u.quota_home_id else (r.quota_home ->> 'id')::uuid end,
      version = u.version + 1, last_run_id = ${runId}::uuid, updated_at = now()
    from jsonb_to_recordset(${payload}::jsonb) as r(seq int, id uuid, version bigint, patch jsonb, custom jsonb, drop_custom jsonb,
      provenance jsonb, drop_provenance jsonb, standing jsonb, quota_home jsonb)
    where u.tenant_id = ${tx.tenantId} and u.id = r.id and (u.version = r.version or u.last_run_id = ${runId}::uuid)
      and not u.is_protected
      and (coalesce(r.standing ->> 'status', 'active') = 'active' or not exists (
        select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id))
    returning r.seq`;
  return restored.map((row) => row.seq);
}

function toPatch(row: UserRestore): Record<string, unknown> {
  const patch: Record<string, string | null> = {};
  const custom: Record<string, string | null> = {};
  for (const [target, value] of Object.entries(row.values)) {
    const column = userColumns[target];
    if (target.startsWith(customPrefix)) custom[target.slice(customPrefix.length)] = value;
    else if (column !== undefined) {
      patch[column] = value;
      if (keyed.has(target)) patch[`${column}_key`] = textKey(value);
    }
  }
  if (row.standing?.status === 'removed') Object.assign(patch, { username: null, username_key: null });
  const sources = Object.entries(row.provenance);
  return {
    seq: row.seq,
    id: row.userId,
    version: row.expectedVersion,
    patch,
    custom,
    drop_custom: row.absent.map((target) => target.slice(customPrefix.length)),
    provenance: Object.fromEntries(sources.filter(([, source]) => source !== null)),
    drop_provenance: sources.flatMap(([target, source]) => (source === null ? [target] : [])),
    standing: row.standing,
    quota_home: row.quotaHome,
  };
}
