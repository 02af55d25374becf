/**
 * The empty seat (R77, C7): a directory may bring the first Admin of an organization, and never the Super Admin. A case
 * and an alert say so; an Admin claims the seat, or the parent's Super Admin or the operator assigns it.
 */
import { assignSuperAdmin, claimSuperAdmin } from '../../access/access.ts';
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type OrganizationId, type RunId, type UserId } from '../../core/ids.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { enqueueEach } from '../../outbox/outbox.ts';
import type { Principal } from '../../platform/route.ts';
import type { Change } from '../plan/changes.ts';

type GivenRole = Pick<Change, 'role' | 'organizationId' | 'userId'>;

type Scope = { readonly connectionId: ConnectionId; readonly connectionName: string; readonly runId: RunId };

/** After grants were given: organizations that have an Admin now and nobody above. One open case each. */
export async function noteEmptySeats(tx: TenantTx, scope: Scope, rows: readonly GivenRole[]): Promise<void> {
  const admins = rows.filter((row) => row.role === 'admin' && row.organizationId !== null && row.userId !== null);
  if (admins.length === 0) return;
  const organizations = Map.groupBy(admins, (row) => row.organizationId ?? '');
  const payload = [...organizations].map(([organizationId, ofOne]) => ({
    id: newId(),
    organization_id: organizationId,
    candidates: `{${[...new Set(ofOne.map((row) => row.userId))].slice(0, 50).join(',')}}`,
  }));
  // the organization's id stands where an object's would: the index keeps one open case of a connection for each
  const opened = await tx.sql<{ organizationId: string; organization: string }[]>`
    with empty as (
      select r.id, o.id as organization_id, o.name, r.candidates::uuid[] as candidates
      from jsonb_to_recordset(${JSON.stringify(payload)}::jsonb) as r(id uuid, organization_id uuid, candidates text)
      join organizations o on o.tenant_id = ${tx.tenantId} and o.id = r.organization_id
      where not exists (select 1 from super_admins s where s.tenant_id = o.tenant_id and s.organization_id = o.id)
        and not exists (
          select 1 from cases c
          where c.tenant_id = o.tenant_id and c.kind = 'no_super_admin' and c.organization_id = o.id and c.status <> 'resolved')
    )
    insert into cases (tenant_id, id, connection_id, organization_id, kind, anchor, subject, reason, candidate_ids, run_id)
    select ${tx.tenantId}::uuid, id, ${scope.connectionId}::uuid, organization_id, 'no_super_admin', organization_id::text, name,
      'The directory brought the first Admin; there is no Super Admin, and a directory can not make one.', candidates, ${scope.runId}::uuid
    from empty e order by e.organization_id
    on conflict (tenant_id, connection_id, anchor, kind) where status = 'open' and anchor is not null do nothing
    returning organization_id as "organizationId", subject as organization`;
  await enqueueEach(
    tx,
    'organization.no_super_admin',
    opened.map((row) => ({ ...row, severity: 'critical', connection: scope.connectionName, runId: scope.runId })),
  );
}

export type SeatChoice = { readonly action: 'assign'; readonly userId: UserId } | { readonly action: 'claim' };

/** Fills the seat and closes every case about it, in one transaction; access decides who may. */
export function fillSeat(db: Db, principal: Principal, caseId: string, choice: SeatChoice): Promise<void> {
  return db.tenant(principal.tenantId, async (tx) => {
    const [found] = await tx.sql<{ organizationId: OrganizationId | null; kind: string }[]>`
      select organization_id as "organizationId", kind from cases
      where tenant_id = ${tx.tenantId} and id = ${caseId} and status <> 'resolved' for update`;
    if (found === undefined) {
      throw new RollcallError('not_found', `There is no open case ${caseId}.`, {
        remedy: 'List them with: rollcall cases list',
      });
    }
    const { organizationId } = found;
    if (found.kind !== 'no_super_admin' || organizationId === null) {
      throw new RollcallError(
        'invalid_input',
        `A case of kind ${found.kind.replaceAll('_', ' ')} is not about a seat.`,
        {
          remedy: 'Only a case of an organization without a Super Admin can be decided by "assign" or "claim".',
        },
      );
    }
    if (choice.action === 'claim') await claimSuperAdmin(tx, principal, organizationId);
    else await assignSuperAdmin(tx, principal, organizationId, choice.userId);
    await tx.sql`
      update cases set status = 'resolved', resolution = ${JSON.stringify(choice)}::jsonb, resolved_by = ${principal.actor}, resolved_at = now()
      where tenant_id = ${tx.tenantId} and kind = 'no_super_admin' and organization_id = ${organizationId} and status <> 'resolved'`;
    const details = { ...choice, kind: found.kind, organizationId };
    await recordEvent(tx, { actor: principal.actor, action: 'case.resolved', target: `case:${caseId}`, details });
  });
}
