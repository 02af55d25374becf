/** Errors in the words of RFC 7644 section 3.12, and the translation of every failure into such a body. */
import { errorCodes, isRollcallError, RollcallError } from '../core/errors.ts';
import { databaseErrorCode } from '../db/db.ts';

export type ScimType =
  | 'invalidFilter'
  | 'tooMany'
  | 'uniqueness'
  | 'mutability'
  | 'invalidSyntax'
  | 'invalidPath'
  | 'noTarget'
  | 'invalidValue'
  | 'invalidVers'
  | 'sensitive'
  | 'invalidCursor'
  | 'expiredCursor'
  | 'invalidCount';

export const errorUrn = 'urn:ietf:params:scim:api:messages:2.0:Error';

/** A fault of the request: 400 with the RFC's keyword. */
export function badRequest(scimType: ScimType, message: string, cause?: unknown): RollcallError {
  return new RollcallError('invalid_input', message, { scimType, ...(cause === undefined ? {} : { cause }) });
}

/** One body for ids that never existed, were deleted, or belong to somebody else. */
export function notFound(): RollcallError {
  return new RollcallError('not_found', 'There is no such resource in this connection.');
}

export type ErrorAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
  /** True where the fault is ours and belongs into the log as an error. */
  readonly isOurs: boolean;
};

/** Answers an error: status, headers and RFC body. Never a 404 for a database that is away (scim.md). */
export function answerError(error: unknown): ErrorAnswer {
  const known = toRollcallError(error);
  const headers: Record<string, string> = {};
  const isBusy = errorCodes[known.code].retry === 'later';
  if (isBusy) headers['Retry-After'] = String(Math.max(1, Math.ceil(known.retryAfterSeconds ?? 5)));
  if (known.httpStatus === 401) headers['WWW-Authenticate'] = 'Bearer realm="scim"';
  const { missingScopes } = known.details;
  if (typeof missingScopes === 'string') {
    // RFC 6750 section 3.1
    headers['WWW-Authenticate'] = `Bearer realm="scim", error="insufficient_scope", scope="${missingScopes}"`;
  }
  if (known.code === 'too_many_requests') Object.assign(headers, known.details['headers']);
  const allow = known.details['allow'];
  if (known.httpStatus === 405 && typeof allow === 'string') headers['Allow'] = allow;
  const isOurs = known.httpStatus >= 500;
  const detail =
    known.code === 'internal'
      ? 'The request could not be handled. The fault is ours and has been recorded.'
      : known.message;
  const keyword = known.scimType === undefined || isOurs ? {} : { scimType: known.scimType };
  return {
    status: known.httpStatus,
    headers,
    isOurs,
    body: { schemas: [errorUrn], status: String(known.httpStatus), ...keyword, detail },
  };
}

/** deadlock_detected, serialization_failure, lock_not_available, query_canceled by a time limit: the call may be repeated. */
const busyStates: ReadonlySet<string> = new Set(['40P01', '40001', '55P03', '57014']);

function toRollcallError(error: unknown): RollcallError {
  if (isRollcallError(error)) return error;
  const status = statusOf(error);
  if (status === 413) {
    return new RollcallError('too_large', 'The request body is larger than allowed here.', { cause: error });
  }
  if (status === 415) {
    return new RollcallError('unsupported_media_type', 'This content encoding is not supported.', { cause: error });
  }
  if (status !== null && status >= 400 && status < 500) {
    return new RollcallError('invalid_input', 'The request could not be read.', {
      cause: error,
      scimType: 'invalidSyntax',
    });
  }
  if (busyStates.has(databaseErrorCode(error) ?? '')) {
    return new RollcallError('database_unavailable', 'Too many requests change the same resource just now.', {
      cause: error,
      retryAfterSeconds: 1,
    });
  }
  return new RollcallError('internal', error instanceof Error ? error.message : String(error), { cause: error });
}

/** The status Express and its body readers put on their errors. */
function statusOf(error: unknown): number | null {
  if (typeof error !== 'object' || error === null || !('status' in error)) return null;
  return typeof error.status === 'number' ? error.status : null;
}
