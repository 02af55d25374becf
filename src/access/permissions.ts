/**
 * access/permissions: where a credential may act and on whom. Whether its role may call a route at all stands in core
 * and is asked by the mount; this file adds the tree and the ranks.
 */
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, TenantId, UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import { roleRank, type Role } from '../core/roles.ts';
import type { TenantTx } from '../db/db.ts';
import type { Principal } from '../platform/route.ts';
import { highestRoleIn, homeOfRecord, isDescendant, isMemberBelow, userExists } from './store.ts';

/**
 * The operator on the host: no portal role, acts in the tenant they chose. Only the CLI makes one; credentials that
 * come over the network never yield an actor of this form.
 */
export function operatorPrincipal(name: string, tenantId: TenantId, organizationId: OrganizationId): Principal {
  return { actor: `operator:${name}`, tenantId, organizationId, userId: null, role: 'super_admin' };
}

export function isOperator(principal: Principal): boolean {
  return principal.actor.startsWith('operator:');
}

export async function isInReach(tx: TenantTx, principal: Principal, organizationId: OrganizationId): Promise<boolean> {
  return (
    organizationId === principal.organizationId || (await isDescendant(tx, principal.organizationId, organizationId))
  );
}

/** Reading: the organization of the credential and everything below it; anything else does not exist (404). */
export async function requireReach(tx: TenantTx, principal: Principal, organizationId: OrganizationId): Promise<void> {
  if (!(await isInReach(tx, principal, organizationId))) throw notFound('organization');
}

/** Changing: the current organization only; what lies below is view-only from here (R72, R73, C2). */
export async function requireCurrent(
  tx: TenantTx,
  principal: Principal,
  organizationId: OrganizationId,
): Promise<void> {
  await requireReach(tx, principal, organizationId);
  if (organizationId === principal.organizationId || isOperator(principal)) return;
  throw new RollcallError('forbidden', 'Sub-organizations are view-only from here.', {
    remedy: 'Use a credential of that organization.',
    details: { organizationId },
  });
}

/** A user is in reach as a member of an organization in reach; the root also sees users who are members of nothing. */
export async function requireUserInReach(tx: TenantTx, principal: Principal, userId: UserId): Promise<void> {
  const isRoot = principal.organizationId === (principal.tenantId as string);
  const isSeen = isRoot ? await userExists(tx, userId) : await isMemberBelow(tx, principal.organizationId, userId);
  if (!isSeen) throw notFound('user');
}

/**
 * A user's record is one per tenant, so changing it touches every organization the user is in. It is managed from the
 * lowest organization above all of the user's memberships, by someone of higher rank in all of them.
 */
export async function requireRecordControl(tx: TenantTx, principal: Principal, userId: UserId): Promise<void> {
  await requireUserInReach(tx, principal, userId);
  if (isOperator(principal)) return;
  const home = await homeOfRecord(tx, userId);
  if (home !== principal.organizationId) {
    throw new RollcallError('forbidden', 'This user is view-only from here.', {
      remedy: 'Use a credential of the lowest organization above all of the user’s memberships.',
      details: { userId },
    });
  }
  requireLowerRank(principal, await highestRoleIn(tx, userId, null));
}

/** Nobody acts on an equal or a higher rank (X2, X3, R79, R80); the operator stands outside of the ranks. */
export function requireLowerRank(principal: Principal, target: Role | null): void {
  if (target === null || isOperator(principal) || roleRank(target) < roleRank(principal.role)) return;
  throw new RollcallError('forbidden', `A user of role ${target} is out of reach of the role ${principal.role}.`, {
    remedy: 'Only a higher role may act on this user; on Admins, the Super Admin.',
  });
}

/** Nobody gives more than they have. */
export function requireOwnLevel(principal: Principal, role: Role): void {
  if (roleRank(role) <= roleRank(principal.role)) return;
  throw new RollcallError('forbidden', `The role ${principal.role} can not give the role ${role}.`, {
    remedy: 'Ask someone who has that role or a higher one.',
  });
}
