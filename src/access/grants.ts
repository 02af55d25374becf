/** access/grants: giving and taking roles by hand. A membership exists exactly while a grant does, in one transaction. */
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import type { GrantableRole } from '../core/roles.ts';
import { textKey } from '../core/text-keys.ts';
import type { Db, TenantTx } from '../db/db.ts';
import { enqueue } from '../outbox/outbox.ts';
import type { Principal } from '../platform/route.ts';
import { deleteExclusion, findLiveExclusions, upsertExclusion } from './exclusions-store.ts';
import { requireCurrent, requireLowerRank, requireOwnLevel, requireUserInReach } from './permissions.ts';
import {
  activeAdmins,
  deleteGrants,
  findUserIdsByEmail,
  highestRoleIn,
  insertGrant,
  insertSuperAdmin,
  lockOrganizations,
  lockUser,
  superAdminOf,
} from './store.ts';

export type GrantKey = {
  readonly organizationId: OrganizationId;
  readonly userId: UserId;
  readonly role: GrantableRole;
};

/** Whom to add: by id within reach, or by exact e-mail anywhere in the tenant (R10, R54). */
export type GrantInput = {
  readonly organizationId: OrganizationId;
  readonly role: GrantableRole;
  readonly userId?: UserId | undefined;
  readonly email?: string | undefined;
};

export type GrantOutcome = GrantKey & { readonly isNew: boolean; readonly isNowSuperAdmin: boolean };

export type RevokeInput = {
  readonly organizationId: OrganizationId;
  readonly userId: UserId;
  /** Null takes every role, and with them the membership (R67). */
  readonly role: GrantableRole | null;
  readonly reason?: string | undefined;
};

export type RevokeOutcome = {
  readonly removed: { readonly role: GrantableRole; readonly source: string }[];
  /** Exclusions written because a directory had given the role: no directory gives it back. */
  readonly exclusionIds: string[];
};

export type Grants = {
  grantManually(principal: Principal, input: GrantInput): Promise<GrantOutcome>;
  revokeManually(principal: Principal, input: RevokeInput): Promise<RevokeOutcome>;
};

export function createGrants(db: Db): Grants {
  return {
    grantManually: (principal, input) =>
      db.tenant(principal.tenantId, async (tx) => {
        await requireCurrent(tx, principal, input.organizationId);
        requireOwnLevel(principal, input.role);
        const userId = await findTarget(tx, principal, input);
        await lockOrganizations(tx, [input.organizationId]);
        requireLowerRank(principal, await highestRoleIn(tx, userId, input.organizationId));
        const key = { organizationId: input.organizationId, userId, role: input.role };
        return giveManualGrantUnchecked(tx, principal.actor, key);
      }),
    revokeManually: (principal, input) =>
      db.tenant(principal.tenantId, async (tx) => {
        await requireCurrent(tx, principal, input.organizationId);
        await requireUserInReach(tx, principal, input.userId);
        await lockOrganizations(tx, [input.organizationId]);
        await lockUser(tx, input.userId);
        requireLowerRank(principal, await highestRoleIn(tx, input.userId, input.organizationId));
        return revoke(tx, principal.actor, input);
      }),
  };
}

async function findTarget(tx: TenantTx, principal: Principal, input: GrantInput): Promise<UserId> {
  if (input.userId !== undefined) {
    await requireUserInReach(tx, principal, input.userId);
    return input.userId;
  }
  const emailKey = textKey(input.email);
  if (emailKey === null) {
    throw new RollcallError('invalid_input', 'Name the user by userId or by email.', { details: { path: 'userId' } });
  }
  const [first, second] = await findUserIdsByEmail(tx, emailKey);
  if (first === undefined) throw notFound('user');
  if (second !== undefined) {
    throw new RollcallError('conflict', 'Several users of the tenant have this e-mail address.', {
      remedy: 'Name the user by userId.',
    });
  }
  return first;
}

/**
 * Gives a role by hand without asking who may: for callers that have decided that already (a new sub-organization, a
 * new user). The first Admin by hand becomes the Super Admin (R77) under the organization's lock.
 */
