/** outbox/: messages that leave exactly when the transaction that wrote them commits. */
import { bigint, boolean, index, integer, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { createdAt, instant, tenantId } from './columns.ts';

export const webhooks = pgTable(
  'webhooks',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    url: text().notNull(),
    /** Envelope of the signing secret (Standard Webhooks). */
    secret: jsonb().$type<Record<string, unknown>>().notNull(),
    /** Event types wanted; empty means all. */
    eventTypes: jsonb().$type<string[]>().notNull().default([]),
    isEnabled: boolean().notNull().default(true),
    createdBy: text().notNull(),
    createdAt: createdAt(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.id] })],
);

export const outboxMessages = pgTable(
  'outbox_messages',
  {
    id: bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    tenantId: tenantId(),
    /** Event type, e.g. `run.applied`, `user.suspended`, `connection.quarantined`. */
    type: text().notNull(),
    payload: jsonb().$type<Record<string, unknown>>().notNull(),
    createdAt: createdAt(),
    availableAt: instant().notNull().defaultNow(),
    attempts: integer().notNull().default(0),
    /** Webhooks that have taken it; a retry goes only to the others. */
    deliveredTo: jsonb().$type<string[]>().notNull().default([]),
    deliveredAt: instant(),
    lastError: text(),
  },
  (t) => [
    index('outbox_messages_due')
      .on(t.availableAt, t.id)
      .where(sql`delivered_at is null`),
  ],
);
