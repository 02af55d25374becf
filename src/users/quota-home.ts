/** users/quota-home: where a user's draws count (R59, R60, C5), moved by a run or chosen by a person. */
import { requireRecordControl } from '../access/access.ts';
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, RunId, UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';
import { enqueue } from '../outbox/outbox.ts';
import type { Principal } from '../platform/route.ts';
import { requireUser, requireVersion } from './edits.ts';
import { lockUsers } from './lock-users.ts';
import type { User } from './store.ts';

export type QuotaHomeMove = {
  readonly seq: number;
  readonly userId: UserId | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly expectedVersion: number | null;
};

/**
 * The set-based door for reconciliation; returns the seqs that were applied. A user who was edited, protected, or whose
 * home a person chose meanwhile is left alone.
 */
export async function moveQuotaHomes(tx: TenantTx, runId: RunId, rows: readonly QuotaHomeMove[]): Promise<number[]> {
  const payload = JSON.stringify(
    rows.map(({ seq, userId: id, expectedVersion: version, after }) => ({
      seq,
      id,
      version,
      home: after?.['quotaHome'] ?? null,
      source: after?.['source'] ?? null,
    })),
  );
  const ids = rows.flatMap(({ userId }) => (userId === null ? [] : [userId]));
  await lockUsers(tx, ids);
  const moved = await tx.sql<{ seq: number }[]>`
    update users u set quota_home_id = r.home, provenance = u.provenance || jsonb_build_object('quotaHome', r.source),
      version = u.version + 1, last_run_id = ${runId}::uuid, updated_at = now()
    from jsonb_to_recordset(${payload}::jsonb) as r(seq int, id uuid, version bigint, home uuid, source text)
    where u.tenant_id = ${tx.tenantId} and u.id = r.id and u.id = any(${ids}::uuid[]) and (u.version = r.version or u.last_run_id = ${runId}::uuid)
      and not u.is_protected and (u.provenance ->> 'quotaHome') is distinct from 'manual'
    returning r.seq`;
  return moved.map((row) => row.seq);
}

export type QuotaHomeChoice =
  /** Stays there until a person says otherwise. */
  | { readonly organizationId: OrganizationId }
  /** Gives the choice back to role mappings, or to where the user was first added. */
  | { readonly automatic: true };

/** A person's choice: the root, or an organization of which the user is a member. */
export async function chooseQuotaHome(
  tx: TenantTx,
  principal: Principal,
  id: UserId,
  choice: QuotaHomeChoice,
): Promise<User> {
  await requireRecordControl(tx, principal, id);
  await tx.sql`select 1 from users where tenant_id = ${tx.tenantId} and id = ${id} for no key update`;
  const before = await requireUser(tx, id);
  requireVersion(before, undefined);
  const wanted =
    'automatic' in choice
      ? await automaticHome(tx, id)
      : { id: await memberOrganization(tx, id, choice.organizationId), source: 'manual' };
  if (wanted.id === before.quotaHomeId && wanted.source === before.provenance['quotaHome']) return before;
  await tx.sql`
    update users set quota_home_id = ${wanted.id}::uuid, provenance = provenance || jsonb_build_object('quotaHome', ${wanted.source}::text),
      version = version + 1, last_run_id = null, updated_at = now()
    where tenant_id = ${tx.tenantId} and id = ${id}`;
  const details = { before: before.quotaHomeId, after: wanted.id, source: wanted.source };
  await recordEvent(tx, { actor: principal.actor, action: 'user.quota_home_moved', target: `user:${id}`, details });
  const after = await requireUser(tx, id);
  await enqueue(tx, 'user.quota_home_moved', { userId: id, version: after.version, ...details });
  return after;
}

/** The root is null: everybody of the tenant may draw there. */
async function memberOrganization(
  tx: TenantTx,
  userId: UserId,
  organizationId: OrganizationId,
): Promise<OrganizationId | null> {
  if (organizationId === (tx.tenantId as string)) return null;
  const rows = await tx.sql`
    select 1 from memberships
    where tenant_id = ${tx.tenantId} and organization_id = ${organizationId} and user_id = ${userId}`;
  if (rows.length > 0) return organizationId;
  throw new RollcallError(
    'conflict',
    'The user is not a member of that organization, so it has nothing to draw there.',
    {
      remedy: 'Give the user a role there first, or choose an organization where it has one.',
      details: { organizationId },
    },
  );
}

/** What a run would decide, from the roles that mappings gave: no directory need say anything for it. */
async function automaticHome(
  tx: TenantTx,
  userId: UserId,
): Promise<{ readonly id: OrganizationId | null; readonly source: string }> {
  const [rule] = await tx.sql<{ id: OrganizationId; source: string }[]>`
    select g.organization_id as id, g.source from grants g
    join role_mappings r on r.tenant_id = g.tenant_id and 'rule:' || r.id = g.source
    where g.tenant_id = ${tx.tenantId} and g.user_id = ${userId} and g.organization_id <> g.tenant_id
    order by r.precedence, r.id limit 1`;
  if (rule !== undefined) return rule;
  const [user] = await tx.sql<{ id: OrganizationId | null }[]>`
    select first_organization_id as id from users where tenant_id = ${tx.tenantId} and id = ${userId}`;
  return { id: user?.id ?? null, source: 'first' };
}
