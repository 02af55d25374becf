/** What counts as an answer: JSON that ends, of a status that means yes. Everything else is an error, never "empty". */
import { RollcallError } from '../../core/errors.ts';
import type { HttpReply } from './https-exchange.ts';
import { parseRetryAfter } from './patience.ts';

/** Statuses that heal by waiting. Graph and the sign-in service use the same ones. */
const transientStatuses = new Set([408, 429, 500, 502, 503, 504, 509]);

export function isTransientStatus(status: number): boolean {
  return transientStatuses.has(status);
}

/** The failure to retry, or null when the status is not one of those. */
export function transientStatus(reply: HttpReply, host: string, now: Date): RollcallError | null {
  if (!isTransientStatus(reply.status)) return null;
  const retryAfter = parseRetryAfter(reply.headers['retry-after'], now);
  const isThrottled = reply.status === 429;
  return new RollcallError(
    isThrottled ? 'directory_throttled' : 'directory_unreachable',
    isThrottled ? `${host} throttles this application.` : `${host} has a fault of its own (HTTP ${reply.status}).`,
    {
      // which limit it was, where the service says so
      raw: [`HTTP ${reply.status}`, reply.headers['x-ms-throttle-information'] ?? ''].join(' ').trim().slice(0, 200),
      remedy: 'Nothing to do: it is tried again.',
      // A zero would let a broken server make us spin.
      ...(retryAfter === null ? {} : { retryAfterSeconds: Math.max(1, retryAfter) }),
    },
  );
}

/** Throws `directory_protocol` for HTML, broken JSON and everything that is not an object. */
export function readJson(reply: HttpReply, host: string): Readonly<Record<string, unknown>> {
  const type = (reply.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (!/^application\/(.+\+)?json$/.test(type)) {
    throw protocolFault(`${host} answered with ${type === '' ? 'no content type' : type} instead of JSON.`, reply);
  }
  let body: unknown;
  try {
    body = JSON.parse(reply.text);
  } catch (cause) {
    throw protocolFault(`${host} answered with JSON that does not end or is not valid.`, reply, cause);
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw protocolFault(`${host} answered with JSON that is not an object.`, reply);
  }
  return body as Readonly<Record<string, unknown>>;
}

function protocolFault(message: string, reply: HttpReply, cause?: unknown): RollcallError {
  return new RollcallError('directory_protocol', message, {
    cause,
    raw: `HTTP ${reply.status}`,
    remedy: 'A proxy or captive portal between this server and Microsoft is the usual cause.',
  });
}
