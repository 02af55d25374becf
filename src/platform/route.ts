/**
 * platform/route: one description per HTTP endpoint. The schemas validate, document (OpenAPI) and type the handler;
 * the permission is not optional, so a route without one does not compile. app mounts them (auth sits in the router).
 */
import { z } from 'zod';
import type { OrganizationId, TenantId, UserId } from '../core/ids.ts';
import type { Permission } from '../core/permissions.ts';
import type { Role } from '../core/roles.ts';

/** Who calls: always the bearer of one tenant's token (operators come through the CLI on the host). */
export type Principal = {
  /** For audit: `token:<id>`, `user:<id>`, `operator:<name>`. */
  readonly actor: string;
  readonly tenantId: TenantId;
  /** The organization the credential acts in; everything it may touch is this one or below it. */
  readonly organizationId: OrganizationId;
  readonly userId: UserId | null;
  readonly role: Role;
};

export type RequestContext = {
  readonly principal: Principal;
  readonly requestId: string;
  readonly signal: AbortSignal;
  /** A header of the request, by its name in lower case. */
  readonly header: (name: string) => string | null;
};

/** An answer that is written bit by bit, as fast as the client takes it: events, downloads. Null: no content. */
export type StreamedAnswer = {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<string> | null;
};

type Schema = z.ZodType;
type Output<S> = S extends z.ZodType ? z.output<S> : undefined;

export type RouteSpec<
  P extends Schema | undefined,
  Q extends Schema | undefined,
  B extends Schema | undefined,
  R extends Schema,
> = {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Express path below /api/v1, e.g. `/connections/:connectionId/runs`. */
  readonly path: string;
  readonly summary: string;
  /** `any` means any valid credential. */
  readonly permission: Permission | 'any';
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly response: R;
  /** Status of success; 200 unless given. */
  readonly status?: 200 | 201 | 202 | 204;
  readonly handler: (
    input: { readonly params: Output<P>; readonly query: Output<Q>; readonly body: Output<B> },
    context: RequestContext,
  ) => Promise<z.input<R>>;
};

/** A route with its types erased: what app mounts and what the OpenAPI document is made of. */
export type Route = {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  readonly path: string;
  readonly summary: string;
  readonly permission: Permission | 'any';
  readonly params: Schema | undefined;
  readonly query: Schema | undefined;
  readonly body: Schema | undefined;
  readonly response: Schema;
  readonly status: number;
  /** Content types of a streamed answer; null: the answer is JSON of `response`. */
  readonly streams: readonly string[] | null;
  readonly handler: (
    input: { readonly params: unknown; readonly query: unknown; readonly body: unknown },
    context: RequestContext,
  ) => Promise<unknown>;
};

export function route<
  R extends Schema,
  P extends Schema | undefined = undefined,
  Q extends Schema | undefined = undefined,
  B extends Schema | undefined = undefined,
>(spec: RouteSpec<P, Q, B, R>): Route {
  return {
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    permission: spec.permission,
    params: spec.params,
    query: spec.query,
    body: spec.body,
    response: spec.response,
    status: spec.status ?? 200,
    streams: null,
    // the mount parses with the same schemas before it calls, so the erased input has the declared shape
    handler: spec.handler as Route['handler'],
  };
}

/**
 * A route whose answer is a stream. Its `signal` is aborted when the answer ended, the client went away, or the server
 * stops; there is no time limit, so the body bounds itself.
 */
export function streamRoute<P extends Schema | undefined = undefined, Q extends Schema | undefined = undefined>(
  spec: Omit<RouteSpec<P, Q, undefined, z.ZodUnknown>, 'method' | 'body' | 'response' | 'status' | 'handler'> & {
    readonly contentTypes: readonly string[];
    readonly handler: (
      input: { readonly params: Output<P>; readonly query: Output<Q> },
      context: RequestContext,
    ) => Promise<StreamedAnswer>;
  },
): Route {
  return {
    method: 'get',
    path: spec.path,
    summary: spec.summary,
    permission: spec.permission,
    params: spec.params,
    query: spec.query,
    body: undefined,
    response: z.unknown(),
    status: 200,
    streams: spec.contentTypes,
    handler: spec.handler as Route['handler'],
  };
}
