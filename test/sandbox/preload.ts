/**
 * Fills a SCIM connection with users and groups as if they had been pushed: mirror, links, users, grants, memberships
 * and edges, set by set, in the scope of the tenant. What is left out is the history of the pushes (change rows).
 */
import type { ConnectionId, OrganizationId, TenantId } from '../../src/core/ids.ts';
import { analyzeTables, type Db, type TenantTx } from '../../src/db/db.ts';

export type Preload = {
  readonly tenantId: TenantId;
  readonly organizationId: OrganizationId;
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  /** The role mapping that holds for everyone; its grants are made. */
  readonly ruleId: string;
  readonly domain: string;
  readonly users: number;
  readonly groups: number;
  /** Members of the first group, beside those it gets like every other. */
  readonly bigGroupMembers: number;
};

type Fragment = ReturnType<typeof numberN>;

const usersAtOnce = 20_000;

export async function preload(db: Db, options: Preload, tell: (text: string) => void): Promise<void> {
  const { tenantId, users, groups } = options;
  if (groups > 0) await db.tenant(tenantId, (tx) => insertGroups(tx, options));
  for (let first = 1; first <= users; first += usersAtOnce) {
    const last = Math.min(first + usersAtOnce - 1, users);
    await db.tenant(tenantId, (tx) => insertUsers(tx, options, first, last));
    tell(`${last.toLocaleString('en-US')} of ${users.toLocaleString('en-US')} users`);
  }
}

/** Once all is filled: a load that begins before autovacuum comes by would be planned as if the tables were empty. */
export async function analyzePreloaded(db: Db): Promise<void> {
  await analyzeTables(db.stage, ['mirror_objects', 'mirror_edges', 'links', 'users', 'grants', 'memberships']);
}

function numberN(tx: TenantTx) {
  return tx.sql`n`;
}

/** UUIDs of version 7 whose order is that of the numbers. `kind` tells users' objects, users and groups apart. */
function idOf(tx: TenantTx, kind: '8' | '9' | 'a', number: Fragment) {
  return tx.sql`(('01900000-' || lpad(to_hex(${number} >> 12), 4, '0') || '-7' || lpad(to_hex(${number} & 4095), 3, '0')
    || '-' || ${kind} || '000-' || lpad(to_hex(${number}), 12, '0')))`;
}

async function insertGroups(tx: TenantTx, options: Preload): Promise<void> {
  const n = numberN(tx);
  await tx.sql`
    insert into mirror_objects (tenant_id, connection_id, kind, anchor, external_id, display_name, display_name_key, source,
      content_hash, is_pushed)
    select ${tx.tenantId}, ${options.connectionId}, 'group', ${idOf(tx, 'a', n)}, 'ext-group-' || n, 'Group ' || n, 'group ' || n,
      jsonb_build_object('schemas', jsonb_build_array('urn:ietf:params:scim:schemas:core:2.0:Group'),
        'displayName', 'Group ' || n, 'externalId', 'ext-group-' || n),
      decode(md5('group ' || n), 'hex'), true
    from generate_series(1, ${options.groups}::int) as n`;
}

async function insertUsers(tx: TenantTx, options: Preload, first: number, last: number): Promise<void> {
  const { connectionId, organizationId, ruleId, domain, groups } = options;
  const [anchor, userId] = [idOf(tx, '8', numberN(tx)), idOf(tx, '9', numberN(tx))];
  const name = tx.sql`'user' || n || '@' || ${domain}::text`;
  const mapped = tx.sql`jsonb_build_object('username', ${name}, 'email', ${name}, 'displayName', 'User ' || n, 'givenName', 'User',
    'familyName', n::text, 'phone', null, 'employeeId', null, 'department', null, 'jobTitle', null)`;
  const numbers = tx.sql`generate_series(${first}::int, ${last}::int) as n`;
  await tx.sql`
    insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, email_key, display_name,
      display_name_key, locator, source, mapped, rule_ids, content_hash, is_pushed)
    select ${tx.tenantId}, ${connectionId}, 'user', ${anchor}, ${name}, 'ext-' || n, ${name}, 'User ' || n, 'user ' || n, ${name},
      jsonb_build_object('schemas', jsonb_build_array('urn:ietf:params:scim:schemas:core:2.0:User'), 'userName', ${name},
        'externalId', 'ext-' || n, 'displayName', 'User ' || n,
        'name', jsonb_build_object('givenName', 'User', 'familyName', n::text),
        'emails', jsonb_build_array(jsonb_build_object('value', ${name}, 'type', 'work', 'primary', true)), 'active', true),
      ${mapped}, array[${ruleId}::uuid], decode(md5('user ' || n), 'hex'), true
    from ${numbers}`;
  await tx.sql`
    insert into users (tenant_id, id, username, username_key, email, email_key, display_name, display_name_key, given_name,
      family_name, provenance)
    select ${tx.tenantId}, ${userId}::uuid, ${name}, ${name}, ${name}, ${name}, 'User ' || n, 'user ' || n, 'User', n::text,
      (select jsonb_object_agg(attribute, 'connection:' || ${connectionId}::text)
        from unnest(array['username', 'email', 'displayName', 'givenName', 'familyName']) as attribute)
    from ${numbers}`;
  await tx.sql`
    insert into links (tenant_id, connection_id, anchor, user_id, state, reason, matched_by, applied, settled_version)
    select ${tx.tenantId}, ${connectionId}, ${anchor}, ${userId}::uuid, 'linked',
      'New in ' || ${options.connectionName}::text || '; no user matches.', 'joined', ${mapped}, 1
    from ${numbers}`;
  await tx.sql`
    insert into grants (tenant_id, organization_id, user_id, role, source)
    select ${tx.tenantId}, ${organizationId}, ${userId}::uuid, 'user', 'rule:' || ${ruleId}::text from ${numbers}`;
  await tx.sql`
    insert into memberships (tenant_id, organization_id, user_id)
    select ${tx.tenantId}, ${organizationId}, ${userId}::uuid from ${numbers}`;
  if (groups === 0) return;
  await tx.sql`
    insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
    select ${tx.tenantId}, ${connectionId}, ${idOf(tx, 'a', tx.sql`g`)}, ${anchor}
    from ${numbers}, lateral (
      select 1 + (n - 1) % ${groups}::int as g
      union select 1 where n <= ${options.bigGroupMembers}::int) as wanted`;
}
