/**
 * How fast one token may send: a bucket that fills at `perSecond` and holds twice as much, so that a steady client at
 * the rate is never refused and a burst is taken. In memory, exact, per process; what is not used for a while is
 * forgotten, because it would be full again.
 */
import { RollcallError } from '../core/errors.ts';
import type { Clock } from '../platform/clock.ts';

export type RateLimit = {
  /** Takes one request; answers the headers that tell where the token stands. Throws too_many_requests. */
  take(tokenId: string): RateHeaders;
};

export type RateHeaders = Readonly<
  Record<'X-Rate-Limit-Limit' | 'X-Rate-Limit-Remaining' | 'X-Rate-Limit-Reset', string>
>;

const maxBuckets = 50_000;

export function createRateLimit(perSecond: number, clock: Pick<Clock, 'now'>): RateLimit {
  const size = perSecond * 2;
  const buckets = new Map<string, { level: number; atMs: number }>();
  return {
    take(tokenId) {
      const nowMs = clock.now().getTime();
      const known = buckets.get(tokenId);
      // a clock that was set back fills nothing
      const passedMs = known === undefined ? 0 : Math.max(0, nowMs - known.atMs);
      const level = known === undefined ? size : Math.min(size, known.level + (passedMs * perSecond) / 1_000);
      const isTaken = level >= 1;
      const left = isTaken ? level - 1 : level;
      // moved to the end: the first ones are those that were silent longest
      buckets.delete(tokenId);
      buckets.set(tokenId, { level: left, atMs: nowMs });
      forgetOldest(buckets);
      const headers: RateHeaders = {
        'X-Rate-Limit-Limit': String(size),
        'X-Rate-Limit-Remaining': String(Math.floor(left)),
        'X-Rate-Limit-Reset': String(Math.ceil(nowMs / 1_000 + (size - left) / perSecond)),
      };
      if (isTaken) return headers;
      const retryAfterSeconds = Math.max(1, Math.ceil((1 - level) / perSecond));
      throw new RollcallError('too_many_requests', `This token sends more than ${perSecond} requests a second.`, {
        // whole seconds: Okta reads no other
        retryAfterSeconds,
        // SailPoint reads this one (documentation.sailpoint.com, SCIM 2.0, "API Throttling")
        details: { headers: { ...headers, 'X-Rate-Limit-Retry-After-Seconds': String(retryAfterSeconds) } },
      });
    },
  };
}

function forgetOldest(buckets: Map<string, unknown>): void {
  for (const oldest of buckets.keys()) {
    if (buckets.size <= maxBuckets) return;
    buckets.delete(oldest);
  }
}
