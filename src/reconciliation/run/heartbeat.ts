/** The sign of life of a run that is executed, written beside its work. */
import type { Db } from '../../db/db.ts';
import type { Logger } from '../../platform/logger.ts';
import { beat, type ClaimedRun } from './runs-store.ts';

export type HeartbeatOptions = {
  readonly db: Db;
  readonly run: ClaimedRun;
  readonly everyMs: number;
  /** The run was canceled, or another worker has it. */
  readonly onLost: () => void;
  readonly log: Logger;
};

/** Beats until disposed; waits for the last beat then. */
export function startHeartbeat({ db, run, everyMs, onLost, log }: HeartbeatOptions): AsyncDisposable {
  let beating: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    beating = db
      .tenant(run.tenantId, (tx) => beat(tx, run))
      .then((isOurs) => {
        if (!isOurs) onLost();
      })
      .catch((error: unknown) => {
        log.warn({ err: error }, 'the heartbeat of the run could not be written');
      });
  }, everyMs);
  timer.unref();
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await beating;
    },
  };
}
