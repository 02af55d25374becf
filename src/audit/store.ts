/** audit/store: the SQL of audit events. */
import { and, asc, desc, eq, gt, lt } from 'drizzle-orm';
import { z } from 'zod';
import { toIso } from '../core/instant.ts';
import type { TenantTx } from '../db/db.ts';
import { auditEvents } from '../db/schema/audit.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';

export type AuditEvent = {
  readonly seq: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly details: Record<string, unknown>;
};

export type EventFilter = {
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  readonly target?: string | undefined;
};

type NewEvent = {
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly details: Readonly<Record<string, unknown>>;
};

export async function insertEvent(tx: TenantTx, event: NewEvent, retentionDays: number): Promise<void> {
  await tx.sql`
    insert into audit_events (tenant_id, actor, action, target, details, expires_at)
    values (${tx.tenantId}, ${event.actor}, ${event.action}, ${event.target}, ${JSON.stringify(event.details)}::jsonb,
      now() + make_interval(days => ${retentionDays}))`;
}

const seqKey = z.tuple([z.number().int()]);

export async function selectEventsPage(tx: TenantTx, request: PageRequest & EventFilter): Promise<Page<AuditEvent>> {
  const after = decodeCursor(request.cursor, seqKey);
  const rows = await tx.query
    .select()
    .from(auditEvents)
    .where(
      and(
        eq(auditEvents.tenantId, tx.tenantId),
        after === null ? undefined : lt(auditEvents.seq, after[0]),
        request.actor === undefined ? undefined : eq(auditEvents.actor, request.actor),
        request.action === undefined ? undefined : eq(auditEvents.action, request.action),
        request.target === undefined ? undefined : eq(auditEvents.target, request.target),
      ),
    )
    .orderBy(desc(auditEvents.seq))
    .limit(request.limit + 1);
  return cutPage(rows, request.limit, (row) => [row.seq], toEvent);
}

export async function selectEventsAfter(tx: TenantTx, seq: number, limit: number): Promise<AuditEvent[]> {
  const rows = await tx.query
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.tenantId, tx.tenantId), gt(auditEvents.seq, seq)))
    .orderBy(asc(auditEvents.seq))
    .limit(limit);
  return rows.map(toEvent);
}

function toEvent(row: typeof auditEvents.$inferSelect): AuditEvent {
  return {
    seq: row.seq,
    at: toIso(row.at),
    actor: row.actor,
    action: row.action,
    target: row.target,
    details: row.details,
  };
}
