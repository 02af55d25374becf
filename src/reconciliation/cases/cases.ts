/** Cases: what a person must decide. Opened by conflict rows, closed by a person's word. */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type RunId, type TenantId, type UserId } from '../../core/ids.ts';
import { approvedRehire } from '../../core/rehire.ts';
import { caseKinds, type CaseKind, type CaseStatus } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';
import type { Change } from '../plan/changes.ts';
import { queueObjectRun } from '../run/object-runs.ts';
import { giveAskedRoles } from './privileged-grants.ts';
import { resolveDrift, type DriftValues } from './drift.ts';

export type Case = {
  readonly id: string;
  readonly connectionId: ConnectionId | null;
  readonly connectionName: string | null;
  readonly kind: CaseKind;
  readonly status: CaseStatus;
  readonly anchor: string | null;
  readonly subject: string;
  readonly reason: string;
  /** Of a drift: attribute -> both values. */
  readonly details: Readonly<Record<string, DriftValues>> | null;
  readonly candidates: { readonly id: UserId; readonly name: string }[];
  readonly createdAt: string;
  readonly resolvedBy: string | null;
};

export type Resolution =
  | { readonly action: 'link'; readonly userId: UserId }
  | { readonly action: 'create' }
  | { readonly action: 'ignore' }
  /** Gives the privileged role that a push asked for; only for such a case. */
  | { readonly action: 'grant' }
  /** Of a drift: whose values stand from now on, until either side changes again. */
  | { readonly action: 'source' }
  | { readonly action: 'local' };

/** Applies conflict rows: an open case each, and a disputed link for an object that has none. */
export async function openCases(
  tx: TenantTx,
  connectionId: ConnectionId,
  runId: RunId,
  rows: readonly Change[],
): Promise<void> {
  if (rows.length === 0) return;
  const payload = rows.map((row) => ({
    id: newId(),
    anchor: row.anchor,
    kind: caseKindOf(row),
    subject: row.subject,
    reason: row.reason,
    candidates: `{${candidatesOf(row).join(',')}}`,
    isUnlinked: row.userId === null,
    isFault: row.op === 'error',
    details: row.after?.['drift'] ?? null,
  }));
  const json = JSON.stringify(payload);
  await tx.sql`
    insert into links (tenant_id, connection_id, anchor, state, reason)
    select distinct on (anchor) ${tx.tenantId}::uuid, ${connectionId}::uuid, anchor, 'disputed', reason
    from jsonb_to_recordset(${json}::jsonb) as r(anchor text, reason text, "isUnlinked" boolean)
    where "isUnlinked" and anchor is not null
    on conflict (tenant_id, connection_id, anchor) do update set reason = excluded.reason, updated_at = now()
      where links.reason is distinct from excluded.reason`;
  const opened = await tx.sql<(OpenedCase & { readonly isNew: boolean })[]>`
    insert into cases (tenant_id, id, connection_id, kind, anchor, subject, reason, details, candidate_ids, run_id)
    -- one object may be in several rows of a kind: a last Admin keeps a role and the account
    select distinct on (anchor, kind) ${tx.tenantId}::uuid, id, ${connectionId}::uuid, kind, anchor, subject, reason, details, candidates::uuid[],
      ${runId}::uuid
    from jsonb_to_recordset(${json}::jsonb)
      as r(id uuid, anchor text, kind text, subject text, reason text, candidates text, "isFault" boolean, details jsonb)
    where not "isFault"
      -- what a person ignored stays ignored while nothing about it is new
      and not exists (
        select 1 from cases i
        where i.tenant_id = ${tx.tenantId} and i.connection_id = ${connectionId} and i.anchor = r.anchor and i.kind = r.kind
          and i.status = 'ignored' and i.reason = r.reason and i.details is not distinct from r.details)
    on conflict (tenant_id, connection_id, anchor, kind) where status = 'open' and anchor is not null
      do update set reason = excluded.reason, details = excluded.details where cases.details is distinct from excluded.details
    returning id as "caseId", kind, subject, reason, (xmax = 0) as "isNew"`;
  await tellOfCases(
    tx,
    { connectionId, runId },
    opened.filter(({ isNew }) => isNew).map(({ caseId, kind, subject, reason }) => ({ caseId, kind, subject, reason })),
  );
}

type OpenedCase = {
  readonly caseId: string;
  readonly kind: CaseKind;
  readonly subject: string;
  readonly reason: string;
};

