/**
 * How long and how often a read tries again. One budget per read, not per request: obeying Retry-After adds up to at
 * most ten minutes, then the run is put off (operations.md). Retrying early counts against us, so the service's own
 * number is obeyed exactly; without one, full jitter (A8).
 */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { Clock } from '../../platform/clock.ts';

export type Patience = {
  /** Calls `attempt` until it succeeds, fails for good, or patience ends. */
  during<T>(what: string, attempt: () => Promise<T>): Promise<T>;
};

export type PatienceOptions = {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly maxWaitMs: number;
  readonly maxAttempts: number;
  readonly onWait?: (message: string) => void;
};

const firstDelayMs = 1_000;
const longestDelayMs = 60_000;

/** What an attempt throws when a second one may succeed; `after` is the service's own word. */
export class TryAgain extends Error {
  override readonly name = 'TryAgain';
  readonly failure: RollcallError;

  constructor(failure: RollcallError) {
    super(failure.message, { cause: failure });
    this.failure = failure;
  }
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3); null for anything else. */
export function parseRetryAfter(header: string | undefined, now: Date): number | null {
  const text = header?.trim() ?? '';
  if (/^\d{1,7}$/.test(text)) return Number(text);
  if (!/^[A-Za-z]{3,9},? /.test(text)) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, Math.ceil((at - now.getTime()) / 1_000));
}

export function createPatience(options: PatienceOptions): Patience {
  const { clock, signal } = options;
  let leftMs = options.maxWaitMs;
  let rest: { readonly ms: number; readonly over: Promise<void> } | null = null;

  const pay = (ms: number, failure: RollcallError): void => {
    if (ms > leftMs) throw outOfPatience(failure, options.maxWaitMs);
    leftMs -= ms;
  };

  const startRest = (ms: number, over: Promise<void>): Promise<void> => {
    const started = { ms, over };
    const end = (): void => {
      if (rest === started) rest = null;
    };
    over.then(end, end);
    rest = started;
    return over;
  };

  /** The limit is one for all requests, so who is told to wait makes all wait, and the time is paid for once. */
  const postpone = (ms: number, failure: RollcallError): Promise<void> => {
    const current = rest;
    pay(Math.max(0, ms - (current?.ms ?? 0)), failure);
    if (current === null) return startRest(ms, clock.sleep(ms, signal));
    if (ms <= current.ms) return current.over;
    return startRest(
      ms,
      current.over.then(async () => clock.sleep(ms - current.ms, signal)),
    );
  };

  const backOff = (failures: number, failure: RollcallError): number => {
    const ms = options.random() * Math.min(longestDelayMs, firstDelayMs * 2 ** (failures - 1));
    pay(ms, failure);
    return ms;
  };

  const wait = async (what: string, failure: RollcallError, failures: number): Promise<void> => {
    const asked = failure.retryAfterSeconds;
    const waitMs = asked === undefined ? backOff(failures, failure) : asked * 1_000;
    const over = asked === undefined ? clock.sleep(waitMs, signal) : postpone(waitMs, failure);
    options.onWait?.(`Waiting ${Math.ceil(waitMs / 1_000)} s for Microsoft (${what}): ${failure.message}`);
    await over;
  };

  return {
    during: async (what, attempt) => {
      for (let failures = 1; ; failures += 1) {
        try {
          if (rest !== null) await rest.over;
          return await attempt();
        } catch (error) {
          signal.throwIfAborted();
          const failure = retryable(error);
          if (failure === null) throw error;
          // A throttled request is not a failed one: only the budget ends it.
          const isCounted = failure.retryAfterSeconds === undefined;
          if (isCounted && failures >= options.maxAttempts) throw failure;
          await wait(what, failure, failures);
        }
      }
    },
  };
}

function retryable(error: unknown): RollcallError | null {
  if (error instanceof TryAgain) return error.failure;
  // A name that does not resolve, or may not be dialed, will not resolve a second later.
  const isTransient = isRollcallError(error, 'directory_unreachable') && error.details['step'] !== 'dns';
  return isTransient ? error : null;
}

function outOfPatience(failure: RollcallError, maxWaitMs: number): RollcallError {
  if (failure.retryAfterSeconds === undefined) return failure;
  const minutes = Math.round(maxWaitMs / 60_000);
  const limit = maxWaitMs < 60_000 ? `${maxWaitMs / 1_000} seconds` : `${minutes} minutes`;
  return new RollcallError('directory_throttled', `Microsoft asks to wait longer than ${limit} in all.`, {
    cause: failure,
    retryAfterSeconds: failure.retryAfterSeconds,
    remedy: 'Nothing to do: the run is put off. If it happens often, run less often or at another time of day.',
    ...(failure.raw === undefined ? {} : { raw: failure.raw }),
  });
}
