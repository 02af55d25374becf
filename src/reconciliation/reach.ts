/** What a credential may see: connections of its organization and below, and users who are members there. */
import { requireUserInReach } from '../access/access.ts';
import { RollcallError } from '../core/errors.ts';
import type { ConnectionId, RunId, UserId } from '../core/ids.ts';
import type { Db } from '../db/db.ts';
import type { Principal } from '../platform/route.ts';

export type Reach = {
  connections(principal: Principal): Promise<ConnectionId[]>;
  /** Throws not_found, as for an id that does not exist. */
  requireConnection(principal: Principal, connectionId: ConnectionId): Promise<void>;
  requireRun(principal: Principal, runId: RunId): Promise<void>;
  requireCase(principal: Principal, caseId: string): Promise<void>;
  requireUser(principal: Principal, userId: UserId): Promise<void>;
};

export function createReach({ db }: { readonly db: Db }): Reach {
  const connections = (principal: Principal) =>
    db.tenant(principal.tenantId, async (tx) => {
      const rows = await tx.sql<{ id: ConnectionId }[]>`
        select n.id from connections n
        join organization_closure c on c.tenant_id = n.tenant_id and c.descendant_id = n.organization_id
        where n.tenant_id = ${principal.tenantId} and c.ancestor_id = ${principal.organizationId} order by n.id`;
      return rows.map((row) => row.id);
    });
  const requireOwn = async (principal: Principal, what: string, find: (ids: ConnectionId[]) => Promise<boolean>) => {
    if (await find(await connections(principal))) return;
    throw new RollcallError('not_found', `There is no such ${what}.`, {
      remedy: 'Check the id, and that this credential acts in an organization at or above it.',
    });
  };
  const isBelow = (principal: Principal, table: 'runs' | 'cases', id: string) => async (ids: ConnectionId[]) =>
    db.tenant(principal.tenantId, async (tx) => {
      const rows = await tx.sql`
        select 1 from ${tx.sql(table)}
        where tenant_id = ${principal.tenantId} and id = ${id} and connection_id = any(${ids as string[]}::uuid[])`;
      return rows.length > 0;
    });
  return {
    connections,
    requireConnection: (principal, id) =>
      requireOwn(principal, 'connection', (ids) => Promise.resolve(ids.includes(id))),
    requireRun: (principal, id) => requireOwn(principal, 'run', isBelow(principal, 'runs', id)),
    requireCase: (principal, id) => requireOwn(principal, 'case', isBelow(principal, 'cases', id)),
    requireUser: (principal, id) => db.tenant(principal.tenantId, (tx) => requireUserInReach(tx, principal, id)),
  };
}
