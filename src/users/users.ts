/**
 * users/: one tenant's record of a human, with the source of every attribute.
 *
 * A user needs no account and no e-mail; its key is (tenant, id) and never moves. Directories write users in sets
 * through `applyUserChanges`; people write them one at a time through the use cases here, which mark what they wrote as
 * `manual` and raise the version, so that a plan made before the edit finds the user changed and leaves it alone.
 */
import { requireReach, requireUserInReach } from '../access/access.ts';
import { RollcallError } from '../core/errors.ts';
import { isUuid, type UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import type { Db } from '../db/db.ts';
import type { Page, PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { createUser, editUser, type NewUser, type UserEdit } from './edits.ts';
import { chooseQuotaHome, type QuotaHomeChoice } from './quota-home.ts';
import { reactivateUser, setProtection, suspendUser, type StandingChange } from './standing.ts';
import {
  selectDetail,
  selectIdsByName,
  selectUsers,
  type User,
  type UserDetail,
  type UserFilter,
  type UserSummary,
} from './store.ts';

export { applyUserChanges, userWrite, type ApplyingRun, type UserChange } from './apply-changes.ts';
export { lockUsers } from './lock-users.ts';
export { moveQuotaHomes, type QuotaHomeChoice } from './quota-home.ts';
export { deleteUsers } from './purge-users.ts';
export { restoreUsers, type UserRestore } from './restore-users.ts';
export type { NewUser, UserEdit } from './edits.ts';
export type { StandingChange } from './standing.ts';
export type { User, UserDetail, UserFilter, UserGrant, UserLink, UserSummary } from './store.ts';

export type Users = {
  list(principal: Principal, request: PageRequest & UserFilter): Promise<Page<UserSummary>>;
  get(principal: Principal, userId: UserId): Promise<UserDetail>;
  /** By id, username or e-mail address; `conflict` when several users have that address. */
  find(principal: Principal, reference: string): Promise<UserDetail>;
  /** A user with a role by hand in the principal's organization. */
  create(principal: Principal, input: NewUser): Promise<User>;
  edit(principal: Principal, userId: UserId, edit: UserEdit): Promise<User>;
  suspend(principal: Principal, userId: UserId, change: StandingChange): Promise<User>;
  reactivate(principal: Principal, userId: UserId, change: StandingChange): Promise<User>;
  /** Puts a user out of reach of every directory, or back into it. */
  setProtection(principal: Principal, userId: UserId, isProtected: boolean, reason?: string): Promise<User>;
  /** Where the user's draws count: an organization of which it is a member, the root, or whatever mappings say. */
  chooseQuotaHome(principal: Principal, userId: UserId, choice: QuotaHomeChoice): Promise<User>;
};

export function createUsers({ db }: { readonly db: Db }): Users {
  return {
    list: (principal, request) =>
      db.tenant(principal.tenantId, async (tx) => {
        if (request.organizationId !== undefined) await requireReach(tx, principal, request.organizationId);
        return selectUsers(tx, principal, request);
      }),
    get: (principal, userId) => getUser(db, principal, userId),
    find: (principal, reference) => findUser(db, principal, reference),
    create: (principal, input) => db.tenant(principal.tenantId, (tx) => createUser(tx, principal, input)),
    edit: (principal, userId, edit) => db.tenant(principal.tenantId, (tx) => editUser(tx, principal, userId, edit)),
    suspend: (principal, userId, change) =>
      db.tenant(principal.tenantId, (tx) => suspendUser(tx, principal, userId, change)),
    reactivate: (principal, userId, change) =>
      db.tenant(principal.tenantId, (tx) => reactivateUser(tx, principal, userId, change)),
    setProtection: (principal, userId, isProtected, reason) =>
      db.tenant(principal.tenantId, (tx) => setProtection(tx, principal, userId, isProtected, reason ?? null)),
    chooseQuotaHome: (principal, userId, choice) =>
      db.tenant(principal.tenantId, (tx) => chooseQuotaHome(tx, principal, userId, choice)),
  };
}

async function getUser(db: Db, principal: Principal, userId: UserId): Promise<UserDetail> {
  return db.tenant(principal.tenantId, async (tx) => {
    await requireUserInReach(tx, principal, userId);
    const user = await selectDetail(tx, principal, userId);
    if (user === null) throw notFound('user');
    return user;
  });
}

async function findUser(db: Db, principal: Principal, reference: string): Promise<UserDetail> {
  if (isUuid(reference)) return getUser(db, principal, reference as UserId);
  const [first, second] = await db.tenant(principal.tenantId, (tx) => selectIdsByName(tx, principal, reference));
  if (first === undefined) throw notFound('user');
  if (second !== undefined) {
    throw new RollcallError('conflict', `Several users have the e-mail address ${reference}.`, {
      remedy: 'Name the user by id; the users list shows it.',
    });
  }
  return getUser(db, principal, first);
}
