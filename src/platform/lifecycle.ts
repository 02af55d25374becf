/**
 * platform/lifecycle: who is shut down, in which order, and for how long we wait.
 *
 * Resources close in the reverse order of their start, because a later one may use an earlier one (the HTTP server
 * uses the pool, the pool uses the embedded Postgres). One AbortSignal tells loops and runs to come to an end before the
 * first closer is called. No closer may hold up the process: after the hard deadline the rest is abandoned, named in
 * the log, and the exit code says so.
 */
import type { Logger } from './logger.ts';

type Resource = { readonly name: string; readonly close: () => Promise<void> | void };

export type ShutdownResult = 'clean' | 'abandoned';

export class Lifecycle implements AsyncDisposable {
  readonly #controller = new AbortController();
  readonly #resources: Resource[] = [];
  readonly #logger: Logger;
  readonly #deadlineMs: number;
  #shutdown: Promise<ShutdownResult> | null = null;

  constructor(options: { readonly logger: Logger; readonly deadlineMs?: number }) {
    this.#logger = options.logger;
    this.#deadlineMs = options.deadlineMs ?? 10_000;
  }

  /** Aborted when shutting down begins. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /**
   * Registers what is open now; it is closed before everything registered earlier. What opens while we are shutting
   * down is closed at once: a start that was overtaken by a signal leaves nothing behind.
   */
  own(name: string, close: Resource['close']): void {
    if (this.#controller.signal.aborted) void this.#closeOne({ name, close });
    else this.#resources.push({ name, close });
  }

  /** Closes everything once; later calls wait for the first. */
  shutDown(reason: string): Promise<ShutdownResult> {
    this.#shutdown ??= this.#close(reason);
    return this.#shutdown;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutDown('end of scope');
  }

  async #close(reason: string): Promise<ShutdownResult> {
    this.#logger.debug({ reason }, 'shutting down');
    this.#controller.abort(new DOMException(reason, 'AbortError'));
    const deadline = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => {
      deadline.resolve('late');
    }, this.#deadlineMs);
    try {
      for (let resource = this.#resources.pop(); resource !== undefined; resource = this.#resources.pop()) {
        const outcome = await Promise.race([this.#closeOne(resource), deadline.promise]);
        if (outcome === 'late') {
          this.#logger.error({ name: resource.name }, 'did not close in time; leaving it');
          return 'abandoned';
        }
      }
      return 'clean';
    } finally {
      clearTimeout(timer);
    }
  }

  async #closeOne(resource: Resource): Promise<'closed'> {
    try {
      await resource.close();
    } catch (error) {
      // a resource that fails to close must not keep the others open
      this.#logger.warn({ name: resource.name, err: error }, 'closing failed');
    }
    return 'closed';
  }
}

export type StopRequest = { readonly signal: NodeJS.Signals; readonly isForced: boolean };

/**
 * Decides what a signal means. `exec node` under npm gets Ctrl-C twice, from the terminal and from npm, a few
 * milliseconds apart: so a second signal forces only when it comes at least a second after the first.
 */
export function createSignalReader(nowMs: () => number): (signal: NodeJS.Signals) => StopRequest | null {
  let firstAtMs: number | null = null;
  return (signal) => {
    const now = nowMs();
    if (firstAtMs === null) {
      firstAtMs = now;
      return { signal, isForced: false };
    }
    return now - firstAtMs >= 1000 ? { signal, isForced: true } : null;
  };
}
