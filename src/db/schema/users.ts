/** users/: one tenant's record of a human, with the provenance of every attribute. */
import {
  bigint,
  boolean,
  check,
  foreignKey,
  index,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { userStatuses } from '../../core/vocabulary.ts';
import { createdAt, instant, keyText, oneOf, tenantId } from './columns.ts';
import { organizations } from './organizations.ts';

export const users = pgTable(
  'users',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    /** Null until bound to a way of signing in; a synced user needs none. */
    accountId: uuid(),
    /** Local part @ one of the tenant's domains; null when the source's value lies outside them. */
    username: text(),
    usernameKey: keyText(),
    /** Contact address: never unique, never identity (R91). */
    email: text(),
    emailKey: keyText(),
    displayName: text(),
    displayNameKey: keyText(),
    givenName: text(),
    familyName: text(),
    phone: text(),
    employeeId: text(),
    employeeIdKey: keyText(),
    department: text(),
    jobTitle: text(),
    /** Custom attributes by name. */
    attributes: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    status: text().notNull().default('active'),
    /** Who suspended: `manual` or `connection:<id>`; only the same source may re-activate. */
    suspendedBy: text(),
    statusReason: text(),
    statusChangedAt: instant(),
    /** Out of reach of every directory (design.md promise 4). */
    isProtected: boolean().notNull().default(false),
    /** Who protected the user and why, in words; null while nobody did. */
    protectedReason: text(),
    protectedBy: text(),
    /** attribute -> source that last wrote it: `manual` or `connection:<id>`. */
    provenance: jsonb().$type<Record<string, string>>().notNull().default({}),
    /** Where this user's draws count; null means the tenant root. Its source is `quotaHome` in `provenance`. */
    quotaHomeId: uuid(),
    /** The organization the user was first added to, by hand or by a directory; null means the tenant root. Never moves. */
    firstOrganizationId: uuid(),
    version: bigint({ mode: 'number' }).notNull().default(1),
    /** The run that wrote this version; null for a person. A run does not become stale by its own earlier steps. */
    lastRunId: uuid(),
    createdAt: createdAt(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    // unique (tenant_id, username_key) is DEFERRABLE INITIALLY IMMEDIATE: in the custom migration
    unique().on(t.tenantId, t.accountId),
    foreignKey({ columns: [t.tenantId, t.quotaHomeId], foreignColumns: [organizations.tenantId, organizations.id] }),
    foreignKey({
      columns: [t.tenantId, t.firstOrganizationId],
      foreignColumns: [organizations.tenantId, organizations.id],
    }),
    index().on(t.tenantId, t.emailKey),
    index().on(t.tenantId, t.employeeIdKey),
    index().on(t.tenantId, t.displayNameKey),
    index('users_edited')
      .on(t.tenantId)
      .where(sql`last_run_id is null`),
    index('users_protected')
      .on(t.tenantId)
      .where(sql`is_protected`),
    check('users_status', oneOf(t.status, userStatuses)),
  ],
);
