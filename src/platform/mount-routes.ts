/**
 * platform/mount-routes: turns route descriptions into one Express router that denies by default.
 *
 * Authentication is the first thing inside the router that holds the handlers, not a path prefix beside them: however a
 * path is spelled, a handler can only be reached through it. An unknown path therefore answers 401 to a stranger and
 * 404 to a caller with a credential.
 */
import { Router, type Request, type RequestHandler, type Response } from 'express';
import type { z } from 'zod';
import { RollcallError } from '../core/errors.ts';
import { describeIssue } from '../core/input-faults.ts';
import { allows } from '../core/permissions.ts';
import { jsonBody } from './json-body.ts';
import { invalidInput, type ProblemFault } from './problem.ts';
import { requestIdOf } from './request.ts';
import type { Principal, Route, StreamedAnswer } from './route.ts';
import { sendStream } from './send-stream.ts';

/** Resolves the Authorization header to a principal; throws `unauthenticated`. `address` is the client's. */
export type Authenticate = (
  authorization: string | undefined,
  requestId: string,
  address: string | undefined,
) => Promise<Principal>;

export type MountOptions = {
  readonly routes: readonly Route[];
  readonly authenticate: Authenticate;
  readonly bodyLimitBytes: number;
  /** Handlers are told to stop after this long. */
  readonly requestTimeoutMs: number;
  /** Aborted when the server stops: answers without an end must end then. */
  readonly stopping?: AbortSignal;
};

const principals = new WeakMap<Request, Principal>();

export function mountRoutes(options: MountOptions): Router {
  const router = Router({ caseSensitive: true, strict: true });
  router.use(async (request, _response, next) => {
    principals.set(
      request,
      await options.authenticate(request.headers.authorization, requestIdOf(request), request.ip),
    );
    next();
  });
  const body = jsonBody({ limitBytes: options.bodyLimitBytes });
  for (const route of mostSpecificFirst(options.routes)) {
    const handlers = route.body === undefined ? [] : [body];
    router[route.method](route.path, ...handlers, handlerOf(route, options));
  }
  for (const [path, methods] of methodsByPath(options.routes)) router.all(path, refuseMethod(methods));
  router.use(() => {
    throw new RollcallError('not_found', 'There is nothing at this address.');
  });
  return router;
}

/** `/runs/latest` before `/runs/:runId`: Express takes the first match, whatever order the rooms were listed in. */
export function mostSpecificFirst(routes: readonly Route[]): Route[] {
  const key = (route: Route) => route.path.replaceAll(/:[A-Za-z]+/g, '\u{10FFFF}');
  return routes.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

function methodsByPath(routes: readonly Route[]): Map<string, string[]> {
  const byPath = new Map<string, string[]>();
  for (const route of routes) {
    byPath.set(route.path, [...(byPath.get(route.path) ?? []), route.method.toUpperCase()]);
  }
  return byPath;
}

function refuseMethod(methods: readonly string[]): RequestHandler {
  const allowed = (methods.includes('GET') ? [...methods, 'HEAD'] : [...methods]).join(', ');
  return (_request, response) => {
    response.setHeader('Allow', allowed);
    throw new RollcallError('method_not_allowed', `This address answers ${allowed} only.`);
  };
}

function handlerOf(route: Route, options: MountOptions): RequestHandler {
  return async (request, response) => {
    // metrics and logs name the route, not the path: paths carry ids
    response.locals['route'] = route.path;
    const principal = principals.get(request);
    if (principal === undefined) throw new RollcallError('unauthenticated', 'A bearer token is needed.');
    if (route.permission !== 'any' && !allows(principal.role, route.permission)) {
      throw new RollcallError(
        'forbidden',
        `This needs ${route.permission.level} access to ${route.permission.object.replaceAll('_', ' ')}.`,
        { remedy: 'Use a token whose role has it.' },
      );
    }
    const input = readInput(route, request);
    const result = await route.handler(input, {
      principal,
      requestId: requestIdOf(request),
      signal: route.streams === null ? requestSignal(response, options) : streamSignal(response, options),
      header: (name) => {
        const value = request.headers[name];
        return typeof value === 'string' ? value : null;
      },
    });
    if (response.destroyed) return;
    if (route.streams !== null) return sendStream(request, response, result as StreamedAnswer);
    response.status(route.status);
    if (route.status === 204) response.end();
    // parsed, so that a column added to a row never leaves by accident
    else response.json(route.response.parse(result));
  };
}

function requestSignal(response: Response, { requestTimeoutMs }: MountOptions): AbortSignal {
  return AbortSignal.any([closedSignal(response), AbortSignal.timeout(requestTimeoutMs)]);
}

/** Aborted in every case in the end, so that what a stream holds is let go of. */
function streamSignal(response: Response, { stopping }: MountOptions): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    controller.abort(new RollcallError('canceled', 'The answer has ended.'));
  });
  return stopping === undefined ? controller.signal : AbortSignal.any([controller.signal, stopping]);
}

