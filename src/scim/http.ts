/** SCIM over Express: authentication, body and query, content types, errors. Default-deny: it guards every path. */
import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express';
import { RollcallError } from '../core/errors.ts';
import { isUuid, newId } from '../core/ids.ts';
import { requestIdOf } from '../platform/request.ts';
import type { Endpoint, Method } from './endpoints.ts';
import { observe, setFacts } from './http-log.ts';
import { parseBody, type JsonObject } from './json.ts';
import type { RateLimit } from './rate-limit.ts';
import type { Handler, ScimAnswer } from './request.ts';
import type { ScimCaller, ScimOptions } from './scim.ts';
import { answerError, errorUrn, notFound } from './scim-error.ts';

type HttpOptions = Pick<ScimOptions, 'authenticate' | 'log' | 'publicUrl' | 'clock' | 'requestLog'> & {
  readonly rateLimit: RateLimit;
};

const scimType = 'application/scim+json';
const jsonType = 'application/json';

export function mountEndpoints(router: Router, options: HttpOptions, endpoints: readonly Endpoint[]): void {
  router.use('/:connectionId', guard(options));
  for (const endpoint of endpoints) {
    const body = express.raw({ type: () => true, limit: endpoint.maxBodyBytes });
    router.all(`/:connectionId${endpoint.path}`, checkMethod(endpoint), body, dispatch(options, endpoint));
  }
  // RFC 7644 section 3.11: a connection's token is no user
  router.all('/:connectionId/Me', (request, response) => sendNotImplemented(request, response));
  router.use(() => {
    throw notFound();
  });
  router.use(sendError(options));
}

/** Resolves the token; another connection's token gets the answer an unknown one gets. */
function guard(options: HttpOptions): RequestHandler {
  return async (request, response, next) => {
    const observed = observe(options, request, response);
    const match = /^bearer +(\S+)$/i.exec(request.get('authorization') ?? '');
    const caller = match?.[1] === undefined ? null : await options.authenticate(match[1], request.ip);
    const connectionId = request.params['connectionId']?.toString().toLowerCase();
    if (caller !== null && caller.connectionId === connectionId) observed.by(caller);
    const isAllowed = caller !== null && !('refusal' in caller) && caller.connectionId === connectionId;
    if (!isAllowed) {
      throw new RollcallError('unauthenticated', 'The bearer token is missing, unknown, or not of this connection.');
    }
    setCaller(response, caller);
    response.set(options.rateLimit.take(caller.tokenId));
    next();
  };
}

/** Before the body: what is not supported or not allowed is not read either. */
function checkMethod(endpoint: Endpoint): RequestHandler {
  return (request, response, next) => {
    handlerOf(endpoint, request);
    checkScopes(endpoint, request.method, callerOf(response));
    next();
  };
}

function handlerOf(endpoint: Endpoint, request: Request): Handler {
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const handler = isMethod(method) ? endpoint.methods[method] : undefined;
  if (handler === undefined) throw methodNotAllowed(endpoint);
  return handler;
}

/** A token without scopes may do everything on its connection (rule 12). */
function checkScopes(endpoint: Endpoint, method: string, caller: ScimCaller): void {
  if (caller.scopes.length === 0) return;
  const isRead = method === 'GET' || method === 'HEAD' || endpoint.path.endsWith('/.search');
  const missing = endpoint.objects
    .map((object) => `${object}:${isRead ? 'read' : 'write'}`)
    .filter((scope) => !caller.scopes.includes(scope));
  if (missing.length === 0) return;
  throw new RollcallError('forbidden', `The token lacks the scope ${missing.join(' ')}.`, {
    details: { missingScopes: missing.join(' ') },
  });
}

function dispatch(options: HttpOptions, endpoint: Endpoint): RequestHandler {
  return async (request, response) => {
    const handler = handlerOf(endpoint, request);
    const caller = callerOf(response);
    response.locals['route'] = `/scim/v2/:connectionId${endpoint.path}`;
    const requestId = changeIdOf(request);
    const base = baseOf(options, request, caller);
    const body = readBody(request);
    const notes: string[] = [];
    setFacts(response, { requestId, body, notes });
    const answer = await handler({
      context: { tenantId: caller.tenantId, connectionId: caller.connectionId, requestId },
      tokenId: caller.tokenId,
      settings: caller.settings,
      base,
      id: textParam(request, 'id'),
      query: readQuery(request.url),
      ifMatch: request.get('if-match'),
      ifNoneMatch: request.get('if-none-match'),
      body,
      log: options.log,
      note: (text) => notes.push(text),
    });
    send(request, response, answer);
  };
}

