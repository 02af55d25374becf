/**
 * Reads that arrive together share what each would pay for alone: connection, `begin`, settings, `commit` and the
 * packets that carry them. The statements stay those of each request and see the database as it is after the request
 * came; whoever fails, fails alone.
 *
 * Only for reads that an index answers: they wait for each other.
 */
import { setImmediate as afterThisTick } from 'node:timers/promises';
import type { TenantId } from '../core/ids.ts';
import { databaseErrorCode, type Db, type TenantTx } from '../db/db.ts';

export type SharedReads = <T>(tenantId: TenantId, work: (tx: TenantTx) => Promise<T>) => Promise<T>;

type Read = {
  readonly work: (tx: TenantTx) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
};

type Queue = { readonly waiting: Read[]; transactions: number; isOpening: boolean };

/** Two: while Postgres answers one, the requests of the next are read. */
const transactionsAtOnce = 2;
const readsAtOnce = 32;

export function createSharedReads(db: Pick<Db, 'tenant'>): SharedReads {
  const queues = new Map<TenantId, Queue>();

  async function open(tenantId: TenantId, queue: Queue): Promise<void> {
    if (queue.isOpening || queue.transactions >= transactionsAtOnce) return;
    queue.isOpening = true;
    // what else is read off the sockets in this turn comes along
    await afterThisTick();
    queue.isOpening = false;
    const reads = queue.waiting.splice(0, readsAtOnce);
    queue.transactions += 1;
    await readTogether(db, tenantId, reads);
    queue.transactions -= 1;
    // not awaited: under a load that does not end, each would wait for the next one
    if (queue.waiting.length > 0) void open(tenantId, queue);
    else if (queue.transactions === 0 && !queue.isOpening) queues.delete(tenantId);
  }

  return <T>(tenantId: TenantId, work: (tx: TenantTx) => Promise<T>) => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const queue = queues.get(tenantId) ?? { waiting: [], transactions: 0, isOpening: false };
    queues.set(tenantId, queue);
    queue.waiting.push({ work, resolve: resolve as Read['resolve'], reject });
    // each read settles its own promise; this one settles none and throws nothing
    void open(tenantId, queue);
    return promise;
  };
}

/** Never rejects: every read is told its own outcome. */
async function readTogether(db: Pick<Db, 'tenant'>, tenantId: TenantId, reads: readonly Read[]): Promise<void> {
  const failed = await db
    .tenant(tenantId, async (tx) => {
      // look-ups by one key: their generic plan is the right one, and planning them anew costs more than running them
      const planned = Promise.resolve(tx.sql`set local plan_cache_mode = force_generic_plan`);
      const outcomes = await Promise.allSettled(reads.map(({ work }) => work(tx)));
      await planned;
      const broken = outcomes.find((outcome) => outcome.status === 'rejected' && isOfDatabase(outcome.reason));
      // it broke the transaction of all
      if (broken?.status === 'rejected') throw broken.reason;
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'fulfilled') reads[index]?.resolve(outcome.value);
        else reads[index]?.reject(outcome.reason);
      });
      return null;
    })
    .catch((error: unknown) => ({ error }));
  if (failed === null) return;
  const [first, ...more] = reads;
  // settling what is settled already does nothing
  if (more.length === 0) first?.reject(failed.error);
  else await Promise.all(reads.map((read) => db.tenant(tenantId, read.work).then(read.resolve, read.reject)));
}

function isOfDatabase(reason: unknown): boolean {
  return databaseErrorCode(reason) !== undefined;
}