const mostTold = 20;

/** One message for those that came together: a push opens one, the first run of a directory perhaps hundreds. */
async function tellOfCases(
  tx: TenantTx,
  scope: { readonly connectionId: ConnectionId; readonly runId: RunId },
  opened: readonly OpenedCase[],
): Promise<void> {
  if (opened.length === 0) return;
  await enqueue(tx, 'cases.opened', { ...scope, count: opened.length, cases: opened.slice(0, mostTold) });
}

function caseKindOf(row: Change): CaseKind {
  const kind = row.after?.['caseKind'];
  return caseKinds.find((known) => known === kind) ?? 'disputed_match';
}

function candidatesOf(row: Change): string[] {
  const ids = row.after?.['candidates'];
  return Array.isArray(ids) ? ids.filter((id): id is string => typeof id === 'string') : [];
}

export function listCases(db: Db, tenantId: TenantId, status: CaseStatus, limit = 200): Promise<Case[]> {
  return db.tenant(tenantId, (tx) => selectCases(tx, status, limit, null));
}

function selectCases(tx: TenantTx, status: CaseStatus | null, limit: number, id: string | null): Promise<Case[]> {
  return tx.sql<Case[]>`
    select c.id, c.connection_id as "connectionId", n.name as "connectionName", c.kind, c.status, c.anchor, c.subject, c.reason, c.details,
      c.created_at as "createdAt", c.resolved_by as "resolvedBy",
      coalesce((
        select jsonb_agg(jsonb_build_object('id', u.id, 'name', coalesce(u.display_name, u.username, u.email, u.id::text)) order by u.id)
        from users u where u.tenant_id = c.tenant_id and u.id = any(c.candidate_ids)), '[]') as candidates
    from cases c
    left join connections n on n.tenant_id = c.tenant_id and n.id = c.connection_id
    where c.tenant_id = ${tx.tenantId} and (${status}::text is null or c.status = ${status}::text)
      -- a seat that was filled in another way needs nobody's word any more
      and not (c.kind = 'no_super_admin' and c.status = 'open' and exists (
        select 1 from super_admins s where s.tenant_id = c.tenant_id and s.organization_id = c.organization_id))
      and (${id}::uuid is null or c.id = ${id}::uuid)
    order by c.created_at, c.id limit ${limit}`;
}

/**
 * Closes a case. `grant` gives what a push asked for, at once. `source` and `local` say whose values stand. `link` binds the object to a user, `create` makes it a user of its own, `ignore` leaves it alone for
 * good; the first two take effect with the connection's next run.
 */
export function resolveCase(
  db: Db,
  actor: string,
  tenantId: TenantId,
  caseId: string,
  resolution: Resolution,
): Promise<void> {
  return db.tenant(tenantId, async (tx) => {
    const [found] = await tx.sql<OpenCase[]>`
      select connection_id as "connectionId", anchor, kind, run_id as "runId", details from cases
      where tenant_id = ${tenantId} and id = ${caseId} and status = 'open' for update`;
    if (found === undefined) {
      throw new RollcallError('not_found', `There is no open case ${caseId}.`, {
        remedy: 'List them with: rollcall cases list',
      });
    }
    await actOn(tx, actor, { ...found, id: caseId }, resolution);
    if (found.connectionId !== null && resolution.action !== 'ignore') await decideSoon(tx, found.connectionId);
    await tx.sql`
      update cases set status = ${resolution.action === 'ignore' ? 'ignored' : 'resolved'}, resolution = ${JSON.stringify(resolution)}::jsonb,
        resolved_by = ${actor}, resolved_at = now()
      where tenant_id = ${tenantId} and id = ${caseId}`;
    await recordEvent(tx, {
      actor,
      action: 'case.resolved',
      target: `case:${caseId}`,
      details: { ...resolution, kind: found.kind },
    });
  });
}

type OpenCase = {
  readonly connectionId: ConnectionId | null;
  readonly anchor: string | null;
  readonly kind: CaseKind;
  readonly runId: RunId | null;
  readonly details: Case['details'];
};

const usual = ['link', 'create', 'ignore'] as const;
const actions: Readonly<Partial<Record<CaseKind, readonly Resolution['action'][]>>> = {
  privileged_grant: ['grant', 'ignore'],
  drift: ['source', 'local', 'ignore'],
  // the seat itself is filled by fillSeat
  no_super_admin: ['ignore'],
};

