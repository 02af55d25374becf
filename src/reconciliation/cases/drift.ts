/** Drift: a value that a person edited and the directory contradicts, where the mapping leaves that to a person. */
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

export type DriftValues = { readonly source: string | null; readonly local: string | null };

/**
 * Notes the person's word about these very values; the next run acts by it. Another value on either side is another
 * question, so nothing that nobody has seen is ever overwritten.
 */
export async function resolveDrift(
  tx: TenantTx,
  drift: {
    readonly connectionId: ConnectionId;
    readonly anchor: string;
    readonly take: 'source' | 'local';
    readonly details: Readonly<Record<string, DriftValues>>;
  },
): Promise<void> {
  const word = Object.entries(drift.details).map(([target, values]) => [target, { ...values, take: drift.take }]);
  await tx.sql`
    update links set resolved = resolved || ${JSON.stringify(Object.fromEntries(word))}::jsonb, settled_version = 0, version = version + 1,
      updated_at = now()
    where tenant_id = ${tx.tenantId} and connection_id = ${drift.connectionId} and anchor = ${drift.anchor}`;
}

/** Closes cases of which nothing stands any more: the values met, or the edit was taken back. */
export async function closeSettledDrifts(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  await tx.sql`
    update cases c set status = 'resolved', resolution = '{"action": "settled"}', resolved_by = 'rollcall', resolved_at = now()
    where c.tenant_id = ${tx.tenantId} and c.connection_id = ${connectionId} and c.kind = 'drift' and c.status = 'open'
      and not exists (
        select 1 from links l
        join users u on u.tenant_id = l.tenant_id and u.id = l.user_id
        join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
        cross join lateral jsonb_object_keys(c.details) as edited(target)
        where l.tenant_id = c.tenant_id and l.connection_id = c.connection_id and l.anchor = c.anchor
          and u.provenance ->> edited.target = 'manual'
          and user_attribute(u, edited.target) is distinct from m.mapped ->> edited.target)`;
}
