/**
 * Watching runs from another process than the one that executes them. One query a second reads the rows of all runs that
 * anybody in this process watches: its cost does not grow with the listeners, it survives lost connections and poolers,
 * and the worker pays nothing (decision 0012 compares it with NOTIFY). Each listener keeps the newest state only, so a
 * slow one misses steps and holds no memory.
 */
import { hash } from 'node:crypto';
import { RollcallError } from '../../core/errors.ts';
import type { RunId, TenantId } from '../../core/ids.ts';
import type { PhaseProgress } from '../../core/progress.ts';
import type { RunPhase, RunStatus } from '../../core/vocabulary.ts';
import type { Db } from '../../db/db.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';

export type RunState = {
  /** The same for the same state, in any process: what a client that reconnects says it has seen. */
  readonly id: string;
  readonly runId: RunId;
  readonly status: RunStatus;
  readonly phase: RunPhase | null;
  readonly progress: PhaseProgress | null;
  readonly error: Readonly<Record<string, unknown>> | null;
  /** False: the run rests, and nothing follows unless a person acts. */
  readonly isLive: boolean;
};

export type RunWatcher = {
  /**
   * States of the run, each when it differs from the one before, the last one at rest; null when nothing happened for a
   * while. Ends with the run or the signal. Throws too_many_requests beyond the limit of listeners, at once.
   */
  watch(tenantId: TenantId, runId: RunId, signal: AbortSignal): AsyncIterable<RunState | null>;
};

export type WatchOptions = {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Logger;
  readonly everyMs?: number;
  readonly silenceMs?: number;
  readonly listenersMax?: number;
};

type Listener = { readonly tenantId: TenantId; readonly runId: RunId; offer(state: RunState): void };

export function createRunWatcher(options: WatchOptions): RunWatcher {
  const { clock, log, everyMs = 1000, silenceMs = 15_000, listenersMax = 64 } = options;
  const listeners = new Set<Listener>();
  let isLooking = false;

  const look = async (): Promise<void> => {
    if (isLooking) return;
    isLooking = true;
    try {
      while (listeners.size > 0) {
        try {
          const states = await readStates(options.db, new Set([...listeners].map((listener) => listener.runId)));
          for (const listener of listeners) {
            const state = states.get(`${listener.tenantId}/${listener.runId}`);
            if (state !== undefined) listener.offer(state);
          }
        } catch (error) {
          // the database is away for a moment: the listeners wait with us
          log.warn({ err: error }, 'the runs that are watched could not be read');
        }
        await clock.sleep(everyMs);
      }
    } finally {
      isLooking = false;
    }
  };

  return {
    watch: (tenantId, runId, signal) => {
      if (listeners.size >= listenersMax) {
        throw new RollcallError('too_many_requests', `${listenersMax} listeners watch runs already.`, {
          retryAfterSeconds: 30,
          remedy: 'Close one, or ask for the run every few seconds instead.',
        });
      }
      const mailbox = createMailbox();
      const listener: Listener = { tenantId, runId, offer: (state) => mailbox.put(state) };
      listeners.add(listener);
      const leave = (): void => {
        listeners.delete(listener);
        mailbox.wake();
      };
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      void look();
      return follow(mailbox, silenceMs, signal, leave);
    },
  };
}

async function* follow(
  mailbox: Mailbox,
  silenceMs: number,
  signal: AbortSignal,
  leave: () => void,
): AsyncGenerator<RunState | null> {
  let seen = '';
  try {
    while (!signal.aborted) {
      const state = await mailbox.take(silenceMs);
      if (signal.aborted) return;
      if (state === null) yield null;
      else if (state.id !== seen) {
        seen = state.id;
        yield state;
        if (!state.isLive) return;
      }
    }
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}

type Mailbox = {
  put(state: RunState): void;
  wake(): void;
  /** The newest state that was not taken; null after `timeoutMs` without news, or when woken. */
  take(timeoutMs: number): Promise<RunState | null>;
};

/** Equal states that arrive one after the other are one: silence is measured between changes. */
function createMailbox(): Mailbox {
  let newest: RunState | null = null;
  let lastId = '';
  let waiting: (() => void) | null = null;
  const wake = (): void => waiting?.();
  return {
    put: (state) => {
      if (state.id === lastId) return;
      lastId = state.id;
      newest = state;
      wake();
    },
    wake,
    take: async (timeoutMs) => {
      if (newest === null) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, timeoutMs);
        waiting = resolve;
        await promise;
        waiting = null;
        clearTimeout(timer);
      }
      const state = newest;
      newest = null;
      return state;
    },
  };
}

type Row = Omit<RunState, 'id' | 'isLive'> & { readonly tenantId: TenantId };

async function readStates(db: Db, runIds: ReadonlySet<RunId>): Promise<Map<string, RunState>> {
  const rows = await db.engine(
    (tx) => tx.sql<Row[]>`
      select tenant_id as "tenantId", id as "runId", status, phase, progress, error from runs
      where id = any(${[...runIds] as string[]}::uuid[])`,
  );
  return new Map(rows.map((row) => [`${row.tenantId}/${row.runId}`, toState(row)]));
}

export function toState({ runId, status, phase, progress, error }: Omit<Row, 'tenantId'>): RunState {
  const isLive = status === 'queued' || status === 'running';
  const shown = {
    runId,
    status,
    phase,
    progress: isLive && progress?.phase === phase ? progress : null,
    error,
    isLive,
  };
  return { ...shown, id: hash('sha256', JSON.stringify(shown)).slice(0, 16) };
}
