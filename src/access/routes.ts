/** access/routes: who am I, roles by hand, exclusions, the Super Admin, tokens. */
import { z } from 'zod';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { levelOf, permissionLevels, permissionObjects } from '../core/permissions.ts';
import { requireId } from '../core/require-id.ts';
import { grantableRoles, roles } from '../core/roles.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import type { Access } from './access.ts';
import { tokenRoutes } from './token-routes.ts';

const usersView = { object: 'users', level: 'view' } as const;
const usersFull = { object: 'users', level: 'full' } as const;

const organizationParams = z.strictObject({ organizationId: z.string() });
const grantableRole = z.enum(grantableRoles);

const organizationOf = (text: string) => requireId<OrganizationId>(text, 'organization');
const userOf = (text: string) => requireId<UserId>(text, 'user');

export function accessRoutes(access: Access): Route[] {
  return [
    meRoute(),
    ...grantRoutes(access),
    ...revokeRoutes(access),
    ...exclusionRoutes(access),
    ...superAdminRoutes(access),
    ...tokenRoutes(access),
  ];
}

function meRoute(): Route {
  return route({
    method: 'get',
    path: '/me',
    summary: 'Whom this credential speaks for and what it may do.',
    permission: 'any',
    response: z.object({
      actor: z.string(),
      tenantId: z.string(),
      organizationId: z.string(),
      userId: z.string().nullable(),
      role: z.enum(roles),
      permissions: z.record(z.enum(permissionObjects), z.enum(permissionLevels)),
    }),
    handler: async (_input, { principal }) => ({
      ...principal,
      permissions: levelsOf(principal.role),
    }),
  });
}

function levelsOf(role: (typeof roles)[number]) {
  const entries = permissionObjects.map((object) => [object, levelOf(role, object)] as const);
  return Object.fromEntries(entries) as Record<(typeof permissionObjects)[number], (typeof permissionLevels)[number]>;
}

const grantBody = z.object({
  organizationId: z.string(),
  userId: z.string(),
  displayName: z.string().nullable(),
  role: grantableRole,
  source: z.string(),
  createdAt: z.string(),
});

const revoked = z.object({
  removed: z.array(z.object({ role: grantableRole, source: z.string() })),
  exclusionIds: z.array(z.string()),
});

function grantRoutes(access: Access): Route[] {
  return [
    route({
      method: 'get',
      path: '/organizations/:organizationId/grants',
      summary: 'Roles in an organization, each with the source that gave it.',
      permission: usersView,
      params: organizationParams,
      query: z.strictObject(pageQuery),
      response: pageOf(grantBody),
      handler: async ({ params, query }, { principal }) =>
        access.listGrants(principal, organizationOf(params.organizationId), query),
    }),
    route({
      method: 'post',
      path: '/organizations/:organizationId/grants',
      summary: 'Gives a user a role by hand; the first Admin becomes the Super Admin.',
      permission: usersFull,
      params: organizationParams,
      body: z.strictObject({
        userId: z.string().optional(),
        email: z.string().max(320).optional(),
        role: grantableRole,
      }),
      response: z.object({
        organizationId: z.string(),
        userId: z.string(),
        role: grantableRole,
        isNew: z.boolean(),
        isNowSuperAdmin: z.boolean(),
      }),
      status: 201,
      handler: async ({ params, body }, { principal }) =>
        access.grantManually(principal, {
          organizationId: organizationOf(params.organizationId),
          role: body.role,
          email: body.email,
          userId: body.userId === undefined ? undefined : userOf(body.userId),
        }),
    }),
  ];
}

