/**
 * How much of the world a run has to compare. What a predicate gives follows from the object alone, so where the object
 * is settled its grants are, unless something else changed: the connection's own rules, or a person's exclusions. What a
 * group gives follows from its members too, which come and go without a new version of a person. A run that found
 * everything settled notes what it saw and when; the next ones compare in whole only when that has changed, and once a
 * day in any case. Otherwise they compare the groups that were written since.
 */
import { z } from 'zod';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { notFound } from '../../core/require-id.ts';
import type { TenantTx } from '../../db/db.ts';

const wholeEveryHours = 24;

export const comparisonSchema = z.object({
  isWhole: z.boolean(),
  version: z.number(),
  /** Of the tenant's exclusions and which of them hold. */
  exclusions: z.string(),
  /** When the plan began, by the database's clock: what is written to the mirror later is news to the next one. */
  at: z.string(),
  /** Groups written since then are compared; null: all. */
  groupsSince: z.string().nullable(),
});
export type Comparison = z.output<typeof comparisonSchema>;

export async function chooseComparison(tx: TenantTx, connectionId: ConnectionId): Promise<Comparison> {
  const [row] = await tx.sql<(Omit<Comparison, 'isWhole'> & { isSettled: boolean })[]>`
    select c.version, x.exclusions, now()::text as at,
      case when c.kind <> 'scim' then c.settled ->> 'at' end as "groupsSince",
      c.settled is not null and (c.settled ->> 'version')::int = c.version and c.settled ->> 'exclusions' = x.exclusions
        and (c.settled ->> 'wholeAt')::timestamptz > now() - make_interval(hours => ${wholeEveryHours}) as "isSettled"
    from connections c
    cross join (
      select coalesce(md5(string_agg(concat_ws('/', organization_id, user_id, role, until is null or until > now()), ',' order by id)), '')
        as exclusions
      from exclusions where tenant_id = ${tx.tenantId}) x
    where c.tenant_id = ${tx.tenantId} and c.id = ${connectionId}`;
  if (row === undefined) throw notFound('connection');
  const { isSettled, groupsSince, ...seen } = row;
  return { ...seen, isWhole: !isSettled, groupsSince: isSettled ? groupsSince : null };
}

/** After the apply, in its last transaction. A row that was not applied leaves something open, so nothing is noted. */
export async function noteCompared(
  tx: TenantTx,
  run: { readonly runId: RunId; readonly connectionId: ConnectionId },
  comparison: Comparison,
): Promise<void> {
  const { version, exclusions, at } = comparison;
  await tx.sql`
    update connections set settled = case
      when exists (select 1 from changes where tenant_id = ${tx.tenantId} and run_id = ${run.runId} and state <> 'applied') then null
      when ${comparison.isWhole} then jsonb_build_object('version', ${version}::int, 'exclusions', ${exclusions}::text, 'wholeAt', now(), 'at', ${at}::text)
      else settled || jsonb_build_object('at', ${at}::text) end
    where tenant_id = ${tx.tenantId} and id = ${run.connectionId}`;
}
