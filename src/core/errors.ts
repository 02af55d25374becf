/**
 * One error type and one table of codes. Adapters translate foreign errors once, always with `cause`; business
 * outcomes are values, not errors. Each code has a line of remedy in docs/errors.md (compared by a test).
 */

/** How a caller may react: `never` (fix the input), `later` (the same call may succeed), `reread` (start from a full read). */
export type RetryClass = 'never' | 'later' | 'reread';

type CodeFacts = {
  readonly httpStatus: number;
  readonly retry: RetryClass;
  /** SCIM detail error keyword (RFC 7644 section 3.12), where one fits. */
  readonly scimType?: string;
};

export const errorCodes = {
  // input and permission
  invalid_input: { httpStatus: 400, retry: 'never', scimType: 'invalidValue' },
  invalid_config: { httpStatus: 500, retry: 'never' },
  unauthenticated: { httpStatus: 401, retry: 'never' },
  forbidden: { httpStatus: 403, retry: 'never' },
  not_found: { httpStatus: 404, retry: 'never' },
  conflict: { httpStatus: 409, retry: 'never', scimType: 'uniqueness' },
  version_mismatch: { httpStatus: 412, retry: 'never' },
  too_large: { httpStatus: 413, retry: 'never', scimType: 'tooMany' },
  too_many_requests: { httpStatus: 429, retry: 'later' },
  method_not_allowed: { httpStatus: 405, retry: 'never' },
  unsupported_media_type: { httpStatus: 415, retry: 'never' },
  // runs
  run_live: { httpStatus: 409, retry: 'later' },
  run_state: { httpStatus: 409, retry: 'never' },
  digest_mismatch: { httpStatus: 409, retry: 'never' },
  approval_expired: { httpStatus: 409, retry: 'never' },
  second_approver: { httpStatus: 409, retry: 'never' },
  fenced: { httpStatus: 409, retry: 'never' },
  canceled: { httpStatus: 409, retry: 'never' },
  connection_state: { httpStatus: 409, retry: 'never' },
  too_many_failures: { httpStatus: 409, retry: 'never' },
  // directories
  directory_unreachable: { httpStatus: 502, retry: 'later' },
  directory_tls: { httpStatus: 502, retry: 'never' },
  directory_auth: { httpStatus: 502, retry: 'never' },
  directory_permission: { httpStatus: 502, retry: 'never' },
  directory_not_found: { httpStatus: 502, retry: 'never' },
  directory_limit: { httpStatus: 502, retry: 'later' },
  directory_throttled: { httpStatus: 502, retry: 'later' },
  directory_protocol: { httpStatus: 502, retry: 'later' },
  directory_incomplete: { httpStatus: 502, retry: 'later' },
  directory_history_lost: { httpStatus: 502, retry: 'reread' },
  // ourselves
  database_unavailable: { httpStatus: 503, retry: 'later' },
  database_too_old: { httpStatus: 500, retry: 'never' },
  database_roles: { httpStatus: 500, retry: 'never' },
  data_folder: { httpStatus: 500, retry: 'never' },
  port_in_use: { httpStatus: 500, retry: 'never' },
  secret_unreadable: { httpStatus: 500, retry: 'never' },
  shutting_down: { httpStatus: 503, retry: 'later' },
  internal: { httpStatus: 500, retry: 'never' },
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof errorCodes;

export type RollcallErrorOptions = {
  readonly cause?: unknown;
  /** What the admin should do; one sentence. Printed after the message. */
  readonly remedy?: string;
  /** The foreign code or text, verbatim (AADSTS number, LDAP result code, SQLSTATE). */
  readonly raw?: string;
  /** Machine-readable facts: ids, counts, paths. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Earliest useful retry, in seconds. */
  readonly retryAfterSeconds?: number;
  /** Overrides the table's SCIM detail keyword. */
  readonly scimType?: string;
};

export class RollcallError extends Error {
  override readonly name = 'RollcallError';
  readonly code: ErrorCode;
  readonly remedy: string | undefined;
  readonly raw: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;
  readonly scimType: string | undefined;

  constructor(code: ErrorCode, message: string, options: RollcallErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
    this.raw = options.raw;
    this.details = options.details ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
    const facts: CodeFacts = errorCodes[code];
    this.scimType = options.scimType ?? facts.scimType;
  }

  get httpStatus(): number {
    return errorCodes[this.code].httpStatus;
  }

  get retry(): RetryClass {
    return errorCodes[this.code].retry;
  }
}

export function isRollcallError(error: unknown, code?: ErrorCode): error is RollcallError {
  return error instanceof RollcallError && (code === undefined || error.code === code);
}

/** The sentence an admin reads: message, remedy, then the raw code in brackets. */
export function describeError(error: unknown): string {
  const raw = error instanceof RollcallError && error.raw !== undefined ? ` [${error.raw}]` : '';
  return `${adviceOf(error)}${raw}`;
}

/** Message and remedy, for where the raw code stands in a place of its own. */
export function adviceOf(error: unknown): string {
  if (!(error instanceof RollcallError)) return error instanceof Error ? error.message : String(error);
  return error.remedy === undefined ? error.message : `${error.message} ${error.remedy}`;
}
