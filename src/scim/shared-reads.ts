/**
 * Look-ups that arrive together share what each would pay for alone: connection, `begin`, settings, `commit` and the
 * packets that carry them, whatever tenants they are of. Each is one statement, runs with its own tenant set, and sees the
 * database as it is after its request came; whoever fails, fails alone.
 *
 * Only for reads that an index answers: they wait for each other.
 */
import { setImmediate as afterThisTick } from 'node:timers/promises';
import type { PendingQuery, Row } from 'postgres';
import type { TenantId } from '../core/ids.ts';
import { isPassingFailure, translateFailure, type Db, type LookUp, type TenantTx } from '../db/db.ts';

export type SharedReads = <T extends object>(
  tenantId: TenantId,
  statement: (sql: TenantTx['sql']) => PendingQuery<T[]>,
) => Promise<T[]>;

type Read = LookUp & {
  readonly resolve: (rows: Row[]) => void;
  readonly reject: (reason: unknown) => void;
};

/** Two: while Postgres answers one, the requests of the next are read. */
const packetsAtOnce = 2;
const readsAtOnce = 64;

export function createSharedReads(db: Pick<Db, 'tenant' | 'lookUp'>): SharedReads {
  const waiting: Read[] = [];
  let packets = 0;
  let isGathering = false;

  function gather(): void {
    if (isGathering || waiting.length === 0 || packets >= packetsAtOnce) return;
    isGathering = true;
    // settles the promises of the reads; itself it throws nothing
    void readGathered();
  }

  async function readGathered(): Promise<void> {
    // what else is read off the sockets in this turn comes along
    await afterThisTick();
    isGathering = false;
    // those of one tenant follow each other, so that it is set once
    const reads = waiting.splice(0, readsAtOnce).toSorted((a, b) => (a.tenantId < b.tenantId ? -1 : 1));
    packets += 1;
    await readTogether(db, reads);
    packets -= 1;
    gather();
  }

  return <T extends object>(tenantId: TenantId, statement: (sql: TenantTx['sql']) => PendingQuery<T[]>) => {
    const { promise, resolve, reject } = Promise.withResolvers<T[]>();
    const read = { tenantId, statement, resolve, reject } as unknown as Read;
    waiting.push(read);
    gather();
    return promise;
  };
}

/** Never rejects: every read is told its own outcome. */
async function readTogether(db: Pick<Db, 'tenant' | 'lookUp'>, reads: readonly Read[]): Promise<void> {
  // what fails one of them (its statement, or the making of it) fails all: alone each hears its own
  const fail = async ({ tenantId, statement, resolve, reject }: Read, error: unknown): Promise<void> =>
    reads.length === 1
      ? reject(translateFailure(error))
      : db.tenant(tenantId, async (tx) => statement(tx.sql)).then(resolve, reject);
  try {
    const answers = await db.lookUp(reads);
    await Promise.all(
      reads.map(async (read, index) => answers[index]?.then(read.resolve, (error: unknown) => fail(read, error))),
    );
  } catch (error) {
    // a database that is away is away for each of them
    if (isPassingFailure(error)) for (const { reject } of reads) reject(error);
    else await Promise.all(reads.map((read) => fail(read, error)));
  }
}
