import { afterAll, describe, expect, it } from 'vitest';
import { openDb } from '../db/db.ts';
import { createLogger } from '../platform/logger.ts';
import { describeRoutes, toOpenApiPath } from '../platform/openapi.ts';
import { SecretBox } from '../platform/secrets.ts';
import { routesOf } from './api.ts';
import { configSchema } from './config.ts';
import { createRooms, nextSlotText } from './rooms.ts';

// pools connect when first asked, and nothing here asks
const db = openDb({ url: 'postgresql://nobody@127.0.0.1:1/nothing' });
const rooms = createRooms({
  config: configSchema.parse({}),
  db,
  secretBox: new SecretBox(Buffer.alloc(32)),
  logger: createLogger({ level: 'silent', fileDescriptor: 2 }),
});
const routes = routesOf(rooms, () => Promise.resolve());

afterAll(() => db.close());

describe('the API', () => {
  it('documents every route that is mounted, each once', () => {
    const paths = describeRoutes(routes, { version: '0', basePath: '/api/v1' })['paths'] as Record<string, object>;
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((m) => `${m} ${path}`),
    );
    const mounted = routes.map((route) => `${route.method} ${toOpenApiPath(route.path)}`);
    expect(mounted.length).toBeGreaterThan(20);
    expect(documented.toSorted()).toEqual(mounted.toSorted());
  });

  it('gives every operation an id of its own and a summary', () => {
    const paths = describeRoutes(routes, { version: '0', basePath: '/api/v1' })['paths'] as Record<
      string,
      Record<string, unknown>
    >;
    const operations = Object.values(paths).flatMap((methods) => Object.values(methods)) as Record<string, string>[];
    expect(new Set(operations.map((operation) => operation['operationId'])).size).toBe(operations.length);
    for (const operation of operations) expect(operation['summary']?.length).toBeGreaterThan(5);
  });

  it('refuses schedules that never come and zones that do not exist', () => {
    const after = new Date('2026-03-01T00:00:00Z');
    expect(nextSlotText('0 2 * * *', 'Europe/Berlin', after)).toBe('2026-03-01T01:00:00.000Z');
    expect(() => nextSlotText('0 0 30 2 *', 'UTC', after)).toThrow('never comes');
    expect(() => nextSlotText('0 0 * * *', 'Mars/Olympus', after)).toThrow('not a time zone');
  });
});
