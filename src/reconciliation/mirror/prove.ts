/**
 * Phase prove: absence is not deletion (design.md promise 1). Objects that a full read did not show are looked up by
 * immutable id; only a positive answer makes a tombstone, and `unknown` stays unknown.
 */
import type { AbsenceVerdict } from '../../connectors/contract/contract.ts';
import { objectKinds, type ObjectKind } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { openSecrets, type ConnectionsDeps, type OpenConnection } from '../connections/connections.ts';

export type ProofCounts = { asked: number; deleted: number; outOfScope: number; present: number; unknown: number };

const batchAnchors = 1_000;

export async function proveAbsence(
  deps: ConnectionsDeps,
  open: OpenConnection,
  inTransaction: <T>(work: (tx: TenantTx) => Promise<T>) => Promise<T>,
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<ProofCounts> {
  const counts: ProofCounts = { asked: 0, deleted: 0, outOfScope: 0, present: 0, unknown: 0 };
  const connector = deps.connectors.get(open.connection.kind);
  if (connector === undefined) return counts;
  const total = await inTransaction((tx) => countAbsent(tx, open));
  if (total === 0) return counts;
  const request = {
    settings: connector.settingsSchema.parse(open.row.settings),
    secrets: openSecrets(deps, connector, open.row),
    attributes: [],
    signal,
    tenantId: open.row.tenantId,
  };
  for (const kind of objectKinds) {
    let last = '';
    for (;;) {
      const anchors = await inTransaction((tx) => nextAbsent(tx, open, kind, last));
      const newest = anchors.at(-1);
      if (newest === undefined) break;
      last = newest;
      const verdicts: AbsenceVerdict[] = [];
      for await (const verdict of connector.proveAbsent(request, kind, anchors)) verdicts.push(verdict);
      await inTransaction((tx) => recordVerdicts(tx, open, kind, verdicts));
      tally(counts, verdicts);
      onProgress(counts.asked, total);
    }
  }
  return counts;
}

function tally(counts: ProofCounts, verdicts: readonly AbsenceVerdict[]): void {
  for (const { verdict } of verdicts) {
    counts.asked += 1;
    if (verdict === 'deleted') counts.deleted += 1;
    else if (verdict === 'out_of_scope') counts.outOfScope += 1;
    else if (verdict === 'present') counts.present += 1;
    else counts.unknown += 1;
  }
}

async function countAbsent(tx: TenantTx, open: OpenConnection): Promise<number> {
  const [row] = await tx.sql<{ count: number }[]>`
    select count(*)::int as count from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${open.connection.id} and absent_since is not null and deleted_at is null and is_in_scope`;
  return row?.count ?? 0;
}

async function nextAbsent(tx: TenantTx, open: OpenConnection, kind: ObjectKind, last: string): Promise<string[]> {
  const rows = await tx.sql<{ anchor: string }[]>`
    select anchor from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${open.connection.id} and kind = ${kind} and anchor > ${last}
      and absent_since is not null and deleted_at is null and is_in_scope
    order by anchor limit ${batchAnchors}`;
  return rows.map((row) => row.anchor);
}

/** `present`: the read missed it (it moved between pages); the next one shows it, and nothing happens until then. */
async function recordVerdicts(
  tx: TenantTx,
  open: OpenConnection,
  kind: ObjectKind,
  verdicts: readonly AbsenceVerdict[],
): Promise<void> {
  const of = (verdict: AbsenceVerdict['verdict']) =>
    verdicts.filter((found) => found.verdict === verdict).map((found) => found.anchor);
  await tx.sql`
    update mirror_objects set deleted_at = now(), version = version + 1, updated_at = now()
    where tenant_id = ${tx.tenantId} and connection_id = ${open.connection.id} and kind = ${kind} and anchor = any(${of('deleted')})`;
  // the content hash no longer fits what stands here, so the object is read anew when it comes back
  await tx.sql`
    update mirror_objects set is_in_scope = false, content_hash = '', version = version + 1, updated_at = now()
    where tenant_id = ${tx.tenantId} and connection_id = ${open.connection.id} and kind = ${kind} and anchor = any(${of('out_of_scope')})`;
}
