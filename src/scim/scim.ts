/**
 * scim/: the SCIM 2.0 service provider (RFC 7643, RFC 7644). A SCIM connection is a directory whose content is pushed:
 * each resource is a mirror object of the connection, reads answer what was pushed, and writes go through
 * reconciliation's Pushes, which decide and apply in the same transaction.
 *
 * Way of a request: `http.ts` (authentication, bounds, errors) -> `endpoints.ts` -> `users.ts`, `groups.ts`, `list.ts`,
 * `discovery.ts` -> pure parts (`filter.ts`, `patch.ts`, `normalize.ts`, `projection.ts`) and `store.ts`. What was sent
 * and answered stands in the request log, which an admin reads and replays (`admin.ts`).
 */
import { Router } from 'express';
import type { ConnectionId, TenantId } from '../core/ids.ts';
import type { Logger } from '../platform/logger.ts';
import { createEndpoints, type EndpointDeps } from './endpoints.ts';
import { mountEndpoints } from './http.ts';
import { mountTokenEndpoint, type IssueAccessToken } from './oauth.ts';
import { createRateLimit } from './rate-limit.ts';
import type { RequestLog } from './request-log.ts';

export { createScimAdmin, type Replayed, type ScimAdmin, type ScimRequestView } from './admin.ts';
export { createRequestLog, deleteOldRequests, type RequestLog } from './request-log.ts';

export type ScimCaller = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  readonly tokenId: string;
  /** Empty means everything. */
  readonly scopes: readonly string[];
  /** Of the connection. */
  readonly settings: Readonly<Record<string, unknown>>;
};

/** A token of the connection that may not be used; only the request log hears why. */
export type ScimRefusal = Pick<ScimCaller, 'tenantId' | 'connectionId' | 'tokenId'> & { readonly refusal: string };

export type ScimOptions = EndpointDeps & {
  /** Whom a bearer token of kind scim speaks for; null when it is unknown. */
  readonly authenticate: (bearer: string, address: string | undefined) => Promise<ScimCaller | ScimRefusal | null>;
  /** OAuth 2 client credentials; the token endpoint is missing without. */
  readonly issueAccessToken?: IssueAccessToken;
  readonly log: Logger;
  readonly requestLog?: RequestLog | undefined;
  /** Requests a second of one token. */
  readonly requestsPerSecond: number;
  /** Address clients use, without a slash at its end; taken from each request when absent. */
  readonly publicUrl?: string;
};

/** The router to be mounted at /scim/v2. Answers everything below it, errors too. */
export function createScim(options: ScimOptions): Router {
  const router = Router({ caseSensitive: false, strict: false });
  const { issueAccessToken, log, clock } = options;
  if (issueAccessToken !== undefined) mountTokenEndpoint(router, { issueAccessToken, log, clock });
  const rateLimit = createRateLimit(options.requestsPerSecond, options.clock);
  mountEndpoints(router, { ...options, rateLimit }, createEndpoints(options));
  return router;
}
