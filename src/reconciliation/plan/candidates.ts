/** Phase correlate: the users that correlation rules find for objects without a link. By indexed keys, in one statement. */
import { faultOfExpression, keyOfExpression, type CorrelationRule } from '../../core/correlation.ts';
import type { ConnectionId } from '../../core/ids.ts';
import type { Attributes, Candidate } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';

export type CandidateQuery = {
  readonly connectionId: ConnectionId;
  readonly anchors: readonly string[];
  readonly rules: readonly CorrelationRule[];
  readonly provenDomains: readonly string[];
};

type CandidateRow = Omit<Candidate, 'rule' | 'isReview'> & { readonly anchor: string; readonly ord: number };

/**
 * Of the first rule that finds anybody. A user who is linked to another live object of this connection is no candidate
 * once that object gave the key up (a username handed over), and is a taken one while both objects claim it. Addresses
 * count only inside the tenant's proven domains (design.md promise 8).
 */
export async function selectCandidates(tx: TenantTx, query: CandidateQuery): Promise<Map<string, Candidate[]>> {
  const candidates = new Map<string, Candidate[]>();
  const [first, ...more] = [
    ...returning.map((rule) => foundAmongGone(tx, query, rule)),
    ...query.rules.map((rule, ord) => foundBy(tx, query, rule, ord)),
  ];
  if (first === undefined || query.anchors.length === 0) return candidates;
  const found = more.reduce((sum, rule) => tx.sql`${sum} union all ${rule}`, first);
  const rows = await tx.sql<CandidateRow[]>`
    select f.anchor, f.ord, u.id as "userId", coalesce(u.display_name, u.username, u.email, u.id::text) as name, u.version::int as version,
      u.is_protected or exists (
        select 1 from grants g where g.tenant_id = u.tenant_id and g.user_id = u.id and g.role <> 'user') as "isPrivileged",
      f.is_taken as "isTaken"
    from (${found}) f
    cross join lateral (select u.id, u.tenant_id, u.display_name, u.username, u.email, u.version, u.is_protected from users u
      where u.tenant_id = ${tx.tenantId} and u.id = f.id offset 0) u
    order by f.anchor, f.ord, u.id`;
  const ordOf = new Map<string, number>();
  for (const { anchor, ord, ...candidate } of rows) {
    const rule = returning.find((one) => one.ord === ord) ?? query.rules[ord];
    if (rule === undefined || (ordOf.get(anchor) ?? ord) !== ord) continue;
    ordOf.set(anchor, ord);
    const known = candidates.get(anchor) ?? [];
    candidates.set(anchor, [...known, { ...candidate, rule: rule.label, isReview: rule.isReview }]);
  }
  return candidates;
}

/** Keys of an object in the mirror, by its column there; null where it has none. */
export type OwnKeys = Readonly<
  Record<'anchor' | 'user_name_key' | 'email_key' | 'employee_id_key' | 'external_id', string | null>
>;

/**
 * Whether `selectCandidates` could find anybody for new objects with these keys, or one of `usernames` has an owner: a
 * look-up in each index where that is some ten joins, and of most new people the answer is no. Also true where a rule
 * compares what is no key of the object as it stands.
 */
export async function mayBeKnown(
  { sql, tenantId }: TenantTx,
  connectionId: ConnectionId,
  rules: readonly CorrelationRule[],
  objects: readonly OwnKeys[],
  usernames: readonly string[],
): Promise<boolean> {
  const keysOf = (column: keyof OwnKeys) => [
    ...new Set(objects.map((object) => object[column]).filter((key) => key !== null)),
  ];
  const sought: Fragment[] = [];
  const users = new Map<string, Set<string>>([['u.username_key', new Set(usernames)]]);
  for (const rule of rules) {
    const column = userColumns[rule.attribute];
    if (rule.spec !== null || rule.by === 'expression' || column === undefined) return true;
    users.set(column, new Set([...(users.get(column) ?? []), ...keysOf(ownColumns[rule.by])]));
  }
  for (const [column, keys] of users) {
    if (keys.size > 0)
      sought.push(
        sql`exists (select 1 from users u where u.tenant_id = ${tenantId} and ${sql(column)} = any(${[...keys]}))`,
      );
  }
  for (const { column } of returning) {
    const keys = keysOf(column);
    if (keys.length > 0)
      // one look-up after the other, as below: of few deleted ones the planner would read all
      sought.push(sql`exists (
        select 1 from unnest(${keys}::text[]) k(key)
        cross join lateral (
          select 1 from mirror_objects t
          where t.tenant_id = ${tenantId} and t.connection_id = ${connectionId} and t.kind = 'user' and t.is_pushed
            and t.deleted_at is not null and ${sql(`t.${column}`)} = k.key collate "C" limit 1) t)`);
  }
  const [first, ...more] = sought;
  if (first === undefined) return false;
  const [row] = await sql<{ isKnown: boolean }[]>`
    select ${more.reduce((sum, one) => sql`${sum} or ${one}`, first)} as "isKnown"`;
  return row?.isKnown ?? true;
}

/** Why an expression gave no key, where no earlier rule found anybody; the object is then left to a person. */
export function faultBefore(
  rules: readonly CorrelationRule[],
  mapped: Attributes,
  found: Candidate | undefined,
): string | null {
  if (returning.some((rule) => rule.label === found?.rule)) return null;
  for (const rule of rules) {
    if (found !== undefined && rule.label === found.rule) return null;
    const fault = rule.expression === null ? null : (mapped[faultOfExpression(rule.expression)] ?? null);
    if (fault !== null) return fault;
  }
  return null;
}

