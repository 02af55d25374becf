/**
 * Pushes (SCIM): each write changes the mirror and then decides and applies in the caller's transaction, with the
 * same decision, the same change rows and the same apply as a run. Effects on many users become a queued run over
 * those objects, with plan and guard.
 */
import { hash } from 'node:crypto';
import { RollcallError } from '../../core/errors.ts';
import { textKey } from '../../core/text-keys.ts';
import type { ObjectKind } from '../../core/vocabulary.ts';
import { databaseErrorCode } from '../../db/db.ts';
import type { TenantTx } from '../../db/db.ts';
import type { ConnectionsDeps } from '../connections/connections.ts';
import { createOpenPush, type Opener, type OpenPush } from './open-push.ts';
import { pinGroupNames } from '../mirror/mirror.ts';
import { membersBelow, writeEdges } from './push-members.ts';
import type { Expectation, PushContext, PushedGroup, Pushes, Written } from './push-types.ts';
import { writeUser, writeUsers } from './push-users.ts';
import { settle } from './settle.ts';
import { jsonText } from '../mirror/stage.ts';

export function createPushes(deps: ConnectionsDeps): Pushes {
  const open = createOpenPush(deps);
  return {
    begin: (tx, context) => open.begin(tx, context),
    writeUsers: (tx, context, users) => writeUsers(tx, open, context, users),
    writeUser: (tx, context, user, expect) => writeUser(tx, open, context, user, expect),
    writeGroup: async (tx, context, group, expect) => writeGroup(tx, open, context, group, expect),
    changeMembers: async (tx, context, groupAnchor, change) => {
      const opened = await open.open(tx, context);
      const changed = await writeEdges(tx, context.connectionId, groupAnchor, change);
      await settleMembers(tx, opened, groupAnchor, changed.touched);
      return changed;
    },
    remove: async (tx, context, kind, anchor) => remove(tx, await open.open(tx, context), kind, anchor),
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

async function writeGroup(
  tx: TenantTx,
  opener: Opener,
  context: PushContext,
  group: PushedGroup,
  expect: Expectation,
): Promise<Written> {
  const written = await writeObject(tx, await opener.open(tx, context), expect, {
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
  const pinned = await pinGroupNames(tx, context.connectionId);
  if (pinned > 0 && expect !== 'new') {
    // opened anew: the mapping that was just pinned may be the first one of a group
    const opened = await opener.open(tx, context);
    await settleMembers(tx, opened, group.anchor, await membersBelow(tx, context.connectionId, [group.anchor]));
  }
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
