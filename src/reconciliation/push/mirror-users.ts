/** Pushed users in the mirror: any number of them in one statement for the new and one for the changed. */
import { hash } from 'node:crypto';
import type { Subject } from '../../core/subject.ts';
import { textKey } from '../../core/text-keys.ts';
import type { TenantTx } from '../../db/db.ts';
import { keysOf } from '../mirror/mirror-keys.ts';
import { jsonText } from '../mirror/stage.ts';
import { objectColumns, type NewObject, type ObjectRow } from '../plan/subjects.ts';
import type { KnownPush } from './open-push.ts';
import type { Expectation, PushedUser, Written } from './push-types.ts';

/** What is sent of one user; `hash` is over all of it. */
export type UserContent = ReturnType<typeof contentOf>;

export function contentOf(opened: KnownPush, user: PushedUser) {
  const result = opened.mapper.map(user.attributes);
  const keys = keysOf(result.mapped);
  const displayName = user.displayName ?? user.userName;
  return {
    anchor: user.anchor,
    user_name_key: textKey(user.userName),
    external_id: user.externalId,
    email_key: keys.emailKey,
    employee_id_key: keys.employeeIdKey,
    display_name: displayName,
    display_name_key: textKey(displayName),
    locator: user.userName,
    source: jsonText(user.resource),
    mapped: jsonText(result.mapped),
    rule_ids: result.ruleIds,
    is_active: user.isActive,
    is_in_scope: result.isInScope,
    problem: result.problem,
    /** The username the user would get; no column. */
    usernameKey: keys.userNameKey,
  };
}

/** Users whose objects are being written in this transaction: all of them new, or all known. */
export type PushedUsers = {
  readonly contents: readonly UserContent[];
  readonly mirrored: Promise<Mirrored>;
  /** Where all are new. */
  readonly newcomers: Promise<readonly Subject[] | null> | null;
};

export type MirrorWrite = { readonly content: UserContent; readonly expect: Expectation };

type Row = Written & { readonly anchor: string };
type CreatedRow = Row &
  Omit<NewObject, 'objectVersion' | 'mapped' | 'name'> & {
    readonly name: string | null;
    readonly mapped: NewObject['mapped'] | null;
  };

export type Mirrored = {
  /** By anchor; missing is who has a name or id of somebody else, or is not at the version that was expected. */
  readonly written: ReadonlyMap<string, Written>;
  /** Those of them that are new. */
  readonly created: readonly NewObject[];
  /** The others, in order of anchors. */
  readonly changed: readonly ObjectRow[];
};

export async function writeMirrorUsers(
  tx: TenantTx,
  known: KnownPush,
  writes: readonly MirrorWrite[],
): Promise<Mirrored> {
  const created = writes.filter(({ expect }) => expect === 'new');
  const changed = writes.filter(({ expect }) => expect !== 'new');
  const [inserted, updated] = await Promise.all([insertUsers(tx, known, created), updateUsers(tx, known, changed)]);
  return {
    written: new Map(
      [...inserted, ...updated].map(({ anchor, version, createdAt, updatedAt }) => [
        anchor,
        { version, createdAt, updatedAt },
      ]),
    ),
    created: inserted.map(
      ({ anchor, name, version: objectVersion, isActive, isInScope, problem, mapped, ruleIds }) => ({
        anchor,
        name: name ?? anchor,
        objectVersion,
        isActive,
        isInScope,
        problem,
        mapped: mapped ?? {},
        ruleIds,
      }),
    ),
    changed: updated.toSorted((a, b) => (a.anchor < b.anchor ? -1 : 1)),
  };
}

function payloadOf(writes: readonly MirrorWrite[]): string {
  return JSON.stringify(
    writes.map(({ content, expect }) => {
      const text = JSON.stringify(content);
      return { ...content, version: expect === 'new' ? null : expect.version, hash: hash('md5', text) };
    }),
  );
}

const columns = (
  tx: TenantTx,
) => tx.sql`r(anchor text, user_name_key text, external_id text, email_key text, employee_id_key text,
  display_name text, display_name_key text, locator text, source text, mapped text, rule_ids uuid[], is_active boolean,
  is_in_scope boolean, problem text, version bigint, hash text)`;

async function insertUsers(
  tx: TenantTx,
  { context }: KnownPush,
  writes: readonly MirrorWrite[],
): Promise<CreatedRow[]> {
  if (writes.length === 0) return [];
  return tx.sql<CreatedRow[]>`
    insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, email_key, employee_id_key, display_name,
      display_name_key, locator, source, mapped, rule_ids, is_active, is_in_scope, problem, content_hash, is_pushed)
    select ${tx.tenantId}::uuid, ${context.connectionId}::uuid, 'user', anchor, user_name_key, external_id, email_key, employee_id_key, display_name,
      display_name_key, locator, source::jsonb, mapped::jsonb, rule_ids, is_active, is_in_scope, problem, decode(hash, 'hex'), true
    from jsonb_to_recordset(${payloadOf(writes)}::jsonb) as ${columns(tx)}
    order by anchor
    on conflict do nothing
    returning anchor, version::int as version, created_at as "createdAt", updated_at as "updatedAt", display_name as name,
      is_active as "isActive", is_in_scope as "isInScope", problem, mapped, rule_ids as "ruleIds"`;
}

/** The version grows only when the content does: an equal PUT is no change. */
async function updateUsers(
  tx: TenantTx,
  { context }: KnownPush,
  writes: readonly MirrorWrite[],
): Promise<(Row & ObjectRow)[]> {
  if (writes.length === 0) return [];
  return tx.sql<(Row & ObjectRow)[]>`
    update mirror_objects m set user_name_key = r.user_name_key, external_id = r.external_id, email_key = r.email_key,
      employee_id_key = r.employee_id_key, display_name = r.display_name, display_name_key = r.display_name_key, locator = r.locator,
      source = r.source::jsonb, mapped = r.mapped::jsonb, rule_ids = r.rule_ids, is_active = r.is_active, is_in_scope = r.is_in_scope,
      problem = r.problem, content_hash = decode(r.hash, 'hex'),
      version = m.version + case when m.content_hash = decode(r.hash, 'hex') then 0 else 1 end,
      updated_at = case when m.content_hash = decode(r.hash, 'hex') then m.updated_at else now() end
    from jsonb_to_recordset(${payloadOf(writes)}::jsonb) as ${columns(tx)}
    left join lateral (
      select * from links l
      where l.tenant_id = ${tx.tenantId} and l.connection_id = ${context.connectionId} and l.anchor = r.anchor collate "C"
      limit 1) l on true
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${context.connectionId} and m.kind = 'user'
      and m.anchor = any(${writes.map(({ content }) => content.anchor)}) and m.anchor = r.anchor
      and m.deleted_at is null and m.version = r.version
    returning m.version::int as version, m.created_at as "createdAt", m.updated_at as "updatedAt", ${objectColumns(tx)}`;
}
