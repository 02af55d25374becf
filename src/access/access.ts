/**
 * access/: who may do what where. Tokens, roles given by hand, memberships, exclusions, the Super Admin, and the checks
 * that every use case of the rooms above asks for.
 *
 * What a person sees of a tenant is the organization of their credential and all below it; what they may change is that
 * organization alone (R72, R73, C2). A role is the union of its live grants, whatever gave them; what a directory gave
 * and a person took away stays away (an exclusion).
 */
import type { OrganizationId, TenantId, UserId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';
import { createAuthenticate, type Authenticate } from './authenticate.ts';
import {
  deleteExpiredAccessTokens,
  issueAccessToken,
  type TokenAnswer,
  type TokenRequest,
} from './client-credentials.ts';
import { createExclusions, type Exclusions } from './exclusions.ts';
import { createGrants, refuseLastAdmin, type Grants } from './grants.ts';
import { createReads, type AccessReads } from './reads.ts';
import { activeAdmins, lockOrganizations, lockUser, organizationsAdministeredBy } from './store.ts';
import { createSuperAdmins, type SuperAdmins } from './super-admin.ts';
import { readTokenStandings, remindOfExpiry, type TokenStanding } from './token-reminders.ts';
import { createTokens, type TokenDeps, type Tokens } from './tokens.ts';

export { addRuleGrants, firstRuleGrantWrites, removeRuleGrants, type GrantChange } from './rule-grants.ts';
export type { Authenticated, Refused, ScimPrincipal } from './authenticate.ts';
export type { TokenAnswer, TokenRequest } from './client-credentials.ts';
export type { Exclusion } from './exclusions-store.ts';
export { forgetUsers } from './forget-users.ts';
export type { ExclusionInput } from './exclusions.ts';
export type { GrantInput, GrantKey, GrantOutcome, RevokeInput, RevokeOutcome } from './grants.ts';
export { giveManualGrantUnchecked } from './grants.ts';
export {
  operatorPrincipal,
  requireCurrent,
  requireOwnLevel,
  requireReach,
  requireRecordControl,
  requireUserInReach,
} from './permissions.ts';
export type { GrantView } from './reads.ts';
export { assignSuperAdmin, claimSuperAdmin } from './super-admin.ts';
export type { TokenStanding } from './token-reminders.ts';
export type { NewToken, TokenView } from './tokens.ts';
export { revokeTokensCreatedBy } from './tokens.ts';

export type Access = Tokens &
  Grants &
  Exclusions &
  SuperAdmins &
  AccessReads & {
    /** Who a bearer token speaks for; null when it speaks for nobody. `address` is where the request comes from. */
    readonly authenticate: Authenticate;
    /** OAuth 2 client credentials of a SCIM connection. */
    issueAccessToken(request: TokenRequest): Promise<TokenAnswer>;
    /** Puts a message into the outbox for each token that is about to expire, once per reminder; answers how many. */
    remindOfExpiry(): Promise<number>;
    /** Of each SCIM connection of a tenant: until when somebody can push. For the operator. */
    tokenStandings(tenantId: TenantId): Promise<TokenStanding[]>;
    /** Deletes one batch of access tokens that ended a day ago; answers how many. */
    deleteExpiredAccessTokens(): Promise<number>;
  };

export function createAccess(deps: TokenDeps): Access {
  const { db, pepper } = deps;
  return {
    ...createTokens(deps),
    ...createGrants(db),
    ...createExclusions(db),
    ...createSuperAdmins(db),
    ...createReads(db),
    authenticate: createAuthenticate(db, pepper),
    issueAccessToken: (request) => issueAccessToken(deps, request),
    remindOfExpiry: () => remindOfExpiry(db),
    tokenStandings: (tenantId) => db.tenant(tenantId, readTokenStandings),
    deleteExpiredAccessTokens: () => deleteExpiredAccessTokens(db),
  };
}

/**
 * Runs `deactivate` (which must end the user's active status) with the organizations the user administers and the user
 * locked, and refuses when one of them would be left without an active Admin.
 */
export async function withoutLosingLastAdmin<T>(
  tx: TenantTx,
  userId: UserId,
  deactivate: () => Promise<T>,
): Promise<T> {
  const organizationIds: OrganizationId[] = await organizationsAdministeredBy(tx, userId);
  await lockOrganizations(tx, organizationIds);
  await lockUser(tx, userId);
  const before = new Map<string, readonly string[]>();
  for (const id of organizationIds) before.set(id, await activeAdmins(tx, id));
  const result = await deactivate();
  for (const [id, admins] of before) {
    if (admins.includes(userId)) refuseLastAdmin(await activeAdmins(tx, id), id);
  }
  return result;
}
