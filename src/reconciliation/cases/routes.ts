/** Cases over HTTP: what a person must decide. */
import { z } from 'zod';
import type { UserId } from '../../core/ids.ts';
import { requireId } from '../../core/require-id.ts';
import { caseKinds, caseStatuses } from '../../core/vocabulary.ts';
import { route, type Route } from '../../platform/route.ts';
import { facts, full, textOrNull, view, type RoutesDeps } from '../route-parts.ts';

const caseBody = z.object({
  id: z.string(),
  connectionId: textOrNull,
  connectionName: textOrNull,
  kind: z.enum(caseKinds),
  status: z.enum(caseStatuses),
  subject: z.string(),
  reason: z.string(),
  details: facts.nullable(),
  candidates: z.array(z.object({ id: z.string(), name: z.string() })),
  createdAt: z.string(),
  resolvedBy: textOrNull,
});

export function caseRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    route({
      method: 'get',
      path: '/cases',
      summary: 'What a person must decide.',
      permission: view,
      query: z.strictObject({ status: z.enum(caseStatuses).default('open') }),
      response: z.object({ items: z.array(caseBody) }),
      handler: async ({ query }, { principal }) => {
        const inReach = new Set<string | null>(await reconciliation.reach.connections(principal));
        const all = await reconciliation.listCases(principal.tenantId, query.status);
        return { items: all.filter((found) => inReach.has(found.connectionId)) };
      },
    }),
    route({
      method: 'post',
      path: '/cases/:caseId/resolve',
      summary:
        'Close a case: link to a user, create a user, give the role asked for, say whose value stands, fill the seat of the Super Admin, or ignore it.',
      permission: full,
      params: z.strictObject({ caseId: z.string() }),
      body: z.discriminatedUnion('action', [
        z.strictObject({ action: z.literal('link'), userId: z.uuid() }),
        z.strictObject({ action: z.literal('create') }),
        z.strictObject({ action: z.literal('grant') }),
        z.strictObject({ action: z.literal('source') }),
        z.strictObject({ action: z.literal('local') }),
        z.strictObject({ action: z.literal('ignore') }),
        z.strictObject({ action: z.literal('assign'), userId: z.uuid() }),
        z.strictObject({ action: z.literal('claim') }),
      ]),
      response: z.object({ ok: z.literal(true) }),
      handler: async ({ params, body }, { principal }) => {
        const caseId = requireId<string>(params.caseId, 'case');
        await reconciliation.reach.requireCase(principal, caseId);
        if (body.action === 'assign' || body.action === 'claim') {
          const choice = body.action === 'claim' ? body : { action: body.action, userId: body.userId as UserId };
          await reconciliation.fillSeat(principal, caseId, choice);
          return { ok: true as const };
        }
        const resolution = body.action === 'link' ? { action: body.action, userId: body.userId as UserId } : body;
        await reconciliation.resolveCase(principal.actor, principal.tenantId, caseId, resolution);
        return { ok: true as const };
      },
    }),
  ];
}
