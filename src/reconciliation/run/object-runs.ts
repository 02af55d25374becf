/** Runs over what the mirror holds already: effects of pushes that are too many, or had to wait, for the request itself. */
import { newId, type ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

/**
 * Queues one, unless one waits already. The lock keeps that one from being claimed before the caller's transaction
 * ends: a run that started earlier would not see what the caller wrote.
 */
export async function queueObjectRun(tx: TenantTx, connectionId: ConnectionId, version: number): Promise<void> {
  const waiting = await tx.sql`
    select 1 from runs
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'object' and status = 'queued'
      and connection_version = ${version} and approved_at is null
    limit 1 for key share`;
  if (waiting.length > 0) return;
  await tx.sql`
    insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by)
    values (${tx.tenantId}, ${newId()}, ${connectionId}, ${version}, 'object', 'auto', 'queued', 'push')`;
}
