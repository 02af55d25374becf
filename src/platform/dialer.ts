/**
 * platform/dialer: the one way out. Connectors and webhooks open their connections here, so that a tenant admin who
 * types a host name can not make the daemon talk to loopback, to the operator's private network or to a cloud's
 * metadata service (SSRF). The name is resolved here, every address is checked, and exactly the checked address is
 * dialed: a second look-up between check and use (DNS rebinding) can not happen.
 */
import { lookup as systemLookup } from 'node:dns/promises';
import { Agent } from 'node:https';
import { connect as connectPlain, isIP } from 'node:net';
import type { LookupFunction, Socket } from 'node:net';
import { connect as connectSecure } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { callbackify } from 'node:util';
import { RollcallError } from '../core/errors.ts';
import { createAddressPolicy } from './address-policy.ts';

export type DialAddress = { readonly address: string; readonly family: 4 | 6 };

export type DialTarget = {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
};

export type TlsOptions = {
  /** PEM bundle that replaces the system's authorities for this connection; verification can not be switched off. */
  readonly caPem?: string | undefined;
  /** Name the certificate must carry; the host unless given. */
  readonly servername?: string | undefined;
};

export type Dialer = {
  /** Addresses of the host, all allowed by the policy; throws directory_unreachable when unknown or refused. */
  resolve(host: string, signal?: AbortSignal): Promise<readonly DialAddress[]>;
  connectTcp(target: DialTarget): Promise<Socket>;
  connectTls(target: DialTarget & TlsOptions): Promise<TLSSocket>;
  /** TLS on a connected socket (StartTLS). The plain socket is destroyed when the handshake fails. */
  startTls(socket: Socket, target: DialTarget & TlsOptions): Promise<TLSSocket>;
  /** For node:net, node:tls and node:https. Node skips it for literal addresses: use `agent`, which checks these too. */
  readonly lookup: LookupFunction;
  /** A node:https agent whose every connection is checked. Destroy it when done. */
  agent(options?: { readonly caPem?: string | undefined; readonly keepAlive?: boolean }): Agent;
};

export type DialerOptions = {
  /** CIDRs, addresses or exact host names that may be private (operator configuration, never a tenant's). */
  readonly allowPrivateRanges?: readonly string[];
  /** How names become addresses; the system's resolver unless a test gives its own. */
  readonly resolveName?: (host: string) => Promise<readonly DialAddress[]>;
};

const keepAliveDelayMs = 30_000;

export function createDialer(options: DialerOptions = {}): Dialer {
  const policy = createAddressPolicy(options.allowPrivateRanges ?? []);
  const resolveName = options.resolveName ?? resolveBySystem;

  async function resolve(host: string, signal?: AbortSignal): Promise<readonly DialAddress[]> {
    signal?.throwIfAborted();
    const found = await lookUp(host, resolveName, signal);
    const refused = found.find(({ address }) => !policy.allows(host, address));
    if (refused !== undefined) throw refusal(host, refused.address);
    return found;
  }

  async function connectTcp(target: DialTarget): Promise<Socket> {
    const deadline = deadlineOf(target);
    try {
      return await dialFirst(await resolve(target.host, deadline), target, deadline);
    } catch (error) {
      throw withinDeadline(error, target, deadline, 'answer');
    }
  }

  async function startTls(socket: Socket, target: DialTarget & TlsOptions): Promise<TLSSocket> {
    const deadline = deadlineOf(target);
    try {
      return await handshake(socket, target, deadline);
    } catch (error) {
      throw withinDeadline(error, target, deadline, 'finish the TLS handshake');
    }
  }

  const resolveByCallback = callbackify((host: string) => resolve(host));
  const lookup: LookupFunction = (host, lookupOptions, callback) => {
    resolveByCallback(host, (error, all) => {
      const wanted = (all ?? []).filter(({ family }) => isWantedFamily(lookupOptions.family, family));
      const [first] = wanted;
      if (error !== null) callback(error, '');
      else if (first === undefined) callback(new Error(`${host} has no address of the wanted family`), '');
      else if (lookupOptions.all === true) callback(null, [...wanted]);
      else callback(null, first.address, first.family);
    });
  };

  return {
    resolve,
    connectTcp,
    startTls,
    lookup,
    connectTls: async (target) => startTls(await connectTcp(target), target),
    agent: ({ caPem, keepAlive = true } = {}) => {
      const agent = new CheckedAgent({
        keepAlive,
        lookup,
        maxSockets: 8,
        ...(caPem === undefined ? {} : { ca: caPem }),
      });
      agent.isAllowedLiteral = (host) => policy.allows(host, host);
      return agent;
    },
  };
}

/** Node does not call `lookup` for a literal address, so the literal is checked where the connection is made. */
class CheckedAgent extends Agent {
  isAllowedLiteral: (host: string) => boolean = () => false;

  override createConnection(...args: Parameters<Agent['createConnection']>): ReturnType<Agent['createConnection']> {
    const [{ host }] = args;
    const bare = (host ?? '').replace(/^\[|\]$/g, '');
    if (isIP(bare) !== 0 && !this.isAllowedLiteral(bare)) throw refusal(bare, bare);
    return super.createConnection(...args);
  }
}

function isWantedFamily(wanted: number | string | undefined, family: 4 | 6): boolean {
  if (wanted === 4 || wanted === 'IPv4') return family === 4;
  if (wanted === 6 || wanted === 'IPv6') return family === 6;
  return true;
}

async function resolveBySystem(host: string): Promise<readonly DialAddress[]> {
  const found = await systemLookup(host, { all: true, order: 'verbatim' });
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
}

