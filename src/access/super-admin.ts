/**
 * access/super-admin: at most one per organization, always an Admin by hand (R69, R76-R81, C7). The database refuses to
 * delete or demote the holder; transfer is one compare-and-swap under the organization's lock.
 */
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import type { Db, TenantTx } from '../db/db.ts';
import type { Principal } from '../platform/route.ts';
import { isOperator, requireReach } from './permissions.ts';
import {
  activeAdmins,
  insertGrant,
  insertSuperAdmin,
  lockOrganizations,
  lockUser,
  superAdminOf,
  swapSuperAdmin,
} from './store.ts';

export type SuperAdmins = {
  /** Only the holder, only to another active Admin. */
  transferSuperAdmin(principal: Principal, organizationId: OrganizationId, toUserId: UserId): Promise<void>;
  /** An active Admin (whom a directory brought) takes the empty seat. */
  claimSuperAdmin(principal: Principal, organizationId: OrganizationId): Promise<void>;
  /** The operator, or the Super Admin of the parent, fills a seat that is empty or whose holder is not active. */
  assignSuperAdmin(principal: Principal, organizationId: OrganizationId, userId: UserId): Promise<void>;
};

export function createSuperAdmins(db: Db): SuperAdmins {
  return {
    transferSuperAdmin: (principal, organizationId, toUserId) =>
      db.tenant(principal.tenantId, (tx) => transfer(tx, principal, organizationId, toUserId)),
    claimSuperAdmin: (principal, organizationId) =>
      db.tenant(principal.tenantId, (tx) => claimSuperAdmin(tx, principal, organizationId)),
    assignSuperAdmin: (principal, organizationId, userId) =>
      db.tenant(principal.tenantId, (tx) => assignSuperAdmin(tx, principal, organizationId, userId)),
  };
}

async function transfer(
  tx: TenantTx,
  principal: Principal,
  organizationId: OrganizationId,
  toUserId: UserId,
): Promise<void> {
  await lockSeat(tx, principal, organizationId);
  const from = principal.userId;
  if (
    from === null ||
    (await superAdminOf(tx, organizationId)) !== from ||
    !(await isActiveAdmin(tx, organizationId, from))
  ) {
    throw new RollcallError('forbidden', 'Only the active Super Admin can transfer the role.', {
      remedy: 'Ask the Super Admin; where there is none, the parent’s Super Admin or the operator can assign one.',
    });
  }
  if (toUserId === from) throw new RollcallError('conflict', 'This user already is the Super Admin.');
  await makeManualAdmin(tx, organizationId, toUserId);
  await swapOrRefuse(tx, organizationId, from, toUserId);
  await record(tx, principal, 'super_admin.transferred', organizationId, toUserId, from);
}

export async function claimSuperAdmin(
  tx: TenantTx,
  principal: Principal,
  organizationId: OrganizationId,
): Promise<void> {
  await lockSeat(tx, principal, organizationId);
  const { userId } = principal;
  if (userId === null || !(await isActiveAdmin(tx, organizationId, userId))) {
    throw new RollcallError('forbidden', 'Only an active Admin of the organization can claim the Super Admin role.');
  }
  await makeManualAdmin(tx, organizationId, userId);
  if (!(await insertSuperAdmin(tx, organizationId, userId))) {
    throw new RollcallError('conflict', 'The organization already has a Super Admin.');
  }
  await record(tx, principal, 'super_admin.claimed', organizationId, userId, null);
}

export async function assignSuperAdmin(
  tx: TenantTx,
  principal: Principal,
  organizationId: OrganizationId,
  userId: UserId,
): Promise<void> {
  await lockSeat(tx, principal, organizationId);
  if (!isOperator(principal) && !(await isSuperAdminOfParent(tx, principal.userId, organizationId))) {
    throw new RollcallError('forbidden', 'Only the operator or the parent’s Super Admin can assign this role.');
  }
  const holder = await superAdminOf(tx, organizationId);
  if (holder !== null && (await isActiveAdmin(tx, organizationId, holder))) {
    throw new RollcallError('conflict', 'The organization has an active Super Admin.', {
      remedy: 'The holder can transfer the role.',
    });
  }
  await makeManualAdmin(tx, organizationId, userId);
  if (holder === null) await insertSuperAdmin(tx, organizationId, userId);
  else await swapOrRefuse(tx, organizationId, holder, userId);
  await record(tx, principal, 'super_admin.assigned', organizationId, userId, holder);
}

/** Runs and people change the Admins of an organization under its lock; who is one is read behind it. */
async function lockSeat(tx: TenantTx, principal: Principal, organizationId: OrganizationId): Promise<void> {
  await requireReach(tx, principal, organizationId);
  await lockOrganizations(tx, [organizationId]);
}

/** The receiver must already be an active Admin; the manual grant under the foreign key is written if another source gave it. */
async function makeManualAdmin(tx: TenantTx, organizationId: OrganizationId, userId: UserId): Promise<void> {
  const status = await lockUser(tx, userId);
  if (status !== 'active' || !(await isActiveAdmin(tx, organizationId, userId))) {
    throw new RollcallError('conflict', 'Only an active Admin of the organization can be its Super Admin.', {
      remedy: 'Make the user Admin first.',
    });
  }
  await insertGrant(tx, { organizationId, userId, role: 'admin' }, 'manual');
}

async function swapOrRefuse(tx: TenantTx, organizationId: OrganizationId, from: UserId, to: UserId): Promise<void> {
  if (await swapSuperAdmin(tx, organizationId, from, to)) return;
  throw new RollcallError('conflict', 'The Super Admin changed meanwhile.');
}

async function isActiveAdmin(tx: TenantTx, organizationId: OrganizationId, userId: UserId): Promise<boolean> {
  return (await activeAdmins(tx, organizationId)).includes(userId);
}

async function isSuperAdminOfParent(
  tx: TenantTx,
  userId: UserId | null,
  organizationId: OrganizationId,
): Promise<boolean> {
  const [row] = await tx.sql<{ parentId: OrganizationId | null }[]>`
    select parent_id as "parentId" from organizations where tenant_id = ${tx.tenantId} and id = ${organizationId}`;
  if (row === undefined) throw notFound('organization');
  if (row.parentId === null || userId === null) return false;
  return (await superAdminOf(tx, row.parentId)) === userId && (await isActiveAdmin(tx, row.parentId, userId));
}

async function record(
  tx: TenantTx,
  principal: Principal,
  action: string,
  organizationId: OrganizationId,
  userId: UserId,
  from: UserId | null,
): Promise<void> {
  const details = { organizationId, from };
  // no outbox message: outwardly the Super Admin is an Admin (R81)
  await recordEvent(tx, { actor: principal.actor, action, target: `user:${userId}`, details });
}
