/**
 * A write's transaction, tried again where nothing of it was saved: Postgres chose it as the victim of a deadlock, or what
 * the push decided was overtaken while it was written.
 */
import type { TenantId } from '../core/ids.ts';
import { databaseErrorCode, type Db, type TenantTx } from '../db/db.ts';
import { StartOver, takeWholeWay } from '../reconciliation/reconciliation.ts';

const maxAttempts = 3;
/** deadlock_detected, serialization_failure (PostgreSQL manual, appendix A). */
const retryableStates: ReadonlySet<string> = new Set(['40P01', '40001']);

/** `work` computes from what it reads inside, so that a second attempt starts from the present state. */
export async function writeTenant<T>(db: Db, tenantId: TenantId, work: (tx: TenantTx) => Promise<T>): Promise<T> {
  let isWhole = false;
  let attempt = 1;
  const attempted = (tx: TenantTx): Promise<T> => {
    if (isWhole) takeWholeWay(tx);
    return work(tx);
  };
  for (;;) {
    try {
      return await writeOnce(db, tenantId, attempted);
    } catch (error) {
      // once, and then there is nothing left to overtake: it is no attempt that failed
      if (error instanceof StartOver && !isWhole) isWhole = true;
      else if (attempt < maxAttempts && retryableStates.has(databaseErrorCode(error) ?? '')) attempt += 1;
      else throw error;
    }
  }
}

/** For several that came together: where it fails they go alone, each by `writeTenant`. */
export function writeOnce<T>(db: Db, tenantId: TenantId, work: (tx: TenantTx) => Promise<T>): Promise<T> {
  return db.tenant(tenantId, work, { keepsPlans: true });
}
