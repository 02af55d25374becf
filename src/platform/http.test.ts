/** The HTTP basics as a client meets them: denies by default, refuses what it can not read, says so as problems. */
import { request as httpRequest } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, TenantId } from '../core/ids.ts';
import type { Role } from '../core/roles.ts';
import { createApp, listen, type Listening } from './http-server.ts';
import { createLogger } from './logger.ts';
import { createMetrics } from './metrics.ts';
import { mountRoutes } from './mount-routes.ts';
import { describeRoutes } from './openapi.ts';
import { route, type Route } from './route.ts';

const lines: string[] = [];
const logger = createLogger({
  level: 'trace',
  fileDescriptor: 2,
  destination: { write: (line) => void lines.push(line) },
});
const reached: string[] = [];
const held = Promise.withResolvers<void>();

const routes: Route[] = [
  route({
    method: 'get',
    path: '/things',
    summary: 'List.',
    permission: { object: 'users', level: 'view' },
    query: z.strictObject({ limit: z.coerce.number().int().max(10).default(5) }),
    response: z.object({ limit: z.number() }),
    handler: async ({ query }) => {
      reached.push('list');
      return { ...query, leaked: 'column' };
    },
  }),
  route({
    method: 'post',
    path: '/things',
    summary: 'Make.',
    permission: { object: 'users', level: 'full' },
    body: z.strictObject({ name: z.string().min(1), nested: z.strictObject({ 'a/b': z.number() }).optional() }),
    response: z.object({ name: z.string() }),
    status: 201,
    handler: async ({ body }) => {
      reached.push('make');
      return body;
    },
  }),
  route({
    method: 'get',
    path: '/things/:thingId',
    summary: 'One.',
    permission: 'any',
    params: z.strictObject({ thingId: z.uuid() }),
    response: z.object({ id: z.string() }),
    handler: async ({ params }) => {
      reached.push('one');
      return { id: params.thingId };
    },
  }),
  route({
    method: 'get',
    path: '/things/latest',
    summary: 'The latest.',
    permission: 'any',
    response: z.object({ id: z.string() }),
    handler: async () => ({ id: 'latest' }),
  }),
  route({
    method: 'delete',
    path: '/things/:thingId',
    summary: 'Gone.',
    permission: { object: 'users', level: 'full' },
    params: z.strictObject({ thingId: z.uuid() }),
    response: z.undefined(),
    status: 204,
    handler: async () => undefined,
  }),
  route({
    method: 'get',
    path: '/broken',
    summary: 'Fails.',
    permission: 'any',
    response: z.object({}),
    handler: () => Promise.reject(new Error('select secret_column from hidden_table')),
  }),
  route({
    method: 'get',
    path: '/away',
    summary: 'Database away.',
    permission: 'any',
    response: z.object({}),
    handler: () =>
      Promise.reject(
        new RollcallError('database_unavailable', 'The database can not be reached.', { retryAfterSeconds: 4.2 }),
      ),
  }),
  route({
    method: 'get',
    path: '/slow',
    summary: 'Waits.',
    permission: 'any',
    response: z.object({}),
    handler: async () => {
      await held.promise;
      return {};
    },
  }),
];

let server: Listening;
let base = '';

beforeAll(async () => {
  const app = createApp({
    config: { maxInFlight: 3, trustProxy: 0 },
    logger,
    metrics: createMetrics('api').http,
    mount: (express) => {
      express.use(
        '/api/v1',
        mountRoutes({
          routes,
          bodyLimitBytes: 2048,
          requestTimeoutMs: 5000,
          authenticate: async (authorization) => {
            const role = /^Bearer (admin|view_only_admin|user)$/.exec(authorization ?? '')?.[1];
            if (role === undefined) throw new RollcallError('unauthenticated', 'A valid API token is needed.');
            const tenantId = '00000000-0000-7000-8000-000000000001';
            return {
              actor: `token:${role}`,
              tenantId: tenantId as TenantId,
              organizationId: tenantId as OrganizationId,
              userId: null,
              role: role as Role,
            };
          },
        }),
      );
    },
  });
  server = await listen(app, {
    name: 'http',
    host: '127.0.0.1',
    port: 0,
    headersTimeoutMs: 15_000,
    requestTimeoutMs: 60_000,
  });
  base = `http://127.0.0.1:${server.port}/api/v1`;
});

afterAll(async () => {
  held.resolve();
  await server.close(200);
});

type Answer = { readonly status: number; readonly headers: Headers; readonly body: Record<string, unknown> };

