/** reconciliation/: mirror, links, runs, changes, cases. */
import {
  bigint,
  boolean,
  check,
  foreignKey,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import {
  caseKinds,
  caseStatuses,
  changeClasses,
  changeKinds,
  changeOps,
  changeStates,
  linkStates,
  objectKinds,
  runKinds,
  runModes,
  runPhases,
  runStatuses,
} from '../../core/vocabulary.ts';
import { bytes, createdAt, instant, keyText, oneOf, tenantId } from './columns.ts';
import { connections } from './reconciliation-connections.ts';
import { users } from './users.ts';

/** What a directory said last about one user or group. Written only when the content hash changes. */
export const mirrorObjects = pgTable(
  'mirror_objects',
  {
    tenantId: tenantId(),
    connectionId: uuid().notNull(),
    kind: text().notNull(),
    anchor: keyText().notNull(),
    userNameKey: keyText(),
    externalId: keyText(),
    emailKey: keyText(),
    employeeIdKey: keyText(),
    displayName: text(),
    displayNameKey: keyText(),
    /** Human-readable place: a DN, a user principal name. Never identity. */
    locator: text(),
    /** The object as read; of a SCIM connection, the resource as pushed. */
    source: jsonb().$type<Record<string, unknown>>().notNull(),
    /** User attributes the mapping made of it; null for groups. */
    mapped: jsonb().$type<Record<string, unknown>>(),
    /** Role mappings whose predicate holds for this object. */
    ruleIds: uuid()
      .array()
      .notNull()
      .default(sql`'{}'::uuid[]`),
    /** False: the directory says disabled. An assertion, unlike absence. */
    isActive: boolean().notNull().default(true),
    isInScope: boolean().notNull().default(true),
    /** Mapping or scope fault of this one object; it is left alone until its source changes. */
    problem: text(),
    contentHash: bytes().notNull(),
    /** Groups: order-free fingerprint and count of the direct members. */
    membersHash: bytes(),
    memberCount: integer(),
    isPushed: boolean().notNull().default(false),
    version: bigint({ mode: 'number' }).notNull().default(1),
    /** Missing from the last complete full read; proof still needed before it means anything. */
    absentSince: instant(),
    /** Tombstone: positive evidence of deletion. */
    deletedAt: instant(),
    createdAt: createdAt(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.connectionId, t.kind, t.anchor] }),
    foreignKey({ columns: [t.tenantId, t.connectionId], foreignColumns: [connections.tenantId, connections.id] }),
    // "is not null" says nothing new: it keeps the planner from taking one of them for the other's key, which costs the same
    // as long as it takes a connection for one row (extended statistics do not reach partial indexes), and reads all of it
    uniqueIndex('mirror_objects_pushed_user_name')
      .on(t.tenantId, t.connectionId, t.kind, t.userNameKey)
      .where(sql`is_pushed and deleted_at is null and user_name_key is not null`),
    uniqueIndex('mirror_objects_pushed_external_id')
      .on(t.tenantId, t.connectionId, t.kind, t.externalId)
      .where(sql`is_pushed and deleted_at is null and external_id is not null`),
    // who was deleted by a push and comes back under a new id
    index('mirror_objects_pushed_gone_user_name')
      .on(t.tenantId, t.connectionId, t.userNameKey)
      .where(sql`is_pushed and deleted_at is not null and user_name_key is not null`),
    index('mirror_objects_pushed_gone_external_id')
      .on(t.tenantId, t.connectionId, t.externalId)
      .where(sql`is_pushed and deleted_at is not null and external_id is not null`),
    index().on(t.tenantId, t.connectionId, t.emailKey),
    index().on(t.tenantId, t.connectionId, t.kind, t.displayNameKey),
    index('mirror_objects_gone')
      .on(t.tenantId, t.connectionId, t.kind)
      .where(sql`absent_since is not null or deleted_at is not null`),
    // pushed objects deleted lately: totals of lists are corrected by them (scim)
    index('mirror_objects_removed')
      .on(t.tenantId, t.connectionId, t.kind, t.deletedAt)
      .where(sql`is_pushed and deleted_at is not null`),
    check('mirror_objects_kind', oneOf(t.kind, objectKinds)),
  ],
);

