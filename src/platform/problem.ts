/** platform/problem: errors as application/problem+json (RFC 9457). */
import type { Response } from 'express';
import { z } from 'zod';
import { isRollcallError, RollcallError, type ErrorCode } from '../core/errors.ts';

export const problemSchema = z.object({
  type: z.string().describe('A URI that names the kind of problem; stable.'),
  title: z.string().describe('The kind of problem in words.'),
  status: z.int().describe('The HTTP status.'),
  detail: z.string().describe('One sentence about this occurrence.'),
  code: z.string().describe('The error code; docs/errors.md has a remedy for each.'),
  remedy: z.string().optional().describe('What to do about it.'),
  raw: z.string().optional().describe('The foreign code or text, verbatim.'),
  requestId: z.string().describe('Stands in the log lines of this request.'),
  errors: z
    .array(
      z.object({
        detail: z.string(),
        pointer: z.string().optional().describe('JSON pointer into the body (RFC 6901), as a URI fragment.'),
        parameter: z.string().optional().describe('Name of the path or query parameter.'),
      }),
    )
    .optional()
    .describe('Every fault found in the input.'),
});
export type Problem = z.infer<typeof problemSchema>;
export type ProblemFault = NonNullable<Problem['errors']>[number];

/** A fault of the request as a whole, carrying each single fault. */
export function invalidInput(message: string, faults: readonly ProblemFault[]): RollcallError {
  return new RollcallError('invalid_input', message, { details: { faults } });
}

export function toProblem(error: unknown, requestId: string): Problem {
  const known = translate(error);
  const faults = known.details['faults'];
  return {
    type: `urn:rollcall:error:${known.code}`,
    title: titleOf(known.code),
    status: known.httpStatus,
    detail: known.message,
    code: known.code,
    ...(known.remedy === undefined ? {} : { remedy: known.remedy }),
    ...(known.raw === undefined || known.code === 'internal' ? {} : { raw: known.raw }),
    requestId,
    ...(Array.isArray(faults) ? { errors: faults as ProblemFault[] } : {}),
  };
}

export function sendProblem(response: Response, error: unknown, requestId: string): Problem {
  const problem = toProblem(error, requestId);
  const retryAfterSeconds = isRollcallError(error) ? error.retryAfterSeconds : undefined;
  // whole seconds: Okta reads nothing else
  if (retryAfterSeconds !== undefined) response.setHeader('Retry-After', String(Math.ceil(retryAfterSeconds)));
  else if (problem.status === 503 || problem.status === 429) response.setHeader('Retry-After', '5');
  if (problem.status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="rollcall"');
  response.status(problem.status).type('application/problem+json').send(JSON.stringify(problem));
  return problem;
}

/** body-parser's error types (its README, "Errors"), which carry a status of their own. */
const bodyFaults: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  'entity.too.large': ['too_large', 'The body is larger than this address accepts.'],
  'entity.parse.failed': ['invalid_input', 'The body is not valid JSON, or has a key named __proto__.'],
  'encoding.unsupported': ['unsupported_media_type', 'The body has a content encoding we do not read.'],
  'charset.unsupported': ['unsupported_media_type', 'The body must be UTF-8.'],
  'request.aborted': ['invalid_input', 'The body ended before its announced length.'],
  'request.size.invalid': ['invalid_input', 'The body does not have its announced length.'],
};

/** Any error as one of ours. What we do not know is `internal`, and its text stays in the log. */
export function translate(error: unknown): RollcallError {
  if (isRollcallError(error)) return error;
  const type: unknown = error instanceof Error ? Reflect.get(error, 'type') : undefined;
  const known = typeof type === 'string' ? bodyFaults[type] : undefined;
  if (known !== undefined) return new RollcallError(known[0], known[1], { cause: error });
  if (error instanceof URIError) {
    return new RollcallError('invalid_input', 'The address has a broken percent escape.', { cause: error });
  }
  return new RollcallError('internal', 'Something went wrong on our side.', {
    cause: error,
    remedy: 'Give the request id to the operator: the log has the rest.',
  });
}

function titleOf(code: ErrorCode): string {
  const words = code.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
