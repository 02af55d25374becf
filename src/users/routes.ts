/** users/routes: the users list, one user, and what a person may do to a user. */
import { z } from 'zod';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { requireId } from '../core/require-id.ts';
import { grantableRoles, roles } from '../core/roles.ts';
import { connectionKinds, linkStates, userStatuses } from '../core/vocabulary.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import { userFields } from './fields.ts';
import type { Users } from './users.ts';

const view = { object: 'users', level: 'view' } as const;
const full = { object: 'users', level: 'full' } as const;
const params = z.strictObject({ userId: z.string() });
const textOrNull = z.string().nullable();

const membershipBody = z.object({ organizationId: z.string(), roles: z.array(z.enum(roles)) });

const summaryBody = z.object({
  id: z.string(),
  username: textOrNull,
  email: textOrNull,
  displayName: textOrNull,
  status: z.enum(userStatuses),
  isProtected: z.boolean(),
  version: z.int(),
  updatedAt: z.string(),
  memberships: z.array(membershipBody),
});

const userBody = summaryBody.omit({ memberships: true }).extend({
  givenName: textOrNull,
  familyName: textOrNull,
  phone: textOrNull,
  employeeId: textOrNull,
  department: textOrNull,
  jobTitle: textOrNull,
  attributes: z.record(z.string(), z.unknown()),
  suspendedBy: textOrNull,
  statusReason: textOrNull,
  statusChangedAt: textOrNull,
  provenance: z.record(z.string(), z.string()),
  quotaHomeId: textOrNull.describe('Where the draws count; null is the root. Why stands in provenance.quotaHome.'),
  protectedReason: textOrNull,
  protectedBy: textOrNull,
  createdAt: z.string(),
});

const detailBody = userBody.extend({
  memberships: z.array(membershipBody),
  grants: z.array(
    z.object({ organizationId: z.string(), role: z.enum(grantableRoles), source: z.string(), createdAt: z.string() }),
  ),
  links: z.array(
    z.object({
      connectionId: z.string(),
      connectionName: z.string(),
      connectionKind: z.enum(connectionKinds),
      anchor: z.string(),
      state: z.enum(linkStates),
      reason: textOrNull,
      matchedBy: textOrNull,
    }),
  ),
});

/** No body at all is fine: null is what a request without one is read as. */
const standingBody = z
  .strictObject({
    reason: z.string().trim().min(1).max(500).optional(),
    version: z.int().optional().describe('Refused with 412 when the user has another version.'),
  })
  .nullable();

const userOf = (text: string) => requireId<UserId>(text, 'user');

export function usersRoutes(users: Users): Route[] {
  return [...readRoutes(users), ...writeRoutes(users), ...standingRoutes(users), quotaHomeRoute(users)];
}

function readRoutes(users: Users): Route[] {
  return [
    route({
      method: 'get',
      path: '/users',
      summary: 'Users of this organization and below; removed ones only when asked for.',
      permission: view,
      query: z.strictObject({
        ...pageQuery,
        status: z.enum(userStatuses).optional(),
        organizationId: z.string().optional(),
        role: z.enum(roles).optional(),
        search: z.string().max(320).optional().describe('Beginning of an e-mail address, display name or username.'),
        sort: z.enum(['id', 'displayName']).default('id'),
      }),
      response: pageOf(summaryBody),
      handler: async ({ query }, { principal }) => {
        const { organizationId } = query;
        return users.list(principal, {
          ...query,
          organizationId:
            organizationId === undefined ? undefined : requireId<OrganizationId>(organizationId, 'organization'),
        });
      },
    }),
    route({
      method: 'get',
      path: '/users/:userId',
      summary: 'One user with links, grants and memberships.',
      permission: view,
      params,
      response: detailBody,
      handler: async (input, { principal }) => users.get(principal, userOf(input.params.userId)),
    }),
  ];
}

function writeRoutes(users: Users): Route[] {
  return [
    route({
      method: 'post',
      path: '/users',
      summary: 'Creates a user by hand with a role in this organization.',
      permission: full,
      body: z.strictObject({ ...userFields, role: z.enum(grantableRoles).default('user') }),
      response: userBody,
      status: 201,
      handler: async ({ body }, { principal }) =>
        users.create(principal, { ...body, organizationId: principal.organizationId }),
    }),
    route({
      method: 'patch',
      path: '/users/:userId',
      summary: 'Changes fields by hand; null clears one. Directories leave them alone until their own value changes.',
      permission: full,
      params,
      body: z.strictObject({
        ...userFields,
        version: z.int().describe('The version that was read; refused with 412 when the user has another one.'),
      }),
      response: userBody,
      handler: async (input, { principal }) => users.edit(principal, userOf(input.params.userId), input.body),
    }),
  ];
}

function quotaHomeRoute(users: Users): Route {
  return route({
    method: 'put',
    path: '/users/:userId/quota-home',
    summary: "Chooses where a user's draws count; automatic gives the choice back to role mappings.",
    permission: full,
    params,
    body: z.union([z.strictObject({ organizationId: z.uuid() }), z.strictObject({ automatic: z.literal(true) })]),
    response: userBody,
    handler: async (input, { principal }) =>
      users.chooseQuotaHome(
        principal,
        userOf(input.params.userId),
        'automatic' in input.body
          ? input.body
          : { organizationId: requireId<OrganizationId>(input.body.organizationId, 'organization') },
      ),
  });
}

function standingRoutes(users: Users): Route[] {
  const act = (
    path: string,
    summary: string,
    work: (...input: Parameters<Users['suspend']>) => ReturnType<Users['suspend']>,
  ): Route =>
    route({
      method: 'post',
      path,
      summary,
      permission: full,
      params,
      body: standingBody,
      response: userBody,
      handler: async (input, { principal }) => work(principal, userOf(input.params.userId), input.body ?? {}),
    });
  return [
    act('/users/:userId/suspend', 'Suspends a user by hand; no directory re-activates them.', (...input) =>
      users.suspend(...input),
    ),
    act('/users/:userId/reactivate', 'Re-activates a user whom a person suspended.', (...input) =>
      users.reactivate(...input),
    ),
    act('/users/:userId/protect', 'Puts a user out of reach of every directory.', (principal, id, change) =>
      users.setProtection(principal, id, true, change.reason),
    ),
    act('/users/:userId/unprotect', 'Puts a user back into the reach of directories.', (principal, id, change) =>
      users.setProtection(principal, id, false, change.reason),
    ),
  ];
}
