/** SQL of connections and their role mappings. */
import { and, asc, eq, isNull } from 'drizzle-orm';
import { describeStanding } from '../../core/connection-status.ts';
import type { ConnectionId, OrganizationId, TenantId } from '../../core/ids.ts';
import { newId } from '../../core/ids.ts';
import type { GrantableRole } from '../../core/roles.ts';
import { textKey } from '../../core/text-keys.ts';
import type { ConnectionKind, ConnectionStatus } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { connections, connectionVersions, roleMappings } from '../../db/schema/reconciliation-connections.ts';

export type ConnectionRow = typeof connections.$inferSelect;
export type RoleMappingRow = typeof roleMappings.$inferSelect;

export type Connection = {
  readonly tenantId: TenantId;
  readonly id: ConnectionId;
  readonly organizationId: OrganizationId;
  readonly kind: ConnectionKind;
  readonly name: string;
  readonly status: ConnectionStatus;
  readonly statusReason: string | null;
  /** Status, reason and what comes next in a sentence; null while there is nothing to say. */
  readonly statusText: string | null;
  readonly failedRuns: number;
  readonly quarantinedAt: string | null;
  readonly quarantineRetries: number;
  readonly cron: string | null;
  readonly timeZone: string;
  readonly nextRunAt: string | null;
  readonly priority: number;
  readonly ceiling: GrantableRole;
  readonly version: number;
  readonly lastFullAt: string | null;
};

export function toConnection(row: ConnectionRow): Connection {
  return {
    tenantId: row.tenantId as TenantId,
    id: row.id as ConnectionId,
    organizationId: row.organizationId as OrganizationId,
    kind: row.kind as ConnectionKind,
    name: row.name,
    status: row.status as ConnectionStatus,
    statusReason: row.statusReason,
    statusText: describeStanding({ ...row, status: row.status as ConnectionStatus }),
    failedRuns: row.failedRuns,
    quarantinedAt: row.quarantinedAt,
    quarantineRetries: row.quarantineRetries,
    cron: row.cron,
    timeZone: row.timeZone,
    nextRunAt: row.nextRunAt,
    priority: row.priority,
    ceiling: row.ceiling as GrantableRole,
    version: row.version,
    lastFullAt: row.lastFullAt,
  };
}

export async function selectConnection(tx: TenantTx, id: ConnectionId): Promise<ConnectionRow | null> {
  const rows = await tx.query
    .select()
    .from(connections)
    .where(and(eq(connections.tenantId, tx.tenantId), eq(connections.id, id)));
  return rows[0] ?? null;
}

export async function selectConnectionByName(tx: TenantTx, name: string): Promise<ConnectionRow | null> {
  const rows = await tx.query
    .select()
    .from(connections)
    .where(and(eq(connections.tenantId, tx.tenantId), eq(connections.nameKey, textKey(name) ?? '')));
  return rows[0] ?? null;
}

export function selectConnections(tx: TenantTx): Promise<ConnectionRow[]> {
  return tx.query
    .select()
    .from(connections)
    .where(eq(connections.tenantId, tx.tenantId))
    .orderBy(asc(connections.nameKey));
}

export async function insertConnection(
  tx: TenantTx,
  row: typeof connections.$inferInsert,
  document: Record<string, unknown>,
): Promise<void> {
  await tx.query.insert(connections).values(row);
  await insertVersion(tx, row.id as ConnectionId, 1, document, row.createdBy);
}

export async function insertVersion(
  tx: TenantTx,
  connectionId: ConnectionId,
  version: number,
  document: Record<string, unknown>,
  createdBy: string,
): Promise<void> {
  await tx.query
    .insert(connectionVersions)
    .values({ tenantId: tx.tenantId, connectionId, version, document, createdBy });
}

export async function updateConnectionRow(
  tx: TenantTx,
  id: ConnectionId,
  values: Partial<typeof connections.$inferInsert>,
): Promise<void> {
  await tx.query
    .update(connections)
    .set({ ...values, updatedAt: new Date().toISOString() })
    .where(and(eq(connections.tenantId, tx.tenantId), eq(connections.id, id)));
}

export async function selectVersionDocument(
  tx: TenantTx,
  id: ConnectionId,
  version: number,
): Promise<Record<string, unknown> | null> {
  const rows = await tx.query
    .select({ document: connectionVersions.document })
    .from(connectionVersions)
    .where(
      and(
        eq(connectionVersions.tenantId, tx.tenantId),
        eq(connectionVersions.connectionId, id),
        eq(connectionVersions.version, version),
      ),
    );
  return rows[0]?.document ?? null;
}

export function selectRoleMappings(tx: TenantTx, connectionId: ConnectionId): Promise<RoleMappingRow[]> {
  return tx.query
    .select()
    .from(roleMappings)
    .where(
      and(
        eq(roleMappings.tenantId, tx.tenantId),
        eq(roleMappings.connectionId, connectionId),
        isNull(roleMappings.endedAt),
      ),
    )
    .orderBy(asc(roleMappings.precedence), asc(roleMappings.id));
}

export type WantedRoleMapping = {
  readonly organizationId: OrganizationId;
  readonly role: GrantableRole;
  readonly groupAnchor: string | null;
  readonly groupName: string | null;
  readonly predicate: string | null;
  readonly precedence: number;
};

/** Makes the live set equal to the wanted one; a mapping that stays keeps its id, so its grants stay untouched. */
export async function replaceRoleMappings(
  tx: TenantTx,
  connectionId: ConnectionId,
  wanted: readonly WantedRoleMapping[],
): Promise<void> {
  const present = new Map((await selectRoleMappings(tx, connectionId)).map((row) => [mappingKey(row), row]));
  const kept = new Set<string>();
  for (const mapping of wanted) {
    const key = mappingKey(mapping);
    const existing = present.get(key);
    kept.add(key);
    if (existing === undefined) {
      await tx.query.insert(roleMappings).values({ tenantId: tx.tenantId, id: newId(), connectionId, ...mapping });
    } else if (existing.precedence !== mapping.precedence) {
      await setRoleMapping(tx, existing.id, { precedence: mapping.precedence });
    }
  }
  for (const [key, row] of present) {
    if (!kept.has(key)) await setRoleMapping(tx, row.id, { endedAt: new Date().toISOString() });
  }
}

async function setRoleMapping(
  tx: TenantTx,
  id: string,
  values: Partial<typeof roleMappings.$inferInsert>,
): Promise<void> {
  await tx.query
    .update(roleMappings)
    .set(values)
    .where(and(eq(roleMappings.tenantId, tx.tenantId), eq(roleMappings.id, id)));
}

/** A mapping by group name stays the same one after its group was pinned. */
function mappingKey(
  mapping: Omit<WantedRoleMapping, 'precedence' | 'organizationId' | 'role'> & { organizationId: string; role: string },
): string {
  const group = mapping.groupName === null ? `id:${mapping.groupAnchor}` : `name:${mapping.groupName}`;
  return JSON.stringify([
    mapping.organizationId,
    mapping.role,
    mapping.predicate === null ? group : `cel:${mapping.predicate}`,
  ]);
}

/** How many of this connection are held: who resumes it is told. */
export async function countHeldLinks(tx: TenantTx, connectionId: ConnectionId): Promise<number> {
  const [row] = await tx.sql<{ held: number }[]>`
    select count(*)::int as held from links where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and state = 'held'`;
  return row?.held ?? 0;
}
