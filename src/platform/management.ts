/**
 * platform/management: /livez, /readyz, /healthz and /metrics on a port of their own. Ready means: we can reach our
 * database. A directory that fails never makes the process unready (operations.md): it is one connection's matter.
 */
import express, { type Express } from 'express';
import { describeError } from '../core/errors.ts';
import type { Logger } from './logger.ts';

export type ManagementOptions = {
  readonly ping: () => Promise<void>;
  /** True once shutting down began: load balancers take us out before the port closes. */
  readonly isStopping: () => boolean;
  readonly metricsText: () => Promise<string>;
  readonly logger: Logger;
};

const pingTimeoutMs = 3000;

export function createManagementApp(options: ManagementOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.get(['/livez', '/healthz'], (_request, response) => {
    response.json({ status: 'ok' });
  });
  app.get('/readyz', async (_request, response) => {
    const problem = await readinessProblem(options);
    if (problem === null) response.json({ status: 'ok' });
    else {
      response.setHeader('Retry-After', '5');
      response.status(503).json({ status: 'unavailable', reason: problem });
    }
  });
  app.get('/metrics', async (_request, response) => {
    response.type('text/plain; version=0.0.4; charset=utf-8').send(await options.metricsText());
  });
  app.use((_request, response) => {
    response.status(404).json({ status: 'not found' });
  });
  return app;
}

async function readinessProblem(options: ManagementOptions): Promise<string | null> {
  if (options.isStopping()) return 'shutting down';
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error(`The database did not answer within ${pingTimeoutMs / 1000} s.`));
  }, pingTimeoutMs);
  try {
    await Promise.race([options.ping(), late.promise]);
    return null;
  } catch (error) {
    options.logger.debug({ err: error }, 'not ready');
    return describeError(error);
  } finally {
    clearTimeout(timer);
  }
}
