/**
 * Access tokens by client credentials. MSAL keeps the token and knows when it ends; what it leaves open is closed
 * here: a time limit on its requests, one request for many callers, the cause of a failure, and no discovery calls
 * to other hosts (A5: `knownAuthorities` with `authorityMetadata` asks nobody).
 */
import { ConfidentialClientApplication, LogLevel, ServerError } from '@azure/msal-node';
import type { INetworkModule, NetworkRequestOptions, NetworkResponse } from '@azure/msal-node';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import { aadstsMeaning } from './aadsts.ts';
import type { HttpReply, HttpsChannel } from './https-exchange.ts';
import type { Patience } from './patience.ts';
import { TryAgain } from './patience.ts';
import { readJson, transientStatus } from './reply-checks.ts';
import type { EntraSecrets, EntraSettings } from './settings.ts';
import { hostsOf } from './settings.ts';

export type TokenSource = {
  /** `fresh` leaves the kept token aside: Graph refused it. Concurrent callers share one request. */
  get(fresh: boolean): Promise<string>;
};

export type TokenSourceOptions = {
  readonly settings: EntraSettings;
  readonly secrets: EntraSecrets;
  readonly channel: HttpsChannel;
  readonly patience: Patience;
  readonly now: () => Date;
  readonly signal: AbortSignal;
};

const tokenTimeoutMs = 15_000;
const maxTokenBytes = 1_048_576;

/** Remembers why a request failed, because MSAL replaces every foreign error with "network_error". */
type Failures = { last: unknown };

function networkModule(options: TokenSourceOptions, failures: Failures): INetworkModule {
  const send = async <T>(
    url: string,
    method: 'GET' | 'POST',
    request: NetworkRequestOptions = {},
  ): Promise<NetworkResponse<T>> => {
    try {
      return await options.patience.during('sign-in', async () => {
        const reply = await options.channel.send({
          url,
          method,
          headers: { accept: 'application/json', ...request.headers },
          ...(request.body === undefined ? {} : { body: request.body }),
          timeoutMs: tokenTimeoutMs,
          maxBytes: maxTokenBytes,
          signal: options.signal,
        });
        const host = new URL(url).host;
        const transient = transientStatus(reply, host, options.now());
        if (transient !== null) throw new TryAgain(transient);
        const body = readTokenReply(reply, host, options);
        // MSAL checks the shape; the type is its own promise.
        return { status: reply.status, headers: { ...reply.headers }, body: body as T };
      });
    } catch (error) {
      failures.last = error;
      throw error;
    }
  };
  return {
    sendGetRequestAsync: async (url, request) => send(url, 'GET', request),
    sendPostRequestAsync: async (url, request) => send(url, 'POST', request),
  };
}

/** OAuth's own words for "later" (RFC 6749 section 4.1.2.1, used by Microsoft at the token endpoint too). */
const temporaryErrors = new Set<unknown>(['temporarily_unavailable', 'server_error']);

function readTokenReply(reply: HttpReply, host: string, options: TokenSourceOptions): unknown {
  try {
    const body = readJson(reply, host);
    if (!temporaryErrors.has(body['error'])) return body;
    const description = typeof body['error_description'] === 'string' ? body['error_description'] : '';
    throw describeRefusal(description, String(body['error']), options);
  } catch (error) {
    // HTML and cut bodies come from something in between, and pass like it.
    throw isRollcallError(error) ? new TryAgain(error) : error;
  }
}

function createApplication(options: TokenSourceOptions, failures: Failures): ConfidentialClientApplication {
  const { authority } = hostsOf(options.settings);
  const tenant = `${authority}/${options.settings.tenantId}`;
  return new ConfidentialClientApplication({
    auth: {
      clientId: options.settings.clientId,
      clientSecret: options.secrets.clientSecret.reveal(),
      authority: tenant,
      knownAuthorities: [new URL(authority).host],
      authorityMetadata: JSON.stringify({
        token_endpoint: `${tenant}/oauth2/v2.0/token`,
        authorization_endpoint: `${tenant}/oauth2/v2.0/authorize`,
        issuer: `${tenant}/v2.0`,
        jwks_uri: `${tenant}/discovery/v2.0/keys`,
      }),
    },
    system: {
      networkClient: networkModule(options, failures),
      loggerOptions: { logLevel: LogLevel.Error, piiLoggingEnabled: false, loggerCallback: () => undefined },
    },
  });
}

export function createTokenSource(options: TokenSourceOptions): TokenSource {
  const failures: Failures = { last: undefined };
  const application = createApplication(options, failures);
  const scopes = [`${hostsOf(options.settings).graphUrl}/.default`];
  const inFlight = new Map<boolean, Promise<string>>();

  const acquire = async (skipCache: boolean): Promise<string> => {
    failures.last = undefined;
    try {
      const result = await application.acquireTokenByClientCredential({ scopes, skipCache });
      if (result !== null && result.accessToken !== '') return result.accessToken;
    } catch (error) {
      throw translate(error, failures, options);
    }
    throw new RollcallError('directory_protocol', "Microsoft's sign-in service answered without a token.");
  };

  return {
    get: async (fresh) => {
      const running = inFlight.get(fresh);
      if (running !== undefined) return running;
      const started = acquire(fresh).finally(() => inFlight.delete(fresh));
      inFlight.set(fresh, started);
      return started;
    },
  };
}

function translate(error: unknown, failures: Failures, options: TokenSourceOptions): unknown {
  if (options.signal.aborted) return options.signal.reason;
  if (isRollcallError(failures.last)) return failures.last;
  if (!(error instanceof ServerError)) {
    return new RollcallError('directory_protocol', "Microsoft's sign-in service gave an answer that makes no sense.", {
      cause: error,
      raw: error instanceof Error ? error.message.slice(0, 200) : String(error),
      remedy: 'Check the sign-in address of the connection.',
    });
  }
  return describeRefusal(error.errorMessage, error.errorCode, options, error);
}

/** Microsoft's sentence alone: MSAL puts numbers and time before it, trace ids follow on the next lines. */
function describeRefusal(
  description: string,
  oauthError: string,
  options: TokenSourceOptions,
  cause?: unknown,
): RollcallError {
  const found = /AADSTS(\d+)/.exec(description);
  const sentence = description.slice(found?.index ?? 0);
  const firstLine = (sentence.split(/\r?\n/)[0] ?? '').slice(0, 300);
  const raw = (firstLine === '' ? oauthError : firstLine).replaceAll(options.secrets.clientSecret.reveal(), '[secret]');
  const meaning = aadstsMeaning(Number(found?.[1] ?? 0));
  const trace = /Trace ID: ([0-9a-f-]+)/i.exec(description)?.[1];
  return new RollcallError(meaning.code, meaning.message, {
    cause,
    remedy: meaning.remedy,
    raw,
    details: { oauthError, ...(trace === undefined ? {} : { traceId: trace }) },
  });
}
