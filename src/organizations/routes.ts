/** organizations/routes: the tree below the credential's organization, and the tenant's domains. */
import { z } from 'zod';
import type { OrganizationId, UserId } from '../core/ids.ts';
import { requireId } from '../core/require-id.ts';
import { domainStatuses } from '../core/vocabulary.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import type { Organizations } from './organizations.ts';

const view = { object: 'organization', level: 'view' } as const;
const full = { object: 'organization', level: 'full' } as const;
const params = z.strictObject({ organizationId: z.string() });
const name = z.string().trim().min(1).max(200);

const organizationBody = z.object({
  tenantId: z.string(),
  id: z.string(),
  parentId: z.string().nullable(),
  name: z.string(),
  slug: z.string(),
  depth: z.int(),
  createdBy: z.string(),
  createdAt: z.string(),
});

const domainBody = z.object({
  name: z.string(),
  status: z.enum(domainStatuses),
  isPrimary: z.boolean(),
  provenAt: z.string().nullable(),
});

const organizationOf = (text: string) => requireId<OrganizationId>(text, 'organization');

export function organizationsRoutes(organizations: Organizations): Route[] {
  return [
    route({
      method: 'get',
      path: '/organizations',
      summary: "The credential's organization and all below it.",
      permission: view,
      query: z.strictObject(pageQuery),
      response: pageOf(organizationBody),
      handler: async ({ query }, { principal }) => organizations.list(principal, query),
    }),
    route({
      method: 'get',
      path: '/organizations/:organizationId',
      summary: 'One organization.',
      permission: view,
      params,
      response: organizationBody,
      handler: async (input, { principal }) =>
        organizations.get(principal, organizationOf(input.params.organizationId)),
    }),
    route({
      method: 'patch',
      path: '/organizations/:organizationId',
      summary: 'Renames an organization; its slug stays.',
      permission: full,
      params,
      body: z.strictObject({ name }),
      response: organizationBody,
      handler: async (input, { principal }) =>
        organizations.rename(principal, organizationOf(input.params.organizationId), input.body.name),
    }),
    route({
      method: 'post',
      path: '/organizations/:organizationId/sub-organizations',
      summary: 'Creates a sub-organization; its first Admin becomes its Super Admin.',
      permission: { object: 'sub_organizations', level: 'full' },
      params,
      body: z.strictObject({ name, slug: z.string().max(63).optional(), adminUserId: z.string().optional() }),
      response: organizationBody,
      status: 201,
      handler: async (input, { principal }) => {
        const { adminUserId } = input.body;
        return organizations.createSub(principal, organizationOf(input.params.organizationId), {
          ...input.body,
          adminUserId: adminUserId === undefined ? undefined : requireId<UserId>(adminUserId, 'user'),
        });
      },
    }),
    route({
      method: 'get',
      path: '/domains',
      summary: 'Domains of the tenant.',
      permission: view,
      response: z.object({ items: z.array(domainBody) }),
      handler: async (_input, { principal }) => ({ items: await organizations.listDomains(principal.tenantId) }),
    }),
  ];
}
