/**
 * Microsoft Graph for the length of one read or test: the vendor's client with a middleware chain of our own,
 * Auth -> Retry -> Fetch (A8). The vendor's chain is not used because it withholds tokens silently, retries neither
 * 500 nor broken bodies, sleeps through an abort, and takes HTML for success (A7).
 */
import type { Context, Middleware, MiddlewareOptions } from '@microsoft/microsoft-graph-client';
import { Client, ResponseType } from '@microsoft/microsoft-graph-client';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { Clock } from '../../platform/clock.ts';
import type { EntraSecrets } from './credentials.ts';
import type { PartAnswer } from './graph-batch.ts';
import { getParts } from './graph-batch.ts';
import { describeGraphFailure } from './graph-failures.ts';
import type { EntraConfig } from './config.ts';
import { lendsNothing } from './host-identity.ts';
import type { ConnectOptions, HttpReply, HttpsChannel } from './https-exchange.ts';
import { openHttpsChannel } from './https-exchange.ts';
import type { Patience } from './patience.ts';
import { TryAgain, createPatience } from './patience.ts';
import { readJson, transientStatus } from './reply-checks.ts';
import type { EntraSettings } from './settings.ts';
import { hostsOf } from './settings.ts';
import type { TokenSource } from './token-source.ts';
import { createTokenSource } from './token-source.ts';

export type EntraDependencies = {
  readonly clock: Clock;
  /** In [0, 1); spreads retries. */
  readonly random: () => number;
  readonly connect?: ConnectOptions;
  /** The operator's part: identities of this machine and who may use them. Nobody, unless given. */
  readonly config?: EntraConfig;
};

export type SessionRequest = {
  readonly settings: EntraSettings;
  readonly secrets: EntraSecrets;
  readonly signal: AbortSignal;
  readonly tenantId?: string;
  readonly onWait?: (message: string) => void;
};

/** How long a session keeps trying: a run has ten minutes, a person who waits for a test has not. */
export type Endurance = {
  readonly maxWaitMs: number;
  readonly maxAttempts: number;
  /** Which requests of the application Graph throttles first (Microsoft Graph "throttling limits", request headers). */
  readonly priority: 'low' | 'normal';
};
export const runEndurance: Endurance = { maxWaitMs: 600_000, maxAttempts: 6, priority: 'low' };
export const testEndurance: Endurance = { maxWaitMs: 5_000, maxAttempts: 2, priority: 'normal' };

export type JsonObject = Readonly<Record<string, unknown>>;

/** `page`: an object with an array `value`, else the answer is asked for again. */
type Expectation = 'page' | 'object' | 'text';

export type GraphSession = {
  /** Scheme, host and port of Graph; every link must start with it. */
  readonly graphUrl: string;
  readonly tokens: TokenSource;
  /** How far our clock is ahead of Graph's, by the last answer; null before there was one. */
  clockSkewMs(): number | null;
  /** `url` is whole and is sent byte for byte: links are opaque (A1). */
  getPage(url: string): Promise<JsonObject>;
  /** One object rather than a list. */
  getObject(url: string): Promise<JsonObject>;
  /** Paths below /v1.0, 20 at most, in one request; null for what is not there. */
  getParts(paths: readonly string[]): Promise<readonly PartAnswer[]>;
  getText(url: string): Promise<string>;
  postForPage(url: string, body: unknown): Promise<JsonObject>;
  close(): void;
};

const requestTimeoutMs = 60_000;
/** Ten times the largest page seen; two are read at once, and a hostile server may fill them (A1: 200 users a page). */
const maxBodyBytes = 4 * 1_048_576;

/** One request on its way through the chain; the vendor's client carries it as middleware options. */
class Exchange implements MiddlewareOptions {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly expects: Expectation;
  readonly body: string | undefined;
  token = '';
  result: { readonly reply: HttpReply; readonly body: JsonObject | null } | undefined;
  failure: unknown;

  constructor(url: string, method: 'GET' | 'POST', expects: Expectation, body?: string) {
    this.url = url;
    this.method = method;
    this.expects = expects;
    this.body = body;
  }
}

function exchangeOf(context: Context): Exchange {
  const exchange = context.middlewareControl?.getMiddlewareOptions(Exchange);
  if (!(exchange instanceof Exchange)) throw new RollcallError('internal', 'A Graph request lost its exchange.');
  return exchange;
}

/** Puts the token on; a refused one is replaced once, past the cache. Keeps the failure, which the client would hide. */
function authMiddleware(tokens: TokenSource, next: Middleware): Middleware {
  return {
    execute: async (context) => {
      const exchange = exchangeOf(context);
      try {
        exchange.token = await tokens.get(false);
        await next.execute(context);
        if (exchange.result?.reply.status !== 401) return;
        exchange.token = await tokens.get(true);
        await next.execute(context);
      } catch (error) {
        exchange.failure = error;
        throw error;
      }
    },
  };
}

function retryMiddleware(patience: Patience, now: () => Date, next: Middleware): Middleware {
  return {
    execute: async (context) => {
      const exchange = exchangeOf(context);
      await patience.during(new URL(exchange.url).pathname, async () => {
        await next.execute(context);
        checkReply(exchange, now());
      });
    },
  };
}