function revokeRoutes(access: Access): Route[] {
  return [
    route({
      method: 'delete',
      path: '/organizations/:organizationId/grants/:userId/:role',
      summary: 'Takes a role by hand; what a directory gave becomes an exclusion, so that it stays away.',
      permission: usersFull,
      params: z.strictObject({ organizationId: z.string(), userId: z.string(), role: grantableRole }),
      response: revoked,
      handler: async ({ params }, { principal }) =>
        access.revokeManually(principal, {
          organizationId: organizationOf(params.organizationId),
          userId: userOf(params.userId),
          role: params.role,
        }),
    }),
    route({
      method: 'delete',
      path: '/organizations/:organizationId/members/:userId',
      summary: 'Removes a user from an organization: takes every role in it.',
      permission: usersFull,
      params: z.strictObject({ organizationId: z.string(), userId: z.string() }),
      response: revoked,
      handler: async ({ params }, { principal }) =>
        access.revokeManually(principal, {
          organizationId: organizationOf(params.organizationId),
          userId: userOf(params.userId),
          role: null,
        }),
    }),
  ];
}

const exclusionBody = z.object({
  id: z.string(),
  organizationId: z.string(),
  userId: z.string(),
  userName: z.string(),
  role: grantableRole.nullable(),
  reason: z.string(),
  createdBy: z.string(),
  createdAt: z.string(),
  until: z.string().nullable(),
});

function exclusionRoutes(access: Access): Route[] {
  return [
    route({
      method: 'get',
      path: '/organizations/:organizationId/exclusions',
      summary: 'What directories must not give in this organization.',
      permission: usersView,
      params: organizationParams,
      query: z.strictObject(pageQuery),
      response: pageOf(exclusionBody),
      handler: async ({ params, query }, { principal }) =>
        access.listExclusions(principal, organizationOf(params.organizationId), query),
    }),
    route({
      method: 'post',
      path: '/organizations/:organizationId/exclusions',
      summary: 'Excludes a user from one role, or from every role, whatever a directory says; takes what stands.',
      permission: usersFull,
      params: organizationParams,
      body: z.strictObject({
        userId: z.string(),
        role: grantableRole.nullable(),
        reason: z.string().trim().min(1).max(500),
        until: z.iso.datetime({ offset: true }).nullable().optional(),
      }),
      response: exclusionBody,
      status: 201,
      handler: async ({ params, body }, { principal }) =>
        access.addExclusion(principal, {
          ...body,
          organizationId: organizationOf(params.organizationId),
          userId: userOf(body.userId),
        }),
    }),
    route({
      method: 'delete',
      path: '/organizations/:organizationId/exclusions/:exclusionId',
      summary: 'Lifts an exclusion; directories may give the role again from their next run on.',
      permission: usersFull,
      params: z.strictObject({ organizationId: z.string(), exclusionId: z.string() }),
      response: z.object({ isRemoved: z.literal(true) }),
      handler: async ({ params }, { principal }) => {
        await access.removeExclusion(principal, organizationOf(params.organizationId), params.exclusionId);
        return { isRemoved: true as const };
      },
    }),
  ];
}

function superAdminRoutes(access: Access): Route[] {
  const response = z.object({ isDone: z.literal(true) });
  const toUser = z.strictObject({ userId: z.string() });
  return [
    route({
      method: 'post',
      path: '/organizations/:organizationId/super-admin/transfer',
      summary: 'The Super Admin hands the role to another active Admin.',
      permission: usersFull,
      params: organizationParams,
      body: toUser,
      response,
      handler: async ({ params, body }, { principal }) => {
        await access.transferSuperAdmin(principal, organizationOf(params.organizationId), userOf(body.userId));
        return { isDone: true as const };
      },
    }),
    route({
      method: 'post',
      path: '/organizations/:organizationId/super-admin/claim',
      summary: 'An active Admin takes the role where nobody has it.',
      permission: usersFull,
      params: organizationParams,
      response,
      handler: async ({ params }, { principal }) => {
        await access.claimSuperAdmin(principal, organizationOf(params.organizationId));
        return { isDone: true as const };
      },
    }),
    route({
      method: 'post',
      path: '/organizations/:organizationId/super-admin/assign',
      summary: 'The Super Admin of the parent fills a seat that is empty or whose holder is not active.',
      permission: usersFull,
      params: organizationParams,
      body: toUser,
      response,
      handler: async ({ params, body }, { principal }) => {
        await access.assignSuperAdmin(principal, organizationOf(params.organizationId), userOf(body.userId));
        return { isDone: true as const };
      },
    }),
  ];
}
