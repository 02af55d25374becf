/** access/exclusions: "not this one", said by a person, heeded by every directory (design.md promise 4). */
import { z } from 'zod';
import { recordEvent } from '../audit/audit.ts';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { notFound, requireId } from '../core/require-id.ts';
import type { GrantableRole } from '../core/roles.ts';
import type { Db } from '../db/db.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { deleteExclusion, selectExclusions, upsertExclusion, type Exclusion } from './exclusions-store.ts';
import { takeGrants } from './grants.ts';
import { requireCurrent, requireLowerRank, requireReach, requireUserInReach } from './permissions.ts';
import { highestRoleIn, lockOrganizations, lockUser } from './store.ts';

export type ExclusionInput = {
  readonly organizationId: OrganizationId;
  readonly userId: UserId;
  readonly role: GrantableRole | null;
  readonly reason: string;
  /** ISO 8601; null stands until removed. */
  readonly until?: string | null | undefined;
};

export type Exclusions = {
  /** Takes what the exclusion covers at once, whatever gave it; refused for the Super Admin and the last active Admin. */
  addExclusion(principal: Principal, input: ExclusionInput): Promise<Exclusion>;
  /** Directories may give the role again from their next run on. */
  removeExclusion(principal: Principal, organizationId: OrganizationId, exclusionId: string): Promise<void>;
  listExclusions(principal: Principal, organizationId: OrganizationId, page: PageRequest): Promise<Page<Exclusion>>;
};

export function createExclusions(db: Db): Exclusions {
  return {
    addExclusion: (principal, input) => addExclusion(db, principal, input),
    removeExclusion: (principal, organizationId, exclusionId) =>
      removeExclusion(db, principal, organizationId, exclusionId),
    listExclusions: (principal, organizationId, page) => listExclusions(db, principal, organizationId, page),
  };
}

async function addExclusion(db: Db, principal: Principal, input: ExclusionInput): Promise<Exclusion> {
  return db.tenant(principal.tenantId, async (tx) => {
    await requireCurrent(tx, principal, input.organizationId);
    await requireUserInReach(tx, principal, input.userId);
    await lockOrganizations(tx, [input.organizationId]);
    await lockUser(tx, input.userId);
    requireLowerRank(principal, await highestRoleIn(tx, input.userId, input.organizationId));
    await takeGrants(tx, principal.actor, input);
    const exclusion = await upsertExclusion(tx, { ...input, createdBy: principal.actor, until: input.until ?? null });
    const { organizationId, userId, role, reason, until } = exclusion;
    await recordEvent(tx, {
      actor: principal.actor,
      action: 'exclusion.added',
      target: `exclusion:${exclusion.id}`,
      details: { organizationId, userId, role, reason, until },
    });
    return exclusion;
  });
}

async function removeExclusion(
  db: Db,
  principal: Principal,
  organizationId: OrganizationId,
  exclusionId: string,
): Promise<void> {
  const id = requireId(exclusionId, 'exclusion');
  await db.tenant(principal.tenantId, async (tx) => {
    await requireCurrent(tx, principal, organizationId);
    const removed = await deleteExclusion(tx, organizationId, id);
    if (removed === null) throw notFound('exclusion');
    const { userId, role } = removed;
    await recordEvent(tx, {
      actor: principal.actor,
      action: 'exclusion.removed',
      target: `exclusion:${id}`,
      details: { organizationId, userId, role },
    });
  });
}

async function listExclusions(
  db: Db,
  principal: Principal,
  organizationId: OrganizationId,
  page: PageRequest,
): Promise<Page<Exclusion>> {
  const after = decodeCursor(page.cursor, z.tuple([z.uuid()]));
  const rows = await db.tenant(principal.tenantId, async (tx) => {
    await requireReach(tx, principal, organizationId);
    return selectExclusions(tx, organizationId, after?.[0] ?? null, page.limit + 1);
  });
  return cutPage(
    rows,
    page.limit,
    (row) => [row.id],
    (row) => row,
  );
}
