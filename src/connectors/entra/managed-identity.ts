/**
 * Tokens of the managed identity of the Azure host we run on. MSAL finds the endpoint in its environment (App
 * Service, Service Fabric, Machine Learning, Arc, Cloud Shell, else the metadata address of a virtual machine).
 *
 * MSAL 7.2 keeps the endpoint it found, and the network module of whoever asked first, for the life of the process
 * (ManagedIdentityClient.identitySource is static). So the module here belongs to nobody: no session's signal, no
 * session's channel. The tenant's dialer has no say either: the address comes from the operator's host, not from a
 * connection, and is a private one by nature.
 */
import { isIPv4 } from 'node:net';
import { AuthError, LogLevel, ManagedIdentityApplication } from '@azure/msal-node';
import type { INetworkModule, NetworkRequestOptions, NetworkResponse } from '@azure/msal-node';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { EntraSecrets } from './credentials.ts';
import type { Patience } from './patience.ts';
import { TryAgain } from './patience.ts';
import { readJson, transientStatus } from './reply-checks.ts';
import type { EntraSettings } from './settings.ts';
import { hostsOf } from './settings.ts';

const hostTimeoutMs = 10_000;
const maxHostBytes = 64 * 1_024;
/** The metadata service answers these while it is being updated (Azure documentation, "retry guidance"). */
const updatingStatuses = new Set([404, 410]);

/**
 * MSAL passes errors of its own type through and replaces every other one by "network_error"; its type gives subclasses
 * its own prototype, so what was thrown in truth is remembered beside it.
 */
const hostFailures = new WeakMap<object, unknown>();

function hostFailure(cause: unknown): AuthError {
  const error = new AuthError('host_failure', '');
  hostFailures.set(error, cause);
  return error;
}

/**
 * Where such endpoints are: on the machine itself, or at a link-local address of its own network: the metadata service of a
 * virtual machine at 169.254.169.254 (Azure documentation, "How to use managed identities on an Azure VM"), App Service,
 * Container Apps and Arc at loopback or link-local ones. Nothing else is ever asked for a token.
 */
export function isHostEndpoint(address: string): boolean {
  const url = URL.parse(address);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return false;
  const { hostname } = url;
  return (
    hostname === 'localhost' || hostname === '[::1]' || (isIPv4(hostname) && /^(?:127\.|169\.254\.)/.test(hostname))
  );
}

function requireHostEndpoint(address: string): void {
  if (isHostEndpoint(address)) return;
  throw new RollcallError('directory_auth', 'The managed identity endpoint of this machine is not on this machine.', {
    raw: URL.parse(address)?.host ?? 'no address',
    remedy: 'The operator has to check IDENTITY_ENDPOINT and the other variables that name the endpoint.',
  });
}

async function askHost<T>(
  url: string,
  method: 'GET' | 'POST',
  options: NetworkRequestOptions = {},
): Promise<NetworkResponse<T>> {
  try {
    requireHostEndpoint(url);
    const response = await fetch(url, {
      method,
      redirect: 'error',
      signal: AbortSignal.timeout(hostTimeoutMs),
      headers: { accept: 'application/json', ...options.headers },
      ...(options.body === undefined ? {} : { body: options.body }),
    });
    const text = await readBounded(response);
    const reply = { status: response.status, headers: Object.fromEntries(response.headers), text };
    const host = 'The managed identity endpoint of this machine';
    if (updatingStatuses.has(reply.status)) {
      throw new TryAgain(
        new RollcallError('directory_unreachable', `${host} is not ready.`, { raw: `HTTP ${reply.status}` }),
      );
    }
    const transient = transientStatus(reply, host, new Date());
    if (transient !== null) throw new TryAgain(transient);
    return { status: reply.status, headers: reply.headers, body: readJson(reply, host) as T };
  } catch (error) {
    throw hostFailure(error instanceof TryAgain || isRollcallError(error) ? error : describeHostFailure(error));
  }
}

async function readBounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > maxHostBytes) break;
    parts.push(part);
  }
  if (bytes <= maxHostBytes) return Buffer.concat(parts).toString('utf8');
  throw new RollcallError('directory_limit', 'The managed identity endpoint answers with more than a token.');
}

function describeHostFailure(cause: unknown): RollcallError {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code: unknown = inner instanceof Error ? Reflect.get(inner, 'code') : undefined;
  return new RollcallError('directory_unreachable', 'This machine has no managed identity endpoint that answers.', {
    cause,
    raw: typeof code === 'string' ? code : 'no answer',
    remedy:
      'Managed identities work only on Azure hosts that have one; use a client secret or a certificate elsewhere.',
  });
}

const hostNetwork: INetworkModule = {
  sendGetRequestAsync: async (url, options) => askHost(url, 'GET', options),
  sendPostRequestAsync: async (url, options) => askHost(url, 'POST', options),
};

type Borrowed = {
  readonly settings: EntraSettings;
  readonly secrets: Extract<EntraSecrets, { kind: 'managed_identity' }>;
  readonly patience: Patience;
  readonly signal: AbortSignal;
};

/** Returns an access token; `fresh` leaves MSAL's cache aside. */
export function managedIdentityTokens({
  settings,
  secrets,
  patience,
  signal,
}: Borrowed): (fresh: boolean) => Promise<string> {
  const application = new ManagedIdentityApplication({
    ...(secrets.assigned === 'user' ? { managedIdentityIdParams: { userAssignedClientId: settings.clientId } } : {}),
    system: {
      networkClient: hostNetwork,
      disableInternalRetries: true,
      loggerOptions: { logLevel: LogLevel.Error, piiLoggingEnabled: false, loggerCallback: () => undefined },
    },
  });
  const acquire = async (forceRefresh: boolean): Promise<string> => {
    try {
      const resource = hostsOf(settings).graphUrl;
      return (await application.acquireToken({ resource, forceRefresh })).accessToken;
    } catch (error) {
      throw (error instanceof AuthError ? hostFailures.get(error) : undefined) ?? describeIdentityRefusal(error);
    }
  };
  return async (fresh) => {
    const token = await patience.during('managed identity', async () => acquire(fresh));
    signal.throwIfAborted();
    return token;
  };
}

function describeIdentityRefusal(cause: unknown): RollcallError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new RollcallError('directory_auth', 'Azure gives this machine no token for the managed identity.', {
    cause,
    raw: text.slice(0, 300),
    remedy: 'Check that the host has this identity, and that clientId names it when it is a user-assigned one.',
  });
}
