/**
 * The admin's side of a SCIM connection: what its identity provider sent, and what one of those requests would do now.
 * A replay runs the request as it was kept, in a transaction that is rolled back.
 */
import { RollcallError } from '../core/errors.ts';
import { newId, type ConnectionId } from '../core/ids.ts';
import { toIso } from '../core/instant.ts';
import { notFound } from '../core/require-id.ts';
import type { Db, TenantTx } from '../db/db.ts';
import type { Logger } from '../platform/logger.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { z } from 'zod';
import { readDisputes, type Dispute } from './disputes.ts';
import { createEndpoints, type Endpoint, type EndpointDeps } from './endpoints.ts';
import { isMethod, readQuery } from './http.ts';
import { isRecord, type JsonObject } from './json.ts';
import type { Handler } from './request.ts';
import type { RequestEntry } from './request-log.ts';
import { answerError } from './scim-error.ts';

/** An entry of the request log, as its admin sees it. */
export type ScimRequestView = Omit<RequestEntry, 'tenantId' | 'body'> & {
  readonly body: Record<string, unknown> | null;
  /** What it left to a person. */
  readonly disputes: Dispute[];
};

export type RequestFilter = {
  readonly connectionId: ConnectionId;
  readonly method?: string | undefined;
  /** From this status on: 400 shows what was refused. */
  readonly minStatus?: number | undefined;
};

/** One change a replay would have made. */
export type ReplayedChange = {
  readonly class: string;
  readonly op: string;
  readonly subject: string;
  readonly role: string | null;
  readonly reason: string;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
};

export type Replayed = {
  readonly request: ScimRequestView;
  readonly status: number;
  readonly body: Record<string, unknown> | null;
  readonly changes: ReplayedChange[];
};

export type ScimAdmin = {
  /** Newest first. */
  listRequests(principal: Principal, filter: RequestFilter, page: PageRequest): Promise<Page<ScimRequestView>>;
  /** What this request would do now; changes nothing. */
  replayRequest(principal: Principal, requestId: string): Promise<Replayed>;
};

export type ScimAdminDeps = EndpointDeps & {
  /** Throws not_found for a connection that is out of the credential's reach. */
  readonly reach: { requireConnection(principal: Principal, connectionId: ConnectionId): Promise<void> };
  readonly log: Logger;
};

export function createScimAdmin(deps: ScimAdminDeps): ScimAdmin {
  return {
    listRequests: async (principal, filter, page) => {
      await deps.reach.requireConnection(principal, filter.connectionId);
      return deps.db.tenant(principal.tenantId, (tx) => selectRequests(tx, filter, page));
    },
    replayRequest: async (principal, requestId) => {
      const request = await deps.db.tenant(principal.tenantId, (tx) => selectRequest(tx, requestId));
      if (request === null) throw notFound('request');
      await deps.reach.requireConnection(principal, request.connectionId);
      return replay(deps, principal, request);
    },
  };
}

// ---------------------------------------------------------------- rows

type Row = Omit<ScimRequestView, 'disputes'>;

function columns({ sql }: TenantTx) {
  return sql`r.id, r.connection_id as "connectionId", r.at, r.token_id as "tokenId", r.method, r.path, r.status,
    r.scim_type as "scimType", r.reason, r.duration_ms as "durationMs", r.client_address as "clientAddress",
    r.user_agent as "userAgent", r.body, r.body_bytes as "bodyBytes"`;
}

async function selectRequests(tx: TenantTx, filter: RequestFilter, page: PageRequest): Promise<Page<ScimRequestView>> {
  const after = decodeCursor(page.cursor, z.tuple([z.iso.datetime(), z.uuid()]));
  const { sql, tenantId } = tx;
  const rows = await sql<Row[]>`
    select ${columns(tx)} from scim_requests r
    where r.tenant_id = ${tenantId} and r.connection_id = ${filter.connectionId}
      ${after === null ? sql`` : sql`and (r.at, r.id) < (${after[0]}::timestamptz, ${after[1]}::uuid)`}
      ${filter.method === undefined ? sql`` : sql`and r.method = ${filter.method.toUpperCase()}`}
      ${filter.minStatus === undefined ? sql`` : sql`and r.status >= ${filter.minStatus}`}
    order by r.at desc, r.id desc limit ${page.limit + 1}`;
  const disputes = await disputesOf(tx, filter.connectionId, rows);
  return cutPage(
    rows,
    page.limit,
    (row) => [toIso(row.at), row.id],
    (row) => toView(row, disputes),
  );
}

async function selectRequest(tx: TenantTx, id: string): Promise<ScimRequestView | null> {
  if (!z.uuid().safeParse(id).success) return null;
  const [row] = await tx.sql<Row[]>`
    select ${columns(tx)} from scim_requests r where r.tenant_id = ${tx.tenantId} and r.id = ${id}::uuid`;
  return row === undefined ? null : toView(row, await disputesOf(tx, row.connectionId, [row]));
}

