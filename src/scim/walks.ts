/**
 * Where an index walk (startIndex, count) stands: the last id of each answered page, so that the next page continues
 * behind it. By position alone, a client that deletes people while it pages would skip as many others (RFC 7644
 * section 3.4.2.4 leaves that open); this also makes page 10,000 cost what page 1 costs.
 *
 * Bounded and in memory: a page whose predecessor another replica answered falls back to its position.
 */
import type { Clock } from '../platform/clock.ts';

export type Walks = {
  /** The last id before this page, when the page before it was answered here a short while ago. */
  before(walk: string, startIndex: number): string | null;
  answered(walk: string, nextIndex: number, lastAnchor: string): void;
};

const maxEntries = 10_000;
const keepMs = 15 * 60_000;

export function createWalks(clock: Clock): Walks {
  const places = new Map<string, { readonly anchor: string; readonly untilMs: number }>();
  const keyOf = (walk: string, index: number) => `${index} ${walk}`;
  return {
    before(walk, startIndex) {
      const place = places.get(keyOf(walk, startIndex));
      return place === undefined || place.untilMs < clock.now().getTime() ? null : place.anchor;
    },
    answered(walk, nextIndex, lastAnchor) {
      const key = keyOf(walk, nextIndex);
      const known = places.get(key);
      const nowMs = clock.now().getTime();
      // two walks of one client at once: the earlier place, so that one of them sees somebody twice, not never
      const anchor =
        known !== undefined && known.untilMs >= nowMs && known.anchor < lastAnchor ? known.anchor : lastAnchor;
      places.delete(key);
      places.set(key, { anchor, untilMs: nowMs + keepMs });
      for (const oldest of places.keys()) {
        if (places.size <= maxEntries) break;
        places.delete(oldest);
      }
    },
  };
}
