/** What a decision needs beside its subject. */
import { newId, type ConnectionId, type OrganizationId, type UserId } from '../../core/ids.ts';
import { mappingsInForce, policySchema, type Leaver } from '../../core/policy.ts';
import type { DecisionContext, LeaverDays, SourceRules } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';
import { provenDomains } from '../../organizations/organizations.ts';
import type { ConnectionsDeps, OpenConnection } from '../connections/connections.ts';
import { selectConnections } from '../connections/connections-store.ts';
import { mappingsOfPushed } from '../push/pushed-mappings.ts';

/** Everything a decision needs beside the subject: all sources of the tenant, its proven domains. */
export async function decisionContext(
  tx: TenantTx,
  open: OpenConnection,
  deps: Pick<ConnectionsDeps, 'connectors'>,
): Promise<DecisionContext> {
  const sources = new Map<ConnectionId, SourceRules>();
  for (const row of await selectConnections(tx)) {
    const policy = policySchema.parse(row.policy);
    const connector = deps.connectors.get(row.kind as OpenConnection['connection']['kind']);
    const defaults =
      connector === undefined
        ? mappingsOfPushed(row.settings)
        : connector.defaultMappings(connector.settingsSchema.parse(row.settings));
    const mappings = mappingsInForce(policy, defaults);
    sources.set(row.id as ConnectionId, {
      name: row.name,
      // another connection's new priority counts once its own plan was applied
      priority: row.id === open.row.id ? row.priority : (row.approvedPriority ?? row.priority),
      mappings: Object.fromEntries(
        mappings.map((mapping) => [
          mapping.target,
          { strength: mapping.strength, onNull: mapping.onNull, conflict: mapping.conflict ?? policy.conflict },
        ]),
      ),
    });
  }
  return {
    connectionId: open.connection.id,
    connectionName: open.row.name,
    organization: await organizationOf(tx, open.connection.organizationId),
    ceiling: open.connection.ceiling,
    leaverPolicy: open.policy.leaver.policy,
    leaver: leaverDays(open.policy.leaver),
    now: await databaseTime(tx),
    provenDomains: new Set(await provenDomains(tx)),
    sources,
    isReordered: open.row.approvedPriority !== null && open.row.approvedPriority !== open.row.priority,
    newUserId: () => newId<UserId>(),
  };
}

function leaverDays(leaver: Leaver): LeaverDays {
  return {
    graceDays: leaver.graceDays,
    deleteAfterDays: leaver.deleteAfterDays ?? null,
    reviewRehireAfterDays: leaver.rehire === 'review' ? leaver.reviewAfterDays : null,
  };
}

async function databaseTime(tx: TenantTx): Promise<string> {
  const [row] = await tx.sql<{ at: string }[]>`select now() as at`;
  if (row === undefined) throw new Error('select now() gives one row');
  return row.at;
}

async function organizationOf(tx: TenantTx, id: OrganizationId): Promise<DecisionContext['organization']> {
  const [row] = await tx.sql<{ name: string }[]>`
    select name from organizations where tenant_id = ${tx.tenantId} and id = ${id}`;
  return { id: id === (tx.tenantId as string) ? null : id, name: row?.name ?? id };
}
