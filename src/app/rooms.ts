/** Builds the rooms, each from exactly what it needs. The one place that knows them all. */
import { createAccess, type Access } from '../access/access.ts';
import { createAudit, type Audit } from '../audit/audit.ts';
import { createHttpsSend, createOutbox, type Outbox } from '../outbox/outbox.ts';
import type { Db } from '../db/db.ts';
import { systemClock, type Clock } from '../platform/clock.ts';
import { createDialer } from '../platform/dialer.ts';
import type { Logger } from '../platform/logger.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { createScheduledRuns, setNextSlots } from '../reconciliation/reconciliation.ts';
import type { RunLedger, WorkerOptions } from '../schedule/schedule.ts';
import type { Config } from './config.ts';

export type RoomsOptions = {
  readonly config: Config;
  readonly db: Db;
  readonly secretBox: SecretBox;
  readonly logger: Logger;
};

export type Rooms = {
  readonly clock: Clock;
  readonly access: Access;
  readonly audit: Audit;
  readonly outbox: Outbox;
  readonly runLedger: RunLedger;
  readonly executeRun: WorkerOptions['executeRun'];
};

export function createRooms({ config, db, secretBox, logger }: RoomsOptions): Rooms {
  const clock = systemClock;
  const dialer = createDialer({ allowPrivateRanges: config.outbound.allowPrivateRanges });
  return {
    clock,
    access: createAccess({ db, pepper: secretBox.pepper(), clock }),
    audit: createAudit({ db }),
    outbox: createOutbox({ db, secretBox, clock, logger, send: createHttpsSend({ dialer }) }),
    runLedger: { createScheduledRuns, setNextSlots },
    executeRun: () => Promise.reject(new Error('reconciliation is not wired yet')),
  };
}
