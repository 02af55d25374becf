/**
 * One https request: bounded in time and size, no redirects, the answer whole or an error. node:https rather than
 * fetch, because a certificate authority and a resolver of its own belong to each connection (operations.md).
 */
import { Agent, request as sendRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import type { LookupFunction } from 'node:net';
import { createSecureContext, getCACertificates } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import { describeTransportFailure } from './transport-failures.ts';

/** How the composition root says where connections may go (platform/dialer): `lookup` refuses forbidden addresses. */
export type ConnectOptions = { readonly lookup?: LookupFunction; readonly ca?: readonly string[] };

export type HttpRequest = {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
};

export type HttpReply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
};

/** `close` ends the kept connections; call it when the read or test is over. */
export type HttpsChannel = { send(request: HttpRequest): Promise<HttpReply>; close(): void };

export function openHttpsChannel(connect: ConnectOptions, caPem: string | undefined): HttpsChannel {
  const secureContext = secureContextOf(connect, caPem);
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 8,
    ...(secureContext === undefined ? {} : { secureContext }),
    ...(connect.lookup === undefined ? {} : { lookup: connect.lookup }),
  });
  return {
    send: async (request) => {
      await checkLiteralAddress(request.url, connect.lookup);
      return exchange(agent, request);
    },
    close: () => agent.destroy(),
  };
}

/** Reading the 150 usual certificates takes longer than a handshake, so the last few contexts are kept. */
const keptContexts = new Map<string, SecureContext>();
const maxKeptContexts = 16;

/** The usual authorities and the further ones; undefined when there are no further ones. */
export function secureContextOf(connect: ConnectOptions, caPem: string | undefined): SecureContext | undefined {
  const extra = [...(connect.ca ?? []), ...(caPem === undefined ? [] : [caPem])];
  if (extra.length === 0) return undefined;
  const key = extra.join('\n');
  const kept = keptContexts.get(key);
  if (kept !== undefined) return kept;
  const made = createSecureContext({ ca: [...getCACertificates('default'), ...extra] });
  const [oldest] = keptContexts.keys();
  if (oldest !== undefined && keptContexts.size >= maxKeptContexts) keptContexts.delete(oldest);
  keptContexts.set(key, made);
  return made;
}

/** Node never calls `lookup` for a host that already is an address, so such a host is checked here. */
export async function checkLiteralAddress(url: string, lookup: LookupFunction | undefined): Promise<void> {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (lookup === undefined || isIP(host) === 0) return;
  await new Promise<void>((resolve, reject) => {
    lookup(host, { all: true }, (error) => (error === null ? resolve() : reject(translate(error, url))));
  });
}

function translate(error: unknown, url: string): RollcallError {
  if (isRollcallError(error)) return error;
  if (error instanceof Error && isRollcallError(error.cause)) return error.cause;
  return describeTransportFailure(error, new URL(url).host);
}

async function exchange(agent: Agent, request: HttpRequest): Promise<HttpReply> {
  request.signal.throwIfAborted();
  const outgoing = sendRequest(request.url, { agent, method: request.method, headers: request.headers });
  let isLate = false;
  // not AbortSignal.any: one signal and one timer for each of thousands of requests are left to the garbage collector
  const onAbort = (): void => void outgoing.destroy(new Error('aborted'));
  const timer = setTimeout(() => {
    isLate = true;
    onAbort();
  }, request.timeoutMs);
  request.signal.addEventListener('abort', onAbort, { once: true });
  try {
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.on('response', resolve);
      outgoing.on('error', reject);
      outgoing.end(request.body);
    });
    const text = await readText(incoming, request);
    return { status: incoming.statusCode ?? 0, headers: flatHeaders(incoming), text };
  } catch (error) {
    request.signal.throwIfAborted();
    if (isLate) {
      const host = new URL(request.url).host;
      const seconds = request.timeoutMs / 1_000;
      throw new RollcallError('directory_unreachable', `${host} did not answer within ${seconds} seconds.`, {
        cause: error,
        raw: 'ETIMEDOUT',
      });
    }
    throw translate(error, request.url);
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Pages are read uncompressed on purpose (docs/decisions): nobody is asked to compress, so what comes compressed is
 * not inflated, and a small answer stays small.
 */
function refuseEncoding(incoming: IncomingMessage, request: HttpRequest): void {
  const encoding = incoming.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return;
  incoming.destroy();
  throw new RollcallError('directory_protocol', `${new URL(request.url).host} sent a compressed answer unasked.`, {
    raw: `Content-Encoding: ${encoding.slice(0, 50)}`,
    remedy: 'A proxy between this server and Microsoft is the usual cause; it must not compress.',
  });
}

/** Below this size an answer can not grow to more than a few megabytes, whatever is in it. */
const harmlessBytes = 512 * 1_024;
/** A page of 45,000 group members, the densest that makes sense, has 135,000. */
const mostMarks = 200_000;

/** Three bytes of JSON can become an object of fifty: what would be all brackets and commas is not parsed. */
function refuseDense(chunks: readonly Buffer[], bytes: number, request: HttpRequest): void {
  if (bytes <= harmlessBytes) return;
  let marks = 0;
  for (const chunk of chunks) {
    for (const byte of chunk) {
      // , [ {
      if (byte === 0x2c || byte === 0x5b || byte === 0x7b) marks += 1;
    }
  }
  if (marks <= mostMarks) return;
  throw new RollcallError('directory_limit', `An answer of ${new URL(request.url).host} has too many parts.`, {
    raw: `${marks} parts`,
    remedy: 'Nothing was changed. Ask for help if it happens again.',
  });
}

/** Decoded chunk by chunk: a copy of all bytes in one piece would double what a large answer takes. */
async function readText(incoming: IncomingMessage, request: HttpRequest): Promise<string> {
  refuseEncoding(incoming, request);
  const { chunks, bytes } = await readBody(incoming, request);
  refuseDense(chunks, bytes, request);
  const decoder = new StringDecoder('utf8');
  const parts = chunks.map((chunk) => decoder.write(chunk));
  return parts.join('') + decoder.end();
}

async function readBody(
  incoming: IncomingMessage,
  request: HttpRequest,
): Promise<{ readonly chunks: readonly Buffer[]; readonly bytes: number }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes > request.maxBytes) incoming.destroy(tooLarge(request));
    });
    incoming.on('error', reject);
    // after an error and after a connection that broke off too; the first word counts
    incoming.on('close', () => (incoming.complete ? resolve({ chunks, bytes }) : reject(brokenOff())));
  });
}

function brokenOff(): Error {
  return Object.assign(new Error('The connection broke off.'), { code: 'ECONNRESET' });
}

function tooLarge(request: HttpRequest): RollcallError {
  const host = new URL(request.url).host;
  const message = `An answer of ${host} is larger than ${request.maxBytes / 1_048_576} MiB.`;
  const remedy = 'Nothing was changed. Ask for help if it happens again.';
  return new RollcallError('directory_limit', message, { remedy });
}

function flatHeaders(incoming: IncomingMessage): Record<string, string> {
  const entries = Object.entries(incoming.headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as const],
  );
  return Object.fromEntries(entries);
}