/** Parses inside the retry scope, so that HTML, `{}` and cut bodies are asked for again like a 500. */
function checkReply(exchange: Exchange, now: Date): void {
  const reply = exchange.result?.reply;
  if (reply === undefined) throw new RollcallError('internal', 'A Graph request ended without an answer.');
  const host = new URL(exchange.url).host;
  const transient = transientStatus(reply, host, now) ?? transientNotFound(reply, host);
  if (transient !== null) throw new TryAgain(transient);
  if (reply.status < 200 || reply.status > 299 || exchange.expects === 'text') return;
  try {
    const body = readJson(reply, host);
    if (exchange.expects === 'page' && !Array.isArray(body['value'])) {
      throw new RollcallError('directory_protocol', `${host} answered without the list "value".`, {
        raw: `HTTP ${reply.status}`,
        remedy: 'Nothing was changed. A proxy between this server and Microsoft is the usual cause.',
      });
    }
    exchange.result = { reply, body };
  } catch (error) {
    throw isRollcallError(error) ? new TryAgain(error) : error;
  }
}

/** A nextLink may answer 404 UnknownError for a moment (microsoft-graph-docs issue 1000). */
function transientNotFound(reply: HttpReply, host: string): RollcallError | null {
  if (reply.status !== 404 || !reply.text.includes('UnknownError')) return null;
  return new RollcallError('directory_incomplete', `${host} lost its place between two pages.`, {
    raw: 'UnknownError',
  });
}

/** The client wants a Response, and hands it on as it is; what was read is in the exchange. */
const answered = new Response(null, { status: 200 });

type Sending = {
  readonly channel: HttpsChannel;
  readonly signal: AbortSignal;
  readonly priority: Endurance['priority'];
  readonly onReply: (reply: HttpReply) => void;
};

function sendMiddleware({ channel, signal, priority, onReply }: Sending): Middleware {
  return {
    execute: async (context) => {
      const exchange = exchangeOf(context);
      const reply = await channel.send({
        url: exchange.url,
        method: exchange.method,
        headers: { ...headersOf(exchange), 'x-ms-throttle-priority': priority },
        ...(exchange.body === undefined ? {} : { body: exchange.body }),
        timeoutMs: requestTimeoutMs,
        maxBytes: maxBodyBytes,
        signal,
      });
      exchange.result = { reply, body: null };
      onReply(reply);
      context.response = answered;
    },
  };
}

export function openGraphSession(
  dependencies: EntraDependencies,
  request: SessionRequest,
  endurance: Endurance,
): GraphSession {
  const { clock, random } = dependencies;
  const { settings, secrets, signal, onWait } = request;
  const now = (): Date => clock.now();
  const channel = openHttpsChannel(dependencies.connect ?? {}, settings.caPem);
  const patience = createPatience({ clock, random, signal, ...endurance, ...(onWait === undefined ? {} : { onWait }) });
  const config = dependencies.config ?? lendsNothing;
  const { tenantId } = request;
  const tokens = createTokenSource({ settings, secrets, config, tenantId, channel, patience, now, signal });
  let skewMs: number | null = null;
  const onReply = (reply: HttpReply): void => {
    skewMs = skewOf(reply, now()) ?? skewMs;
  };
  const fetchMiddleware = sendMiddleware({ channel, signal, priority: endurance.priority, onReply });
  const { graphUrl } = hostsOf(settings);
  const middleware = authMiddleware(tokens, retryMiddleware(patience, now, fetchMiddleware));
  const client = Client.initWithMiddleware({ baseUrl: graphUrl, middleware });

  const run = async (exchange: Exchange): Promise<{ reply: HttpReply; body: JsonObject | null }> => {
    const call = client.api(exchange.url).middlewareOptions([exchange]).responseType(ResponseType.RAW);
    try {
      await (exchange.method === 'GET' ? call.get() : call.post({}));
    } catch (error) {
      signal.throwIfAborted();
      throw exchange.failure ?? error;
    }
    const { result } = exchange;
    if (result === undefined) throw new RollcallError('internal', 'A Graph request ended without an answer.');
    if (result.reply.status < 200 || result.reply.status > 299) throw describeGraphFailure(result.reply, exchange.url);
    return result;
  };

  const page = async (exchange: Exchange): Promise<JsonObject> => {
    const { body } = await run(exchange);
    if (body === null) throw new RollcallError('internal', 'A Graph page was not read.');
    return body;
  };

  return {
    graphUrl,
    tokens,
    clockSkewMs: () => skewMs,
    getPage: async (url) => page(new Exchange(url, 'GET', 'page')),
    getObject: async (url) => page(new Exchange(url, 'GET', 'object')),
    getParts: async (paths) => {
      const url = `${graphUrl}/v1.0/$batch`;
      const post = async (body: unknown) => page(new Exchange(url, 'POST', 'object', JSON.stringify(body)));
      return getParts(paths, post, patience, now);
    },
    getText: async (url) => (await run(new Exchange(url, 'GET', 'text'))).reply.text,
    postForPage: async (url, body) => page(new Exchange(url, 'POST', 'page', JSON.stringify(body))),
    close: () => channel.close(),
  };
}

function skewOf(reply: HttpReply, now: Date): number | null {
  const at = Date.parse(reply.headers['date'] ?? '');
  return Number.isNaN(at) ? null : now.getTime() - at;
}

function headersOf(exchange: Exchange): Record<string, string> {
  return {
    accept: 'application/json',
    'accept-encoding': 'identity',
    authorization: `Bearer ${exchange.token}`,
    // $count asks for it (A1); the header does no harm elsewhere, but pages would come from a lagging index.
    ...(exchange.expects === 'text' ? { accept: 'text/plain', consistencylevel: 'eventual' } : {}),
    ...(exchange.body === undefined ? {} : { 'content-type': 'application/json' }),
  };
}
