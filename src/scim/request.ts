/** One SCIM request as the use cases see it, without Express. */
import { RollcallError } from '../core/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { PushContext } from '../reconciliation/reconciliation.ts';
import type { JsonObject } from './json.ts';
import type { BaseUrl } from './present.ts';
import { etagMatches } from './present.ts';

export type ScimRequest = {
  readonly context: PushContext;
  readonly tokenId: string;
  /** Of the connection (settings.ts). */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly base: BaseUrl;
  /** Id in the path; empty where the path has none. */
  readonly id: string;
  /** Query parameters by lower-case name. */
  readonly query: ReadonlyMap<string, string>;
  readonly ifMatch: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly body: JsonObject;
  readonly log: Logger;
  /** Tells the admin, in the request log, what a taken request left out or set aside. */
  note(text: string): void;
};

export type ScimAnswer = {
  readonly status: number;
  readonly body?: JsonObject;
  readonly headers?: Readonly<Record<string, string>>;
};

export type Handler = (request: ScimRequest) => Promise<ScimAnswer>;

/** What one resource type answers to, lists aside. */
export type ResourceHandlers = {
  readonly get: Handler;
  readonly create: Handler;
  readonly replace: Handler;
  readonly patch: Handler;
  readonly remove: Handler;
};

/** 412 when the client's If-Match names another version. */
export function checkIfMatch(request: ScimRequest, version: number): void {
  if (request.ifMatch === undefined || etagMatches(request.ifMatch, version)) return;
  throw new RollcallError('version_mismatch', 'The resource has changed since the version named by If-Match.', {
    remedy: 'Read it again and repeat the change.',
  });
}

export function isNotModified(request: ScimRequest, version: number): boolean {
  return request.ifNoneMatch !== undefined && etagMatches(request.ifNoneMatch, version);
}
