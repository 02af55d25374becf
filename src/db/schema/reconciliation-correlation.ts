/** reconciliation/: the keys of users that correlation rules of an admin's own look up. */
import { foreignKey, index, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { keyText, tenantId } from './columns.ts';

/**
 * A user attribute, normalized in one way, that a correlation rule of the tenant looks users up by. The trigger
 * `users_correlation_keys` keeps `correlation_keys` in step with the users.
 */
export const correlationSpecs = pgTable(
  'correlation_specs',
  {
    tenantId: tenantId(),
    /** `attribute|normalizer,normalizer`. */
    spec: keyText().notNull(),
    attribute: text().notNull(),
    normalizers: text().array().notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.spec] })],
);

export const correlationKeys = pgTable(
  'correlation_keys',
  {
    tenantId: tenantId(),
    spec: keyText().notNull(),
    userId: uuid().notNull(),
    key: keyText().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.spec, t.userId] }),
    foreignKey({ columns: [t.tenantId, t.spec], foreignColumns: [correlationSpecs.tenantId, correlationSpecs.spec] }),
    index().on(t.tenantId, t.spec, t.key),
  ],
);
