/** organizations/: the tree (closure table), domains. */
import {
  boolean,
  check,
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { domainStatuses } from '../../core/vocabulary.ts';
import { createdAt, instant, keyText, oneOf, tenantId } from './columns.ts';

/** A root has id = tenant_id and no parent; an organization never changes its root. */
export const organizations = pgTable(
  'organizations',
  {
    tenantId: tenantId(),
    id: uuid().notNull(),
    parentId: uuid(),
    name: text().notNull(),
    nameKey: keyText().notNull(),
    slug: keyText().notNull(),
    depth: integer().notNull().default(0),
    createdBy: text().notNull(),
    createdAt: createdAt(),
    updatedAt: instant().notNull().defaultNow(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    foreignKey({ columns: [t.tenantId, t.parentId], foreignColumns: [t.tenantId, t.id] }),
    unique().on(t.tenantId, t.slug),
    uniqueIndex('organizations_root_slug')
      .on(t.slug)
      .where(sql`parent_id is null`),
    check('organizations_root', sql`(parent_id is null) = (id = tenant_id)`),
    check('organizations_depth', sql`depth between 0 and 8`),
  ],
);

/** Every (ancestor, descendant) pair with its distance; each organization is its own descendant at depth 0. */
export const organizationClosure = pgTable(
  'organization_closure',
  { tenantId: tenantId(), ancestorId: uuid().notNull(), descendantId: uuid().notNull(), depth: integer().notNull() },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.ancestorId, t.descendantId] }),
    foreignKey({
      columns: [t.tenantId, t.ancestorId],
      foreignColumns: [organizations.tenantId, organizations.id],
    }).onDelete('cascade'),
    foreignKey({
      columns: [t.tenantId, t.descendantId],
      foreignColumns: [organizations.tenantId, organizations.id],
    }).onDelete('cascade'),
    index().on(t.tenantId, t.descendantId),
  ],
);

/** A proven domain belongs to one tenant; a built-in one exists for every root. Global by nature, so no policy. */
export const domains = pgTable(
  'domains',
  {
    tenantId: tenantId(),
    name: keyText().notNull(),
    status: text().notNull().default('pending'),
    isPrimary: boolean().notNull().default(false),
    provenBy: text(),
    provenAt: instant(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.name] }),
    uniqueIndex('domains_one_owner')
      .on(t.name)
      .where(sql`status <> 'pending'`),
    uniqueIndex('domains_one_primary')
      .on(t.tenantId)
      .where(sql`is_primary`),
    check('domains_status', oneOf(t.status, domainStatuses)),
  ],
);
