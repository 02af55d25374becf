/**
 * The last active Admin of an organization is out of reach of every directory (design.md promise 4). Seen over the
 * whole plan, because each of two Admins who leave together is not the last one alone.
 */
import type { RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

/**
 * Turns rows that would leave an organization without an active Admin into conflicts; returns how many. With `seqs`
 * only those rows count as happening now, and the organizations are locked first (apply).
 */
export async function shieldLastAdmin(
  tx: TenantTx,
  runId: RunId,
  seqs: readonly number[] | null = null,
): Promise<number> {
  const losing = await tx.sql<{ seq: number; organizationId: string; userId: string }[]>`
    select c.seq, g.organization_id as "organizationId", c.user_id as "userId" from changes c
    join grants g on g.tenant_id = c.tenant_id and g.user_id = c.user_id and g.role = 'admin'
    join users u on u.tenant_id = c.tenant_id and u.id = c.user_id and u.status = 'active'
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.state in ('planned', 'held')
      ${seqs === null ? tx.sql`` : tx.sql`and c.seq = any(${seqs as number[]}::int[])`}
      and (c.op in ('suspend', 'remove')
        or (c.op = 'revoke' and c.role = 'admin' and c.organization_id = g.organization_id and c.grant_source = g.source
          and not exists (
            select 1 from grants o
            where o.tenant_id = g.tenant_id and o.organization_id = g.organization_id and o.user_id = g.user_id and o.role = 'admin'
              and o.source <> g.source)))
    order by g.organization_id, c.seq`;
  if (losing.length === 0) return 0;
  const organizationIds = [...new Set(losing.map((row) => row.organizationId))];
  if (seqs !== null) {
    await tx.sql`select 1 from organizations where tenant_id = ${tx.tenantId} and id = any(${organizationIds}::uuid[]) order by id for no key update`;
  }
  // a plan counts those it makes Admins first; when it is applied, only those who are
  const coming =
    seqs !== null
      ? tx.sql``
      : tx.sql`
        union select c.organization_id, c.user_id from changes c
        where c.tenant_id = ${tx.tenantId} and c.run_id = ${runId} and c.op = 'grant' and c.role = 'admin'
          and c.state in ('planned', 'held') and c.organization_id = any(${organizationIds}::uuid[])`;
  const remaining = await tx.sql<{ organizationId: string; admins: number }[]>`
    select organization_id as "organizationId", count(*)::int as admins from (
      select g.organization_id, g.user_id from grants g
      join users u on u.tenant_id = g.tenant_id and u.id = g.user_id and u.status = 'active'
      where g.tenant_id = ${tx.tenantId} and g.role = 'admin' and g.organization_id = any(${organizationIds}::uuid[])
      ${coming}) a
    group by 1`;
  const left = new Map(remaining.map((row) => [row.organizationId, row.admins]));
  const byOrganization = Map.groupBy(losing, (row) => row.organizationId);
  const shielded = new Set<number>();
  for (const [organizationId, rows] of byOrganization) {
    const leaving = new Set(rows.map((row) => row.userId)).size;
    if (leaving >= (left.get(organizationId) ?? 0)) for (const row of rows) shielded.add(row.seq);
  }
  if (shielded.size === 0) return 0;
  // nothing of the leaving is done: the link lives on, and open, so that the next run decides again, and does it all once
  // there is another Admin
  await tx.sql`
    update changes set state = 'skipped'
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and (op = 'unlink' or (op = 'revoke' and kind = 'leaver'))
      and state in ('planned', 'held') and seq <> all(${[...shielded]}::int[]) and anchor in (
      select anchor from changes where tenant_id = ${tx.tenantId} and run_id = ${runId} and seq = any(${[...shielded]}::int[]))`;
  await tx.sql`
    update changes set class = 'conflict', op = 'dispute', kind = 'conflict', cause = 'last_admin',
      reason = reason || ' Not done: no active Admin would be left.', after = jsonb_build_object('caseKind', 'no_super_admin')
    where tenant_id = ${tx.tenantId} and run_id = ${runId} and seq = any(${[...shielded]}::int[])`;
  return shielded.size;
}
