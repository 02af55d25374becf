/**
 * Requests with the same token that are read in one turn of the event loop share one look-up of it. Nothing is kept:
 * the look-up leaves after the last of them came, so that a revocation holds from the next request on, as if each had
 * asked for itself.
 */
import { setImmediate as afterThisTick } from 'node:timers/promises';

export type Authenticate<Caller> = (bearer: string, address: string | undefined) => Promise<Caller>;

export function shareLookUps<Caller>(authenticate: Authenticate<Caller>): Authenticate<Caller> {
  const gathering = new Map<string, Promise<Caller>>();
  return (bearer, address) => {
    // a token has no space in it
    const key = `${bearer} ${address ?? ''}`;
    const known = gathering.get(key);
    if (known !== undefined) return known;
    const asked = afterThisTick().then(() => {
      gathering.delete(key);
      return authenticate(bearer, address);
    });
    gathering.set(key, asked);
    return asked;
  };
}
