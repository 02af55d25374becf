/** What the schedule has us write in its tick: the runs of due connections, and their next slots. Set-based. */
import { newId, type ConnectionId, type RunId, type TenantId } from '../../core/ids.ts';
import type { EngineTx } from '../../db/db.ts';

type Place = { readonly tenantId: TenantId; readonly connectionId: ConnectionId };

/**
 * Queued runs of these slots; answers those made. A connection with a live run gets none (runs_one_live), nor does a
 * slot that was served (runs_one_slot). `delta` asks for an increment; the run itself reads in full when one is due. What
 * is pushed to has nothing to read: its run settles what waited while it was in quarantine.
 */
export async function createScheduledRuns(
  tx: EngineTx,
  runs: readonly (Place & { readonly scheduledFor: string })[],
): Promise<readonly (Place & { readonly runId: RunId })[]> {
  if (runs.length === 0) return [];
  const rows = runs.map((run) => ({ ...run, runId: newId<RunId>() }));
  return tx.sql<(Place & { runId: RunId })[]>`
    insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, scheduled_for, requested_by)
    select c.tenant_id, wanted."runId", c.id, c.version, case c.kind when 'scim' then 'object' else 'delta' end, 'auto', 'queued', wanted."scheduledFor", 'schedule'
    from json_to_recordset(${JSON.stringify(rows)}::json)
      as wanted("tenantId" uuid, "connectionId" uuid, "scheduledFor" timestamptz, "runId" uuid)
    join connections c on c.tenant_id = wanted."tenantId" and c.id = wanted."connectionId"
    on conflict do nothing
    returning tenant_id as "tenantId", connection_id as "connectionId", id as "runId"`;
}

export async function setNextSlots(
  tx: EngineTx,
  slots: readonly (Place & { readonly nextRunAt: string | null })[],
): Promise<void> {
  if (slots.length === 0) return;
  await tx.sql`
    update connections c set next_run_at = wanted."nextRunAt"
    from json_to_recordset(${JSON.stringify(slots)}::json)
      as wanted("tenantId" uuid, "connectionId" uuid, "nextRunAt" timestamptz)
    where c.tenant_id = wanted."tenantId" and c.id = wanted."connectionId"`;
}
