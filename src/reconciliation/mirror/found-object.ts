/** One object that was looked up now, put into the mirror beside what reads of everything put there. */
import type { FoundObject } from '../../connectors/contract/contract.ts';
import type { ConnectionId } from '../../core/ids.ts';
import type { Mapper } from '../../core/mapping.ts';
import { textKey } from '../../core/text-keys.ts';
import type { TenantTx } from '../../db/db.ts';
import { contentOf } from './content.ts';
import { digestBytes, digestOf } from './fingerprints.ts';
import { keysOf } from './mirror-keys.ts';
import { pinGroupNames } from './mirror.ts';
import { jsonText } from './stage.ts';

/** True when the object is new or changed. */
export async function writeFound(
  tx: TenantTx,
  connectionId: ConnectionId,
  { object, groups }: FoundObject,
  mapper: Mapper,
): Promise<boolean> {
  const result = mapper.map(object.attributes);
  const keys = keysOf(result.mapped);
  const source = {
    ...object.attributes,
    ...(object.inactiveReason === null ? {} : { inactiveReason: object.inactiveReason }),
  };
  const written = await tx.sql`
    insert into mirror_objects as m (tenant_id, connection_id, kind, anchor, user_name_key, email_key, employee_id_key, display_name,
      display_name_key, locator, source, mapped, rule_ids, is_active, is_in_scope, problem, content_hash)
    values (${tx.tenantId}, ${connectionId}, 'user', ${object.anchor}, ${keys.userNameKey}, ${keys.emailKey}, ${keys.employeeIdKey},
      ${object.name}, ${textKey(object.name)}, ${object.locator}, ${jsonText(source)}::jsonb, ${jsonText(result.mapped)}::jsonb,
      ${`{${result.ruleIds.join(',')}}`}::uuid[], ${object.isActive}, ${result.isInScope}, ${result.problem},
      ${digestBytes(digestOf(contentOf(object, result)))})
    on conflict (tenant_id, connection_id, kind, anchor) do update set
      user_name_key = excluded.user_name_key, email_key = excluded.email_key, employee_id_key = excluded.employee_id_key,
      display_name = excluded.display_name, display_name_key = excluded.display_name_key, locator = excluded.locator,
      source = excluded.source, mapped = excluded.mapped, rule_ids = excluded.rule_ids, is_active = excluded.is_active,
      is_in_scope = excluded.is_in_scope, problem = excluded.problem, content_hash = excluded.content_hash,
      absent_since = null, deleted_at = null, version = m.version + 1, updated_at = now()
    where m.content_hash <> excluded.content_hash or m.absent_since is not null or m.deleted_at is not null`;
  const isNewMember = await addMemberships(tx, connectionId, object.anchor, groups);
  await pinGroupNames(tx, connectionId);
  return written.count > 0 || isNewMember;
}

/**
 * Only groups that the mirror knows, and only additions. The group's fingerprint is forgotten with it: it stood for a
 * whole read, and the next one must compare the members themselves.
 */
async function addMemberships(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchor: string,
  groups: readonly string[],
): Promise<boolean> {
  const added = await tx.sql<{ groupAnchor: string }[]>`
    insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
    select g.tenant_id, g.connection_id, g.anchor, ${anchor} from mirror_objects g
    where g.tenant_id = ${tx.tenantId} and g.connection_id = ${connectionId} and g.kind = 'group' and g.anchor = any(${[...groups]})
      and g.deleted_at is null
    order by g.anchor
    on conflict do nothing returning group_anchor as "groupAnchor"`;
  if (added.length === 0) return false;
  await tx.sql`
    update mirror_objects set members_hash = null
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'group'
      and anchor = any(${added.map((row) => row.groupAnchor)})`;
  // the next read finds these members where they are, and no news in them
  await tx.sql`
    update links set settled_version = 0
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = ${anchor} and state in ('linked', 'missing')`;
  return true;
}
