/**
 * When a connection is stopped after failure, and how long it rests before it is tried again. Pure; the limits are of
 * the connection's document, inclusive as written. Directories lock an account after a few wrong passwords (Active Directory's usual policy: 10 in
 * 10 minutes), so a refused credential counts at once and the pauses begin long.
 */
import type { ErrorCode } from './errors.ts';
import type { QuarantineLimits } from './policy.ts';

const firstDelayMs = 15 * 60_000;
const longestDelayMs = 24 * 3_600_000;
/** The jitter only adds: a pause is never shorter than it is documented to be. */
const jitterShare = 0.25;

/** Credentials that were refused stay refused until a person changes something. */
const refused: ReadonlySet<ErrorCode> = new Set(['directory_auth']);
/** Failures that a person brought about by what they did meanwhile; they say nothing about the directory. */
const uncounted: ReadonlySet<ErrorCode> = new Set(['connection_state', 'run_state', 'run_live', 'canceled', 'fenced']);

export type FailureVerdict = 'ignore' | 'count' | 'quarantine';

/** What a failed run means for its connection; `failedRuns` is how many had failed in a row before this one. */
export function judgeFailure(code: ErrorCode, failedRuns: number, limits: QuarantineLimits): FailureVerdict {
  if (uncounted.has(code)) return 'ignore';
  if (refused.has(code) || code === 'too_many_failures') return 'quarantine';
  return failedRuns + 1 >= limits.failedRuns ? 'quarantine' : 'count';
}

/** Whether so many objects of one run failed that the run says more about its rules or source than about objects. */
export function isMostlyFailed(failed: number, objects: number, { failedObjects }: QuarantineLimits): boolean {
  return objects >= failedObjects.count && failed * 100 > failedObjects.percent * objects;
}

/** How long to wait before try number `retries` + 1: 15 min, doubled each time, a day at most, and up to a quarter more. */
export function quarantineDelayMs(retries: number, random: () => number): number {
  // beyond this many doublings the cap holds anyway, and 2 ** n stays exact
  const doublings = Math.min(Math.max(0, Math.trunc(retries)), 20);
  const delayMs = Math.min(firstDelayMs * 2 ** doublings, longestDelayMs);
  return Math.round(delayMs * (1 + jitterShare * random()));
}
