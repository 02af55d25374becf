/** The worker: the minute tick, the jobs of the queue, and the periodic jobs handed in by app. */
import { schedule as scheduleTask, type Logger as CronLogger, type ScheduledTask } from 'node-cron';
import { describeError, RollcallError } from '../core/errors.ts';
import type { RunId, TenantId } from '../core/ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { RunJob, RunQueue } from './queue.ts';
import type { Schedule } from './schedule.ts';

export type PeriodicJob = {
  readonly name: string;
  /** Pause between the end of one round and the start of the next. */
  readonly everyMs: number;
  readonly run: (signal: AbortSignal) => Promise<void>;
};

export type WorkerOptions = {
  readonly schedule: Schedule;
  readonly queue: RunQueue;
  readonly executeRun: (
    tenantId: TenantId,
    runId: RunId,
    options: { readonly signal: AbortSignal },
  ) => Promise<unknown>;
  readonly periodic: readonly PeriodicJob[];
  readonly concurrency: number;
  readonly pollSeconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type Worker = {
  /** Takes no new work, tells the runs in hand to stop, and waits for them: at most `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
};

/** A connection has one live run, and at most a few more that a person just asked for. */
const maxRunsPerJob = 100;

export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const stopping = new AbortController();
  const ticking = startTicking(options);
  const loops = options.periodic.map((job) => repeat(job, options, stopping.signal));
  await options.queue.work({
    concurrency: options.concurrency,
    pollSeconds: options.pollSeconds,
    handle: (job, signal) => carryOut(job, options, AbortSignal.any([signal, stopping.signal])),
  });
  return {
    close: async (timeoutMs) => {
      stopping.abort(new RollcallError('shutting_down', 'The worker is stopping.'));
      await ticking.stop();
      await options.queue.close(timeoutMs);
      await Promise.all(loops);
    },
  };
}

/** One look at once (what came due while nobody ran), then one a minute, in UTC: a time zone's clock never matters here. */
function startTicking({ schedule, logger }: WorkerOptions): { stop(): Promise<void> } {
  let current: Promise<void> = Promise.resolve();
  const look = (): Promise<void> => {
    current = lookOnce(schedule, logger);
    return current;
  };
  const task: ScheduledTask = scheduleTask('* * * * *', look, {
    timezone: 'UTC',
    name: 'rollcall tick',
    noOverlap: true,
    suppressMissedWarning: true,
    logger: cronLogger(logger),
  });
  void look();
  return {
    stop: async () => {
      await task.destroy();
      await current;
    },
  };
}

/** Never rejects: a tick that fails (the database is away) is followed by another one in a minute. */
async function lookOnce(schedule: Schedule, logger: Logger): Promise<void> {
  try {
    const { due, created, resent } = await schedule.tick();
    if (due > 0 || resent > 0) logger.info({ counts: { due, created, resent } }, 'tick');
  } catch (error) {
    logger.warn({ err: error }, 'the tick failed; the next one comes in a minute');
  }
}

async function carryOut(job: RunJob, options: WorkerOptions, signal: AbortSignal): Promise<void> {
  const done = new Set<RunId>();
  let hasWaited = false;
  for (let count = 0; count < maxRunsPerJob; count += 1) {
    signal.throwIfAborted();
    const work = await options.schedule.findWork(job);
    if (work === null) return;
    const { runId, freeInMs } = work;
    if (freeInMs > 0) {
      // the job came back, so the worker of this run lost it: either it is dead, or it still ends the run by itself
      if (hasWaited) return;
      hasWaited = true;
      await options.clock.sleep(freeInMs, signal);
      continue;
    }
    if (done.has(runId)) {
      throw new RollcallError('internal', `Run ${runId} wants a worker again right after one was done with it.`);
    }
    done.add(runId);
    await executeOne(job, runId, options, signal);
  }
}

async function executeOne(job: RunJob, runId: RunId, options: WorkerOptions, signal: AbortSignal): Promise<void> {
  const logger = options.logger.child({ runId, connectionId: job.connectionId });
  const startedAt = performance.now();
  try {
    await options.executeRun(job.tenantId, runId, { signal });
    // a run that was told to stop returns without having ended: the job must go back to the queue
    signal.throwIfAborted();
    logger.info({ durationMs: Math.round(performance.now() - startedAt) }, 'run ended');
  } catch (error) {
    // the worker is stopping, or the queue gave the job to another one
    if (signal.aborted) logger.info({ reason: describeError(signal.reason) }, 'run given up');
    else logger.error({ err: error }, 'run broke off; the queue tries again');
    throw error;
  }
}

async function repeat(job: PeriodicJob, { clock, logger }: WorkerOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await job.run(signal);
    } catch (error) {
      if (!signal.aborted) logger.warn({ job: job.name, err: error }, 'a periodic job failed; it is tried again');
    }
    try {
      await clock.sleep(job.everyMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

function cronLogger(logger: Logger): CronLogger {
  return {
    info: (message) => logger.debug({}, message),
    warn: (message) => logger.warn({}, message),
    error: (message, error) => logger.error({ err: error ?? message }, 'node-cron'),
    debug: (message) => logger.debug({}, String(message)),
  };
}
