/** GET /users/:userId/history: which runs touched a user, and what each changed. */
import { z } from 'zod';
import type { UserId } from '../../core/ids.ts';
import { requireId } from '../../core/require-id.ts';
import { changeKinds, changeOps, changeStates, runKinds, runStatuses } from '../../core/vocabulary.ts';
import { cutPage, decodeCursor, pageOf, pageQuery } from '../../platform/page.ts';
import { route, type Route } from '../../platform/route.ts';
import { facts, textOrNull, view, type RoutesDeps } from '../route-parts.ts';

const historyBody = z.object({
  at: z.string(),
  runId: z.string(),
  runKind: z.enum(runKinds),
  runStatus: z.enum(runStatuses),
  connectionId: z.string(),
  connectionName: z.string(),
  requestedBy: z.string(),
  seq: z.int(),
  op: z.enum(changeOps),
  kind: z.enum(changeKinds),
  state: z.enum(changeStates),
  subject: z.string(),
  organizationId: textOrNull,
  role: textOrNull,
  before: facts.nullable(),
  after: facts.nullable(),
  reason: z.string(),
  error: textOrNull,
  appliedAt: textOrNull,
});

const sortKey = z.tuple([z.iso.datetime(), z.uuid(), z.int()]);

export function historyRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    route({
      method: 'get',
      path: '/users/:userId/history',
      summary: 'Which runs touched this user, and what each changed; newest first.',
      permission: view,
      params: z.strictObject({ userId: z.string() }),
      query: z.strictObject(pageQuery),
      response: pageOf(historyBody),
      handler: async ({ params, query }, { principal }) => {
        const userId = requireId<UserId>(params.userId, 'user');
        await reconciliation.reach.requireUser(principal, userId);
        const key = decodeCursor(query.cursor, sortKey);
        const before = key === null ? {} : { before: { at: key[0], runId: key[1], seq: key[2] } };
        const rows = await reconciliation.listHistory(principal.tenantId, {
          userId,
          limit: query.limit + 1,
          ...before,
        });
        return cutPage(
          rows,
          query.limit,
          (row) => [row.at, row.runId, row.seq],
          (row) => row,
        );
      },
    }),
  ];
}
