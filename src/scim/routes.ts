/** scim/routes: the request log of a connection, and its dry replay. */
import { z } from 'zod';
import type { ConnectionId } from '../core/ids.ts';
import { requireId } from '../core/require-id.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import type { ScimAdmin } from './scim.ts';

const view = { object: 'directories', level: 'view' } as const;
const textOrNull = z.string().nullable();
const facts = z.record(z.string(), z.unknown());

const requestBody = z.object({
  id: z.string(),
  connectionId: z.string(),
  at: z.string(),
  tokenId: textOrNull,
  method: z.string(),
  path: z.string(),
  status: z.int().describe('0 for an entry that only counts requests which were not recorded.'),
  scimType: textOrNull,
  reason: textOrNull.describe('Why it was refused, or what was left out.'),
  durationMs: z.int(),
  clientAddress: textOrNull,
  userAgent: textOrNull,
  body: facts.nullable().describe('Without what may be secret; null where there was none or it was too long.'),
  bodyBytes: z.int(),
  disputes: z
    .array(z.object({ caseId: textOrNull, reason: z.string() }))
    .describe('What it left to a person to decide.'),
});

const replayBody = z.object({
  request: requestBody,
  status: z.int(),
  body: facts.nullable(),
  changes: z.array(
    z.object({
      class: z.string(),
      op: z.string(),
      subject: z.string(),
      role: textOrNull,
      reason: z.string(),
      before: facts.nullable(),
      after: facts.nullable(),
    }),
  ),
});

export function scimRoutes(admin: ScimAdmin): Route[] {
  return [
    route({
      method: 'get',
      path: '/connections/:connectionId/scim-requests',
      summary: 'What the identity provider of a SCIM connection sent, newest first.',
      permission: view,
      params: z.strictObject({ connectionId: z.string().max(50) }),
      query: z.strictObject({
        method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).optional(),
        minStatus: z.coerce.number().int().min(0).max(599).optional().describe('400 shows what was refused.'),
        ...pageQuery,
      }),
      response: pageOf(requestBody),
      handler: async ({ params, query }, { principal }) => {
        const connectionId = requireId<ConnectionId>(params.connectionId, 'connection');
        return admin.listRequests(principal, { connectionId, ...query }, query);
      },
    }),
    route({
      method: 'post',
      path: '/scim-requests/:requestId/replay',
      summary: 'What a recorded request would do now; changes nothing.',
      permission: view,
      params: z.strictObject({ requestId: z.string().max(50) }),
      response: replayBody,
      handler: async ({ params }, { principal }) => admin.replayRequest(principal, params.requestId),
    }),
  ];
}