/** Rows newest first. */
async function disputesOf(tx: TenantTx, connectionId: ConnectionId, rows: readonly Row[]) {
  const [newest, oldest] = [rows[0], rows.at(-1)];
  if (newest === undefined || oldest === undefined) return new Map<string, Dispute[]>();
  const ids = rows.map(({ id }) => id);
  return readDisputes(tx, connectionId, ids, { from: toIso(oldest.at), to: toIso(newest.at) });
}

function toView(row: Row, disputes: ReadonlyMap<string, Dispute[]>): ScimRequestView {
  return { ...row, at: toIso(row.at), disputes: disputes.get(row.id) ?? [] };
}

// ---------------------------------------------------------------- replay

/** Carries a result out of a transaction that must not be kept. */
class RolledBack extends Error {
  readonly result: unknown;
  constructor(result: unknown) {
    super('rolled back on purpose');
    this.result = result;
  }
}

async function replay(deps: ScimAdminDeps, principal: Principal, request: ScimRequestView): Promise<Replayed> {
  if (request.bodyBytes > 0 && request.body === null) {
    throw new RollcallError('conflict', 'The body of this request was not kept, so it can not be replayed.', {
      remedy: 'Requests of more than 64 kB are recorded without their body.',
    });
  }
  const changes: ReplayedChange[] = [];
  const changeId = newId();
  const context = { tenantId: principal.tenantId, connectionId: request.connectionId, requestId: changeId };
  const db = dryDb(deps.db, async (tx) => {
    changes.push(...(await selectChanges(tx, request.connectionId, changeId)));
  });
  const settings = await deps.db.tenant(principal.tenantId, (tx) => selectSettings(tx, request.connectionId));
  const { handler, id } = routeOf(createEndpoints({ ...deps, db }), request);
  try {
    const answer = await handler({
      context,
      tokenId: `replay:${changeId}`,
      settings,
      base: `/scim/v2/${request.connectionId}`,
      id,
      query: readQuery(request.path),
      ifMatch: undefined,
      ifNoneMatch: undefined,
      body: isRecord(request.body) ? (request.body as JsonObject) : {},
      log: deps.log,
      note: () => undefined,
    });
    return { request, status: answer.status, body: answer.body ?? null, changes };
  } catch (error) {
    const { status, body, isOurs } = answerError(error);
    if (isOurs) throw error;
    return { request, status, body: { ...body }, changes };
  }
}

/** The same database, except that nothing a tenant's transaction does is kept; `look` reads before it is undone. */
function dryDb(db: Db, look: (tx: TenantTx) => Promise<void>): Db {
  return {
    ...db,
    tenant: async <T>(tenantId: Parameters<Db['tenant']>[0], work: (tx: TenantTx) => Promise<T>): Promise<T> => {
      try {
        return await db.tenant(tenantId, async (tx) => {
          const result = await work(tx);
          await look(tx);
          throw new RolledBack(result);
        });
      } catch (error) {
        if (error instanceof RolledBack) return error.result as T;
        throw error;
      }
    },
  };
}

function routeOf(
  endpoints: readonly Endpoint[],
  request: ScimRequestView,
): { readonly handler: Handler; readonly id: string } {
  const path = request.path.split('?', 1)[0] ?? '';
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  for (const endpoint of endpoints) {
    const match = new RegExp(`^${endpoint.path.replace('.', '\\.').replace(':id', '([^/]+)')}/?$`, 'i').exec(path);
    const handler = match !== null && isMethod(method) ? endpoint.methods[method] : undefined;
    if (handler !== undefined) return { handler, id: match?.[1] ?? '' };
  }
  throw new RollcallError('conflict', 'This request was not one for a resource; there is nothing to replay.');
}

/** Pushes number their change rows within the connection's run of the day. */
async function selectChanges(tx: TenantTx, connectionId: ConnectionId, requestId: string): Promise<ReplayedChange[]> {
  return tx.sql<ReplayedChange[]>`
    select c.class, c.op, c.subject, c.role, c.reason, c.before, c.after from changes c
    where c.tenant_id = ${tx.tenantId} and c.request_id = ${requestId} and c.run_id in (
      select id from runs where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'push'
        and created_at > now() - interval '2 days')
    order by c.seq`;
}

async function selectSettings(tx: TenantTx, connectionId: ConnectionId): Promise<Readonly<Record<string, unknown>>> {
  const [row] = await tx.sql<{ settings: Readonly<Record<string, unknown>> }[]>`
    select settings from connections where tenant_id = ${tx.tenantId} and id = ${connectionId}`;
  return row?.settings ?? {};
}
