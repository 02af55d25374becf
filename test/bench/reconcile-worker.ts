/**
 * The worker of the reconcile bench: a process of its own with the flags of production, so that its memory is what a
 * worker's would be. It executes runs of the engine over a directory of arithmetic.
 */
import '../../src/first.ts';
import { randomBytes } from 'node:crypto';
import { constants, setPriority } from 'node:os';
import { pino } from 'pino';
import type { ConnectionId, RunId, TenantId } from '../../src/core/ids.ts';
import { openDb, type Db } from '../../src/db/db.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { SecretBox } from '../../src/platform/secrets.ts';
import { createReconciliation, type Reconciliation, type RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { watchDb } from '../setup/watched-db.ts';
import { stateConnector, type DirectoryState } from './reconcile-directory.ts';

export type ToReconcileWorker =
  | { readonly type: 'open'; readonly databaseUrl: string; readonly tenantId: string; readonly document: unknown }
  | { readonly type: 'run'; readonly state: DirectoryState; readonly approve: string | null }
  | { readonly type: 'close' };

export type FromReconcileWorker =
  | { readonly type: 'done'; readonly run: RunSummary | null }
  | { readonly type: 'failed'; readonly message: string };

// as src/app/worker.ts does
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

/** With ROLLCALL_PROFILE=1: how long the run waited for each kind of statement. */
const isProfiled = process.env['ROLLCALL_PROFILE'] === '1';
const waits = new Map<string, { count: number; ms: number }>();

let db: Db | null = null;
let reconciliation: Reconciliation | null = null;
let tenantId = '' as TenantId;
let connectionId = '' as ConnectionId;
let state: DirectoryState = { users: 0, membershipsPerUser: 0, wave: 0, movedPerMille: 0, domain: 'example' };

process.on('message', (message: ToReconcileWorker) => {
  handle(message).then(
    (run) => process.send?.({ type: 'done', run } satisfies FromReconcileWorker),
    (error: unknown) =>
      process.send?.({
        type: 'failed',
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies FromReconcileWorker),
  );
});

async function handle(message: ToReconcileWorker): Promise<RunSummary | null> {
  switch (message.type) {
    case 'open':
      await open(message);
      return null;
    case 'run':
      state = message.state;
      return run(message.approve);
    case 'close':
      await db?.close();
      process.disconnect();
      return null;
  }
}

async function open(message: Extract<ToReconcileWorker, { type: 'open' }>): Promise<void> {
  const opened = openDb({ url: message.databaseUrl, max: 10, applicationName: 'bench worker' });
  db = isProfiled ? timed(opened) : opened;
  tenantId = message.tenantId as TenantId;
  reconciliation = createReconciliation({
    db,
    connectors: new Map([['ldap', stateConnector(() => state)]]),
    secretBox: new SecretBox(randomBytes(32)),
    nextSlot: (_cron, _zone, after) => new Date(after.getTime() + 3_600_000).toISOString(),
    now: () => new Date(),
    clock: systemClock,
    log: pino({ level: 'silent' }),
  });
  const connection = await reconciliation.createConnection('bench', tenantId, message.document);
  connectionId = connection.id;
}

async function run(digest: string | null): Promise<RunSummary> {
  if (reconciliation === null) throw new Error('The worker was not opened.');
  const request = { tenantId, connectionId, read: 'full', mode: 'auto', requestedBy: 'bench' } as const;
  let runId: RunId;
  if (digest === null) {
    runId = await reconciliation.requestRun(request);
  } else {
    const waiting = (await reconciliation.listRuns(tenantId, { connectionId, limit: 5 })).find(
      (each) => each.digest === digest,
    );
    if (waiting === undefined) throw new Error('No run of this digest waits.');
    await reconciliation.approveRun(tenantId, waiting.id, { actor: 'bench', digest });
    runId = waiting.id;
  }
  const ended = await reconciliation.executeRun(tenantId, runId, { signal: new AbortController().signal });
  if (isProfiled) printWaits();
  return ended;
}

function timed(opened: Db): Db {
  return watchDb(opened, {
    before: () => undefined,
    beforeCommit: () => undefined,
    afterCommit: () => undefined,
    isWrite: () => false,
    onTime(text, ms) {
      const key = text.replaceAll(/\s+/g, ' ').trim().slice(0, 110);
      const known = waits.get(key) ?? { count: 0, ms: 0 };
      waits.set(key, { count: known.count + 1, ms: known.ms + ms });
    },
  });
}

function printWaits(): void {
  const longest = [...waits].toSorted((a, b) => b[1].ms - a[1].ms).slice(0, 25);
  for (const [text, { count, ms }] of longest) {
    process.stderr.write(`${(ms / 1000).toFixed(2).padStart(8)} s ${String(count).padStart(6)} x  ${text}\n`);
  }
  waits.clear();
}
