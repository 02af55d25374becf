/** audit/routes: the event history. */
import { z } from 'zod';
import { RollcallError } from '../core/errors.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import type { Audit } from './audit.ts';

const eventBody = z.object({
  seq: z.number().int(),
  at: z.string(),
  actor: z.string(),
  action: z.string(),
  target: z.string(),
  details: z.record(z.string(), z.unknown()),
});

export function auditRoutes(audit: Audit): Route[] {
  return [
    route({
      method: 'get',
      path: '/audit',
      summary: 'Event history of the tenant, newest first.',
      permission: { object: 'event_history', level: 'view' },
      query: z.strictObject({
        ...pageQuery,
        actor: z.string().max(200).optional(),
        action: z.string().max(200).optional(),
        target: z.string().max(200).optional(),
      }),
      response: pageOf(eventBody),
      handler: async ({ query }, { principal }) => {
        // events are kept per tenant; only the root organization may see what happened in all of it
        if (principal.organizationId !== (principal.tenantId as string)) {
          throw new RollcallError('forbidden', 'The event history is shown to the root organization only.', {
            remedy: 'Use a credential of the root organization.',
          });
        }
        return audit.list(principal.tenantId, query);
      },
    }),
  ];
}
