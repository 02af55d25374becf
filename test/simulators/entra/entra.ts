/**
 * test/simulators/entra: Microsoft's sign-in service and Graph in one https server on a loopback port, for tests, the
 * demo and the sandbox. Its behavior follows the documented facts of Graph delta queries, including the awkward ones;
 * time and chance are handed in. Mutate the tenant through `tenant`, spoil answers through `fault`.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createDeltaRounds, usualBehavior } from './delta-rounds.ts';
import type { DeltaBehavior } from './delta-rounds.ts';
import type { Fault, RouteName } from './faults.ts';
import { answerBatch } from './batch.ts';
import { createEnterpriseApp } from './enterprise-app.ts';
import type { EnterpriseApp } from './enterprise-app.ts';
import { connectionFaults, createFaultQueue, isReplacement, spoil } from './faults.ts';
import type { GraphRequest } from './graph-request.ts';
import type { GraphContext } from './graph-routes.ts';
import { answerGraph, routeOf } from './graph-routes.ts';
import { createOpaqueTokens } from './opaque-tokens.ts';
import type { Random } from './random.ts';
import { createRandom } from './random.ts';
import type { Reply } from './reply.ts';
import { graphError } from './reply.ts';
import { send } from './send.ts';
import type { TenantState } from './tenant-state.ts';
import { createTenantState } from './tenant-state.ts';
import type { ThrottleLimit } from './throttle.ts';
import { createThrottle } from './throttle.ts';
import type { AppRegistration } from './token-endpoint.ts';
import { answerOpenId, answerToken, issueToken } from './token-endpoint.ts';

const certificate = (name: string): URL => new URL(`certificates/${name}`, import.meta.url);

/** PEM of the authority that signed the simulator's certificate, and the file it stands in. */
export const testCaPem: string = readFileSync(certificate('test-ca.pem'), 'utf8');
export const testCaFile: URL = certificate('test-ca.pem');

export type LoggedRequest = {
  readonly route: RouteName;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

export type EntraSimulator = {
  /** https://127.0.0.1:port, authority and Graph root at once. */
  readonly url: string;
  readonly tenantId: string;
  readonly app: AppRegistration;
  readonly caPem: string;
  readonly tenant: TenantState;
  /** The application whose roles are assigned; not the one that reads. */
  readonly enterpriseApp: EnterpriseApp;
  readonly random: Random;
  readonly behavior: DeltaBehavior;
  readonly requests: readonly LoggedRequest[];
  clearRequests(): void;
  fault(fault: Fault): void;
  clearFaults(): void;
  /** Graph refuses what costs more than these resource units; null, as at first, refuses nothing. */
  throttle(limit: ThrottleLimit | null): void;
  /** Every coming token request is refused with this AADSTS number; null ends it. */
  refuseTokens(aadsts: number | null): void;
  /** An access token without a sign-in, as the identity endpoint of an Azure host gives one. */
  issueToken(expiresInSeconds: number): string;
  /** Resolves when no client is connected: a request that was under way can no longer take the next fault. */
  idle(): Promise<void>;
  stop(): Promise<void>;
};

export type SimulatorOptions = {
  readonly seed?: number;
  readonly now?: () => Date;
  readonly port?: number;
  readonly behavior?: Partial<DeltaBehavior>;
};

type Shared = {
  readonly options: SimulatorOptions;
  readonly tenantId: string;
  readonly app: AppRegistration;
  readonly tenant: TenantState;
  readonly enterpriseApp: EnterpriseApp;
  readonly random: Random;
  readonly behavior: DeltaBehavior;
  readonly tokens: ReturnType<typeof createOpaqueTokens>;
  readonly deltas: ReturnType<typeof createDeltaRounds>;
  readonly faults: ReturnType<typeof createFaultQueue>;
  readonly throttle: ReturnType<typeof createThrottle>;
  readonly requests: LoggedRequest[];
  root: string;
  refusedWith: number | null;
  readonly now: () => Date;
};

function createShared(options: SimulatorOptions): Shared {
  const random = createRandom(options.seed ?? 1);
  const app: AppRegistration = {
    clientId: random.guid(),
    clientSecret: `sim~${random.guid().replaceAll('-', '')}`,
    secretExpiresAt: null,
    certificates: [],
    federatedCredentials: [],
    isInTenant: true,
    otherSecrets: [],
    isEnabled: true,
    hasConsent: true,
    isBlockedByPolicy: false,
    permissions: ['User.Read.All', 'GroupMember.Read.All'],
    expiresInSeconds: 3_599,
  };
  const tenantId = random.guid();
  const now = options.now ?? (() => new Date());
  return {
    options,
    tenantId,
    app,
    random,
    tenant: createTenantState(random),
    // of its own chance, so that it does not change who is in the tenant of a seed
    enterpriseApp: createEnterpriseApp(createRandom((options.seed ?? 1) + 1_000_003)),
    behavior: { ...usualBehavior, ...options.behavior },
    tokens: createOpaqueTokens(`key of seed ${options.seed ?? 1}`),
    deltas: createDeltaRounds(),
    faults: createFaultQueue(),
    throttle: createThrottle(now),
    requests: [],
    root: '',
    refusedWith: null,
    now,
  };
}

/** A request with a good token; a part of a batch as much as one on its own. */
function answerOne(shared: Shared, context: GraphContext, request: GraphRequest): Reply {
  const route = routeOf(request.path);
  const query = decodeURIComponent(request.query);
  const refused = shared.throttle.refuse(route, query);
  if (refused !== null) return refused;
  const reply =
    route === 'batch' && request.method === 'POST'
      ? answerBatch(request.body, shared.random, (part) => answerPart(shared, context, part))
      : answerGraph(context, request);
  return { ...reply, headers: { ...shared.throttle.headersFor(route, query), ...reply.headers } };
}

function answerPart(shared: Shared, context: GraphContext, part: GraphRequest): Reply {
  const route = routeOf(part.path);
  const fault = route === 'batch' ? null : shared.faults.take(route);
  if (fault === null || !isReplacement(fault.type)) return answerOne(shared, context, part);
  return spoil(fault, `${shared.root}/v1.0${part.path}`, () => answerOne(shared, context, part));
}

function answerRequest(shared: Shared, route: RouteName, request: LoggedRequest, url: URL): Reply {
  const tenantId = url.pathname.split('/')[1] ?? '';
  const signIn = { ...shared, graphRoot: shared.root, random: () => shared.random.next() };
  if (route === 'token') return answerToken(signIn, tenantId, request.body, shared.refusedWith);
  if (route === 'openid') return answerOpenId(signIn, tenantId);
  shared.tenant.tick();
  const token = shared.tokens.open(String(request.headers['authorization'] ?? '').replace(/^Bearer /, ''));
  if (token?.['kind'] !== 'access' || Number(token['until']) <= shared.now().getTime()) {
    return graphError(401, 'InvalidAuthenticationToken', 'Access token is empty, expired or not valid.', {
      'www-authenticate':
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"',
    });
  }
  const context: GraphContext = {
    ...shared,
    state: shared.tenant,
    permissions: new Set(String(token['permissions']).split(' ')),
  };
  return answerOne(shared, context, {
    method: request.method,
    path: decodeURI(url.pathname.slice('/v1.0'.length)),
    query: request.url.split('?')[1] ?? '',
    headers: Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value ?? '')])),
    body: request.body,
  });
}

