/**
 * Keeps the worker process alive. It is a process of its own so that a hungry connector can not stop SCIM; it ignores
 * signals (a terminal's Ctrl-C reaches it too) and follows the IPC channel: when that closes, it drains and leaves.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { MetricsSnapshot } from '../platform/metrics.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-messages.ts';

export type Supervisor = {
  /** Null when no worker answers within a second. */
  readMetrics(): Promise<MetricsSnapshot | null>;
  close(): Promise<void>;
};

export type SupervisorOptions = {
  readonly settings: WorkerSettings;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
};

const firstDelayMs = 500;
const longestDelayMs = 30_000;
/** A worker that lived this long was healthy: the next restart is quick again. */
const healthyMs = 60_000;
/** Hand-over takes up to 2 s; what is left after this is killed, and the fence keeps it harmless. */
const drainMs = 5000;

export function superviseWorker(options: SupervisorOptions): Supervisor {
  const state: { child: ChildProcess | null } = { child: null };
  const loop = keepAlive(options, state);
  return {
    readMetrics: () => readMetrics(state.child),
    close: () => loop,
  };
}

async function keepAlive(options: SupervisorOptions, state: { child: ChildProcess | null }): Promise<void> {
  const { logger, clock, signal } = options;
  let delayMs = firstDelayMs;
  while (!signal.aborted) {
    const startedAt = performance.now();
    const child = startChild(options.settings);
    state.child = child;
    const exitCode = await runUntilExit(child, signal, logger);
    state.child = null;
    if (signal.aborted) return;
    delayMs = performance.now() - startedAt > healthyMs ? firstDelayMs : Math.min(delayMs * 2, longestDelayMs);
    logger.error({ exitCode, delayMs }, 'the worker process died; it is started again');
    try {
      await clock.sleep(delayMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/**
 * The worker reads directories of a million people, and its memory is bounded (docs/benchmarks.md); collecting garbage
 * more often costs it little. With these flags the API would take a third fewer requests (package.json has its own).
 */
export const workerMemoryFlags = ['--max-semi-space-size=8', '--heap-growing-percent=30'];

function startChild(settings: WorkerSettings): ChildProcess {
  const child = fork(fileURLToPath(new URL('worker.ts', import.meta.url)), [], {
    // of a flag that is said twice, the last one counts
    execArgv: [...process.execArgv, ...workerMemoryFlags],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const start: ToWorker = { type: 'start', settings };
  child.send(start, (error) => {
    // a child that is gone already: its exit is what we wait for
    if (error !== null) child.kill('SIGKILL');
  });
  return child;
}

async function runUntilExit(child: ChildProcess, signal: AbortSignal, logger: Logger): Promise<number | null> {
  let killTimer: NodeJS.Timeout | undefined;
  const drain = (): void => {
    if (child.connected) child.disconnect();
    killTimer = setTimeout(() => {
      logger.warn({ workerPid: child.pid }, 'the worker did not hand over in time');
      child.kill('SIGKILL');
    }, drainMs);
  };
  child.on('message', (message: FromWorker) => {
    if (message.type === 'ready') logger.info({ workerPid: child.pid }, 'worker ready');
  });
  child.on('error', (error) => {
    logger.error({ err: error }, 'the worker process can not be reached');
  });
  signal.addEventListener('abort', drain, { once: true });
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  } finally {
    clearTimeout(killTimer);
    signal.removeEventListener('abort', drain);
  }
}

const metricsTimeoutMs = 1000;

async function readMetrics(child: ChildProcess | null): Promise<MetricsSnapshot | null> {
  if (child === null || !child.connected) return null;
  const answer = Promise.withResolvers<MetricsSnapshot | null>();
  const onMessage = (message: FromWorker): void => {
    if (message.type === 'metrics') answer.resolve(message.snapshot);
  };
  const timer = setTimeout(() => {
    answer.resolve(null);
  }, metricsTimeoutMs);
  child.on('message', onMessage);
  const request: ToWorker = { type: 'metrics' };
  child.send(request, (error) => {
    if (error !== null) answer.resolve(null);
  });
  try {
    return await answer.promise;
  } finally {
    clearTimeout(timer);
    child.off('message', onMessage);
  }
}
