/**
 * A push that finds the world otherwise than it was decided has written half of it by then. Its transaction is given up
 * and begun anew, and goes the whole way: with rows that are planned first, and each effect answered for. A savepoint
 * around the short way would save the second transaction, which hardly ever comes, and cost every push two statements.
 */
import type { TenantTx } from '../../db/db.ts';

const whole = new WeakSet<TenantTx>();

/** Nothing may be saved of this transaction: do the same in another one that `takeWholeWay` was told of. */
export class StartOver extends Error {}

export function takeWholeWay(tx: TenantTx): void {
  whole.add(tx);
}

export function takesWholeWay(tx: TenantTx): boolean {
  return whole.has(tx);
}
