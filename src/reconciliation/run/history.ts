/** Which runs touched a user, and what each changed: newest first, by keyset. */
import type { RunId, TenantId, UserId } from '../../core/ids.ts';
import { toIso, toIsoOrNull } from '../../core/instant.ts';
import type { ChangeKind, ChangeOp, ChangeState, RunKind, RunStatus } from '../../core/vocabulary.ts';
import type { Db } from '../../db/db.ts';

export type HistoryRow = {
  readonly at: string;
  readonly runId: RunId;
  readonly runKind: RunKind;
  readonly runStatus: RunStatus;
  readonly connectionId: string;
  readonly connectionName: string;
  /** `schedule`, `push`, or who asked for the run. */
  readonly requestedBy: string;
  readonly seq: number;
  readonly op: ChangeOp;
  readonly kind: ChangeKind;
  readonly state: ChangeState;
  readonly subject: string;
  readonly organizationId: string | null;
  readonly role: string | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly reason: string;
  readonly error: string | null;
  readonly appliedAt: string | null;
};

export type HistoryFilter = {
  readonly userId: UserId;
  readonly limit: number;
  /** Rows before this one, the last of the page before. */
  readonly before?: { readonly at: string; readonly runId: string; readonly seq: number };
};

export function listHistory(db: Db, tenantId: TenantId, filter: HistoryFilter): Promise<HistoryRow[]> {
  return db.tenant(tenantId, async ({ sql }) => {
    const { before } = filter;
    const rows = await sql<HistoryRow[]>`
      select date_trunc('milliseconds', c.created_at) as at, c.run_id as "runId", r.kind as "runKind", r.status as "runStatus",
        c.connection_id as "connectionId", n.name as "connectionName", r.requested_by as "requestedBy", c.seq, c.op, c.kind, c.state,
        c.subject, c.organization_id as "organizationId", c.role, c.before, c.after, c.reason, c.error, c.applied_at as "appliedAt"
      from changes c
      join runs r on r.tenant_id = c.tenant_id and r.id = c.run_id
      join connections n on n.tenant_id = c.tenant_id and n.id = c.connection_id
      where c.tenant_id = ${tenantId} and c.user_id = ${filter.userId}
        ${
          before === undefined
            ? sql``
            : sql`and (date_trunc('milliseconds', c.created_at), c.run_id, c.seq)
                < (${before.at}::timestamptz, ${before.runId}::uuid, ${before.seq}::int)`
        }
      order by date_trunc('milliseconds', c.created_at) desc, c.run_id desc, c.seq desc limit ${filter.limit}`;
    return rows.map((row) => ({ ...row, at: toIso(row.at), appliedAt: toIsoOrNull(row.appliedAt) }));
  });
}