async function call(path: string, init: RequestInit & { as?: string } = {}): Promise<Answer> {
  const { as = 'admin', ...rest } = init;
  const headers = { authorization: `Bearer ${as}`, ...(rest.headers as Record<string, string> | undefined) };
  const response = await fetch(`${base}${path}`, { ...rest, headers });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  };
}

const json = { 'content-type': 'application/json' };

/** The path as it is, without the normalization a URL object does. */
function rawStatus(path: string, method: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({ host: '127.0.0.1', port: server.port, path, method }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

describe('a caller without a credential', () => {
  const mutations: readonly ((path: string) => string)[] = [
    (path) => path,
    (path) => `${path}/`,
    (path) => `/${path}`,
    (path) => path.replace('/api', '/./api'),
    (path) => path.replace('/api/', '/api//'),
    (path) => path.replace('/v1/', '/v1/x/../'),
    (path) => path.toUpperCase(),
    (path) => path.replace('v1', 'V1'),
    (path) => path.replace('things', '%74hings'),
    (path) => path.replace('/v1', '%2fv1'),
    (path) => `${path};x=1`,
    (path) => `${path}?access_token=admin`,
    (path) => `${path}%00`,
    (path) => `${path}%`,
    (path) => `http://other${path}`,
  ];

  it('reaches no handler, however the path is spelled', async () => {
    reached.length = 0;
    const paths = routes.map(
      (each) => `/api/v1${each.path.replace(':thingId', '00000000-0000-7000-8000-000000000001')}`,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths),
        fc.subarray([...mutations], { minLength: 1, maxLength: 3 }),
        fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'),
        async (path, chosen, method) => {
          const spelled = chosen.reduce((text, mutate) => mutate(text), path);
          expect([400, 401, 404], `${method} ${spelled}`).toContain(await rawStatus(spelled, method));
        },
      ),
      { numRuns: 300, seed: 7 },
    );
    expect(reached).toEqual([]);
  });

  it('learns nothing of which addresses exist', async () => {
    const known = await call('/things', { as: 'nobody' });
    const unknown = await call('/nothing', { as: 'nobody' });
    expect([known.status, unknown.status]).toEqual([401, 401]);
    expect(known.headers.get('www-authenticate')).toBe('Bearer realm="rollcall"');
  });
});

describe('a caller with a credential', () => {
  it('may do what their role allows and nothing else', async () => {
    const body = JSON.stringify({ name: 'x' });
    expect((await call('/things', { as: 'view_only_admin' })).status).toBe(200);
    expect((await call('/things', { as: 'view_only_admin', method: 'POST', headers: json, body })).status).toBe(403);
    expect((await call('/things', { as: 'user' })).status).toBe(403);
    expect((await call('/things', { as: 'admin', method: 'POST', headers: json, body })).status).toBe(201);
  });

  it('gets only what the response schema names', async () => {
    expect((await call('/things')).body).toEqual({ limit: 5 });
  });

  it('gets 404 for an unknown address and 405 with Allow for a wrong method', async () => {
    expect((await call('/nothing')).status).toBe(404);
    const wrong = await call('/things', { method: 'PUT' });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, POST, HEAD']);
  });

  it('reaches the fixed address although one with a parameter was listed first', async () => {
    expect((await call('/things/latest')).body).toEqual({ id: 'latest' });
  });

  it('reads every fault of the input at once, as JSON pointers and parameter names', async () => {
    const { status, headers, body } = await call('/things?limit=99&x=1', {});
    expect([status, headers.get('content-type')]).toEqual([400, 'application/problem+json; charset=utf-8']);
    expect(body).toMatchObject({ type: 'urn:rollcall:error:invalid_input', status: 400, code: 'invalid_input' });
    expect((body['errors'] as { parameter: string }[]).map((fault) => fault.parameter)).toEqual(['limit', 'x']);
    const made = await call('/things?y=1', {
      method: 'POST',
      headers: json,
      body: JSON.stringify({ name: '', isAdmin: true, nested: { 'a/b': 'no' } }),
    });
    expect(
      (made.body['errors'] as object[]).map(
        (fault) => Reflect.get(fault, 'pointer') ?? Reflect.get(fault, 'parameter'),
      ),
    ).toEqual(['#/name', '#/nested/a~1b', '#/isAdmin', 'y']);
  });

  it('is told in words what each value must be', async () => {
    const { body } = await call('/things?limit=99', {});
    expect(body['errors']).toEqual([{ parameter: 'limit', detail: 'Must be at most 10.' }]);
    const made = await call('/things', { method: 'POST', headers: json, body: '{}' });
    expect(made.body['errors']).toEqual([{ pointer: '#/name', detail: 'Is missing.' }]);
  });

  it('is told where a text has what the database can not store, before it gets there', async () => {
    reached.length = 0;
    const zero = await call('/things?limit=%00', {});
    expect(zero.body['errors']).toMatchObject([{ parameter: 'limit', detail: expect.stringContaining('U+0000') }]);
    for (const name of ['a\\u0000b', '\\ud800']) {
      const made = await call('/things', { method: 'POST', headers: json, body: `{"name":"${name}"}` });
      expect([made.status, made.body['errors']]).toMatchObject([400, [{ pointer: '#/name' }]]);
    }
    expect(reached).toEqual([]);
  });
});

