/** scim/: what the service provider keeps besides the mirror, which is reconciliation's. */
import { sql } from 'drizzle-orm';
import { check, foreignKey, index, integer, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { objectKinds } from '../../core/vocabulary.ts';
import { createdAt, instant, keyText, oneOf, tenantId } from './columns.ts';
import { connections } from './reconciliation-connections.ts';

/**
 * Every so many-th id of a long list, as of `cutoff`: how a page far down is found without reading what lies before it,
 * and a total without counting everything (src/scim/list-marks.ts). Can be built again at any time.
 */
export const scimListMarks = pgTable(
  'scim_list_marks',
  {
    tenantId: tenantId(),
    connectionId: uuid().notNull(),
    kind: text().notNull(),
    cutoff: instant().notNull(),
    /** The first id that is younger than `cutoff`: ids are UUIDv7, ordered by the time they were made. */
    cutoffAnchor: keyText().notNull(),
    total: integer().notNull(),
    anchors: text()
      .array()
      .notNull()
      .default(sql`'{}'::text[]`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.connectionId, t.kind] }),
    foreignKey({ columns: [t.tenantId, t.connectionId], foreignColumns: [connections.tenantId, connections.id] }),
    check('scim_list_marks_kind', oneOf(t.kind, objectKinds)),
  ],
);

/** What an identity provider sent, what it was answered and why; secrets never (src/scim/request-log.ts). */
export const scimRequests = pgTable(
  'scim_requests',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    connectionId: uuid().notNull(),
    at: createdAt(),
    tokenId: keyText(),
    method: text().notNull(),
    /** Below the connection's base path, with its query. */
    path: text().notNull(),
    status: integer().notNull(),
    scimType: text(),
    /** The detail of an error, or what was left out of a request that was taken. */
    reason: text(),
    durationMs: integer().notNull(),
    clientAddress: text(),
    userAgent: text(),
    /** The body as sent, without what may be secret; null where there was none or it was too long. */
    body: jsonb().$type<Record<string, unknown>>(),
    bodyBytes: integer().notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index().on(t.tenantId, t.connectionId, t.at, t.id),
    index().on(t.at),
  ],
);