export async function giveManualGrantUnchecked(tx: TenantTx, actor: string, key: GrantKey): Promise<GrantOutcome> {
  await lockOrganizations(tx, [key.organizationId]);
  const status = await lockUser(tx, key.userId);
  if (status === 'removed') throw new RollcallError('conflict', 'This user was removed and can not be given a role.');
  await liftExclusion(tx, actor, key);
  const isNew = await insertGrant(tx, key, 'manual');
  const isNowSuperAdmin =
    key.role === 'admin' && status === 'active' && (await insertSuperAdmin(tx, key.organizationId, key.userId));
  const { organizationId, role } = key;
  const target = `user:${key.userId}`;
  if (isNew) {
    await recordEvent(tx, {
      actor,
      action: 'grant.added',
      target,
      details: { organizationId, role, source: 'manual' },
    });
    await enqueue(tx, 'grant.added', { organizationId, userId: key.userId, role, source: 'manual' });
  }
  if (isNowSuperAdmin) {
    await recordEvent(tx, { actor, action: 'super_admin.appointed', target, details: { organizationId } });
  }
  return { ...key, isNew, isNowSuperAdmin };
}

/** A grant by hand is the newer word about that one role; an exclusion from the whole organization must be lifted knowingly. */
async function liftExclusion(tx: TenantTx, actor: string, key: GrantKey): Promise<void> {
  const standing = await findLiveExclusions(tx, key);
  if (standing.some((exclusion) => exclusion.role === null)) {
    throw new RollcallError('conflict', 'This user is excluded from the organization.', {
      remedy: 'Remove the exclusion first.',
      details: { exclusionIds: standing.map((exclusion) => exclusion.id) },
    });
  }
  for (const { id } of standing) {
    await deleteExclusion(tx, key.organizationId, id);
    const details = { organizationId: key.organizationId, userId: key.userId, role: key.role };
    await recordEvent(tx, { actor, action: 'exclusion.removed', target: `exclusion:${id}`, details });
  }
}

async function revoke(tx: TenantTx, actor: string, input: RevokeInput): Promise<RevokeOutcome> {
  const removed = await takeGrants(tx, actor, input);
  if (removed.length === 0) throw notFound('grant');
  const byDirectory = new Set(removed.filter((grant) => grant.source.startsWith('rule:')).map((grant) => grant.role));
  const roles = byDirectory.size === 0 ? [] : input.role === null ? [null] : [...byDirectory];
  const exclusionIds: string[] = [];
  for (const role of roles) {
    const reason = input.reason ?? 'Removed by hand.';
    const { id } = await upsertExclusion(tx, { ...input, role, reason, createdBy: actor, until: null });
    exclusionIds.push(id);
    const details = { organizationId: input.organizationId, userId: input.userId, role, reason };
    await recordEvent(tx, { actor, action: 'exclusion.added', target: `exclusion:${id}`, details });
  }
  return { removed, exclusionIds };
}

/**
 * Deletes the grants, refusing what would leave the organization without its Super Admin or its last active Admin.
 * The organization and the user must be locked.
 */
export async function takeGrants(
  tx: TenantTx,
  actor: string,
  key: Pick<RevokeInput, 'organizationId' | 'userId' | 'role'>,
): Promise<{ role: GrantableRole; source: string }[]> {
  const { organizationId, userId } = key;
  const touchesAdmin = key.role === null || key.role === 'admin';
  if (touchesAdmin && (await superAdminOf(tx, organizationId)) === userId) {
    throw new RollcallError('conflict', 'This user is the Super Admin of the organization.', {
      remedy: 'Transfer the Super Admin role to another Admin first.',
    });
  }
  const before = touchesAdmin ? await activeAdmins(tx, organizationId) : [];
  const removed = await deleteGrants(tx, key);
  if (before.includes(userId)) refuseLastAdmin(await activeAdmins(tx, organizationId), organizationId);
  for (const { role, source } of removed) {
    const details = { organizationId, role, source };
    await recordEvent(tx, { actor, action: 'grant.removed', target: `user:${userId}`, details });
    await enqueue(tx, 'grant.removed', { organizationId, userId, role, source });
  }
  return removed;
}

export function refuseLastAdmin(remaining: readonly string[], organizationId: string): void {
  if (remaining.length > 0) return;
  throw new RollcallError('conflict', 'This is the last active Admin of the organization.', {
    remedy: 'Make another user Admin first.',
    details: { organizationId },
  });
}
