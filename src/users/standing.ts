/** users/standing: suspending, reactivating and protecting by hand. */
import { and, eq, sql } from 'drizzle-orm';
import { requireRecordControl, revokeTokensCreatedBy, withoutLosingLastAdmin } from '../access/access.ts';
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';
import { users } from '../db/schema/users.ts';
import { enqueue } from '../outbox/outbox.ts';
import type { Principal } from '../platform/route.ts';
import { nextVersion, requireUser, requireVersion } from './edits.ts';
import type { User } from './store.ts';

export type StandingChange = { readonly reason?: string | undefined; readonly version?: number | undefined };

/**
 * By hand, so no directory re-activates it; a suspension by a directory is taken over. Tokens that the user made go too.
 */
export async function suspendUser(
  tx: TenantTx,
  principal: Principal,
  id: UserId,
  change: StandingChange,
): Promise<User> {
  await requireRecordControl(tx, principal, id);
  return withoutLosingLastAdmin(tx, id, async () => {
    const before = await requireUser(tx, id);
    requireVersion(before, change.version);
    if (before.status === 'suspended' && before.suspendedBy === 'manual') return before;
    const reason = change.reason ?? null;
    await write(tx, id, { status: 'suspended', suspendedBy: 'manual', statusReason: reason });
    const revokedTokens = await revokeTokensCreatedBy(tx, [id]);
    const details = { before: before.status, suspendedBy: before.suspendedBy, reason, revokedTokens };
    return announce(tx, principal, id, { event: 'user.suspended', details });
  });
}

/** Only what a person suspended, or a protected user: what a directory disabled, it would disable again. */
export async function reactivateUser(
  tx: TenantTx,
  principal: Principal,
  id: UserId,
  change: StandingChange,
): Promise<User> {
  await requireRecordControl(tx, principal, id);
  await tx.sql`select 1 from users where tenant_id = ${tx.tenantId} and id = ${id} for no key update`;
  const before = await requireUser(tx, id);
  requireVersion(before, change.version);
  if (before.status === 'active') return before;
  if (before.suspendedBy?.startsWith('connection:') === true && !before.isProtected) {
    throw new RollcallError('conflict', 'A directory suspended this user and would do it again.', {
      remedy: 'Enable the user in the directory, or protect the user here first.',
      details: { suspendedBy: before.suspendedBy },
    });
  }
  const reason = change.reason ?? null;
  await write(tx, id, { status: 'active', suspendedBy: null, statusReason: reason });
  const details = { before: before.status, suspendedBy: before.suspendedBy, reason };
  return announce(tx, principal, id, { event: 'user.reactivated', details });
}

/** A protected user is out of reach of every directory (design.md promise 4). */
export async function setProtection(
  tx: TenantTx,
  principal: Principal,
  id: UserId,
  isProtected: boolean,
  reason: string | null,
): Promise<User> {
  await requireRecordControl(tx, principal, id);
  await tx.sql`select 1 from users where tenant_id = ${tx.tenantId} and id = ${id} for no key update`;
  const before = await requireUser(tx, id);
  requireVersion(before, undefined);
  if (before.isProtected === isProtected && (!isProtected || before.protectedReason === reason)) return before;
  await tx.query
    .update(users)
    .set({
      isProtected,
      protectedReason: isProtected ? reason : null,
      protectedBy: isProtected ? principal.actor : null,
      ...nextVersion(),
    })
    .where(and(eq(users.tenantId, tx.tenantId), eq(users.id, id)));
  const event = isProtected ? 'user.protected' : 'user.unprotected';
  return announce(tx, principal, id, { event, details: { reason } });
}

type NewStanding = {
  readonly status: 'active' | 'suspended';
  readonly suspendedBy: string | null;
  readonly statusReason: string | null;
};

async function write(tx: TenantTx, id: UserId, standing: NewStanding): Promise<void> {
  await tx.query
    .update(users)
    .set({ ...standing, statusChangedAt: sql`now()`, ...nextVersion() })
    .where(and(eq(users.tenantId, tx.tenantId), eq(users.id, id)));
}

async function announce(
  tx: TenantTx,
  principal: Principal,
  id: UserId,
  what: { readonly event: string; readonly details: Record<string, unknown> },
): Promise<User> {
  const after = await requireUser(tx, id);
  const { actor } = principal;
  await recordEvent(tx, { actor, action: what.event, target: `user:${id}`, details: what.details });
  await enqueue(tx, what.event, { userId: id, version: after.version, by: 'manual' });
  return after;
}
