/**
 * Graph's token bucket of resource units per application and tenant (Microsoft Graph "throttling limits", identity and
 * access): each request costs units, an empty bucket answers 429, and asking again too early makes the wait longer.
 */
import type { RouteName } from './faults.ts';
import type { Reply } from './reply.ts';
import { graphError } from './reply.ts';

export type ThrottleLimit = { readonly units: number; readonly perMs: number };

export type Throttle = {
  /** The 429, or null when the request may pass; counts it. */
  refuse(route: RouteName, query: string): Reply | null;
  /** Null switches it off, as it is at first. */
  limit(limit: ThrottleLimit | null): void;
};

/** Cost of the route, one less with $select, never below one. */
function costOf(route: RouteName, query: string): number {
  const base = route === 'groups/members' || route === 'getByIds' ? 3 : route === 'users' ? 2 : 1;
  return Math.max(1, /[?&]?\$select=/.test(query) ? base - 1 : base);
}

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
    refuse: (route, query) => {
      if (limit === null || route === 'token' || route === 'openid') return null;
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
        'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
      });
    },
  };
}
