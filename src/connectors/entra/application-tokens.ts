/**
 * Access tokens by client credentials. What MSAL leaves open is closed here: a time limit on its requests, the cause of
 * a failure, and no discovery calls to other hosts (A5: `knownAuthorities` with `authorityMetadata` asks nobody).
 */
import { ConfidentialClientApplication, LogLevel, ServerError } from '@azure/msal-node';
import type { INetworkModule, NetworkRequestOptions, NetworkResponse } from '@azure/msal-node';
import type { NodeAuthOptions } from '@azure/msal-node';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import { openCertificate } from './credentials.ts';
import { readFederatedToken } from './host-identity.ts';
import { TryAgain } from './patience.ts';
import { readJson, transientStatus } from './reply-checks.ts';
import type { HttpReply } from './https-exchange.ts';
import { hostsOf } from './settings.ts';
import { describeSignInRefusal } from './sign-in-refusals.ts';
import type { TokenSourceOptions } from './token-source.ts';

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
          headers: { accept: 'application/json', 'accept-encoding': 'identity', ...request.headers },
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
    throw describeSignInRefusal({ oauthError: String(body['error']), description }, options.secrets);
  } catch (error) {
    // HTML and cut bodies come from something in between, and pass like it.
    throw isRollcallError(error) ? new TryAgain(error) : error;
  }
}

/** What proves that we are the application (A5); certificates sign an assertion with PS256 and `x5t#S256`. */
function credentialOf({ secrets, config }: TokenSourceOptions, failures: Failures): Partial<NodeAuthOptions> {
  if (secrets.kind === 'client_secret') return { clientSecret: secrets.clientSecret.reveal() };
  if (secrets.kind === 'certificate') {
    const { thumbprintSha256, privateKey } = openCertificate(secrets);
    return { clientCertificate: { thumbprintSha256, privateKey: privateKey.reveal() } };
  }
  return {
    clientAssertion: async () => {
      try {
        return (await readFederatedToken(config)).reveal();
      } catch (error) {
        failures.last = error;
        throw error;
      }
    },
  };
}

function createApplication(options: TokenSourceOptions, failures: Failures): ConfidentialClientApplication {
  const { authority } = hostsOf(options.settings);
  const tenant = `${authority}/${options.settings.tenantId}`;
  return new ConfidentialClientApplication({
    auth: {
      clientId: options.settings.clientId,
      ...credentialOf(options, failures),
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

/** Returns an access token; `fresh` leaves the kept one aside. */
export function applicationTokens(options: TokenSourceOptions): (fresh: boolean) => Promise<string> {
  const failures: Failures = { last: undefined };
  const application = createApplication(options, failures);
  const scopes = [`${hostsOf(options.settings).graphUrl}/.default`];
  return async (skipCache) => {
    failures.last = undefined;
    try {
      const result = await application.acquireTokenByClientCredential({ scopes, skipCache });
      if (result !== null && result.accessToken !== '') return result.accessToken;
    } catch (error) {
      throw translate(error, failures, options);
    }
    throw new RollcallError('directory_protocol', "Microsoft's sign-in service answered without a token.");
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
  const refusal = { oauthError: error.errorCode, description: error.errorMessage, cause: error };
  return describeSignInRefusal(refusal, options.secrets);
}
