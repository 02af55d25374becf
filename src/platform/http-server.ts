/** platform/http-server: an Express app with our limits, and a listening server that closes within its time. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import helmet from 'helmet';
import { RollcallError } from '../core/errors.ts';
import type { HttpConfig } from './config.ts';
import type { Logger } from './logger.ts';
import type { HttpMetrics } from './metrics.ts';
import { answerErrors, limitInFlight, observeRequests } from './request.ts';

export type AppOptions = {
  readonly config: Pick<HttpConfig, 'maxInFlight' | 'trustProxy'>;
  readonly logger: Logger;
  readonly metrics: HttpMetrics;
  /** Mounts the routers of the rooms. */
  readonly mount: (app: Express) => void;
};

export function createApp(options: AppOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('case sensitive routing', true);
  app.set('strict routing', true);
  app.set('query parser', 'simple');
  app.set('trust proxy', options.config.trustProxy);
  app.use(observeRequests(options.logger, options.metrics));
  app.use(
    helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: {
          defaultSrc: ["'self'"],
          scriptSrc: ["'self'"],
          styleSrc: ["'self'"],
          imgSrc: ["'self'", 'data:'],
          objectSrc: ["'none'"],
          baseUri: ["'none'"],
          formAction: ["'self'"],
          frameAncestors: ["'none'"],
        },
      },
    }),
  );
  app.use(limitInFlight(options.config.maxInFlight));
  app.use((_request, response, next) => {
    // answers carry personal data; nothing between us and the caller may keep them
    response.setHeader('Cache-Control', 'no-store');
    next();
  });
  options.mount(app);
  app.use(() => {
    throw new RollcallError('not_found', 'There is nothing at this address.');
  });
  app.use(answerErrors(options.logger));
  return app;
}

export type Listening = {
  readonly host: string;
  readonly port: number;
  /** Stops accepting, lets requests finish for `graceMs`, then cuts what is left. */
  close(graceMs?: number): Promise<void>;
};

export type ListenOptions = {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
};

export async function listen(app: Express, options: ListenOptions): Promise<Listening> {
  const server = createServer(
    { headersTimeout: options.headersTimeoutMs, requestTimeout: options.requestTimeoutMs, keepAliveTimeout: 5000 },
    app,
  );
  server.maxRequestsPerSocket = 0;
  await bind(server, options);
  const address = server.address() as AddressInfo;
  return {
    host: address.address,
    port: address.port,
    close: (graceMs = 2000) => closeServer(server, graceMs),
  };
}

async function bind(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host: options.host, port: options.port, exclusive: true }, resolve);
  try {
    await promise;
  } catch (cause) {
    throw bindError(cause, options);
  } finally {
    server.off('error', reject);
  }
}

function bindError(cause: unknown, options: ListenOptions): RollcallError {
  const code: unknown = cause instanceof Error ? Reflect.get(cause, 'code') : undefined;
  const place = `${options.host}:${options.port}`;
  const raw = typeof code === 'string' ? { raw: code } : {};
  if (code === 'EADDRINUSE') {
    return new RollcallError('port_in_use', `Another program already listens on ${place}.`, {
      cause,
      ...raw,
      remedy: `Stop it, or set another ${options.name}.port in the configuration.`,
    });
  }
  if (code === 'EACCES') {
    return new RollcallError('port_in_use', `This account may not listen on ${place}.`, {
      cause,
      ...raw,
      remedy: `Ports below 1024 belong to root; set ${options.name}.port to a higher one.`,
    });
  }
  return new RollcallError('port_in_use', `Can not listen on ${place}.`, {
    cause,
    ...raw,
    remedy: `Check ${options.name}.host and ${options.name}.port in the configuration.`,
  });
}

async function closeServer(server: Server, graceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => {
    resolve();
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => {
    server.closeAllConnections();
  }, graceMs);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}
