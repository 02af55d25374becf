/**
 * How much of the world a run has to compare. What a predicate gives follows from the object alone, so where the object
 * is settled its grants are, unless something else changed: the connection's own rules, or a person's exclusions. A run
 * that found everything settled notes what it saw; the next ones compare in whole only when that has changed, and once
 * a day in any case. Groups are always compared, because members come and go without a new version of a person.
 */
import { z } from 'zod';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

const wholeEveryHours = 24;

export const comparisonSchema = z.object({
  isWhole: z.boolean(),
  version: z.number(),
  /** Of the tenant's exclusions and which of them hold. */
  exclusions: z.string(),
});
export type Comparison = z.output<typeof comparisonSchema>;

export async function chooseComparison(tx: TenantTx, connectionId: ConnectionId): Promise<Comparison> {
  const [row] = await tx.sql<(Omit<Comparison, 'isWhole'> & { isSettled: boolean })[]>`
    select c.version, x.exclusions,
      c.settled is not null and (c.settled ->> 'version')::int = c.version and c.settled ->> 'exclusions' = x.exclusions
        and (c.settled ->> 'wholeAt')::timestamptz > now() - make_interval(hours => ${wholeEveryHours}) as "isSettled"
    from connections c
    cross join (
      select coalesce(md5(string_agg(concat_ws('/', organization_id, user_id, role, until is null or until > now()), ',' order by id)), '')
        as exclusions
      from exclusions where tenant_id = ${tx.tenantId}) x
    where c.tenant_id = ${tx.tenantId} and c.id = ${connectionId}`;
  if (row === undefined) return { isWhole: true, version: 0, exclusions: '' };
  return { isWhole: !row.isSettled, version: row.version, exclusions: row.exclusions };
}

/** After the apply, in its last transaction. A row that was not applied leaves something open, so nothing is noted. */
export async function noteCompared(
  tx: TenantTx,
  run: { readonly runId: RunId; readonly connectionId: ConnectionId },
  comparison: Comparison,
): Promise<void> {
  const { version, exclusions } = comparison;
  await tx.sql`
    update connections set settled = case
      when exists (select 1 from changes where tenant_id = ${tx.tenantId} and run_id = ${run.runId} and state <> 'applied') then null
      when ${comparison.isWhole} then jsonb_build_object('version', ${version}::int, 'exclusions', ${exclusions}::text, 'wholeAt', now())
      else settled end
    where tenant_id = ${tx.tenantId} and id = ${run.connectionId}`;
}
