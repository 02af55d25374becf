/**
 * A privileged role that a push (or provisioning on demand) asked for, given by the person who decides its case. It
 * becomes a change row of the run that asked, so that history, undo and explain know it like any other step.
 */
import { addRuleGrants, type GrantChange } from '../../access/access.ts';
import { RollcallError } from '../../core/errors.ts';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { insertApplied } from '../plan/changes.ts';
import { desiredOfAnchors } from '../plan/selection.ts';
import { noteEmptySeats } from './no-super-admin.ts';

export type AskedRoles = {
  readonly caseId: string;
  readonly connectionId: ConnectionId;
  readonly anchor: string;
  /** The run that asked. */
  readonly runId: RunId | null;
};

type Asked = GrantChange & {
  readonly subject: string;
  /** What the row of a grant says. */
  readonly after: Record<string, unknown> | null;
  readonly objectVersion: number;
  readonly stands: boolean;
};

/** What was asked for and the directory still asks for; what it asks for no longer is not given: throws conflict. */
export async function giveAskedRoles(tx: TenantTx, actor: string, asked: AskedRoles): Promise<void> {
  const { caseId, connectionId, anchor, runId } = asked;
  const wanted = await selectAsked(tx, asked);
  const given = runId === null ? new Set() : new Set(await addRuleGrants(tx, runId, wanted));
  const rows = wanted.filter((row) => given.has(row.seq));
  if (runId === null || rows.length === 0) {
    throw new RollcallError(
      'conflict',
      `The role of case ${caseId} can not be given: the directory asks for it no longer, or an exclusion stands against it.`,
      { remedy: 'Ignore the case.' },
    );
  }
  const news = rows.filter((row) => !row.stands);
  await insertApplied(
    tx,
    { runId, connectionId, requestId: null, areNew: false },
    news.map((row) => ({
      class: 'grant',
      op: 'grant',
      kind: 'mover',
      anchor,
      userId: row.userId,
      subject: row.subject,
      organizationId: row.organizationId,
      role: row.role,
      grantSource: row.source,
      before: null,
      after: row.after,
      expectedVersion: null,
      objectVersion: row.objectVersion,
      reason: `Given by ${actor}, who decided the case.`,
      cause: 'case',
    })),
  );
  const [named] = await tx.sql<{ connectionName: string }[]>`
    select name as "connectionName" from connections where tenant_id = ${tx.tenantId} and id = ${connectionId}`;
  await noteEmptySeats(tx, { connectionId, connectionName: named?.connectionName ?? connectionId, runId }, rows);
}

async function selectAsked(tx: TenantTx, { connectionId, anchor }: AskedRoles): Promise<Asked[]> {
  const still = new Set((await desiredOfAnchors(tx, connectionId, [anchor])).map((row) => `rule:${row.ruleId}`));
  const asked = await tx.sql<Asked[]>`
    select distinct on (c.organization_id, c.role, c.grant_source) c.seq, c.user_id as "userId", c.organization_id as "organizationId", c.role,
      c.grant_source as source, c.subject,
      c.after - array['caseKind', 'candidates', 'grantSource'] as after, c.object_version::int as "objectVersion", exists (
        select 1 from grants g
        where g.tenant_id = c.tenant_id and g.organization_id = c.organization_id and g.user_id = c.user_id and g.role = c.role
          and g.source = c.grant_source) as stands
    from changes c
    where c.tenant_id = ${tx.tenantId} and c.connection_id = ${connectionId} and c.anchor = ${anchor} and c.op = 'dispute'
      and c.after ->> 'caseKind' = 'privileged_grant' and c.user_id is not null
    order by c.organization_id, c.role, c.grant_source, c.seq desc`;
  return asked.filter((row) => still.has(row.source));
}
