/**
 * Pushes (SCIM): each write changes the mirror and then decides and applies in the caller's transaction, with the
 * same decision, the same change rows and the same apply as a run. Effects on many users become a queued run over
 * those objects, with plan and guard.
 */
import { hash } from 'node:crypto';
import { RollcallError } from '../../core/errors.ts';
import type { RunId } from '../../core/ids.ts';
import { textKey } from '../../core/text-keys.ts';
import type { ObjectKind } from '../../core/vocabulary.ts';
import { databaseErrorCode } from '../../db/db.ts';
import type { TenantTx } from '../../db/db.ts';
import { applyPushed } from '../apply/apply.ts';
import { settlePushed } from '../apply/links.ts';
import type { ConnectionsDeps, OpenConnection } from '../connections/connections.ts';
import { applyAtOnce } from './apply-at-once.ts';
import { createOpenPush, type OpenPush } from './open-push.ts';
import { keysOf } from '../mirror/mirror-keys.ts';
import { pinGroupNames } from '../mirror/mirror.ts';
import { queueObjectRun } from '../run/object-runs.ts';
import { decideNow, insertDecided, type Decided } from './decide-now.ts';
import { membersBelow, writeEdges } from './push-members.ts';
import type { Expectation, PushedGroup, PushedUser, Pushes, Written } from './push-types.ts';
import { markLeaving } from '../plan/leavers.ts';
import { jsonText } from '../mirror/stage.ts';

/** More affected users than this and the effects leave the request (scim.md rule 16). */
const inRequestUsers = 500;

export function createPushes(deps: ConnectionsDeps): Pushes {
  const open = createOpenPush(deps);
  return {
    writeUser: async (tx, context, user, expect) => writeUser(tx, await open(tx, context), user, expect),
    writeGroup: async (tx, context, group, expect) => writeGroup(tx, await open(tx, context), group, expect),
    changeMembers: async (tx, context, groupAnchor, change) => {
      const opened = await open(tx, context);
      const changed = await writeEdges(tx, context.connectionId, groupAnchor, change);
      await settleMembers(tx, opened, groupAnchor, changed.touched);
      return changed;
    },
    remove: async (tx, context, kind, anchor) => remove(tx, await open(tx, context), kind, anchor),
  };
}

// ------------------------------------------------------------------ mirror

type Content = {
  readonly kind: ObjectKind;
  readonly anchor: string;
  readonly userNameKey: string | null;
  readonly externalId: string | null;
  readonly emailKey: string | null;
  readonly employeeIdKey: string | null;
  readonly displayName: string | null;
  readonly locator: string | null;
  readonly source: string;
  readonly mapped: string | null;
  readonly ruleIds: readonly string[];
  readonly isActive: boolean;
  readonly isInScope: boolean;
  readonly problem: string | null;
};

async function writeUser(tx: TenantTx, opened: OpenPush, user: PushedUser, expect: Expectation): Promise<Written> {
  const result = opened.mapper.map(user.attributes);
  const keys = keysOf(result.mapped);
  const written = await writeObject(tx, opened, expect, {
    kind: 'user',
    anchor: user.anchor,
    userNameKey: textKey(user.userName),
    externalId: user.externalId,
    emailKey: keys.emailKey,
    employeeIdKey: keys.employeeIdKey,
    displayName: user.displayName ?? user.userName,
    locator: user.userName,
    source: jsonText(user.resource),
    mapped: jsonText(result.mapped),
    ruleIds: result.ruleIds,
    isActive: user.isActive,
    isInScope: result.isInScope,
    problem: result.problem,
  });
  await settle(tx, opened, [user.anchor]);
  return written;
}

async function writeGroup(tx: TenantTx, opened: OpenPush, group: PushedGroup, expect: Expectation): Promise<Written> {
  const written = await writeObject(tx, opened, expect, {
    kind: 'group',
    anchor: group.anchor,
    userNameKey: null,
    externalId: group.externalId,
    emailKey: null,
    employeeIdKey: null,
    displayName: group.displayName,
    locator: null,
    source: jsonText(group.resource),
    mapped: null,
    ruleIds: [],
    isActive: true,
    isInScope: true,
    problem: null,
  });
  // a mapping by name may have waited for a group of this name; its members are in it from now on
  const pinned = await pinGroupNames(tx, opened.context.connectionId);
  if (pinned > 0 && expect !== 'new')
    await settleMembers(tx, opened, group.anchor, await membersBelow(tx, opened.context.connectionId, [group.anchor]));
  return written;
}