describe('a body', () => {
  const post = (body: string, type = 'application/json') =>
    call('/things', { method: 'POST', headers: { 'content-type': type }, body });

  it('that is no JSON by its type is refused with 415, also in another charset', async () => {
    expect((await post('name=x', 'application/x-www-form-urlencoded')).status).toBe(415);
    expect((await post('{"name":"x"}', 'application/json; charset=utf-16')).status).toBe(415);
    expect((await post('{"name":"x"}', 'application/json; charset=utf-8')).status).toBe(201);
  });

  it('that is too large is refused with 413, one that is not JSON with 400', async () => {
    expect((await post(JSON.stringify({ name: 'x'.repeat(4000) }))).status).toBe(413);
    expect((await post('{"name":')).status).toBe(400);
    expect((await post('')).status).toBe(400);
  });

  it('that is nested too deep, or has a key __proto__, is refused before anything walks it', async () => {
    expect((await post('['.repeat(200) + ']'.repeat(200))).body['detail']).toMatch(/nested deeper than 32/);
    expect((await post('{"name":"x","nested":{"__proto__":{"x":1}}}')).status).toBe(400);
    expect((await post('{"name":"x","nested":{"\\u005f_proto__":{"x":1}}}')).status).toBe(400);
    expect((await post('{"name":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\"[[["}')).status).toBe(201);
  });
});

describe('a failure', () => {
  it('of ours says nothing about its inside; the log has it, under the same request id', async () => {
    const { status, headers, body } = await call('/broken', { headers: { 'x-request-id': 'proxy-12345678' } });
    expect([status, body['code'], body['requestId']]).toEqual([500, 'internal', 'proxy-12345678']);
    expect(JSON.stringify(body)).not.toContain('secret_column');
    expect(headers.get('x-request-id')).toBe('proxy-12345678');
    expect(lines.find((line) => line.includes('proxy-12345678') && line.includes('secret_column'))).toBeDefined();
  });

  it('of the database is 503 with Retry-After in whole seconds', async () => {
    const { status, headers } = await call('/away');
    expect([status, headers.get('retry-after')]).toEqual([503, '5']);
  });

  it('by too many requests at once is 429 with Retry-After, and ends with them', async () => {
    const slow = Array.from({ length: 3 }, () => call('/slow'));
    await expect.poll(async () => (await call('/things')).status).toBe(429);
    expect((await call('/things')).headers.get('retry-after')).toBe('1');
    held.resolve();
    expect((await Promise.all(slow)).map((answer) => answer.status)).toEqual([200, 200, 200]);
    await expect.poll(async () => (await call('/things')).status).toBe(200);
  });
});

describe('every answer', () => {
  it('carries the headers that keep browsers and caches from harm', async () => {
    const { headers } = await call('/things');
    expect(headers.get('content-security-policy')).not.toMatch(/unsafe/);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-powered-by')).toBeNull();
  });
});

describe('the OpenAPI document', () => {
  it('has every mounted route, its parameters, body and permission', () => {
    const document = describeRoutes(routes, { version: '1', basePath: '/api/v1' });
    const paths = document['paths'] as Record<string, Record<string, Record<string, unknown>>>;
    for (const each of routes) {
      expect(
        paths[each.path.replace(':thingId', '{thingId}')]?.[each.method],
        `${each.method} ${each.path}`,
      ).toBeDefined();
    }
    expect(paths['/things/{thingId}']?.['get']).toMatchObject({
      operationId: 'getThingsByThingId',
      parameters: [{ in: 'path', name: 'thingId', required: true }],
    });
    expect(paths['/things']?.['post']).toMatchObject({
      description: 'Needs full access to users.',
      requestBody: { required: true },
    });
  });
});
