/**
 * Graph's token bucket of resource units per application and tenant (Microsoft Graph "throttling limits", identity and
 * access): each request costs units, an empty bucket answers 429, and asking again too early makes the wait longer.
 */
import type { RouteName } from './faults.ts';
import type { Reply } from './reply.ts';
import { graphError } from './reply.ts';

export type ThrottleLimit = { readonly units: number; readonly perMs: number };

/** What the service grants by the size of the tenant. */
export function documentedLimit(users: number): ThrottleLimit {
  return { units: users < 50 ? 3_500 : users <= 500 ? 5_000 : 8_000, perMs: 10_000 };
}

export type Throttle = {
  /** The 429, or null when the request may pass; counts it. */
  refuse(route: RouteName, query: string): Reply | null;
  /** Headers of an answer that passed: its cost, and above 80 % of the limit how much of it is used. */
  headersFor(route: RouteName, query: string): Readonly<Record<string, string>>;
  /** Null switches it off, as it is at first. */
  limit(limit: ThrottleLimit | null): void;
};

const baseCosts: Partial<Record<RouteName, number>> = {
  users: 2,
  'groups/members': 3,
  'groups/transitiveMembers': 5,
  getByIds: 3,
  appRoleAssignedTo: 2,
};

/** One less with $select, one less for a small $top, one more with $expand, never below one. */
export function costOf(route: RouteName, query: string): number {
  const top = /[?&]?\$top=(\d+)/.exec(query)?.[1];
  const cost =
    (baseCosts[route] ?? 1) -
    (/[?&]?\$select=/.test(query) ? 1 : 0) -
    (top !== undefined && Number(top) < 20 ? 1 : 0) +
    (/[?&]?\$expand=/.test(query) ? 1 : 0);
  return Math.max(1, cost);
}

/** Sign-in has limits of its own; a batch costs what its parts cost. */
const free: ReadonlySet<RouteName> = new Set(['token', 'openid', 'batch']);

export function createThrottle(now: () => Date): Throttle {
  let limit: ThrottleLimit | null = null;
  let windowStart = 0;
  let spent = 0;
  let blockedUntil = 0;

  return {
    limit: (given) => {
      limit = given;
      spent = 0;
      blockedUntil = 0;
      windowStart = now().getTime();
    },
    headersFor: (route, query) => {
      const used = limit === null ? 0 : spent / limit.units;
      return {
        'x-ms-resource-unit': String(costOf(route, query)),
        ...(used > 0.8 ? { 'x-ms-throttle-limit-percentage': used.toFixed(2) } : {}),
      };
    },
    refuse: (route, query) => {
      if (limit === null || free.has(route)) return null;
      const at = now().getTime();
      if (at - windowStart >= limit.perMs) {
        windowStart = at;
        spent = 0;
      }
      const isEarly = at < blockedUntil;
      const cost = costOf(route, query);
      if (!isEarly && spent + cost <= limit.units) {
        spent += cost;
        return null;
      }
      blockedUntil = isEarly ? blockedUntil + 1_000 : windowStart + limit.perMs;
      return graphError(429, 'TooManyRequests', 'Please retry again later.', {
        'retry-after': String(Math.max(1, Math.ceil((blockedUntil - at) / 1_000))),
        'x-ms-throttle-scope': 'Tenant_Application/ReadWrite/simulated/simulated',
        'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
      });
    },
  };
}
