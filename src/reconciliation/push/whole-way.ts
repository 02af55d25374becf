/**
 * A push that finds the world otherwise than it was decided, or its connection otherwise than it was known, has written half
 * of it by then. Its transaction is given up
 * and begun anew, and goes the whole way: with rows that are planned first, and each effect answered for. A savepoint
 * around the short way would save the second transaction, which hardly ever comes, and cost every push two statements.
 */
import type { TenantTx } from '../../db/db.ts';

const whole = new WeakSet<TenantTx>();

/** Nothing may be saved of this transaction: the same has to be done in another one (`startingOver`). */
export class StartOver extends Error {}

/** Does `work` in a transaction, and where that starts over, once more in another one, the whole way. */
export async function startingOver<T>(
  inTransaction: (work: (tx: TenantTx) => Promise<T>) => Promise<T>,
  work: (tx: TenantTx) => Promise<T>,
): Promise<T> {
  try {
    return await inTransaction(work);
  } catch (error) {
    if (!(error instanceof StartOver)) throw error;
  }
  return inTransaction((tx) => {
    whole.add(tx);
    return work(tx);
  });
}

export function takesWholeWay(tx: TenantTx): boolean {
  return whole.has(tx);
}