/**
 * E-mail addresses of pushed users by key, for `emails.value eq`. Kept by a trigger, and only where `email_key` does not
 * say it all: for users with several addresses or one that is not the mapped one.
 */
export const mirrorEmails = pgTable(
  'mirror_emails',
  { tenantId: tenantId(), connectionId: uuid().notNull(), anchor: keyText().notNull(), emailKey: keyText().notNull() },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.connectionId, t.emailKey, t.anchor] }),
    index().on(t.tenantId, t.connectionId, t.anchor),
  ],
);

/** Direct membership by immutable id; members may be users, groups, or ids this connection has not (yet) shown. */
export const mirrorEdges = pgTable(
  'mirror_edges',
  {
    tenantId: tenantId(),
    connectionId: uuid().notNull(),
    groupAnchor: keyText().notNull(),
    memberAnchor: keyText().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.connectionId, t.groupAnchor, t.memberAnchor] }),
    index().on(t.tenantId, t.connectionId, t.memberAnchor),
  ],
);

/** Mirror user <-> user of the tenant. */
export const links = pgTable(
  'links',
  {
    tenantId: tenantId(),
    connectionId: uuid().notNull(),
    anchor: keyText().notNull(),
    userId: uuid(),
    state: text().notNull(),
    reason: text(),
    matchedBy: text(),
    /** Last value this source wrote, per attribute: the base of the three-way merge. */
    applied: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    /** Attribute -> what a person decided about one pair of values: the source's and the local one. */
    resolved: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    /** Version of the mirror object that was last decided and applied. */
    settledVersion: bigint({ mode: 'number' }).notNull().default(0),
    /** Version of a user edited by a person that was last decided. */
    settledUserVersion: bigint({ mode: 'number' }).notNull().default(0),
    /** Since when the object of a live link is gone or out of scope: the days of grace count from here. */
    leavingSince: instant(),
    /** Since when the link is no longer live. */
    endedAt: instant(),
    /** The undo that holds this link, and the state it goes back to when it is released; null: no link stood before. */
    heldRunId: uuid(),
    heldState: text(),
    version: bigint({ mode: 'number' }).notNull().default(1),
    createdAt: createdAt(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.connectionId, t.anchor] }),
    foreignKey({ columns: [t.tenantId, t.connectionId], foreignColumns: [connections.tenantId, connections.id] }),
    foreignKey({ columns: [t.tenantId, t.userId], foreignColumns: [users.tenantId, users.id] }),
    index().on(t.tenantId, t.userId),
    uniqueIndex('links_one_live')
      .on(t.tenantId, t.connectionId, t.userId)
      .where(sql`state in ('linked', 'missing', 'held')`),
    check('links_state', oneOf(t.state, linkStates)),
    index('links_leaving')
      .on(t.tenantId, t.connectionId)
      .where(sql`leaving_since is not null`),
    index('links_suspended')
      .on(t.tenantId, t.connectionId, t.endedAt)
      .where(sql`state in ('suspended', 'gone', 'out_of_scope')`),
    index('links_held')
      .on(t.tenantId, t.heldRunId)
      .where(sql`state = 'held'`),
    check('links_user', sql`user_id is not null or state in ('disputed', 'ignored', 'held')`),
  ],
);

