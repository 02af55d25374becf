/**
 * audit/: what was done, by whom, to what, for everything that is not a change row of a run.
 *
 * An event is written in the transaction of the deed, so neither exists without the other. Events are append-only
 * (the database role can not update or delete them), and each carries its own expiry, fixed when it is recorded
 * (X10). Sealing them against an owner of the database is a later step.
 */
import type { TenantId } from '../core/ids.ts';
import type { Db } from '../db/db.ts';
import type { TenantTx } from '../db/db.ts';
import type { Page, PageRequest } from '../platform/page.ts';
import { insertEvent, selectEventsAfter, selectEventsPage, type AuditEvent, type EventFilter } from './store.ts';

export type { AuditEvent } from './store.ts';

export type AuditEntry = {
  /** `operator:<name>`, `token:<id>`, `user:<id>`, `connection:<id>`, `system`. */
  readonly actor: string;
  /** `<noun>.<past participle>`, e.g. `grant.added`. */
  readonly action: string;
  /** `<noun>:<id>` of what was acted on. */
  readonly target: string;
  /** Old and new values, organization, reason. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
};

const defaultRetentionDays = 30;

/** Records one event in the caller's transaction. Retention is 1 to 365 days. */
export async function recordEvent(
  tx: TenantTx,
  entry: AuditEntry,
  retentionDays: number = defaultRetentionDays,
): Promise<void> {
  await insertEvent(tx, { ...entry, details: entry.details ?? {} }, retentionDays);
}

export type Audit = {
  /** One event in a transaction of its own: for what is a deed by itself, such as an operator entering a tenant. */
  record(tenantId: TenantId, entry: AuditEntry): Promise<void>;
  /** Newest first. */
  list(tenantId: TenantId, page: PageRequest & EventFilter): Promise<Page<AuditEvent>>;
  /** Oldest first, after a sequence number: what `audit tail --follow` polls. */
  after(tenantId: TenantId, seq: number, limit: number): Promise<AuditEvent[]>;
};

export function createAudit({ db }: { readonly db: Db }): Audit {
  return {
    record: (tenantId, entry) => db.tenant(tenantId, (tx) => recordEvent(tx, entry)),
    list: (tenantId, page) => db.tenant(tenantId, (tx) => selectEventsPage(tx, page)),
    after: (tenantId, seq, limit) => db.tenant(tenantId, (tx) => selectEventsAfter(tx, seq, limit)),
  };
}
