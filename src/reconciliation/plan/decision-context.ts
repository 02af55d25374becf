/** What a decision needs beside its subject. */
import { newId, type ConnectionId, type UserId } from '../../core/ids.ts';
import { mappingSchema, policySchema } from '../../core/policy.ts';
import type { DecisionContext, SourceRules } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';
import { provenDomains } from '../../organizations/organizations.ts';
import type { ConnectionsDeps, OpenConnection } from '../connections/connections.ts';
import { selectConnections } from '../connections/connections-store.ts';
import { pushedMappings } from '../push/pushed-mappings.ts';

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
        ? pushedMappings
        : connector.defaultMappings(connector.settingsSchema.parse(row.settings));
    const mappings =
      policy.mappings.length > 0 ? policy.mappings : defaults.map((mapping) => mappingSchema.parse(mapping));
    sources.set(row.id as ConnectionId, {
      priority: row.priority,
      mappings: Object.fromEntries(
        mappings.map((mapping) => [mapping.target, { strength: mapping.strength, onNull: mapping.onNull }]),
      ),
    });
  }
  return {
    connectionId: open.connection.id,
    connectionName: open.row.name,
    ceiling: open.connection.ceiling,
    leaverPolicy: open.policy.leaver.policy,
    provenDomains: new Set(await provenDomains(tx)),
    sources,
    newUserId: () => newId<UserId>(),
  };
}
