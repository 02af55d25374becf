/** The HTTP side: every room's routes under /api/v1, and the document made of them. */
import type { Express, RequestHandler } from 'express';
import packageJson from '../../package.json' with { type: 'json' };
import { accessRoutes } from '../access/routes.ts';
import { auditRoutes } from '../audit/routes.ts';
import { RollcallError } from '../core/errors.ts';
import type { ConnectionId, TenantId } from '../core/ids.ts';
import type { Db } from '../db/db.ts';
import { organizationsRoutes } from '../organizations/routes.ts';
import { outboxRoutes } from '../outbox/routes.ts';
import { createApp } from '../platform/http-server.ts';
import type { Logger } from '../platform/logger.ts';
import type { Metrics } from '../platform/metrics.ts';
import { mountRoutes, type Authenticate } from '../platform/mount-routes.ts';
import { describeRoutes } from '../platform/openapi.ts';
import type { Route } from '../platform/route.ts';
import { reconciliationRoutes } from '../reconciliation/routes.ts';
import type { RunJob } from '../schedule/schedule.ts';
import { scimRoutes } from '../scim/routes.ts';
import { createScim, type RequestLog, type ScimOptions } from '../scim/scim.ts';
import { usersRoutes } from '../users/routes.ts';
import type { Config } from './config.ts';
import type { Rooms } from './rooms.ts';

const basePath = '/api/v1';

type Dispatch = (job: RunJob) => Promise<void>;

export function routesOf(rooms: Omit<Rooms, 'clock'>, dispatch: Dispatch): Route[] {
  return [
    ...accessRoutes(rooms.access),
    ...organizationsRoutes(rooms.organizations),
    ...usersRoutes(rooms.users),
    ...reconciliationRoutes({
      reconciliation: rooms.reconciliation,
      dispatch: (run) =>
        dispatch({ tenantId: run.tenantId as TenantId, connectionId: run.connectionId as ConnectionId }),
    }),
    ...scimRoutes(rooms.scim),
    ...auditRoutes(rooms.audit),
    ...outboxRoutes(rooms.outbox),
  ];
}

export function createApi(
  rooms: Rooms,
  options: {
    readonly config: Config;
    readonly logger: Logger;
    readonly metrics: Metrics;
    readonly db: Db;
    readonly pepper: Buffer;
    readonly requestLog: RequestLog;
    readonly dispatch: Dispatch;
    /** Aborted when the process stops: streams end then, instead of being cut. */
    readonly stopping: AbortSignal;
  },
): Express {
  const { config, logger, metrics } = options;
  const routes = routesOf(rooms, options.dispatch);
  const document = describeRoutes(routes, { version: packageJson.version, basePath });
  return createApp({
    config: config.http,
    logger,
    metrics: metrics.http,
    mount: (app) => {
      // the document says nothing about a tenant, and tools that read it have no token yet
      app.get(`${basePath}/openapi.json`, (_request, response) => {
        response.locals['route'] = '/openapi.json';
        response.json(document);
      });
      app.use('/scim/v2', nameRoute('/scim/v2'), createScim(scimOptions(rooms, options)));
      app.use(
        basePath,
        mountRoutes({
          routes,
          authenticate: bearerOf(rooms.access),
          bodyLimitBytes: config.http.bodyLimitBytes,
          requestTimeoutMs: config.http.requestTimeoutMs,
          stopping: options.stopping,
        }),
      );
    },
  });
}

/** RFC 6750 section 2.1. A SCIM token is no API token: it speaks for one connection, not for a person or program. */
export function bearerOf(access: Pick<Rooms['access'], 'authenticate'>): Authenticate {
  return async (authorization, _requestId, address) => {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    const caller = token === undefined ? null : await access.authenticate(token, address);
    if (caller?.kind === 'api') return caller.principal;
    throw new RollcallError('unauthenticated', 'A valid API token is needed.', {
      remedy: 'Send it as "Authorization: Bearer rcl_api_..."; rollcall tokens create makes one.',
    });
  };
}

function scimOptions(
  rooms: Rooms,
  options: {
    readonly config: Config;
    readonly logger: Logger;
    readonly db: Db;
    readonly pepper: Buffer;
    readonly requestLog: RequestLog;
  },
): ScimOptions {
  const { publicUrl } = options.config.http;
  return {
    db: options.db,
    pushes: rooms.reconciliation.pushes,
    authenticate: async (bearer, address) => {
      const caller = await rooms.access.authenticate(bearer, address);
      if (caller?.kind === 'scim') return caller.principal;
      if (caller?.kind !== 'refused' || caller.refused.connectionId === null) return null;
      const { reason, ...refused } = caller.refused;
      return { ...refused, connectionId: caller.refused.connectionId, refusal: reason };
    },
    issueAccessToken: (request) => rooms.access.issueAccessToken(request),
    requestLog: options.requestLog,
    requestsPerSecond: options.config.scim.requestsPerSecond,
    pepper: options.pepper,
    clock: rooms.clock,
    log: options.logger,
    ...(publicUrl === undefined ? {} : { publicUrl: publicUrl.replace(/\/+$/, '') }),
  };
}

/** What metrics and logs call requests that a room's own router answers. */
function nameRoute(route: string): RequestHandler {
  return (_request, response, next) => {
    response.locals['route'] = route;
    next();
  };
}
