/** audit/: what was done, by whom, why, for everything that is not a change row. Append-only. */
import { bigint, index, jsonb, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { createdAt, instant, tenantId } from './columns.ts';

export const auditEvents = pgTable(
  'audit_events',
  {
    tenantId: tenantId(),
    seq: bigint({ mode: 'number' }).notNull().generatedAlwaysAsIdentity(),
    at: createdAt(),
    /** `operator:<os user>`, `token:<id>`, `user:<id>`, `connection:<id>`, `system`. */
    actor: text().notNull(),
    action: text().notNull(),
    target: text().notNull(),
    details: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    expiresAt: instant(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.seq] }), index().on(t.tenantId, t.at)],
);
