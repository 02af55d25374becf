/**
 * Phase mirror: stage -> mirror, in one transaction with the promotion of the cursor. Rows are written only when
 * their content changed; the hash is compared again in the statement that writes (perf.md).
 */
import type { ConnectionId } from '../../core/ids.ts';
import type { ObjectKind } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { Fingerprints } from './fingerprints.ts';
import type { KnownMirror } from './fetch.ts';
import { mergeEdges } from './merge-edges.ts';
import type { StageTables, StageWriter } from './stage.ts';

const fetchRows = 5_000;

/** Fingerprints of everything live in the mirror, for a full read. */
export async function loadKnownMirror(tx: TenantTx, connectionId: ConnectionId): Promise<KnownMirror> {
  const [total] = await tx.sql<{ count: string }[]>`
    select count(*) from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and deleted_at is null and absent_since is null`;
  const objects = new Fingerprints(Number(total?.count ?? 0) + 1);
  const members = new Map<string, string>();
  const rows = tx.sql<{ kind: ObjectKind; anchor: string; contentHash: Buffer; membersHash: string | null }[]>`
    select kind, anchor, content_hash as "contentHash", encode(members_hash, 'hex') as "membersHash" from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and deleted_at is null and absent_since is null`;
  for await (const batch of rows.cursor(fetchRows)) {
    for (const row of batch) {
      objects.add(row.kind, row.anchor, row.contentHash);
      if (row.membersHash !== null) members.set(row.anchor, row.membersHash);
    }
  }
  return { objects, members };
}

/** Stages what a complete full read did not show. Only the engine's later proof gives that a meaning. */
export async function stageAbsent(
  tx: TenantTx,
  connectionId: ConnectionId,
  known: Fingerprints,
  stage: StageWriter,
): Promise<void> {
  if (known.seen === known.size) return;
  const rows = tx.sql<{ kind: ObjectKind; anchor: string }[]>`
    select kind, anchor from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and deleted_at is null and absent_since is null`;
  for await (const batch of rows.cursor(fetchRows)) {
    for (const row of batch) if (!known.wasSeen(row.kind, row.anchor)) await stage.absent(row.kind, row.anchor);
  }
  await stage.flush();
}

export type MirrorCounts = {
  readonly objectsWritten: number;
  readonly edgesAdded: number;
  readonly edgesRemoved: number;
  readonly absent: number;
  readonly tombstoned: number;
};

/** Merges the stage; the caller's transaction also promotes the cursor. */
export async function mergeStage(
  tx: TenantTx,
  connectionId: ConnectionId,
  tables: StageTables,
  staged: StageWriter['counts'],
): Promise<MirrorCounts> {
  const objectsWritten = staged.objects === 0 ? 0 : await mergeObjects(tx, connectionId, tables);
  const tombstoned = staged.gone === 0 ? 0 : await mergeTombstones(tx, connectionId, tables);
  const named = staged.absent === 0 ? 0 : await mergeAbsent(tx, connectionId, tables);
  const absent = named + (staged.swept === 0 ? 0 : await mergeSwept(tx, connectionId, tables));
  const edges = staged.group_sets === 0 ? { added: 0, removed: 0 } : await mergeEdges(tx, connectionId, tables);
  await pinGroupNames(tx, connectionId);
  return { objectsWritten, tombstoned, absent, edgesAdded: edges.added, edgesRemoved: edges.removed };
}

