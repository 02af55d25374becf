/** reconciliation/: connections with their versions and role mappings. */
import { check, foreignKey, index, integer, jsonb, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { grantableRoles } from '../../core/roles.ts';
import { connectionKinds, connectionStatuses } from '../../core/vocabulary.ts';
import { createdAt, instant, keyText, oneOf, tenantId } from './columns.ts';
import { organizations } from './organizations.ts';

/** A configured directory of an organization. */
export const connections = pgTable(
  'connections',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    organizationId: uuid().notNull(),
    kind: text().notNull(),
    name: text().notNull(),
    nameKey: keyText().notNull(),
    /** Connector settings, checked by the connector's own schema; no secrets. */
    settings: jsonb().$type<Record<string, unknown>>().notNull(),
    /** Envelope of the secret part (platform/secrets). */
    secret: jsonb().$type<Record<string, unknown>>(),
    /** Mappings, scope, correlation rules, leaver policy, guards (core/policy). */
    policy: jsonb().$type<Record<string, unknown>>().notNull(),
    status: text().notNull().default('draft'),
    statusReason: text(),
    /** Runs in a row that failed; a quarantine begins at a number of them (core/quarantine). */
    failedRuns: integer().notNull().default(0),
    /** Since when the connection is in quarantine, and how often it was tried again in vain. */
    quarantinedAt: instant(),
    quarantineRetries: integer().notNull().default(0),
    cron: text(),
    timeZone: text().notNull().default('UTC'),
    jitterSeconds: integer().notNull().default(0),
    nextRunAt: instant(),
    /** Lower number wins where two live sources assert the same attribute. */
    priority: integer().notNull().default(100),
    ceiling: text().notNull().default('user'),
    /** The priority that other connections' runs decide by: a new one counts once this connection's plan was applied. */
    approvedPriority: integer(),
    version: integer().notNull().default(1),
    cursor: jsonb().$type<Record<string, unknown>>(),
    /** Counts of the last good full run; what the sanity check compares with. */
    baseline: jsonb().$type<Record<string, unknown>>(),
    lastFullAt: instant(),
    /** Of the credential: when it ends, who says so, under which version, and the last reminder of it. */
    credential: jsonb().$type<Record<string, unknown>>(),
    credentialCheckedAt: instant(),
    /** The version whose first plan was approved; a different one means "stop after the plan". */
    approvedVersion: integer(),
    /** What the last run saw that compared everything and left nothing open (reconciliation/plan/comparison.ts). */
    settled: jsonb().$type<Record<string, unknown>>(),
    createdBy: text().notNull(),
    createdAt: createdAt(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    unique().on(t.id),
    unique().on(t.tenantId, t.nameKey),
    foreignKey({ columns: [t.tenantId, t.organizationId], foreignColumns: [organizations.tenantId, organizations.id] }),
    index('connections_due')
      .on(t.nextRunAt)
      .where(sql`status in ('active', 'quarantined') and next_run_at is not null`),
    check('connections_quarantine', sql`(status = 'quarantined') = (quarantined_at is not null)`),
    check('connections_kind', oneOf(t.kind, connectionKinds)),
    check('connections_status', oneOf(t.status, connectionStatuses)),
    check('connections_ceiling', oneOf(t.ceiling, grantableRoles)),
  ],
);

/** Every version of a connection's document, so that a run and an explanation can name the one they used. */
export const connectionVersions = pgTable(
  'connection_versions',
  {
    tenantId: tenantId(),
    connectionId: uuid().notNull(),
    version: integer().notNull(),
    document: jsonb().$type<Record<string, unknown>>().notNull(),
    createdBy: text().notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.connectionId, t.version] }),
    foreignKey({ columns: [t.tenantId, t.connectionId], foreignColumns: [connections.tenantId, connections.id] }),
  ],
);

/**
 * A group or predicate -> a role in an organization. `group_anchor` is the immutable id; where the admin named the
 * group, it stays null until the first read finds exactly one group of that name, and is pinned then.
 */
export const roleMappings = pgTable(
  'role_mappings',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    connectionId: uuid().notNull(),
    organizationId: uuid().notNull(),
    role: text().notNull(),
    groupAnchor: keyText(),
    groupName: text(),
    /** CEL over the object; exactly one of group or predicate. `true` means everyone in scope. */
    predicate: text(),
    precedence: integer().notNull().default(100),
    createdAt: createdAt(),
    endedAt: instant(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    foreignKey({ columns: [t.tenantId, t.connectionId], foreignColumns: [connections.tenantId, connections.id] }),
    foreignKey({ columns: [t.tenantId, t.organizationId], foreignColumns: [organizations.tenantId, organizations.id] }),
    index().on(t.tenantId, t.connectionId),
    check('role_mappings_role', oneOf(t.role, grantableRoles)),
    check('role_mappings_one_kind', sql`(predicate is null) <> (group_anchor is null and group_name is null)`),
  ],
);
