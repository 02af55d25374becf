/** Every table of Rollcall, room by room: what drizzle-kit generates migrations from. */
export * from './access.ts';
export * from './audit.ts';
export * from './organizations.ts';
export * from './outbox.ts';
export * from './reconciliation-connections.ts';
export * from './reconciliation-correlation.ts';
export * from './reconciliation.ts';
export * from './scim.ts';
export * from './users.ts';