async function lookUp(
  host: string,
  resolveName: (host: string) => Promise<readonly DialAddress[]>,
  signal: AbortSignal | undefined,
): Promise<readonly DialAddress[]> {
  const literal = isIP(host);
  if (literal !== 0) return [{ address: host, family: literal === 6 ? 6 : 4 }];
  try {
    const found = await untilAborted(resolveName(host), signal);
    if (found.length === 0) throw Object.assign(new Error('no addresses'), { code: 'ENODATA' });
    return found;
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw new RollcallError('directory_unreachable', `The name ${host} is not known to DNS.`, {
      cause,
      remedy: 'Check the host name for typing errors, and that this machine asks a DNS server that knows it.',
      raw: codeOf(cause),
      details: { step: 'dns', host },
    });
  }
}

function refusal(host: string, address: string): RollcallError {
  const place = host === address ? address : `${host} (${address})`;
  return new RollcallError('directory_unreachable', `${place} is a private or reserved address and not allowed here.`, {
    remedy: 'If this place is meant, the operator adds its host or range to the allowed private ranges.',
    raw: 'address_not_allowed',
    details: { step: 'dns', host, address },
  });
}

type Deadline = AbortSignal & { readonly timer: AbortSignal };

function deadlineOf(target: DialTarget): Deadline {
  const timer = AbortSignal.timeout(target.timeoutMs);
  const both = target.signal === undefined ? timer : AbortSignal.any([timer, target.signal]);
  return Object.assign(both, { timer });
}

/** The caller's abort stays as it is; our own time limit becomes a sentence. */
function withinDeadline(error: unknown, target: DialTarget, deadline: Deadline, what: string): unknown {
  if (target.signal?.aborted === true) return target.signal.reason;
  if (!deadline.timer.aborted) return error;
  const place = `${target.host}:${target.port}`;
  return new RollcallError('directory_unreachable', `${place} did not ${what} within ${target.timeoutMs} ms.`, {
    cause: error,
    remedy: 'Check host, port, TLS mode and the firewalls between this machine and the directory.',
    raw: 'ETIMEDOUT',
    details: { step: what === 'answer' ? 'tcp' : 'tls', host: target.host, port: target.port },
  });
}

/** Tries the addresses in order; the last failure speaks. */
async function dialFirst(addresses: readonly DialAddress[], target: DialTarget, signal: AbortSignal): Promise<Socket> {
  let failure: unknown;
  for (const { address, family } of addresses) {
    try {
      return await dialOne(address, family, target.port, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      failure = error;
    }
  }
  const place = `${target.host}:${target.port}`;
  throw new RollcallError('directory_unreachable', `Nothing answers at ${place}.`, {
    cause: failure,
    remedy: 'Check host and port, that the server runs, and the firewalls between this machine and it.',
    raw: codeOf(failure),
    details: { step: 'tcp', host: target.host, port: target.port },
  });
}

function dialOne(host: string, family: 4 | 6, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = connectPlain({ host, family, port, keepAlive: true, keepAliveInitialDelay: keepAliveDelayMs });
  socket.setNoDelay(true);
  return settled(socket, 'connect', signal);
}

async function handshake(socket: Socket, target: DialTarget & TlsOptions, signal: AbortSignal): Promise<TLSSocket> {
  const name = target.servername ?? target.host;
  const secure = connectSecure({
    socket,
    host: name,
    // RFC 6066 section 3: no address literals in SNI; the certificate is still checked against `host`.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ...(target.caPem === undefined ? {} : { ca: target.caPem }),
    minVersion: 'TLSv1.2',
  });
  // Node forgets the certificate when it refuses it; who issued it is what the admin has to know.
  const peer: { -readonly [Fact in keyof PeerFacts]: PeerFacts[Fact] } = { issuer: undefined, subject: undefined };
  secure.prependListener('secure', () => {
    const { issuer, subject, subjectaltname, valid_from, valid_to, fingerprint256 } = secure.getPeerCertificate();
    Object.assign(peer, { issuer: nameOf(issuer), subject: nameOf(subject), alternativeNames: subjectaltname });
    Object.assign(peer, { validFrom: valid_from, validTo: valid_to, fingerprint256 });
  });
  try {
    return await settled(secure, 'secureConnect', signal);
  } catch (error) {
    socket.destroy();
    throw error instanceof Error ? Object.assign(error, { peer }) : error;
  }
}

/** Stands as `peer` on errors of TLS handshakes, as far as the server showed a certificate. */
export type PeerFacts = {
  readonly issuer: string | undefined;
  readonly subject: string | undefined;
  readonly alternativeNames?: string | undefined;
  /** As the certificate writes it. */
  readonly validFrom?: string | undefined;
  readonly validTo?: string | undefined;
  readonly fingerprint256?: string | undefined;
};

/** Servers make certificates without any name; the types promise one. */
function nameOf(name: Partial<Record<'CN' | 'O', string | string[]>> | undefined): string | undefined {
  const text = name?.CN ?? name?.O;
  return typeof text === 'string' ? text : text?.join(' ');
}

/** Resolves on the event, rejects on error, close or abort; destroys the socket unless it resolved. */
function settled<S extends Socket>(socket: S, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<S> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      forget();
      // A destroyed socket may still report the error it was destroyed for; nobody else listens yet.
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    const onAbort = (): void => fail(signal.reason);
    const onClose = (): void => fail(Object.assign(new Error('The connection was closed.'), { code: 'ECONNRESET' }));
    const onReady = (): void => {
      forget();
      resolve(socket);
    };
    const forget = (): void => {
      socket.off(event, onReady).off('error', fail).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    };
    socket.once(event, onReady).once('error', fail).once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** node:dns can not be aborted: the answer is dropped instead. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? code : String(error);
}
