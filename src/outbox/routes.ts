/** outbox/routes: webhooks of the tenant. They hear of every organization in it, so they belong to the root. */
import { z } from 'zod';
import { RollcallError } from '../core/errors.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Principal, type Route } from '../platform/route.ts';
import type { Outbox } from './outbox.ts';

const webhookBody = z.object({
  id: z.string(),
  url: z.string(),
  eventTypes: z.array(z.string()),
  isEnabled: z.boolean(),
  createdBy: z.string(),
  createdAt: z.string(),
});

const view = { object: 'security', level: 'view' } as const;
const full = { object: 'security', level: 'full' } as const;
const params = z.strictObject({ webhookId: z.string() });

function requireRoot(principal: Principal): Principal {
  if (principal.organizationId === (principal.tenantId as string)) return principal;
  throw new RollcallError('forbidden', 'Webhooks belong to the root organization.', {
    remedy: 'Use a credential of the root organization.',
  });
}

export function outboxRoutes({ webhooks }: Pick<Outbox, 'webhooks'>): Route[] {
  return [
    route({
      method: 'get',
      path: '/webhooks',
      summary: 'Webhooks of the tenant.',
      permission: view,
      query: z.strictObject(pageQuery),
      response: pageOf(webhookBody),
      handler: async ({ query }, { principal }) => webhooks.list(requireRoot(principal).tenantId, query),
    }),
    route({
      method: 'post',
      path: '/webhooks',
      summary: 'Creates a webhook; the signing secret is in this answer only.',
      permission: full,
      body: z.strictObject({
        url: z.string().max(2000),
        eventTypes: z.array(z.string().min(1).max(100)).max(100).optional(),
      }),
      response: webhookBody.extend({ secret: z.string() }),
      status: 201,
      handler: async ({ body }, { principal }) => webhooks.create(requireRoot(principal), body),
    }),
    route({
      method: 'patch',
      path: '/webhooks/:webhookId',
      summary: 'Enables or disables a webhook.',
      permission: full,
      params,
      body: z.strictObject({ isEnabled: z.boolean() }),
      response: webhookBody,
      handler: async (input, { principal }) =>
        webhooks.setEnabled(requireRoot(principal), input.params.webhookId, input.body.isEnabled),
    }),
    route({
      method: 'delete',
      path: '/webhooks/:webhookId',
      summary: 'Removes a webhook; what it has not taken is not sent to it any more.',
      permission: full,
      params,
      response: z.object({ isRemoved: z.literal(true) }),
      handler: async (input, { principal }) => {
        await webhooks.remove(requireRoot(principal), input.params.webhookId);
        return { isRemoved: true as const };
      },
    }),
  ];
}