async function writeObject(tx: TenantTx, opened: OpenPush, expect: Expectation, content: Content): Promise<Written> {
  try {
    const rows =
      expect === 'new'
        ? await insertObject(tx, opened, content)
        : await updateObject(tx, opened, content, expect.version);
    const [row] = rows;
    if (row !== undefined) return row;
  } catch (cause) {
    if (databaseErrorCode(cause) !== '23505') throw cause;
    const what = content.kind === 'user' ? 'user with this userName or externalId' : 'group with this externalId';
    throw new RollcallError('conflict', `There is already a ${what} in this connection.`, { cause });
  }
  throw new RollcallError('version_mismatch', 'The resource was changed by another request meanwhile.', {
    remedy: 'Read it again and repeat the change.',
  });
}

function hashOf(content: Content): Buffer {
  return hash('md5', JSON.stringify(content), 'buffer');
}

async function insertObject(tx: TenantTx, opened: OpenPush, content: Content): Promise<Written[]> {
  return tx.sql<Written[]>`
    insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, email_key, employee_id_key, display_name,
      display_name_key, locator, source, mapped, rule_ids, is_active, is_in_scope, problem, content_hash, is_pushed)
    values (${tx.tenantId}, ${opened.context.connectionId}, ${content.kind}, ${content.anchor}, ${content.userNameKey}, ${content.externalId},
      ${content.emailKey}, ${content.employeeIdKey}, ${content.displayName}, ${textKey(content.displayName)}, ${content.locator},
      ${content.source}::jsonb, ${content.mapped}::jsonb, ${content.ruleIds as string[]}::uuid[], ${content.isActive}, ${content.isInScope},
      ${content.problem}, ${hashOf(content)}, true)
    returning version::int as version, created_at as "createdAt", updated_at as "updatedAt"`;
}

/** The version grows only when the content does: an equal PUT is no change. */
async function updateObject(tx: TenantTx, opened: OpenPush, content: Content, version: number): Promise<Written[]> {
  const digest = hashOf(content);
  return tx.sql<Written[]>`
    update mirror_objects set user_name_key = ${content.userNameKey}, external_id = ${content.externalId}, email_key = ${content.emailKey},
      employee_id_key = ${content.employeeIdKey}, display_name = ${content.displayName}, display_name_key = ${textKey(content.displayName)},
      locator = ${content.locator}, source = ${content.source}::jsonb, mapped = ${content.mapped}::jsonb,
      rule_ids = ${content.ruleIds as string[]}::uuid[], is_active = ${content.isActive}, is_in_scope = ${content.isInScope},
      problem = ${content.problem}, content_hash = ${digest},
      version = version + case when content_hash = ${digest} then 0 else 1 end,
      updated_at = case when content_hash = ${digest} then updated_at else now() end
    where tenant_id = ${tx.tenantId} and connection_id = ${opened.context.connectionId} and kind = ${content.kind} and anchor = ${content.anchor}
      and deleted_at is null and version = ${version}
    returning version::int as version, created_at as "createdAt", updated_at as "updatedAt"`;
}

async function remove(tx: TenantTx, opened: OpenPush, kind: ObjectKind, anchor: string): Promise<void> {
  const affected = kind === 'user' ? [anchor] : await membersBelow(tx, opened.context.connectionId, [anchor]);
  const result = await tx.sql`
    update mirror_objects set deleted_at = now(), version = version + 1, updated_at = now()
    where tenant_id = ${tx.tenantId} and connection_id = ${opened.context.connectionId} and kind = ${kind} and anchor = ${anchor}
      and deleted_at is null`;
  if (result.count === 0) throw new RollcallError('not_found', `There is no ${kind} ${anchor} in this connection.`);
  if (kind === 'group') {
    await settleMembers(tx, opened, anchor, affected);
    await tx.sql`
      delete from mirror_edges
      where tenant_id = ${tx.tenantId} and connection_id = ${opened.context.connectionId} and ${anchor} in (group_anchor, member_anchor)`;
    return;
  }
  await settle(tx, opened, affected);
  await tx.sql`
    delete from mirror_edges where tenant_id = ${tx.tenantId} and connection_id = ${opened.context.connectionId} and member_anchor = ${anchor}`;
}