/** One reconciliation. */
export const runs = pgTable(
  'runs',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    connectionId: uuid().notNull(),
    connectionVersion: integer().notNull(),
    kind: text().notNull(),
    mode: text().notNull(),
    status: text().notNull(),
    phase: text(),
    /** Raised at each claim; every transaction of the run checks it first (the fence). */
    epoch: integer().notNull().default(0),
    scheduledFor: instant(),
    requestedBy: text().notNull(),
    startedAt: instant(),
    heartbeatAt: instant(),
    finishedAt: instant(),
    isComplete: boolean().notNull().default(false),
    isFirst: boolean().notNull().default(false),
    /** Counts and durations by phase. */
    counts: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    /** How far the phase under way has come; written with the sign of life, for whoever watches. */
    progress: jsonb().$type<Record<string, unknown>>(),
    digest: text(),
    guard: jsonb().$type<Record<string, unknown>>(),
    approvedBy: text(),
    approvedAt: instant(),
    /** Who said yes to the plan so far: actor, time and the digest they saw. */
    approvals: jsonb().$type<Record<string, unknown>[]>().notNull().default([]),
    undoOf: uuid(),
    /** What of that run an undo takes back: one user, one request, or (empty) all of it. */
    undoScope: jsonb().$type<Record<string, unknown>>(),
    error: jsonb().$type<Record<string, unknown>>(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    unique().on(t.id),
    foreignKey({ columns: [t.tenantId, t.connectionId], foreignColumns: [connections.tenantId, connections.id] }),
    uniqueIndex('runs_one_live')
      .on(t.tenantId, t.connectionId)
      .where(sql`status in ('queued', 'running') and kind in ('full', 'delta', 'import', 'undo')`),
    uniqueIndex('runs_one_slot')
      .on(t.connectionId, t.scheduledFor)
      .where(sql`scheduled_for is not null`),
    index().on(t.tenantId, t.connectionId, t.createdAt),
    check('runs_kind', oneOf(t.kind, runKinds)),
    check('runs_mode', oneOf(t.mode, runModes)),
    check('runs_status', oneOf(t.status, runStatuses)),
    check('runs_phase', oneOf(t.phase, runPhases)),
  ],
);

/** One step. The plan, the record, the audit of what a run did, and the basis of undo are these rows. */
export const changes = pgTable(
  'changes',
  {
    tenantId: tenantId(),
    runId: uuid().notNull(),
    seq: integer().notNull(),
    connectionId: uuid().notNull(),
    class: text().notNull(),
    op: text().notNull(),
    kind: text().notNull(),
    /** The directory object the change comes from; null where a grant ends because its rule ended. */
    anchor: keyText(),
    userId: uuid(),
    /** Name a person recognises, as of the plan. */
    subject: text().notNull(),
    organizationId: uuid(),
    role: text(),
    grantSource: keyText(),
    before: jsonb().$type<Record<string, unknown>>(),
    after: jsonb().$type<Record<string, unknown>>(),
    /** What stood beside `before` (provenance, standing, link), so that an undo restores it exactly. */
    prior: jsonb().$type<Record<string, unknown>>(),
    /** users.version the plan saw; another one at apply makes the row stale. */
    expectedVersion: bigint({ mode: 'number' }),
    /** mirror_objects.version the plan saw; what the link is settled to. */
    objectVersion: bigint({ mode: 'number' }),
    reason: text().notNull(),
    /** Groups rows by what brought them about, e.g. `left_group:<anchor>`. */
    cause: keyText().notNull(),
    state: text().notNull().default('planned'),
    error: text(),
    requestId: uuid(),
    appliedAt: instant(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.runId, t.seq] }),
    foreignKey({ columns: [t.tenantId, t.runId], foreignColumns: [runs.tenantId, runs.id] }),
    index('changes_by_class').on(t.tenantId, t.runId, t.class, t.seq),
    index().on(t.tenantId, t.userId),
    index().on(t.tenantId, t.connectionId, t.anchor),
    check('changes_class', oneOf(t.class, changeClasses)),
    check('changes_op', oneOf(t.op, changeOps)),
    check('changes_kind', oneOf(t.kind, changeKinds)),
    check('changes_state', oneOf(t.state, changeStates)),
  ],
);

/** What a person must decide. */
export const cases = pgTable(
  'cases',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    connectionId: uuid(),
    organizationId: uuid(),
    kind: text().notNull(),
    status: text().notNull().default('open'),
    anchor: keyText(),
    subject: text().notNull(),
    reason: text().notNull(),
    /** Of a drift: attribute -> the source's and the local value. */
    details: jsonb().$type<Record<string, unknown>>(),
    candidateIds: uuid()
      .array()
      .notNull()
      .default(sql`'{}'::uuid[]`),
    runId: uuid(),
    resolution: jsonb().$type<Record<string, unknown>>(),
    resolvedBy: text(),
    resolvedAt: instant(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex('cases_one_open')
      .on(t.tenantId, t.connectionId, t.anchor, t.kind)
      .where(sql`status = 'open' and anchor is not null`),
    index().on(t.tenantId, t.status),
    check('cases_kind', oneOf(t.kind, caseKinds)),
    check('cases_status', oneOf(t.status, caseStatuses)),
  ],
);
