/** access/: accounts, memberships, grants, exclusions, the Super Admin, tokens. */
import {
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
import { grantableRoles } from '../../core/roles.ts';
import { tokenKinds } from '../../core/vocabulary.ts';
import { bytes, createdAt, instant, keyText, oneOf, tenantId } from './columns.ts';
import { organizations } from './organizations.ts';
import { users } from './users.ts';

/** How a human signs in. Global: holds no portal data (design.md section 5). */
export const accounts = pgTable('accounts', {
  id: uuid().primaryKey(),
  login: keyText().unique(),
  createdAt: createdAt(),
});

/** A user in an organization; exists exactly while a live grant exists. */
export const memberships = pgTable(
  'memberships',
  { tenantId: tenantId(), organizationId: uuid().notNull(), userId: uuid().notNull(), createdAt: createdAt() },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.organizationId, t.userId] }),
    foreignKey({ columns: [t.tenantId, t.organizationId], foreignColumns: [organizations.tenantId, organizations.id] }),
    foreignKey({ columns: [t.tenantId, t.userId], foreignColumns: [users.tenantId, users.id] }),
    index().on(t.tenantId, t.userId),
  ],
);

/** A role given to a user in an organization by one source: `manual`, `creator`, `invitation:<id>`, `rule:<role mapping>`. */
export const grants = pgTable(
  'grants',
  {
    tenantId: tenantId(),
    organizationId: uuid().notNull(),
    userId: uuid().notNull(),
    role: text().notNull(),
    source: keyText().notNull(),
    /** The run whose change row gave it; null for what a person did. */
    runId: uuid(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.organizationId, t.userId, t.role, t.source] }),
    foreignKey({ columns: [t.tenantId, t.organizationId], foreignColumns: [organizations.tenantId, organizations.id] }),
    foreignKey({ columns: [t.tenantId, t.userId], foreignColumns: [users.tenantId, users.id] }),
    index().on(t.tenantId, t.userId),
    index().on(t.tenantId, t.source),
    check('grants_role', oneOf(t.role, grantableRoles)),
  ],
);

/** "Not this one": a manual word that every source respects. Role null excludes from every role of the organization. */
export const exclusions = pgTable(
  'exclusions',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    organizationId: uuid().notNull(),
    userId: uuid().notNull(),
    role: text(),
    reason: text().notNull(),
    createdBy: text().notNull(),
    createdAt: createdAt(),
    until: instant(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    foreignKey({ columns: [t.tenantId, t.organizationId], foreignColumns: [organizations.tenantId, organizations.id] }),
    foreignKey({ columns: [t.tenantId, t.userId], foreignColumns: [users.tenantId, users.id] }),
    unique('exclusions_one').on(t.tenantId, t.organizationId, t.userId, t.role).nullsNotDistinct(),
    index().on(t.tenantId, t.userId),
  ],
);

/**
 * Exactly one per organization (R78), by primary key; its foreign key on the holder's manual Admin grant makes the
 * database refuse to delete or demote the holder. Never written by sync or SCIM (C7).
 */
export const superAdmins = pgTable(
  'super_admins',
  {
    tenantId: tenantId(),
    organizationId: uuid().notNull(),
    userId: uuid().notNull(),
    role: text().notNull().default('admin'),
    source: keyText().notNull().default('manual'),
    since: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.organizationId] }),
    foreignKey({
      columns: [t.tenantId, t.organizationId, t.userId, t.role, t.source],
      foreignColumns: [grants.tenantId, grants.organizationId, grants.userId, grants.role, grants.source],
    }),
    index().on(t.tenantId, t.userId),
    check('super_admins_grant', sql`role = 'admin' and source = 'manual'`),
  ],
);

/** Bearer tokens; only the id and an HMAC of the secret part are stored (operations.md). */
export const tokens = pgTable(
  'tokens',
  {
    id: keyText().primaryKey(),
    tenantId: tenantId(),
    kind: text().notNull(),
    name: text().notNull(),
    hash: bytes().notNull(),
    /** SCIM tokens: the one connection they speak for. */
    connectionId: uuid(),
    /** API tokens: the organization they act in, and as what role. */
    organizationId: uuid(),
    role: text(),
    /** SCIM tokens and keys: what they may do (core/scim-scopes); empty means everything. */
    scopes: jsonb().$type<string[]>().notNull().default([]),
    /** CIDR ranges a request must come from; empty means from anywhere. */
    allowedRanges: jsonb().$type<string[]>().notNull().default([]),
    /** Access tokens of OAuth 2: the key they were issued for; they end with it. */
    keyId: keyText(),
    /** The last of the reminders (60, 30, 7 days before the expiry) that was sent. */
    remindedDays: integer(),
    createdBy: text().notNull(),
    createdAt: createdAt(),
    expiresAt: instant(),
    lastUsedAt: instant(),
    revokedAt: instant(),
  },
  (t) => [
    index().on(t.tenantId),
    uniqueIndex('tokens_name')
      .on(t.tenantId, t.kind, t.name)
      .where(sql`revoked_at is null`),
    index('tokens_of_key')
      .on(t.keyId)
      .where(sql`key_id is not null`),
    check('tokens_kind', oneOf(t.kind, tokenKinds)),
  ],
);