/** The id on change rows: the one in our log, unless the client chose that (two requests must not share one). */
function changeIdOf(request: Request): string {
  const id = requestIdOf(request);
  return request.headers['x-request-id'] === undefined && isUuid(id) ? id : newId();
}

export function isMethod(text: string): text is Method {
  return ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].includes(text);
}

function methodNotAllowed(endpoint: Endpoint): RollcallError {
  return new RollcallError('method_not_allowed', 'This method is not supported here.', {
    details: { allow: Object.keys(endpoint.methods).join(', ') },
  });
}

function setCaller(response: Response, caller: ScimCaller): void {
  response.locals['scimCaller'] = caller;
}

function callerOf(response: Response): ScimCaller {
  const caller: unknown = response.locals['scimCaller'];
  // the guard ran before: it throws or sets the caller
  return caller as ScimCaller;
}

function textParam(request: Request, name: string): string {
  const value = request.params[name];
  return typeof value === 'string' ? value : '';
}

function baseOf(options: HttpOptions, request: Request, caller: ScimCaller): string {
  // baseUrl is where app mounted us; the caller's connection, not the path's spelling of it
  const origin = options.publicUrl ?? `${request.protocol}://${request.host}`;
  return `${origin}${request.baseUrl}/${caller.connectionId}`;
}

/** Parameter names in any case; the first of a repeated one. */
export function readQuery(url: string): ReadonlyMap<string, string> {
  const start = url.indexOf('?');
  const query = new Map<string, string>();
  if (start < 0) return query;
  for (const [name, value] of new URLSearchParams(url.slice(start + 1))) {
    const key = name.toLowerCase();
    if (!query.has(key)) query.set(key, value);
  }
  return query;
}

function readBody(request: Request): JsonObject {
  if (!['POST', 'PUT', 'PATCH'].includes(request.method)) return {};
  const type = request.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type !== '' && type !== scimType && type !== jsonType) {
    throw new RollcallError('unsupported_media_type', `The body must be ${scimType} or ${jsonType}.`);
  }
  const body: unknown = request.body;
  return parseBody(Buffer.isBuffer(body) ? body.toString('utf8') : '');
}

// ---------------------------------------------------------------- answers

/** RFC type unless the client asks for plain JSON, in Accept or by what it sends (OneLogin). */
function contentTypeFor(request: Request): string {
  const accept = request.get('accept')?.toLowerCase() ?? '';
  if (accept.includes(scimType)) return scimType;
  if (accept.includes(jsonType)) return jsonType;
  const sent = request.get('content-type')?.toLowerCase() ?? '';
  return sent.startsWith(jsonType) ? jsonType : scimType;
}

function send(request: Request, response: Response, answer: ScimAnswer): void {
  response.status(answer.status).set({ 'Cache-Control': 'no-store', ...answer.headers });
  if (answer.body === undefined) {
    response.end();
    return;
  }
  // written by ourselves: Express would compute an ETag of its own over the body
  const text = JSON.stringify(answer.body);
  response.set({
    'Content-Type': `${contentTypeFor(request)}; charset=utf-8`,
    'Content-Length': String(Buffer.byteLength(text)),
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}

function sendNotImplemented(request: Request, response: Response): void {
  const detail = 'This service does not offer this endpoint.';
  setFacts(response, { reason: detail });
  send(request, response, { status: 501, body: { schemas: [errorUrn], status: '501', detail } });
}

function sendError(options: HttpOptions): ErrorRequestHandler {
  return (error, request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const { status, headers, body, isOurs } = answerError(error);
    const { scimType: keyword, detail } = body;
    setFacts(response, {
      scimType: typeof keyword === 'string' ? keyword : null,
      reason: typeof detail === 'string' ? detail : null,
    });
    if (isOurs) {
      const requestId = requestIdOf(request);
      options.log.error({ err: error as unknown, method: request.method, requestId }, 'a SCIM request failed');
    }
    send(request, response, { status, headers, body: { ...body } as JsonObject });
  };
}
