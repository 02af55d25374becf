/** The worker process that `serve` forks (supervisor.ts): reads its settings from IPC, drains when the channel closes. */
import '../first.ts';
import { constants, setPriority } from 'node:os';
import { createLogger } from '../platform/logger.ts';
import { Lifecycle } from '../platform/lifecycle.ts';
import { createMetrics, snapshotMetrics } from '../platform/metrics.ts';
import { Secret } from '../platform/secrets.ts';
import { runWorkerRole } from './roles.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-messages.ts';

const metrics = createMetrics('worker');

// a run takes what the machine has left; whoever waits for an answer of the API comes first
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

// a terminal's Ctrl-C reaches the whole group; the parent decides when we leave
process.on('SIGINT', ignore);
process.on('SIGTERM', ignore);
// a parent that leaves before it told us anything
process.once('disconnect', leaveUnstarted);
process.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'start':
      void work(message.settings);
      break;
    case 'metrics':
      void answerMetrics();
      break;
  }
});

function ignore(): void {}

function leaveUnstarted(): void {
  process.exit(0);
}

async function work(settings: WorkerSettings): Promise<void> {
  const logger = createLogger({ level: settings.config.logging.level, fileDescriptor: 1 }).child({ role: 'worker' });
  const lifecycle = new Lifecycle({ logger, deadlineMs: 4000 });
  process.off('disconnect', leaveUnstarted);
  process.once('disconnect', () => {
    void lifecycle.shutDown('the API process closed the channel').then(leave);
  });
  try {
    await runWorkerRole({
      config: settings.config,
      databaseUrl: new Secret(settings.databaseUrl),
      masterKey: new Secret(settings.masterKey),
      logger,
      lifecycle,
      metrics,
    });
    tell({ type: 'ready' });
  } catch (error) {
    logger.error({ err: error }, 'the worker can not start');
    await lifecycle.shutDown('failed to start');
    process.exit(1);
  }
}

function leave(result: 'clean' | 'abandoned'): void {
  process.exit(result === 'clean' ? 0 : 1);
}

async function answerMetrics(): Promise<void> {
  tell({ type: 'metrics', snapshot: await snapshotMetrics(metrics) });
}

function tell(message: FromWorker): void {
  // the parent may be gone; then `disconnect` is on its way
  if (process.connected) process.send?.(message);
}
