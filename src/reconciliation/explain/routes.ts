/** Explanations over HTTP. */
import { z } from 'zod';
import type { UserId } from '../../core/ids.ts';
import { requireId } from '../../core/require-id.ts';
import { route, type Route } from '../../platform/route.ts';
import { facts, view, type RoutesDeps } from '../route-parts.ts';

export function explainRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    route({
      method: 'get',
      path: '/users/:userId/explanation',
      summary: 'Which object, rule and run led to each value of a user.',
      permission: view,
      params: z.strictObject({ userId: z.string() }),
      response: facts,
      handler: async ({ params }, { principal }) => {
        const userId = requireId<UserId>(params.userId, 'user');
        await reconciliation.reach.requireUser(principal, userId);
        return reconciliation.explainUser(principal.tenantId, userId);
      },
    }),
  ];
}