function routeOfUrl(url: URL): RouteName {
  if (url.pathname.endsWith('/oauth2/v2.0/token')) return 'token';
  if (url.pathname.endsWith('/.well-known/openid-configuration')) return 'openid';
  return url.pathname.startsWith('/v1.0/') ? routeOf(decodeURI(url.pathname.slice('/v1.0'.length))) : 'unknown';
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** A stand-alone simulator may serve for days. */
const mostLoggedRequests = 20_000;

async function handle(
  shared: Shared,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  reset: () => void,
): Promise<void> {
  const body = await readBody(incoming);
  const url = new URL(incoming.url ?? '/', shared.root);
  const route = routeOfUrl(url);
  const logged: LoggedRequest = {
    route,
    method: incoming.method ?? 'GET',
    url: incoming.url ?? '/',
    headers: incoming.headers,
    body,
  };
  shared.requests.push(logged);
  if (shared.requests.length > mostLoggedRequests) shared.requests.splice(0, mostLoggedRequests / 2);
  const fault = shared.faults.take(route);
  const answer = (): Reply => {
    const reply = answerRequest(shared, route, logged, url);
    // every answer carries the time of the service: clients compare it with theirs
    return { ...reply, headers: { date: shared.now().toUTCString(), ...reply.headers } };
  };
  const isSpoiled = fault !== null && !connectionFaults.has(fault.type);
  send(outgoing, isSpoiled ? spoil(fault, `${shared.root}${logged.url}`, answer) : answer(), fault, reset);
}

/** Starts on 127.0.0.1; `stop` ends every connection. */
export async function startEntraSimulator(options: SimulatorOptions = {}): Promise<EntraSimulator> {
  const shared = createShared(options);
  const tls = { key: readFileSync(certificate('server-key.pem')), cert: readFileSync(certificate('server.pem')) };
  const sockets = new Map<number, Socket>();
  const server = createServer(tls, (incoming, outgoing) => {
    // A TCP reset needs the socket below TLS.
    const below = sockets.get(incoming.socket.remotePort ?? 0);
    handle(shared, incoming, outgoing, () => below?.resetAndDestroy()).catch((error: unknown) => {
      outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  });
  server.on('connection', (socket: Socket) => {
    const port = socket.remotePort ?? 0;
    sockets.set(port, socket);
    socket.on('close', () => sockets.delete(port));
  });
  // A client that gives up in the middle of a handshake is its own affair.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  shared.root = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: shared.root,
    tenantId: shared.tenantId,
    app: shared.app,
    caPem: testCaPem,
    tenant: shared.tenant,
    enterpriseApp: shared.enterpriseApp,
    random: shared.random,
    behavior: shared.behavior,
    requests: shared.requests,
    clearRequests: () => shared.requests.splice(0),
    fault: (fault) => shared.faults.add(fault),
    clearFaults: () => shared.faults.clear(),
    throttle: (limit) => shared.throttle.limit(limit),
    refuseTokens: (aadsts) => {
      shared.refusedWith = aadsts;
    },
    issueToken: (expiresInSeconds) => issueToken({ ...shared, random: () => shared.random.next() }, expiresInSeconds),
    idle: async () => {
      await Promise.all([...sockets.values()].map((socket) => once(socket, 'close')));
    },
    stop: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets.values()) socket.destroy();
      await closed;
    },
  };
}
