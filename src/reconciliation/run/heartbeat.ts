/** The sign of life of a run that is executed, written beside its work, and with it how far the run has come. */
import type { PhaseProgress } from '../../core/progress.ts';
import type { Db } from '../../db/db.ts';
import type { Logger } from '../../platform/logger.ts';
import { beat, type ClaimedRun } from './runs-store.ts';

export type HeartbeatOptions = {
  readonly db: Db;
  readonly run: ClaimedRun;
  readonly everyMs: number;
  /** How often a changed progress is written; it is a sign of life too. */
  readonly progressMs: number;
  readonly takeProgress: () => PhaseProgress | null;
  /** The run was canceled, or another worker has it. */
  readonly onLost: () => void;
  readonly log: Logger;
};

/** Beats until disposed; waits for the last beat then. */
export function startHeartbeat(options: HeartbeatOptions): AsyncDisposable {
  const { db, run, everyMs, log } = options;
  const intervalMs = Math.min(everyMs, options.progressMs);
  let beating: Promise<void> | null = null;
  let silentMs = 0;
  const look = async (): Promise<void> => {
    silentMs += intervalMs;
    const progress = options.takeProgress();
    if (progress === null && silentMs < everyMs) return;
    silentMs = 0;
    try {
      if (!(await db.tenant(run.tenantId, (tx) => beat(tx, run, progress)))) options.onLost();
    } catch (error) {
      log.warn({ err: error }, 'the heartbeat of the run could not be written');
    }
  };
  const timer = setInterval(() => {
    // a database that hangs must not collect beats
    if (beating !== null) return;
    beating = look().finally(() => {
      beating = null;
    });
  }, intervalMs);
  timer.unref();
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await beating;
    },
  };
}
