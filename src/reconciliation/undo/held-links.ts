/**
 * Links that an undo holds: no run touches their users until a person lets them go. A link that is released goes back
 * to the state it had before the run that was undone, unsettled, so that the next run decides about it anew.
 */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import type { ConnectionId, RunId, TenantId, UserId } from '../../core/ids.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { mustFind } from '../connections/connections.ts';
import { queueObjectRun } from '../run/object-runs.ts';

export type HeldLink = {
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly anchor: string;
  /** Name of the user, or of the object where no user belongs to it. */
  readonly subject: string;
  readonly userId: UserId | null;
  /** The undo that holds it. */
  readonly heldRunId: RunId | null;
  readonly reason: string | null;
  readonly since: string;
};

export type HeldFilter = {
  /** Of this undo, or of this user; of the connections given. */
  readonly runId?: RunId | undefined;
  readonly userId?: UserId | undefined;
  readonly connectionIds?: readonly ConnectionId[] | undefined;
};

export function listHeldLinks(db: Db, tenantId: TenantId, filter: HeldFilter, limit: number): Promise<HeldLink[]> {
  return db.tenant(
    tenantId,
    (tx) => tx.sql<HeldLink[]>`
      select l.connection_id as "connectionId", n.name as "connectionName", l.anchor,
        coalesce(u.display_name, u.username, m.display_name, l.anchor) as subject, l.user_id as "userId", l.held_run_id as "heldRunId",
        l.reason, l.updated_at as since
      from links l
      join connections n on n.tenant_id = l.tenant_id and n.id = l.connection_id
      left join users u on u.tenant_id = l.tenant_id and u.id = l.user_id
      left join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
      where l.tenant_id = ${tenantId} and l.state = 'held' and ${isMeant(tx, filter)}
      order by n.name, subject, l.anchor limit ${limit}`,
  );
}

/** Returns how many; throws not_found where none is held. */
export function releaseLinks(db: Db, actor: string, tenantId: TenantId, filter: HeldFilter): Promise<number> {
  if ((filter.runId === undefined) === (filter.userId === undefined)) {
    throw new RollcallError('invalid_input', 'Name the undo whose links are released, or the user: one of the two.');
  }
  return db.tenant(tenantId, async (tx) => {
    // one that did not exist before the run that was undone is made by the next run, if it should be
    const ended = await tx.sql<{ connectionId: ConnectionId }[]>`
      delete from links l
      where l.tenant_id = ${tenantId} and l.state = 'held' and l.held_state is null and ${isMeant(tx, filter)}
      returning l.connection_id as "connectionId"`;
    const released = await tx.sql<{ connectionId: ConnectionId }[]>`
      update links l set state = l.held_state, held_state = null, held_run_id = null, settled_version = 0, reason = 'Released by a person.',
        version = l.version + 1, updated_at = now()
      where l.tenant_id = ${tenantId} and l.state = 'held' and ${isMeant(tx, filter)}
      returning l.connection_id as "connectionId"`;
    const all = [...ended, ...released];
    if (all.length === 0) {
      throw new RollcallError('not_found', 'No held link fits.', { remedy: 'List them with: rollcall links list' });
    }
    for (const connectionId of new Set(all.map((row) => row.connectionId))) {
      const connection = await mustFind(tx, connectionId);
      // what is pushed comes when the provider likes: what it said meanwhile is decided now
      if (connection.kind === 'scim' && connection.status === 'active') {
        await queueObjectRun(tx, connectionId, connection.version);
      }
    }
    const target = filter.runId === undefined ? `user:${filter.userId}` : `run:${filter.runId}`;
    await recordEvent(tx, { actor, action: 'links.released', target, details: { links: all.length } });
    return all.length;
  });
}

function isMeant(tx: TenantTx, { runId = null, userId = null, connectionIds = null }: Nullable<HeldFilter>) {
  return tx.sql`(${runId ?? null}::uuid is null or l.held_run_id = ${runId ?? null}::uuid)
    and (${userId ?? null}::uuid is null or l.user_id = ${userId ?? null}::uuid)
    and (${(connectionIds as string[] | null) ?? null}::uuid[] is null or l.connection_id = any(${(connectionIds as string[] | null) ?? null}::uuid[]))`;
}

type Nullable<T> = { readonly [K in keyof T]: T[K] | null };
