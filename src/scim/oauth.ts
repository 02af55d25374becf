/**
 * The token endpoint of a connection: OAuth 2 client credentials (RFC 6749 sections 2.3.1, 4.4, 5). Before the guard,
 * because the caller has no token yet; a form in, plain JSON out, errors in OAuth's words.
 */
import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express';
import { errorCodes, isRollcallError } from '../core/errors.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import { requestIdOf } from '../platform/request.ts';
import { createRateLimit } from './rate-limit.ts';

/** What access answers; the shapes agree with its door. */
export type IssueAccessToken = (request: {
  readonly connectionId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scopes: readonly string[];
  readonly address: string | undefined;
}) => Promise<
  | { readonly kind: 'issued'; readonly text: string; readonly seconds: number; readonly scopes: readonly string[] }
  | { readonly kind: 'invalid_client'; readonly refused: { readonly reason: string } | null }
  | { readonly kind: 'invalid_scope' }
>;

type OAuthOptions = {
  readonly issueAccessToken: IssueAccessToken;
  readonly log: Logger;
  readonly clock: Pick<Clock, 'now'>;
};

const maxBodyBytes = 10_000;
/** Of one connection: each token is a row that lives for an hour, and each attempt at a secret costs a look-up. */
const requestsPerSecond = 10;

export function mountTokenEndpoint(router: Router, options: OAuthOptions): void {
  const path = '/:connectionId/oauth/token';
  const form = express.text({ type: () => true, limit: maxBodyBytes });
  const rateLimit = createRateLimit(requestsPerSecond, options.clock);
  const slowDown: RequestHandler = (request, _response, next) => {
    rateLimit.take(String(request.params['connectionId']).toLowerCase());
    next();
  };
  router.post(path, slowDown, form, answerToken(options));
  router.all(path, (_request, response) => {
    response.set('Allow', 'POST');
    refuse(response, 405, 'invalid_request', 'The token endpoint takes POST.');
  });
  router.use(path, answerFault(options));
}

function answerToken({ issueAccessToken, log }: OAuthOptions): RequestHandler {
  return async (request, response) => {
    response.locals['route'] = '/scim/v2/:connectionId/oauth/token';
    const text: unknown = request.body;
    const form = new URLSearchParams(typeof text === 'string' ? text : '');
    const type = request.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase();
    if (type !== 'application/x-www-form-urlencoded') {
      return refuse(response, 400, 'invalid_request', 'The body must be application/x-www-form-urlencoded.');
    }
    if (form.get('grant_type') !== 'client_credentials') {
      const error = form.has('grant_type') ? 'unsupported_grant_type' : 'invalid_request';
      return refuse(response, 400, error, 'grant_type must be client_credentials.');
    }
    const client = readClient(request, form);
    const answer =
      client === null
        ? ({ kind: 'invalid_client', refused: null } as const)
        : await issueAccessToken({
            ...client,
            connectionId: String(request.params['connectionId']),
            scopes: (form.get('scope') ?? '').split(' ').filter((scope) => scope !== ''),
            address: request.ip,
          });
    switch (answer.kind) {
      case 'issued':
        return send(response, 200, {
          access_token: answer.text,
          token_type: 'Bearer',
          expires_in: answer.seconds,
          ...(answer.scopes.length === 0 ? {} : { scope: answer.scopes.join(' ') }),
        });
      case 'invalid_scope':
        return refuse(response, 400, 'invalid_scope', 'The key does not have all of these scopes.');
      case 'invalid_client':
        if (answer.refused !== null) {
          log.warn(
            { requestId: requestIdOf(request), reason: answer.refused.reason },
            'a key of a SCIM connection was refused',
          );
        }
        response.set('WWW-Authenticate', 'Basic realm="scim"');
        return refuse(
          response,
          401,
          'invalid_client',
          'The client is unknown here, or its secret is wrong or has ended.',
        );
    }
  };
}

/** In the Authorization header (form-encoded first, RFC 6749 section 2.3.1) or in the form. */
function readClient(
  request: Request,
  form: URLSearchParams,
): { readonly clientId: string; readonly clientSecret: string } | null {
  const basic = /^basic +([0-9a-z+/=]+)$/i.exec(request.get('authorization') ?? '')?.[1];
  if (basic === undefined) {
    const [clientId, clientSecret] = [form.get('client_id'), form.get('client_secret')];
    return clientId === null || clientSecret === null ? null : { clientId, clientSecret };
  }
  const text = Buffer.from(basic, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  // ids and secrets of ours have only letters, digits and "_": there is nothing to decode
  return colon < 0 ? null : { clientId: text.slice(0, colon), clientSecret: text.slice(colon + 1) };
}

function send(response: Response, status: number, body: Readonly<Record<string, unknown>>): void {
  // RFC 6749 section 5.1: what carries a token is kept by no cache
  response.status(status).set({ 'Cache-Control': 'no-store', Pragma: 'no-cache' }).json(body);
}

function refuse(response: Response, status: number, error: string, description: string): void {
  send(response, status, { error, error_description: description });
}

/** What the body reader throws, and ourselves: OAuth has no words for a server that is away but 503. */
function answerFault({ log }: OAuthOptions): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const given: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'status') : undefined;
    const isTheirs = typeof given === 'number' && given >= 400 && given < 500;
    if (isTheirs) {
      refuse(response, given, 'invalid_request', 'The request could not be read.');
      return;
    }
    if (isRollcallError(error, 'too_many_requests')) {
      response.set('Retry-After', String(error.retryAfterSeconds ?? 1));
      refuse(response, 429, 'temporarily_unavailable', 'Too many tokens are asked for; keep one until it ends.');
      return;
    }
    log.error({ err: error, requestId: requestIdOf(request) }, 'a token request failed');
    const isAway = isRollcallError(error) && errorCodes[error.code].retry === 'later';
    if (isAway) response.set('Retry-After', '5');
    refuse(response, isAway ? 503 : 500, isAway ? 'temporarily_unavailable' : 'server_error', 'Try again later.');
  };
}
