/** platform/openapi: the OpenAPI 3.1 document, made of the same routes that are mounted. */
import {
  createDocument,
  type ZodOpenApiContentObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
} from 'zod-openapi';
import { z } from 'zod';
import { problemSchema } from './problem.ts';
import type { Route } from './route.ts';

const problem = problemSchema.meta({ id: 'Problem' });

export function describeRoutes(
  routes: readonly Route[],
  info: { readonly version: string; readonly basePath: string },
): Readonly<Record<string, unknown>> {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) {
    const path = toOpenApiPath(route.path);
    paths[path] = { ...paths[path], [route.method]: operationOf(route) };
  }
  const document = createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Rollcall API',
      version: info.version,
      description:
        'Directory connections, runs, cases and tokens of one tenant. Every answer that is not 2xx is a problem (RFC 9457).',
    },
    servers: [{ url: info.basePath }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'An API token: rollcall tokens create' },
      },
    },
  });
  return { ...document };
}

/** `/runs/:runId` -> `/runs/{runId}` */
export function toOpenApiPath(path: string): string {
  return path.replaceAll(/:([A-Za-z]+)/g, '{$1}');
}

function operationOf(route: Route): ZodOpenApiOperationObject {
  const { params, query, body } = route;
  return {
    operationId: operationIdOf(route),
    summary: route.summary,
    description:
      route.permission === 'any'
        ? 'Any valid token.'
        : `Needs ${route.permission.level} access to ${route.permission.object.replaceAll('_', ' ')}.`,
    ...(params === undefined && query === undefined
      ? {}
      : {
          requestParams: {
            ...(params instanceof z.ZodObject ? { path: params } : {}),
            ...(query instanceof z.ZodObject ? { query } : {}),
          },
        }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    responses: {
      [String(route.status) as '200']:
        route.status === 204
          ? { description: 'Done; no content.' }
          : { description: 'Done.', content: contentOf(route) },
      default: { description: 'A problem.', content: { 'application/problem+json': { schema: problem } } },
    },
  };
}

function contentOf({ streams, response }: Route): ZodOpenApiContentObject {
  if (streams === null) return { 'application/json': { schema: response } };
  return Object.fromEntries(streams.map((type) => [type, { schema: z.string() }]));
}

function operationIdOf(route: Route): string {
  const words = route.path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => (part.startsWith(':') ? `by-${part.slice(1)}` : part));
  return [route.method, ...words]
    .join('-')
    .replaceAll(/[-_]([A-Za-z])/g, (_match, letter: string) => letter.toUpperCase());
}
