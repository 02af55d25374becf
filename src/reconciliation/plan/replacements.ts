/**
 * An account that was deleted and made anew: the old object is gone, and a new one of the same read matches its user.
 * That is nobody's leaving. The old link ends in the same step in which the new one begins, and nothing is taken.
 */
import type { ConnectionId, RunId, UserId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { insertChanges } from './changes.ts';

type Replaced = {
  readonly anchor: string;
  readonly userId: UserId;
  readonly subject: string;
  readonly objectVersion: number;
  readonly userVersion: number;
  readonly locator: string | null;
};

/** Puts the end of the old link in place of what the leaver policy wanted; returns how many rows it wrote. */
export async function replaceLinks(
  tx: TenantTx,
  run: { readonly runId: RunId; readonly connectionId: ConnectionId },
  firstFreeSeq: number,
): Promise<number> {
  const replaced = await tx.sql<Replaced[]>`
    select l.anchor, u.id as "userId", coalesce(u.display_name, o.display_name, l.anchor) as subject, o.version::int as "objectVersion",
      u.version::int as "userVersion", n.locator
    from changes c
    join links l on l.tenant_id = c.tenant_id and l.connection_id = c.connection_id and l.user_id = c.user_id and l.anchor <> c.anchor
      and l.state in ('linked', 'missing')
    join mirror_objects o on o.tenant_id = l.tenant_id and o.connection_id = l.connection_id and o.kind = 'user' and o.anchor = l.anchor
      and o.deleted_at is not null
    join mirror_objects n on n.tenant_id = c.tenant_id and n.connection_id = c.connection_id and n.kind = 'user' and n.anchor = c.anchor
    join users u on u.tenant_id = c.tenant_id and u.id = c.user_id
    where c.tenant_id = ${tx.tenantId} and c.run_id = ${run.runId} and c.class = 'link' and c.op = 'link' and c.cause like 'matched:%'
    order by l.anchor`;
  if (replaced.length === 0) return 0;
  await tx.sql`
    delete from changes
    where tenant_id = ${tx.tenantId} and run_id = ${run.runId} and anchor = any(${replaced.map((row) => row.anchor)})`;
  await insertChanges(
    tx,
    { ...run, requestId: null },
    replaced.map((row, index) => ({
      seq: firstFreeSeq + index,
      class: 'link',
      op: 'unlink',
      kind: 'mover',
      anchor: row.anchor,
      userId: row.userId,
      subject: row.subject,
      organizationId: null,
      role: null,
      grantSource: null,
      before: null,
      after: { linkState: 'gone' },
      expectedVersion: row.userVersion,
      objectVersion: row.objectVersion,
      reason: `Deleted, and made anew as ${row.locator ?? 'another object'}, which matches the same user.`,
      cause: 'replaced',
    })),
  );
  return replaced.length;
}
