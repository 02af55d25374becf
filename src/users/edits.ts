/** users/edits: a person writes a user's record. Every field keeps `manual` as its source, and the version goes up. */
import { and, eq, sql } from 'drizzle-orm';
import { giveManualGrantUnchecked, requireCurrent, requireOwnLevel, requireRecordControl } from '../access/access.ts';
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import { newId, type OrganizationId, type UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import { userAttributes } from '../core/targets.ts';
import type { GrantableRole } from '../core/roles.ts';
import { domainOf } from '../core/text-keys.ts';
import { databaseErrorCode, type TenantTx } from '../db/db.ts';
import { users } from '../db/schema/users.ts';
import { enqueue } from '../outbox/outbox.ts';
import type { Principal } from '../platform/route.ts';
import { changesOf, columnsOf, type FieldChange, type StoredFields, type UserFields } from './fields.ts';
import { selectUser, type User } from './store.ts';

export type NewUser = UserFields & {
  readonly organizationId: OrganizationId;
  /** The role in that organization: nobody is a user of nothing (R105). */
  readonly role: GrantableRole;
};

export type UserEdit = UserFields & {
  /** The version the editor saw; another one means someone wrote in between. */
  readonly version: number;
};

const nobody: StoredFields & { readonly provenance: Record<string, string> } = {
  ...(Object.fromEntries(userAttributes.map((name) => [name, null])) as Record<(typeof userAttributes)[number], null>),
  attributes: {},
  provenance: {},
};

/** Who is added to a sub-organization draws there, until a mapping or a person says otherwise. */
function homeOf({ tenantId }: Principal, { organizationId }: NewUser) {
  const id = organizationId === (tenantId as string) ? null : organizationId;
  return { quotaHomeId: id, firstOrganizationId: id };
}

export async function createUser(tx: TenantTx, principal: Principal, input: NewUser): Promise<User> {
  await requireCurrent(tx, principal, input.organizationId);
  requireOwnLevel(principal, input.role);
  const changes = changesOf(nobody, input);
  await checkUsername(tx, changes);
  const id = newId<UserId>();
  await refusingTakenUsername(
    tx.query
      .insert(users)
      .values({ tenantId: principal.tenantId, id, ...homeOf(principal, input), ...columnsOf(nobody, changes) }),
  );
  const { actor } = principal;
  await recordEvent(tx, { actor, action: 'user.created', target: `user:${id}`, details: describe(changes) });
  await enqueue(tx, 'user.created', { userId: id, version: 1 });
  const { organizationId, role } = input;
  await giveManualGrantUnchecked(tx, actor, { organizationId, userId: id, role });
  return requireUser(tx, id);
}

export async function editUser(tx: TenantTx, principal: Principal, id: UserId, edit: UserEdit): Promise<User> {
  await requireRecordControl(tx, principal, id);
  await tx.sql`select 1 from users where tenant_id = ${tx.tenantId} and id = ${id} for no key update`;
  const stored = await requireUser(tx, id);
  requireVersion(stored, edit.version);
  const changes = changesOf(stored, edit);
  if (changes.length === 0) return stored;
  await checkUsername(tx, changes);
  await refusingTakenUsername(
    tx.query
      .update(users)
      .set({ ...columnsOf(stored, changes), ...nextVersion() })
      .where(and(eq(users.tenantId, tx.tenantId), eq(users.id, id))),
  );
  const details = describe(changes);
  await recordEvent(tx, { actor: principal.actor, action: 'user.updated', target: `user:${id}`, details });
  await enqueue(tx, 'user.updated', { userId: id, version: stored.version + 1, ...details });
  return requireUser(tx, id);
}

/** What every write by a person does to the row: a run in flight then finds another version and leaves it alone. */
export function nextVersion() {
  return { version: sql`${users.version} + 1`, lastRunId: null, updatedAt: sql`now()` };
}

export function requireVersion(user: User, version: number | undefined): void {
  if (user.status === 'removed') throw new RollcallError('conflict', 'This user was removed.');
  if (version === undefined || version === user.version) return;
  throw new RollcallError('version_mismatch', 'The user changed since it was read.', {
    remedy: 'Read the user again, and repeat the change on what stands there now.',
    details: { version: user.version },
  });
}

export async function requireUser(tx: TenantTx, id: UserId): Promise<User> {
  const user = await selectUser(tx, id);
  if (user === null) throw notFound('user');
  return user;
}

/** By hand a username outside the tenant's domains is a mistake to tell (R90); from a directory it is only left out. */
async function checkUsername(tx: TenantTx, changes: readonly FieldChange[]): Promise<void> {
  const username = changes.find((change) => change.target === 'username')?.after ?? null;
  if (username === null) return;
  const rows = await tx.sql<{ name: string }[]>`
    select name from domains where tenant_id = ${tx.tenantId} and status <> 'pending' order by is_primary desc, name`;
  const names = rows.map((row) => row.name);
  if (names.includes(domainOf(username) ?? '')) return;
  throw new RollcallError('invalid_input', `The domain of ${username} is none of this tenant's.`, {
    remedy: `Use one of: ${names.slice(0, 10).join(', ')}.`,
    details: { path: 'username' },
  });
}

async function refusingTakenUsername(statement: PromiseLike<unknown>): Promise<void> {
  try {
    await statement;
  } catch (error) {
    if (databaseErrorCode(error) !== '23505') throw error;
    throw new RollcallError('conflict', 'Another user of the tenant has this username.', { cause: error });
  }
}

function describe(changes: readonly FieldChange[]): { changes: Record<string, { before: unknown; after: unknown }> } {
  return { changes: Object.fromEntries(changes.map(({ target, before, after }) => [target, { before, after }])) };
}
