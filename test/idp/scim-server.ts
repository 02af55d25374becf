/** The SCIM router on a real port over a real database, and connections to talk to. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { newId, type ConnectionId } from '../../src/core/ids.ts';
import type { Db } from '../../src/db/db.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { Logger } from '../../src/platform/logger.ts';
import type { Pushes } from '../../src/reconciliation/reconciliation.ts';
import {
  createRequestLog,
  createScim,
  type RequestLog,
  type ScimCaller,
  type ScimOptions,
  type ScimRefusal,
} from '../../src/scim/scim.ts';
import { createTenant, type TestTenant } from '../setup/database.ts';

export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; an empty object when there is none. */
  readonly body: Record<string, unknown>;
};

export type Call = {
  readonly body?: unknown;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
};

/** A SCIM client of one connection. */
export type Client = {
  readonly tenant: TestTenant;
  readonly connectionId: ConnectionId;
  readonly token: string;
  readonly base: string;
  send(method: string, path: string, call?: Call): Promise<Answer>;
};

export type ScimServer = {
  readonly url: string;
  readonly logged: readonly unknown[];
  readonly requestLog: RequestLog;
  readonly pushes: Pushes;
  /** Lets writing the request log fail, as if the database were away for it. */
  failLog(isFailing: boolean): void;
  /** Makes a client's token one that may not be used. */
  refuse(client: Client, reason: string): void;
  /** What the next requests of a client may do and how their connection is set. */
  setCaller(client: Client, more: Partial<Pick<ScimCaller, 'scopes' | 'settings'>>): void;
  /** A fresh tenant with one SCIM connection, or another connection of a given tenant. */
  connect(tenant?: TestTenant): Promise<Client>;
  /** Lets a client of another server talk to this one. */
  adopt(client: Client): Promise<Client>;
  close(): Promise<void>;
};

export async function startScimServer(
  db: Db,
  pushes: Pushes,
  makeConnection: (tenant: TestTenant) => Promise<ConnectionId> = (tenant) => insertConnection(db, tenant),
  more: Partial<Pick<ScimOptions, 'requestsPerSecond' | 'issueAccessToken'>> = {},
): Promise<ScimServer> {
  const callers = new Map<string, ScimCaller | ScimRefusal>();
  const logged: unknown[] = [];
  let isLogFailing = false;
  const engine: Db['engine'] = (work) =>
    isLogFailing ? Promise.reject(new Error('The database is away.')) : db.engine(work);
  const requestLog = createRequestLog({
    db: { ...db, engine },
    clock: systemClock,
    log: recordingLogger(logged),
    everyMs: 60_000,
  });
  const app = express();
  app.use(
    '/scim/v2',
    createScim({
      db,
      pushes,
      authenticate: (bearer) => Promise.resolve(callers.get(bearer) ?? null),
      pepper: Buffer.alloc(32, 9),
      clock: systemClock,
      log: recordingLogger(logged),
      requestLog,
      requestsPerSecond: 100_000,
      ...more,
    }),
  );
  // a thousand at once, and a machine that is busy: nobody is turned away before a request is read
  const server = createServer({ keepAliveTimeout: 120_000 }, app);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/scim/v2`;
  return {
    url,
    logged,
    requestLog,
    pushes,
    failLog: (isFailing) => {
      isLogFailing = isFailing;
    },
    refuse: (client, refusal) => {
      const { connectionId, token, tenant } = client;
      callers.set(token, { tenantId: tenant.tenantId, connectionId, tokenId: connectionId, refusal });
    },
    setCaller: (client, changed) => {
      const caller = callers.get(client.token);
      if (caller !== undefined && !('refusal' in caller)) callers.set(client.token, { ...caller, ...changed });
    },
    connect: async (given) => {
      const tenant = given ?? (await createTenant(db));
      const connectionId = await makeConnection(tenant);
      const token = `token-${connectionId}`;
      callers.set(token, { tenantId: tenant.tenantId, connectionId, tokenId: connectionId, scopes: [], settings: {} });
      const base = `${url}/${connectionId}`;
      return { tenant, connectionId, token, base, send: (method, path, call) => send(base, token, method, path, call) };
    },
    adopt: (client) => {
      const { connectionId, token, tenant } = client;
      callers.set(token, { tenantId: tenant.tenantId, connectionId, tokenId: connectionId, scopes: [], settings: {} });
      const base = `${url}/${connectionId}`;
      return Promise.resolve({ ...client, base, send: (method, path, call) => send(base, token, method, path, call) });
    },
    close: async () => {
      await requestLog.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function insertConnection(db: Db, tenant: TestTenant): Promise<ConnectionId> {
  const connectionId = newId<ConnectionId>();
  await db.tenant(
    tenant.tenantId,
    ({ sql }) => sql`
    insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, status, created_by)
    values (${tenant.tenantId}, ${connectionId}, ${tenant.organizationId}, 'scim', ${connectionId}, ${connectionId},
      '{}'::jsonb, '{}'::jsonb, 'active', 'system')`,
  );
  return connectionId;
}

async function send(base: string, token: string, method: string, path: string, call: Call = {}): Promise<Answer> {
  const query = call.query === undefined ? '' : `?${new URLSearchParams(call.query).toString()}`;
  const { body } = call;
  const response = await fetch(`${base}${path}${query}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/scim+json' }),
      ...call.headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const parsed: unknown = text === '' ? {} : JSON.parse(text);
  return { status: response.status, headers: response.headers, text, body: parsed as Record<string, unknown> };
}

function recordingLogger(logged: unknown[]): Logger {
  const record = (...entry: unknown[]) => void logged.push(entry);
  const log = { trace: record, debug: record, info: record, warn: record, error: record, fatal: record };
  return { ...log, child: () => recordingLogger(logged) } as unknown as Logger;
}