async function mergeObjects(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<number> {
  const result = await tx.sql`
    insert into mirror_objects as m (
      tenant_id, connection_id, kind, anchor, user_name_key, email_key, employee_id_key, display_name, display_name_key,
      locator, source, mapped, rule_ids, is_active, is_in_scope, problem, content_hash)
    select ${tx.tenantId}::uuid, ${connectionId}::uuid, kind, anchor, user_name_key, email_key, employee_id_key, display_name,
      display_name_key, locator, source, mapped, rule_ids, is_active, is_in_scope, problem, content_hash
    from (select distinct on (kind, anchor) * from ${tx.sql(tables.objects)} order by kind, anchor, seq desc) s
    on conflict (tenant_id, connection_id, kind, anchor) do update set
      user_name_key = excluded.user_name_key, email_key = excluded.email_key, employee_id_key = excluded.employee_id_key,
      display_name = excluded.display_name, display_name_key = excluded.display_name_key, locator = excluded.locator,
      source = excluded.source, mapped = excluded.mapped, rule_ids = excluded.rule_ids, is_active = excluded.is_active,
      is_in_scope = excluded.is_in_scope, problem = excluded.problem, content_hash = excluded.content_hash,
      absent_since = null, deleted_at = null, version = m.version + 1, updated_at = now()
    where m.content_hash <> excluded.content_hash or m.absent_since is not null or m.deleted_at is not null`;
  return result.count;
}

async function mergeTombstones(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<number> {
  const result = await tx.sql`
    update mirror_objects m set deleted_at = now(), version = m.version + 1, updated_at = now()
    from (select kind, anchor, max(seq) as seq from ${tx.sql(tables.gone)} group by 1, 2) g
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = g.kind and m.anchor = g.anchor
      and m.deleted_at is null
      and not exists (select 1 from ${tx.sql(tables.objects)} o where o.kind = m.kind and o.anchor = m.anchor and o.seq > g.seq)`;
  return result.count;
}

async function mergeAbsent(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<number> {
  const result = await tx.sql`
    update mirror_objects m set absent_since = now(), version = m.version + 1, updated_at = now()
    from ${tx.sql(tables.absent)} a
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = a.kind and m.anchor = a.anchor
      and m.absent_since is null and m.deleted_at is null`;
  return result.count;
}

/** Whoever a sweep of its kind did not name is absent; whoever it names and was thought absent is not. */
async function mergeSwept(tx: TenantTx, connectionId: ConnectionId, tables: StageTables): Promise<number> {
  const swept = tx.sql(tables.swept);
  await tx.sql`
    update mirror_objects m set absent_since = null, version = m.version + 1, updated_at = now()
    from ${swept} s
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = s.kind and m.anchor = s.anchor
      and m.absent_since is not null and m.deleted_at is null and m.is_in_scope`;
  const result = await tx.sql`
    update mirror_objects m set absent_since = now(), version = m.version + 1, updated_at = now()
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.absent_since is null and m.deleted_at is null
      and m.kind in (select s.kind from ${swept} s where s.anchor = '')
      and not exists (select 1 from ${swept} s where s.kind = m.kind and s.anchor = m.anchor)
      and not exists (select 1 from ${tx.sql(tables.objects)} o where o.kind = m.kind and o.anchor = m.anchor)`;
  return result.count;
}

/** A role mapping that names a group is bound to the one live group of that name, for ever after. */
export async function pinGroupNames(tx: TenantTx, connectionId: ConnectionId): Promise<number> {
  const result = await tx.sql`
    update role_mappings r set group_anchor = g.anchor
    from (
      select r.id, min(m.anchor) as anchor from role_mappings r
      join mirror_objects m on m.tenant_id = r.tenant_id and m.connection_id = r.connection_id and m.kind = 'group'
        and (m.display_name = r.group_name or m.locator = r.group_name) and m.deleted_at is null and m.absent_since is null
      where r.tenant_id = ${tx.tenantId} and r.connection_id = ${connectionId} and r.ended_at is null
        and r.group_anchor is null and r.group_name is not null
      group by r.id having count(*) = 1) g
    where r.tenant_id = ${tx.tenantId} and r.id = g.id`;
  // what the mapping gives was compared with nothing so far
  if (result.count > 0) {
    await tx.sql`update connections set settled = null where tenant_id = ${tx.tenantId} and id = ${connectionId}`;
  }
  return result.count;
}
