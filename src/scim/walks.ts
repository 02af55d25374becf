/**
 * Where an index walk (startIndex, count) stands: the last id of each answered page, so that the next page continues
 * behind it. By position alone, a client that deletes people while it pages would skip as many others (RFC 7644
 * section 3.4.2.4 leaves that open). The total of the walk stays the one its first page told.
 *
 * Bounded and in memory: a page whose predecessor another replica answered is found by its position (list-marks.ts).
 */
import { hash } from 'node:crypto';
import type { Clock } from '../platform/clock.ts';

export type WalkPlace = { readonly anchor: string; readonly total: number };

export type Walks = {
  /** Where the page before this one ended, when it was answered here a short while ago. */
  before(walk: readonly string[], startIndex: number): WalkPlace | null;
  answered(walk: readonly string[], nextIndex: number, place: WalkPlace): void;
};

const maxEntries = 10_000;
const keepMs = 15 * 60_000;

export function createWalks(clock: Pick<Clock, 'now'>): Walks {
  const places = new Map<string, WalkPlace & { readonly untilMs: number }>();
  // a filter may be long, its digest is not: what is kept has a size that does not depend on the client
  const keyOf = (walk: readonly string[], index: number) => hash('md5', JSON.stringify([...walk, index]), 'base64');
  return {
    before(walk, startIndex) {
      const place = places.get(keyOf(walk, startIndex));
      return place === undefined || place.untilMs < clock.now().getTime() ? null : place;
    },
    answered(walk, nextIndex, { anchor, total }) {
      const key = keyOf(walk, nextIndex);
      const known = places.get(key);
      const nowMs = clock.now().getTime();
      // two walks of one client at once: the earlier place, so that one of them sees somebody twice, not never
      const earlier = known !== undefined && known.untilMs >= nowMs && known.anchor < anchor ? known.anchor : anchor;
      places.delete(key);
      places.set(key, { anchor: earlier, total, untilMs: nowMs + keepMs });
      for (const oldest of places.keys()) {
        if (places.size <= maxEntries) break;
        places.delete(oldest);
      }
    },
  };
}
