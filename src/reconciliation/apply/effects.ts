/** A change row in the shapes of the doors that carry it out. */
import type { GrantChange } from '../../access/access.ts';
import type { OrganizationId } from '../../core/ids.ts';
import type { UserChange } from '../../users/users.ts';
import type { Change } from '../plan/changes.ts';

type Row = Pick<
  Change,
  'seq' | 'userId' | 'organizationId' | 'role' | 'grantSource' | 'after' | 'expectedVersion' | 'reason'
>;

/** None for a row without a user. */
export function toUserChange(row: Row, op: UserChange['op']): UserChange[] {
  const { seq, userId, expectedVersion, reason, grantSource: source } = row;
  return userId === null ? [] : [{ seq, op, userId, after: row.after ?? {}, expectedVersion, reason, source }];
}

/** None for a row that names no grant in full. */
export function toGrantChange(row: Row): GrantChange[] {
  if (row.userId === null || row.organizationId === null || row.role === null || row.grantSource === null) return [];
  const organizationId = row.organizationId as OrganizationId;
  return [{ seq: row.seq, userId: row.userId, organizationId, role: row.role, source: row.grantSource }];
}