const fragment = (tx: TenantTx) => tx.sql``;
type Fragment = ReturnType<typeof fragment>;

const ownColumns = {
  username: 'user_name_key',
  email: 'email_key',
  employee_id: 'employee_id_key',
  anchor: 'anchor',
} as const;
const userColumns: Readonly<Record<string, string>> = {
  username: 'u.username_key',
  email: 'u.email_key',
  employeeId: 'u.employee_id_key',
};

/**
 * Before all rules: who was pushed over this connection before, was deleted and is pushed again has a new anchor, and is
 * the user the old one was linked to: by externalId, which identity providers never give to another, then by userName.
 */
const returning = [
  { ord: -2, column: 'external_id', label: 'former_external_id', isReview: false },
  { ord: -1, column: 'user_name_key', label: 'former_user_name', isReview: false },
] as const;

/** The latest one with this key. Whoever is linked to a live object of this connection meanwhile did not come back. */
function foundAmongGone({ sql, tenantId }: TenantTx, query: CandidateQuery, rule: (typeof returning)[number]) {
  const column = (alias: string) => sql(`${alias}.${rule.column}`);
  // one look-up after the other: the limits keep the planner from reading users or links whole while it knows nothing of them
  return sql`
    select m.anchor, ${rule.ord}::int as ord, u.id, false as is_taken
    from unnest(${query.anchors as string[]}::text[]) a(anchor)
    cross join lateral (
      select m.anchor, ${column('m')} as key from mirror_objects m
      where m.tenant_id = ${tenantId} and m.connection_id = ${query.connectionId} and m.kind = 'user'
        and m.anchor = a.anchor collate "C" and m.is_pushed limit 1) m
    cross join lateral (
      select l.user_id from (
        select t.anchor, t.deleted_at from mirror_objects t
        where t.tenant_id = ${tenantId} and t.connection_id = ${query.connectionId} and t.kind = 'user' and t.is_pushed
          and t.deleted_at is not null and ${column('t')} = m.key offset 0) t
      cross join lateral (
        select l.user_id from links l
        where l.tenant_id = ${tenantId} and l.connection_id = ${query.connectionId} and l.anchor = t.anchor
          and l.user_id is not null limit 1) l
      order by t.deleted_at desc limit 1) gone
    cross join lateral (
      select u.id from users u
      where u.tenant_id = ${tenantId} and u.id = gone.user_id and u.status <> 'removed' limit 1) u
    where not exists (
      select 1 from links l
      join mirror_objects o on o.tenant_id = l.tenant_id and o.connection_id = l.connection_id and o.kind = 'user' and o.anchor = l.anchor
      where l.tenant_id = ${tenantId} and l.connection_id = ${query.connectionId} and l.user_id = u.id and o.deleted_at is null
        and l.state in ('linked', 'missing', 'held'))`;
}

/** What one rule finds: (anchor, ord, id, is_taken). */
function foundBy(tx: TenantTx, query: CandidateQuery, rule: CorrelationRule, ord: number) {
  const { sql } = tx;
  const rawOf = (alias: string) =>
    rule.by === 'expression'
      ? sql`${sql(`${alias}.mapped`)} ->> ${keyOfExpression(rule.expression ?? '')}`
      : sql`${sql(`${alias}.${ownColumns[rule.by]}`)}`;
  const keyOf = (alias: string) =>
    rule.spec === null ? rawOf(alias) : sql`correlation_key(${rawOf(alias)}, ${rule.normalizers as string[]}::text[])`;
  const users =
    rule.spec === null
      ? sql`select u.id, u.email_key from users u
          where u.tenant_id = ${tx.tenantId} and ${sql(userColumns[rule.attribute] ?? '')} = x.key and u.status <> 'removed'`
      : sql`select u.id, u.email_key from correlation_keys k
          join users u on u.tenant_id = k.tenant_id and u.id = k.user_id
          where k.tenant_id = ${tx.tenantId} and k.spec = ${rule.spec} and k.key = x.key and u.status <> 'removed'`;
  return sql`
    select m.anchor, ${ord}::int as ord, u.id, held.anchor is not null as is_taken
    from mirror_objects m
    cross join lateral (select ${keyOf('m')} collate "C" as key) x
    cross join lateral (${users} offset 0) u
    left join lateral (
      select l.anchor, ${keyOf('o')} collate "C" as key
      from links l
      join mirror_objects o on o.tenant_id = l.tenant_id and o.connection_id = l.connection_id and o.kind = 'user' and o.anchor = l.anchor
      where l.tenant_id = ${tx.tenantId} and l.connection_id = ${query.connectionId} and l.user_id = u.id
        and l.state in ('linked', 'missing', 'held') and o.deleted_at is null
      limit 1) held on true
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${query.connectionId} and m.kind = 'user' and m.anchor = any(${query.anchors as string[]})
      and (held.anchor is null or held.key = x.key) ${inProvenDomains(tx, query, rule, rawOf('m'))}`;
}

/** The object's own value, and for addresses that were shortened the user's as well. */
function inProvenDomains(tx: TenantTx, query: CandidateQuery, rule: CorrelationRule, raw: Fragment) {
  const { sql } = tx;
  const domains = query.provenDomains as string[];
  if (rule.by === 'email' || rule.attribute === 'email') {
    return sql`and lower(substring(${raw} from '[^@]*$')) = any(${domains})
      and (${rule.spec === null} or substring(u.email_key from '[^@]*$') = any(${domains}))`;
  }
  if (rule.spec === null || rule.attribute !== 'username') return sql``;
  return sql`and (position('@' in ${raw}) = 0 or lower(substring(${raw} from '[^@]*$')) = any(${domains}))`;
}
