/**
 * The filter tree as SQL over mirror_objects. Every value and every JSON key is a parameter; the text comes from this
 * file alone. What has a column uses it, with the leakproof operators that keep an index under row-level security;
 * everything else reads the stored resource. `o` is the object's row in the surrounding statement.
 */
import type postgres from 'postgres';
import { textKey } from '../core/text-keys.ts';
import type { TenantTx } from '../db/db.ts';
import type { CompareOp, Filter, FilterValue } from './filter.ts';
import { containsSql, withEmailKeys } from './filter-keys.ts';
import { printPath, type AttributeModel, type AttributePath, type ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';

export type Sql = TenantTx['sql'];
export type Fragment = postgres.PendingQuery<postgres.Row[]>;

/** What the paths of a term are relative to: the resource, or one value (a row with a jsonb column `value`) of a list. */
export type FilterPlace =
  | { readonly kind: 'resource'; readonly model: ResourceModel; readonly connectionId: string }
  | { readonly kind: 'value'; readonly depth: number };

export type ResourcePlace = Extract<FilterPlace, { kind: 'resource' }>;

export function filterSql(sql: Sql, model: ResourceModel, filter: Filter, connectionId: string): Fragment {
  return compile(sql, { kind: 'resource', model, connectionId }, filter);
}

function compile(sql: Sql, place: FilterPlace, filter: Filter): Fragment {
  switch (filter.kind) {
    case 'and':
      return filter.terms.map((term) => compile(sql, place, term)).reduce((all, term) => sql`(${all} and ${term})`);
    case 'or':
      return filter.terms.map((term) => compile(sql, place, term)).reduce((all, term) => sql`(${all} or ${term})`);
    case 'not':
      return sql`not coalesce(${compile(sql, place, filter.term)}, false)`;
    case 'where':
      if (
        isComputedList(filter.path) &&
        filter.term.kind === 'compare' &&
        filter.term.path.attribute.name === 'value'
      ) {
        const { op, value } = filter.term;
        if (op === 'eq' && value !== null) return relatedSql(sql, filter.path, String(value));
      }
      return withEmailKeys(
        sql,
        place,
        filter,
        someValue(sql, place, filter.path, (inner) => compile(sql, inner, filter.term)),
      );
    case 'present':
      return presentSql(sql, place, filter.path);
    case 'compare':
      return compareSql(sql, place, filter.path, filter.op, filter.value);
  }
}

/** True when a value of the (possibly multi-valued) attribute fulfils the condition. */
function someValue(
  sql: Sql,
  place: FilterPlace,
  path: AttributePath,
  condition: (inner: FilterPlace) => Fragment,
): Fragment {
  const depth = place.kind === 'value' ? place.depth + 1 : 1;
  if (depth > 1) throw badRequest('invalidFilter', 'A value path holds no other value path.');
  const source = valuesSql(sql, place, path);
  return sql`exists (select 1 from ${source} as v(value) where ${condition({ kind: 'value', depth })})`;
}

/** The values of an attribute as rows of jsonb: stored ones from the resource, computed ones from the edges. */
function valuesSql(sql: Sql, place: FilterPlace, path: AttributePath): Fragment {
  const { name } = path.attribute;
  if (place.kind === 'resource' && name === 'groups' && path.extension === null) return groupsSql(sql);
  if (place.kind === 'resource' && name === 'members' && path.extension === null) return membersSql(sql);
  const stored = jsonSql(sql, place, { ...path, sub: null });
  return sql`jsonb_array_elements(case jsonb_typeof(${stored}) when 'array' then ${stored} when 'object' then jsonb_build_array(${stored}) else '[]'::jsonb end)`;
}

function groupsSql(sql: Sql): Fragment {
  return sql`(
    select jsonb_build_object('value', g.anchor, 'display', g.display_name, 'type', 'direct')
    from mirror_edges e
    join mirror_objects g on g.tenant_id = e.tenant_id and g.connection_id = e.connection_id and g.kind = 'group'
      and g.anchor = e.group_anchor and g.deleted_at is null
    where e.tenant_id = o.tenant_id and e.connection_id = o.connection_id and e.member_anchor = o.anchor)`;
}

function membersSql(sql: Sql): Fragment {
  return sql`(
    select jsonb_build_object('value', m.anchor, 'display', m.display_name, 'type', initcap(m.kind))
    from mirror_edges e
    join mirror_objects m on m.tenant_id = e.tenant_id and m.connection_id = e.connection_id
      and m.kind in ('user', 'group') and m.anchor = e.member_anchor and m.deleted_at is null
    where e.tenant_id = o.tenant_id and e.connection_id = o.connection_id and e.group_anchor = o.anchor)`;
}

/** Whether this one is among the groups or members: one probe of the key, however many there are. */
function relatedSql(sql: Sql, path: AttributePath, id: string): Fragment {
  const isGroups = path.attribute.name === 'groups';
  const [own, other] = isGroups
    ? [sql`e.member_anchor`, sql`e.group_anchor`]
    : [sql`e.group_anchor`, sql`e.member_anchor`];
  return sql`exists (
    select 1 from mirror_edges e
    join mirror_objects r on r.tenant_id = e.tenant_id and r.connection_id = e.connection_id
      and ${isGroups ? sql`r.kind = 'group'` : sql`r.kind in ('user', 'group')`} and r.anchor = ${other} and r.deleted_at is null
    where e.tenant_id = o.tenant_id and e.connection_id = o.connection_id and ${own} = o.anchor
      and ${other} = ${id.toLowerCase()})`;
}

/** The jsonb at a path; keys are parameters. */
export function jsonSql(sql: Sql, place: FilterPlace, path: AttributePath): Fragment {
  const base = place.kind === 'resource' ? sql`o.source` : sql`v.value`;
  const inExtension = path.extension === null ? base : sql`${base} -> ${path.extension}::text`;
  const attribute = sql`${inExtension} -> ${path.attribute.name}::text`;
  return path.sub === null ? sql`(${attribute})` : sql`(${attribute} -> ${path.sub.name}::text)`;
}

/** The text at a path. */
export function textSql(sql: Sql, place: FilterPlace, path: AttributePath): Fragment {
  return sql`(${jsonSql(sql, place, path)} #>> '{}')`;
}

// ---------------------------------------------------------------- pr

function presentSql(sql: Sql, place: FilterPlace, path: AttributePath): Fragment {
  if (place.kind === 'resource') {
    if (isComputedList(path)) return sql`exists (select 1 from ${valuesSql(sql, place, path)} as v(value))`;
    if (isCommon(path) && path.attribute.name !== 'externalId') return sql`true`;
  }
  if (path.attribute.isMultiValued && path.sub !== null) {
    const inner: AttributePath = { extension: null, attribute: path.sub, sub: null };
    return someValue(sql, place, path, (value) => presentSql(sql, value, inner));
  }
  const stored = jsonSql(sql, place, path);
  return sql`coalesce(${stored} not in ('null'::jsonb, '""'::jsonb, '[]'::jsonb, '{}'::jsonb), false)`;
}

function isComputedList(path: AttributePath): boolean {
  return path.extension === null && (path.attribute.name === 'groups' || path.attribute.name === 'members');
}

function isCommon(path: AttributePath): boolean {
  return path.extension === null && ['id', 'externalId', 'schemas', 'meta'].includes(path.attribute.name);
}

// ---------------------------------------------------------------- comparisons

function compareSql(sql: Sql, place: FilterPlace, path: AttributePath, op: CompareOp, value: FilterValue): Fragment {
  if (value === null) {
    const present = presentSql(sql, place, path);
    return op === 'eq' ? sql`not ${present}` : present;
  }
  if (place.kind === 'resource') {
    const column = columnSql(sql, place, path, op, value);
    if (column !== null) return column;
  }
  if (path.attribute.isMultiValued && place.kind === 'resource') {
    return withEmailKeys(sql, place, { path, op, value }, compareMany(sql, place, path, op, value));
  }
  return compareLeaf(sql, place, path, op, value);
}

function compareMany(sql: Sql, place: FilterPlace, path: AttributePath, op: CompareOp, value: FilterValue): Fragment {
  // a list of plain values (schemas) has no sub-attribute: the value itself is compared
  const some = someValue(sql, place, path, (inner) =>
    path.sub === null
      ? compareText(sql, sql`(v.value #>> '{}')`, path.attribute, op, String(value))
      : compareLeaf(sql, inner, { extension: null, attribute: path.sub, sub: null }, op, value),
  );
  // RFC 7644 section 3.4.2.2: an attribute without a value is unequal to every value
  return op === 'ne' ? sql`(${some} or not ${presentSql(sql, place, { ...path, sub: null })})` : some;
}

function compareLeaf(sql: Sql, place: FilterPlace, path: AttributePath, op: CompareOp, value: FilterValue): Fragment {
  const leaf = path.sub ?? path.attribute;
  const text = textSql(sql, place, path);
  if (leaf.type === 'boolean') {
    const isSame = sql`coalesce(${text} = ${value === true ? 'true' : 'false'}, false)`;
    return op === 'ne' ? sql`not ${isSame}` : isSame;
  }
  return compareText(sql, text, leaf, op, String(value));
}

function compareText(sql: Sql, text: Fragment, leaf: AttributeModel, op: CompareOp, value: string): Fragment {
  const left = leaf.isCaseExact ? sql`${text}` : sql`lower(${text})`;
  const right = leaf.isCaseExact ? sql`${value}::text` : sql`lower(${value}::text)`;
  switch (op) {
    case 'eq':
      return sql`coalesce(${left} = ${right}, false)`;
    case 'ne':
      return sql`(${left} is distinct from ${right})`;
    case 'co':
      return sql`coalesce(position(${right} in ${left}) > 0, false)`;
    case 'sw':
      return sql`coalesce(starts_with(${left}, ${right}), false)`;
    case 'ew':
      return sql`coalesce(right(${left}, length(${right})) = ${right}, false)`;
    case 'gt':
      return sql`coalesce(${left} collate "C" > ${right} collate "C", false)`;
    case 'ge':
      return sql`coalesce(${left} collate "C" >= ${right} collate "C", false)`;
    case 'lt':
      return sql`coalesce(${left} collate "C" < ${right} collate "C", false)`;
    case 'le':
      return sql`coalesce(${left} collate "C" <= ${right} collate "C", false)`;
  }
}

// ---------------------------------------------------------------- columns

/** The comparison on a column of its own, or null where only the stored resource has the value. */
function columnSql(
  sql: Sql,
  place: ResourcePlace,
  path: AttributePath,
  op: CompareOp,
  value: string | number | boolean,
): Fragment | null {
  if (path.extension !== null) return null;
  const { model } = place;
  const text = String(value);
  switch (path.attribute.name) {
    case 'id':
      return orderedSql(sql, sql`o.anchor`, op, text);
    case 'externalId':
      return orderedSql(sql, sql`o.external_id`, op, text);
    case 'userName':
      return containsSql(sql, place, 'userName', op, text) ?? keySql(sql, sql`o.user_name_key`, op, text);
    case 'displayName':
      return displayNameSql(sql, place, op, text);
    case 'groups':
    case 'members':
      return path.sub?.name === 'value' && op === 'eq' ? relatedSql(sql, path, text) : null;
    case 'active':
      return (op === 'eq') === (value === true) ? sql`o.is_active` : sql`not o.is_active`;
    case 'meta':
      return metaSql(sql, model, path, op, text);
    default:
      return null;
  }
}

/** The column of a user without a display name holds the user name: the index finds, the resource confirms. */
function displayNameSql(sql: Sql, place: ResourcePlace, op: CompareOp, value: string): Fragment | null {
  const found = containsSql(sql, place, 'displayName', op, value) ?? keySql(sql, sql`o.display_name_key`, op, value);
  if (place.model.kind === 'group') return found;
  return op === 'ne' ? null : sql`(${found} and o.source -> 'displayName' is not null)`;
}

/** A normalized key column: the value is normalized in the same way. */
function keySql(sql: Sql, column: Fragment, op: CompareOp, value: string): Fragment {
  if (op === 'eq' || op === 'ne') {
    const key = textKey(value);
    if (key === null) return op === 'eq' ? sql`false` : sql`true`;
    return orderedSql(sql, column, op, key);
  }
  return orderedSql(sql, column, op, value.normalize('NFKC').toLowerCase());
}

/** A text column in collation "C", compared as it stands. */
function orderedSql(sql: Sql, column: Fragment, op: CompareOp, value: string): Fragment {
  switch (op) {
    case 'eq':
      return sql`${column} = ${value}`;
    case 'ne':
      return sql`${column} is distinct from ${value}`;
    case 'co':
      return sql`position(${value} in ${column}) > 0`;
    case 'sw':
      return sql`starts_with(${column}, ${value})`;
    case 'ew':
      return sql`right(${column}, length(${value}::text)) = ${value}`;
    case 'gt':
      return sql`${column} > ${value}`;
    case 'ge':
      return sql`${column} >= ${value}`;
    case 'lt':
      return sql`${column} < ${value}`;
    case 'le':
      return sql`${column} <= ${value}`;
  }
}

function metaSql(sql: Sql, model: ResourceModel, path: AttributePath, op: CompareOp, value: string): Fragment {
  switch (path.sub?.name ?? '') {
    case 'created':
      return timeSql(sql, sql`o.created_at`, op, value);
    case 'lastModified':
      return timeSql(sql, sql`o.updated_at`, op, value);
    case 'resourceType':
      return compareText(sql, sql`${model.name}::text`, path.attribute, op, value);
    case 'version':
      return compareText(sql, sql`('W/"' || o.version || '"')`, path.attribute, op, value);
    default:
      throw badRequest('invalidFilter', `"${printPath(path)}" can not be filtered by.`);
  }
}

/** Times are answered in milliseconds; equality compares what was answered. */
function timeSql(sql: Sql, column: Fragment, op: CompareOp, value: string): Fragment {
  switch (op) {
    case 'eq':
      return sql`date_trunc('milliseconds', ${column}) = ${value}::timestamptz`;
    case 'ne':
      return sql`date_trunc('milliseconds', ${column}) <> ${value}::timestamptz`;
    case 'gt':
      return sql`${column} > ${value}::timestamptz`;
    case 'ge':
      return sql`${column} >= ${value}::timestamptz`;
    case 'lt':
      return sql`${column} < ${value}::timestamptz`;
    case 'le':
      return sql`${column} <= ${value}::timestamptz`;
    case 'co':
    case 'sw':
    case 'ew':
      throw badRequest('invalidFilter', 'A time can not be compared by co, sw or ew.');
  }
}
