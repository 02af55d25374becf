/** `npm run test:full`: the suites that draw at random, kill or cut do so far more often (CONTRIBUTING.md). */
export const isFull = process.env['ROLLCALL_FULL'] === '1';

/** How often to do something: the first in `npm test`, the second in `npm run test:full`. */
export function scale(short: number, full: number): number {
  return isFull ? full : short;
}