/** Aborted when the client goes away. */
function closedSignal(response: Response): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new RollcallError('canceled', 'The client went away.'));
  });
  return controller.signal;
}

type Input = { readonly params: unknown; readonly query: unknown; readonly body: unknown };

/** Reads all three parts before it answers, so that every fault is told at once. */
function readInput(route: Route, request: Request): Input {
  const faults: ProblemFault[] = [];
  const params = parsePart(route.params, { ...request.params }, faults, toParameterFault);
  const query = parsePart(route.query, { ...request.query }, faults, toParameterFault);
  const body = parsePart(route.body, request.body ?? null, faults, toPointerFault);
  if (route.query === undefined) {
    for (const name of Object.keys(request.query)) {
      faults.push({ detail: 'This address takes no query parameters.', parameter: name });
    }
  }
  if (faults.length > 0) throw invalidInput('The request has faults; none of it was carried out.', faults);
  return { params, query, body };
}

type ToFault = (detail: string, path: readonly PropertyKey[]) => ProblemFault;

function parsePart(schema: z.ZodType | undefined, value: unknown, faults: ProblemFault[], toFault: ToFault): unknown {
  if (schema === undefined) return undefined;
  const unstorable = unstorableTexts(value).map((path) => toFault(notStored, path));
  if (unstorable.length > 0) {
    faults.push(...unstorable);
    return undefined;
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) faults.push(toFault('Unknown name.', [...issue.path, key]));
    } else faults.push(toFault(sentenceOf(issue), issue.path));
  }
  return undefined;
}

/** `Must be at most 200.` */
function sentenceOf(issue: z.core.$ZodIssue): string {
  const words = describeIssue(issue, 'an object');
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1).replace(/\.$/, '')}.`;
}

const notStored = 'The text has a character that can not be stored: U+0000, or half of a surrogate pair.';

/** Where Postgres would refuse a text (PostgreSQL manual, section 8.3 and 8.14.1): for the caller to correct, no fault of ours. */
function unstorableTexts(value: unknown, path: readonly PropertyKey[] = []): (readonly PropertyKey[])[] {
  if (typeof value === 'string') return value.includes('\0') || !value.isWellFormed() ? [path] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(unstorableTexts(key).length === 0 ? [] : [path]),
    ...unstorableTexts(inner, [...path, key]),
  ]);
}

function toParameterFault(detail: string, path: readonly PropertyKey[]): ProblemFault {
  return { detail, parameter: path.map(String).join('.') };
}

/** RFC 6901 section 6: the pointer as a URI fragment. */
function toPointerFault(detail: string, path: readonly PropertyKey[]): ProblemFault {
  const steps = path.map((step) => encodeURIComponent(String(step).replaceAll('~', '~0').replaceAll('/', '~1')));
  return { detail, pointer: `#${steps.map((step) => `/${step}`).join('')}` };
}
