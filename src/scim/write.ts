/**
 * A write's transaction, tried again where nothing of it was saved: Postgres chose it as the victim of a deadlock, or what
 * the push decided was overtaken while it was written.
 */
import type { TenantId } from '../core/ids.ts';
import { databaseErrorCode, type Db, type TenantTx } from '../db/db.ts';
import { startingOver } from '../reconciliation/reconciliation.ts';

const maxAttempts = 3;
/** deadlock_detected, serialization_failure (PostgreSQL manual, appendix A). */
const retryableStates: ReadonlySet<string> = new Set(['40P01', '40001']);

/** `work` computes from what it reads inside, so that a second attempt starts from the present state. */
export async function writeTenant<T>(db: Db, tenantId: TenantId, work: (tx: TenantTx) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startingOver((once) => writeOnce(db, tenantId, once), work);
    } catch (error) {
      if (attempt === maxAttempts || !retryableStates.has(databaseErrorCode(error) ?? '')) throw error;
    }
  }
}

/** For several that came together: where it fails they go alone, each by `writeTenant`. */
export function writeOnce<T>(db: Db, tenantId: TenantId, work: (tx: TenantTx) => Promise<T>): Promise<T> {
  return db.tenant(tenantId, work, { keepsPlans: true });
}
