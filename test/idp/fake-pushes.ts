/** Pushes that write the mirror and decide nothing: the SCIM room's tests are about the protocol. */
import { createHash } from 'node:crypto';
import { RollcallError } from '../../src/core/errors.ts';
import { textKey } from '../../src/core/text-keys.ts';
import type { TenantTx } from '../../src/db/db.ts';
import type { Expectation, PushContext, Pushes, Written } from '../../src/reconciliation/reconciliation.ts';

type Content = {
  readonly kind: 'user' | 'group';
  readonly anchor: string;
  readonly userName: string | null;
  readonly externalId: string | null;
  readonly displayName: string | null;
  readonly isActive: boolean;
  readonly resource: Readonly<Record<string, unknown>>;
};

type Row = { readonly version: string; readonly created_at: string; readonly updated_at: string };

export const fakePushes: Pushes = {
  begin: () => undefined,
  writeUsers: (tx, context, pushes) =>
    Promise.all(pushes.map(({ user, expect }) => fakePushes.writeUser(tx, context, user, expect))),
  writeUser: (tx, context, user, expect) =>
    write(tx, context, { ...user, kind: 'user', displayName: user.displayName ?? user.userName }, expect),
  writeGroup: (tx, context, group, expect) =>
    write(tx, context, { ...group, kind: 'group', userName: null, isActive: true }, expect),
  changeMembers,
  remove: async (tx, context, kind, anchor) => {
    await tx.sql`update mirror_objects set deleted_at = now(), version = version + 1
      where connection_id = ${context.connectionId} and kind = ${kind} and anchor = ${anchor}`;
  },
};

async function write(tx: TenantTx, context: PushContext, content: Content, expect: Expectation): Promise<Written> {
  try {
    const rows =
      expect === 'new' ? await insert(tx, context, content) : await update(tx, context, content, expect.version);
    const [row] = rows;
    if (row === undefined) throw new RollcallError('version_mismatch', 'Somebody wrote in between.');
    return { version: Number(row.version), createdAt: row.created_at, updatedAt: row.updated_at };
  } catch (error) {
    if (codeOf(error) !== '23505') throw error;
    throw new RollcallError('conflict', 'Another resource has this userName or externalId.', { cause: error });
  }
}

function codeOf(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('code' in error && error.code === '23505') return error.code;
  return 'cause' in error ? codeOf(error.cause) : undefined;
}

function insert({ sql, tenantId }: TenantTx, context: PushContext, content: Content): Promise<Row[]> {
  const text = JSON.stringify(content.resource);
  return sql<Row[]>`
    insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, display_name,
      display_name_key, source, is_active, content_hash, is_pushed)
    values (${tenantId}, ${context.connectionId}, ${content.kind}, ${content.anchor}, ${textKey(content.userName)},
      ${content.externalId}, ${content.displayName}, ${textKey(content.displayName)}, ${text}::jsonb,
      ${content.isActive}, ${createHash('sha256').update(text).digest()}, true)
    returning version, created_at, updated_at`;
}

function update({ sql }: TenantTx, context: PushContext, content: Content, version: number): Promise<Row[]> {
  return sql<Row[]>`
    update mirror_objects set user_name_key = ${textKey(content.userName)}, external_id = ${content.externalId},
      display_name = ${content.displayName}, display_name_key = ${textKey(content.displayName)},
      source = ${JSON.stringify(content.resource)}::jsonb, is_active = ${content.isActive}, version = version + 1,
      updated_at = now()
    where connection_id = ${context.connectionId} and kind = ${content.kind} and anchor = ${content.anchor}
      and version = ${version}
    returning version, created_at, updated_at`;
}

async function changeMembers(
  { sql, tenantId }: TenantTx,
  { connectionId }: PushContext,
  group: string,
  change: {
    readonly add?: readonly string[];
    readonly remove?: readonly string[];
    readonly replace?: readonly string[];
  },
): Promise<{ added: number; removed: number; came: string[]; version: number; updatedAt: string }> {
  const removed =
    change.replace === undefined
      ? await sql`delete from mirror_edges where connection_id = ${connectionId} and group_anchor = ${group}
          and member_anchor in (select jsonb_array_elements_text(${JSON.stringify(change.remove ?? [])}::jsonb))`
      : await sql`delete from mirror_edges where connection_id = ${connectionId} and group_anchor = ${group}
          and member_anchor not in (select jsonb_array_elements_text(${JSON.stringify(change.replace)}::jsonb))`;
  const added = await sql<{ id: string }[]>`
    insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
    select ${tenantId}, ${connectionId}, ${group}, id
    from jsonb_array_elements_text(${JSON.stringify(change.replace ?? change.add ?? [])}::jsonb) as ids(id)
    on conflict do nothing returning member_anchor as id`;
  const [row] = await sql<Row[]>`
    update mirror_objects set version = version + ${added.count + removed.count > 0 ? 1 : 0}::int, updated_at = now()
    where connection_id = ${connectionId} and kind = 'group' and anchor = ${group}
    returning version, created_at, updated_at`;
  return {
    added: added.count,
    removed: removed.count,
    came: added.map(({ id }) => id),
    version: Number(row?.version),
    updatedAt: row?.updated_at ?? '',
  };
}
