/** Routes behind real HTTP, each caller named by its bearer text: for tests of what leaves over the wire. */
import { RollcallError } from '../../src/core/errors.ts';
import { createApp, listen, type Listening } from '../../src/platform/http-server.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { mountRoutes } from '../../src/platform/mount-routes.ts';
import type { Principal, Route } from '../../src/platform/route.ts';
import { silentLogger } from './people.ts';

export type TestApi = {
  /** Beginning of every address, without a slash at its end. */
  readonly base: string;
  readonly server: Listening;
  /** Aborts what the process would abort when it stops. */
  readonly stopping: AbortController;
};

export async function startApi(routes: readonly Route[], callers: ReadonlyMap<string, Principal>): Promise<TestApi> {
  const stopping = new AbortController();
  const router = mountRoutes({
    routes,
    authenticate: (authorization) => {
      const principal = callers.get(/^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '');
      if (principal !== undefined) return Promise.resolve(principal);
      return Promise.reject(new RollcallError('unauthenticated', 'Nobody knows you.'));
    },
    bodyLimitBytes: 100_000,
    requestTimeoutMs: 10_000,
    stopping: stopping.signal,
  });
  const app = createApp({
    config: { maxInFlight: 100, trustProxy: 0 },
    logger: silentLogger,
    metrics: createMetrics('api').http,
    mount: (express) => {
      express.use('/api/v1', router);
    },
  });
  const times = { headersTimeoutMs: 5000, requestTimeoutMs: 10_000 };
  const server = await listen(app, { name: 'test', host: '127.0.0.1', port: 0, ...times });
  return { base: `http://127.0.0.1:${server.port}/api/v1`, server, stopping };
}