// ------------------------------------------------------------------ effects

/** Members matter only where a role mapping stands on this group or above it. */
async function settleMembers(
  tx: TenantTx,
  opened: OpenPush,
  groupAnchor: string,
  touched: readonly string[],
): Promise<void> {
  if (touched.length === 0 || opened.connection.roleMappings.every((rule) => rule.groupAnchor === null)) return;
  const [mapped] = await tx.sql`
    with recursive above as (
      select ${groupAnchor}::text collate "C" as anchor
      union
      select e.group_anchor from above
      join mirror_edges e on e.tenant_id = ${tx.tenantId} and e.connection_id = ${opened.context.connectionId} and e.member_anchor = above.anchor
    )
    select 1 from above
    join role_mappings r on r.tenant_id = ${tx.tenantId} and r.connection_id = ${opened.context.connectionId} and r.group_anchor = above.anchor
      and r.ended_at is null
    limit 1`;
  if (mapped === undefined) return;
  await settle(tx, opened, await membersBelow(tx, opened.context.connectionId, touched));
}

/** Decides and applies for these users now, or queues a run where they are many. A paused connection's effects wait. */
async function settle(tx: TenantTx, opened: OpenPush, anchors: readonly string[]): Promise<void> {
  const { connection, context } = opened;
  if (anchors.length === 0 || connection.connection.status !== 'active') return;
  if (anchors.length > inRequestUsers) return queueObjectRun(tx, context.connectionId, connection.row.version);
  const { decision } = opened;
  if (decision.leaver.graceDays > 0) await markLeaving(tx, context.connectionId, decision.leaver.graceDays, anchors);
  const { subjects, decided, waiting } = await decideNow(tx, connection, decision, anchors);
  const standing = subjects.flatMap(({ anchor }) => (waiting.has(anchor) ? [] : [anchor]));
  if (decided.length === 0) return settlePushed(tx, context.connectionId, standing);
  const runId = standingRunId(connection);
  const scope = { runId, connectionId: context.connectionId, requestId: context.requestId };
  const prepare = () => insertStandingRun(tx, connection, runId);
  if (await applyAtOnce(tx, scope, decided, standing, prepare)) return;
  await prepare();
  const open = await applyDecided(tx, opened, runId, decided);
  await settlePushed(
    tx,
    context.connectionId,
    standing.filter((anchor) => !open.has(anchor)),
  );
}

/** Writes the rows into the day's standing run and applies them; returns the anchors that stay open. */
async function applyDecided(
  tx: TenantTx,
  { connection, context }: OpenPush,
  runId: RunId,
  decided: readonly Decided[],
): Promise<Set<string>> {
  const scope = { runId, connectionId: context.connectionId, connectionName: connection.row.name, undone: null };
  const rows = await insertDecided(tx, { ...scope, requestId: context.requestId }, decided);
  return applyPushed(
    tx,
    scope,
    rows.map((row) => row.seq),
  );
}

/** One per connection and UTC day; its id follows from both, so that no request waits for another to make it. */
function standingRunId(connection: OpenConnection): RunId {
  const day = new Date().toISOString().slice(0, 10);
  const hex = hash('md5', `${connection.connection.id}/${day}`);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}` as RunId;
}

async function insertStandingRun(tx: TenantTx, connection: OpenConnection, runId: RunId): Promise<void> {
  await tx.sql`
    insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by, started_at)
    values (${tx.tenantId}, ${runId}, ${connection.connection.id}, ${connection.row.version}, 'push', 'auto', 'succeeded', 'push', now())
    on conflict do nothing`;
}
