/** The HTTP side: every room's routes under /api/v1, and the document made of them. */
import type { Express } from 'express';
import packageJson from '../../package.json' with { type: 'json' };
import { accessRoutes } from '../access/routes.ts';
import { auditRoutes } from '../audit/routes.ts';
import { RollcallError } from '../core/errors.ts';
import { outboxRoutes } from '../outbox/routes.ts';
import { createApp } from '../platform/http-server.ts';
import type { Logger } from '../platform/logger.ts';
import type { Metrics } from '../platform/metrics.ts';
import { mountRoutes, type Authenticate } from '../platform/mount-routes.ts';
import { describeRoutes } from '../platform/openapi.ts';
import type { Route } from '../platform/route.ts';
import type { Config } from './config.ts';
import type { Rooms } from './rooms.ts';

const basePath = '/api/v1';

export function routesOf(rooms: Pick<Rooms, 'access' | 'audit' | 'outbox'>): Route[] {
  return [...accessRoutes(rooms.access), ...auditRoutes(rooms.audit), ...outboxRoutes(rooms.outbox)];
}

export function createApi(
  rooms: Rooms,
  options: { readonly config: Config; readonly logger: Logger; readonly metrics: Metrics },
): Express {
  const { config, logger, metrics } = options;
  const routes = routesOf(rooms);
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
      app.use(
        basePath,
        mountRoutes({
          routes,
          authenticate: bearerOf(rooms.access),
          bodyLimitBytes: config.http.bodyLimitBytes,
          requestTimeoutMs: config.http.requestTimeoutMs,
        }),
      );
    },
  });
}

/** RFC 6750 section 2.1. A SCIM token is no API token: it speaks for one connection, not for a person or program. */
export function bearerOf(access: Pick<Rooms['access'], 'authenticate'>): Authenticate {
  return async (authorization) => {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    const caller = token === undefined ? null : await access.authenticate(token);
    if (caller?.kind === 'api') return caller.principal;
    throw new RollcallError('unauthenticated', 'A valid API token is needed.', {
      remedy: 'Send it as "Authorization: Bearer rcl_api_..."; rollcall tokens create makes one.',
    });
  };
}
