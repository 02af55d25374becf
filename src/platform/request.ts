/** platform/request: what every HTTP request gets: an id, a bound on how many are handled at once, a log line, a count. */
import { randomUUID } from 'node:crypto';
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import { RollcallError } from '../core/errors.ts';
import type { Logger } from './logger.ts';
import type { HttpMetrics } from './metrics.ts';
import { sendProblem, translate } from './problem.ts';

const requestIds = new WeakMap<Request, string>();

/** The caller's id is taken when it looks like one, so that a proxy's logs and ours can be joined. */
const plausibleId = /^[0-9A-Za-z._-]{8,64}$/;

export function requestIdOf(request: Request): string {
  const known = requestIds.get(request);
  if (known !== undefined) return known;
  const given = request.headers['x-request-id'];
  const id = typeof given === 'string' && plausibleId.test(given) ? given : randomUUID();
  requestIds.set(request, id);
  return id;
}

/** Answers 429 when more than `max` requests are being handled; a slow client counts until it is done. */
export function limitInFlight(max: number): RequestHandler {
  let inFlight = 0;
  return (_request, response, next) => {
    if (inFlight >= max) {
      throw new RollcallError('too_many_requests', 'Too many requests are being handled just now.', {
        retryAfterSeconds: 1,
      });
    }
    inFlight += 1;
    response.once('close', () => {
      inFlight -= 1;
    });
    next();
  };
}

export function observeRequests(logger: Logger, metrics: HttpMetrics): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    const requestId = requestIdOf(request);
    response.setHeader('X-Request-Id', requestId);
    response.once('close', () => {
      const durationMs = performance.now() - startedAt;
      const route = routeOf(response);
      metrics.observe(request.method, route, response.statusCode, durationMs / 1000);
      logger.debug(
        { requestId, method: request.method, route, status: response.statusCode, durationMs: Math.round(durationMs) },
        'request',
      );
    });
    next();
  };
}

/** The description of the route, never the path: paths carry ids and whatever strangers try. */
function routeOf(response: Response): string {
  const route: unknown = response.locals['route'];
  return typeof route === 'string' ? route : 'none';
}

/** Last handler of an app: every error as a problem, and in the log when it is ours. */
export function answerErrors(logger: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    const requestId = requestIdOf(request);
    const known = translate(error);
    if (known.httpStatus >= 500) logger.error({ requestId, route: routeOf(response), err: known }, 'request failed');
    if (response.headersSent) {
      // too late for a problem: let Express cut the connection, so that half an answer is never taken for a whole one
      next(error);
      return;
    }
    sendProblem(response, known, requestId);
  };
}