/** What is pushed has no next run of its own that a person could wait for. */
async function decideSoon(tx: TenantTx, connectionId: ConnectionId): Promise<void> {
  const [pushed] = await tx.sql<{ version: number }[]>`
    select version from connections
    where tenant_id = ${tx.tenantId} and id = ${connectionId} and kind = 'scim' and status = 'active'`;
  if (pushed !== undefined) await queueObjectRun(tx, connectionId, pushed.version);
}

async function actOn(
  tx: TenantTx,
  actor: string,
  found: OpenCase & { readonly id: string },
  resolution: Resolution,
): Promise<void> {
  const allowed = actions[found.kind] ?? usual;
  if (!allowed.includes(resolution.action)) {
    throw new RollcallError(
      'invalid_input',
      `A case of kind ${words(found.kind)} can not be decided by "${resolution.action}".`,
      { remedy: `Decide it by one of: ${allowed.join(', ')}.` },
    );
  }
  const { connectionId, anchor } = found;
  if (connectionId === null || anchor === null) return;
  switch (resolution.action) {
    case 'grant':
      return giveAskedRoles(tx, actor, { caseId: found.id, connectionId, anchor, runId: found.runId });
    case 'source':
    case 'local':
      return resolveDrift(tx, { connectionId, anchor, take: resolution.action, details: found.details ?? {} });
    case 'ignore':
      // the edit stays as it is, and so does the link
      if (found.kind === 'drift') return;
      return resolveLink(tx, connectionId, anchor, resolution);
    case 'link':
    case 'create':
      return resolveLink(tx, connectionId, anchor, resolution);
  }
}

function words(kind: CaseKind): string {
  return kind.replaceAll('_', ' ');
}

/** Of a rehire: the object is back, and its link is still the one that ended. */
const endedStates: ReadonlySet<string> = new Set(['suspended', 'gone', 'out_of_scope', 'removed']);

async function resolveLink(
  tx: TenantTx,
  connectionId: string,
  anchor: string,
  resolution: Extract<Resolution, { action: 'link' | 'create' | 'ignore' }>,
): Promise<void> {
  const [link] = await tx.sql<{ state: string; userId: string | null }[]>`
    select state, user_id as "userId" from links
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = ${anchor} for update`;
  if (link === undefined || !(link.state === 'disputed' || endedStates.has(link.state))) return;
  if (resolution.action === 'ignore') {
    await tx.sql`
      update links set state = 'ignored', version = version + 1, updated_at = now()
      where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = ${anchor}`;
    return;
  }
  if (resolution.action === 'create') {
    // of a rehire too: the user of before stays as they left
    await tx.sql`
      update links set state = 'disputed', user_id = null, matched_by = 'create', ended_at = null, settled_version = 0,
        version = version + 1, updated_at = now()
      where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = ${anchor}`;
    return;
  }
  if (resolution.userId === link.userId && endedStates.has(link.state)) {
    // the next run relinks: it knows what else has to come back
    await tx.sql`
      update links set matched_by = ${approvedRehire}, settled_version = 0, version = version + 1, updated_at = now()
      where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = ${anchor}`;
    return;
  }
  await mustBeFree(tx, connectionId, resolution.userId);
  await tx.sql`
    update links set state = 'linked', user_id = ${resolution.userId}, matched_by = 'case', ended_at = null, settled_version = 0, version = version + 1,
      updated_at = now()
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = ${anchor}`;
}

async function mustBeFree(tx: TenantTx, connectionId: string, userId: UserId): Promise<void> {
  const [user] = await tx.sql<{ name: string; isTaken: boolean }[]>`
    select coalesce(u.display_name, u.username, u.email, u.id::text) as name,
      exists (select 1 from links l where l.tenant_id = u.tenant_id and l.connection_id = ${connectionId} and l.user_id = u.id
        and l.state in ('linked', 'missing', 'held')) as "isTaken"
    from users u where u.tenant_id = ${tx.tenantId} and u.id = ${userId} and u.status <> 'removed'`;
  if (user === undefined) throw new RollcallError('not_found', `There is no user ${userId} in this tenant.`);
  if (user.isTaken) {
    throw new RollcallError('conflict', `${user.name} is already linked to another object of this connection.`, {
      remedy: 'Resolve the case by creating a user, or ignore the object.',
    });
  }
}
