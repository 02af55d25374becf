/**
 * What a list is ordered by, and where it goes on (RFC 7644 section 3.4.2.3): a column where there is one, else the text
 * in the resource; of a list of values the primary one, else the first. Objects without a value come last ascending and
 * first descending, which is also Postgres's own order.
 */
import { jsonSql, textSql, type FilterPlace, type Fragment, type Sql } from './filter-sql.ts';
import type { AttributePath, ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';

export type SortKey = {
  readonly key: Fragment;
  readonly type: 'text' | 'time';
  /** False: every object has a value, so that an index serves the order and the place alike. */
  readonly isNullable: boolean;
};

const whole = { isNullable: false } as const;

export function sortKey(sql: Sql, model: ResourceModel, path: AttributePath): SortKey {
  if (path.extension === null) {
    switch (path.attribute.name) {
      case 'id':
        return { key: sql`o.anchor`, type: 'text', ...whole };
      case 'externalId':
        return { key: sql`o.external_id`, type: 'text', isNullable: true };
      case 'userName':
        return { key: sql`o.user_name_key`, type: 'text', ...whole };
      case 'displayName':
        return { key: sql`o.display_name_key`, type: 'text', isNullable: true };
      case 'meta':
        return metaKey(sql, path);
      case 'groups':
      case 'members':
      case 'schemas':
        throw badRequest('invalidPath', `"${path.attribute.name}" can not be sorted by.`);
      default:
        break;
    }
  }
  return { key: storedKey(sql, { kind: 'resource', model, connectionId: '' }, path), type: 'text', isNullable: true };
}

function metaKey(sql: Sql, path: AttributePath): SortKey {
  switch (path.sub?.name ?? '') {
    case 'created':
      return { key: sql`o.created_at`, type: 'time', ...whole };
    case 'lastModified':
      return { key: sql`o.updated_at`, type: 'time', ...whole };
    case 'resourceType':
    case 'location':
      // the same for all, or in the order of the ids
      return { key: sql`o.anchor`, type: 'text', ...whole };
    default:
      throw badRequest('invalidPath', '"meta" can be sorted by created, lastModified, resourceType and location.');
  }
}

function storedKey(sql: Sql, place: FilterPlace, path: AttributePath): Fragment {
  const leaf = path.sub ?? path.attribute.sub.get('value') ?? path.attribute;
  const text = path.attribute.isMultiValued ? ofList(sql, place, path) : textSql(sql, place, withValue(path));
  return leaf.isCaseExact ? sql`${text} collate "C"` : sql`lower(${text}) collate "C"`;
}

/** A complex attribute named alone is ordered by its `value`. */
function withValue(path: AttributePath): AttributePath {
  if (path.sub !== null || path.attribute.type !== 'complex') return path;
  return { ...path, sub: path.attribute.sub.get('value') ?? null };
}

function ofList(sql: Sql, place: FilterPlace, path: AttributePath): Fragment {
  const stored = jsonSql(sql, place, { ...path, sub: null });
  const sub = path.sub?.name ?? 'value';
  return sql`(
    select one.value ->> ${sub}::text
    from jsonb_array_elements(case jsonb_typeof(${stored}) when 'array' then ${stored} else '[]'::jsonb end)
      with ordinality as one(value, place)
    order by one.value -> 'primary' = 'true'::jsonb desc nulls last, one.place
    limit 1)`;
}

export function orderSql(sql: Sql, { key }: SortKey, isDescending: boolean): Fragment {
  return isDescending ? sql`${key} desc nulls first` : sql`${key} asc nulls last`;
}

/** The same order from its end; what has the same key goes by id, from the end too. Null: by id alone. */
export function backwardSql(sql: Sql, key: SortKey | null, isDescending: boolean): Fragment {
  return key === null ? sql`o.anchor desc` : sql`${orderSql(sql, key, !isDescending)}, o.anchor desc`;
}

/** Everything before (key, anchor) in the order of `orderSql`, then by id. */
export function beforeSql(
  sql: Sql,
  { key, type, isNullable }: SortKey,
  isDescending: boolean,
  first: { readonly key: string | null; readonly anchor: string },
): Fragment {
  if (first.key === null) {
    const sameBefore = sql`(${key} is null and o.anchor < ${first.anchor})`;
    return isDescending ? sameBefore : sql`(${sameBefore} or ${key} is not null)`;
  }
  const value = valueOf(sql, type, first.key);
  const before = isDescending
    ? sql`(${key} >= ${value} and (${key} > ${value} or o.anchor < ${first.anchor}))`
    : sql`(${key} <= ${value} and (${key} < ${value} or o.anchor < ${first.anchor}))`;
  return isNullable && isDescending ? sql`(${before} or ${key} is null)` : before;
}

function valueOf(sql: Sql, type: SortKey['type'], key: string): Fragment {
  return type === 'time' ? sql`${key}::timestamptz` : sql`${key}::text collate "C"`;
}

/** Everything behind (key, anchor) in the order of `orderSql`, then by id. */
export function behindSql(
  sql: Sql,
  { key, type, isNullable }: SortKey,
  isDescending: boolean,
  last: { readonly key: string | null; readonly anchor: string },
): Fragment {
  if (last.key === null) {
    const sameBehind = sql`(${key} is null and o.anchor > ${last.anchor})`;
    return isDescending ? sql`(${sameBehind} or ${key} is not null)` : sameBehind;
  }
  const value = valueOf(sql, type, last.key);
  // the first half is what an index can use
  const behind = isDescending
    ? sql`(${key} <= ${value} and (${key} < ${value} or o.anchor > ${last.anchor}))`
    : sql`(${key} >= ${value} and (${key} > ${value} or o.anchor > ${last.anchor}))`;
  return isNullable && !isDescending ? sql`(${behind} or ${key} is null)` : behind;
}
