/**
 * What a push left to a person (rule 1): somebody in the portal may be meant, and is privileged, protected, linked
 * already or one of several. The push was taken all the same; who looks finds the case in the request log.
 */
import type { ConnectionId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';

export type Dispute = { readonly caseId: string | null; readonly reason: string };

/** By request. Requests lie between the two times (ISO 8601), which bound the days of pushes that are read. */
export async function readDisputes(
  { sql, tenantId }: TenantTx,
  connectionId: ConnectionId,
  requestIds: readonly string[],
  { from, to }: { readonly from: string; readonly to: string },
): Promise<Map<string, Dispute[]>> {
  const rows = await sql<(Dispute & { requestId: string })[]>`
    select c.request_id as "requestId", c.reason, k.id as "caseId"
    from changes c
    left join lateral (
      select id from cases k
      where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id and k.anchor = c.anchor
        and k.kind = c.after ->> 'caseKind'
      order by k.created_at desc limit 1) k on true
    where c.tenant_id = ${tenantId} and c.class = 'conflict' and c.op = 'dispute' and c.request_id = any(${[...requestIds]}::uuid[])
      and c.run_id in (
        select id from runs where tenant_id = ${tenantId} and connection_id = ${connectionId} and kind = 'push'
          -- a day's run is made by the first push of the day
          and created_at between ${from}::timestamptz - interval '1 day' and ${to}::timestamptz + interval '1 minute')
    order by c.seq`;
  const found = new Map<string, Dispute[]>();
  for (const { requestId, caseId, reason } of rows) {
    found.set(requestId, [...(found.get(requestId) ?? []), { caseId, reason }]);
  }
  return found;
}

/** The case about an object that is linked to nobody yet; null where there is none. */
export async function findOpenCase(
  { sql, tenantId }: TenantTx,
  connectionId: ConnectionId,
  anchor: string,
): Promise<string | null> {
  const [row] = await sql<{ id: string }[]>`
    select k.id from links l
    join cases k on k.tenant_id = l.tenant_id and k.connection_id = l.connection_id and k.anchor = l.anchor and k.status = 'open'
    where l.tenant_id = ${tenantId} and l.connection_id = ${connectionId} and l.anchor = ${anchor} and l.state = 'disputed'
    order by k.id limit 1`;
  return row?.id ?? null;
}
