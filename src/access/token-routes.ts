/** access/token-routes: bearer tokens of an organization and those below it. */
import { z } from 'zod';
import type { ConnectionId, OrganizationId } from '../core/ids.ts';
import { requireId } from '../core/require-id.ts';
import { grantableRoles } from '../core/roles.ts';
import { scimScopes, tokenKinds } from '../core/vocabulary.ts';
import { pageOf, pageQuery } from '../platform/page.ts';
import { route, type Route } from '../platform/route.ts';
import type { Access } from './access.ts';

const keysView = { object: 'api_keys', level: 'view' } as const;
const keysFull = { object: 'api_keys', level: 'full' } as const;
const grantableRole = z.enum(grantableRoles);

const tokenBody = z.object({
  id: z.string(),
  kind: z.enum(tokenKinds),
  name: z.string(),
  organizationId: z.string().nullable(),
  connectionId: z.string().nullable(),
  role: grantableRole.nullable(),
  scopes: z.array(z.string()),
  allowedRanges: z.array(z.string()),
  createdBy: z.string(),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

const newTokenFields = {
  name: z.string().trim().min(1).max(200),
  expiresAt: z.iso.datetime({ offset: true }).nullable().optional(),
  allowedRanges: z
    .array(z.string().max(50))
    .max(100)
    .optional()
    .describe('CIDR ranges a request must come from, e.g. 203.0.113.0/24; from anywhere unless given.'),
};

const newTokenBody = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('api'),
    organizationId: z.string().optional().describe("The credential's own organization unless given."),
    role: grantableRole,
    ...newTokenFields,
  }),
  z.strictObject({
    kind: z.enum(['scim', 'key']).describe('key: the client secret of OAuth 2; its id is the client id.'),
    connectionId: z.string(),
    scopes: z.array(z.enum(scimScopes)).optional().describe('Everything unless given.'),
    ...newTokenFields,
  }),
]);

const issued = z.object({ token: tokenBody, text: z.string().describe('The token itself; never shown again.') });
const tokenParams = z.strictObject({ tokenId: z.string().max(50) });

export function tokenRoutes(access: Access): Route[] {
  return [
    route({
      method: 'get',
      path: '/tokens',
      summary: 'Tokens of this organization and below; never their text.',
      permission: keysView,
      query: z.strictObject(pageQuery),
      response: pageOf(tokenBody),
      handler: async ({ query }, { principal }) => access.listTokens(principal, query),
    }),
    route({
      method: 'post',
      path: '/tokens',
      summary: 'Creates a token; its text is in this answer only.',
      permission: keysFull,
      body: newTokenBody,
      response: issued,
      status: 201,
      handler: async ({ body }, { principal }) =>
        access.createToken(
          principal,
          body.kind !== 'api'
            ? { ...body, connectionId: requireId<ConnectionId>(body.connectionId, 'connection') }
            : {
                ...body,
                organizationId: requireId<OrganizationId>(
                  body.organizationId ?? principal.organizationId,
                  'organization',
                ),
              },
        ),
    }),
    route({
      method: 'post',
      path: '/tokens/:tokenId/rotate',
      summary: 'A new text with the same rights; the old one ends after the overlap.',
      permission: keysFull,
      params: tokenParams,
      body: z.strictObject({
        overlapMinutes: z.int().min(0).max(43_200).default(60),
        expiresAt: newTokenFields.expiresAt.describe('As long from now as the old one was made for, unless given.'),
      }),
      response: issued,
      status: 201,
      handler: async ({ params, body }, { principal }) =>
        access.rotateToken(principal, params.tokenId, body.overlapMinutes, body.expiresAt),
    }),
    route({
      method: 'delete',
      path: '/tokens/:tokenId',
      summary: 'Revokes a token; it is refused from the next request on.',
      permission: keysFull,
      params: tokenParams,
      response: tokenBody,
      handler: async ({ params }, { principal }) => access.revokeToken(principal, params.tokenId),
    }),
  ];
}
