/**
 * Filters that an index can serve although the value lies in the stored resource, or although the operator is not
 * leakproof: an equal e-mail address by its key, a contained text by a function that reads as the owner. Both only find
 * who may match; what is not exact is compared again by the surrounding statement.
 */
import type { CompareOp, Filter, FilterValue } from './filter.ts';
import type { FilterPlace, Fragment, ResourcePlace, Sql } from './filter-sql.ts';
import type { AttributePath } from './schema-model.ts';

/** Shorter texts have no trigram: the function could not use its index either. */
const shortestNeedle = 3;

/** `co` on a column of its own; null where another operator or a short text is asked for. */
export function containsSql(
  sql: Sql,
  { model, connectionId }: ResourcePlace,
  column: 'userName' | 'displayName' | 'emails',
  op: CompareOp,
  value: string,
): Fragment | null {
  const needle = value.normalize('NFKC').toLowerCase();
  if (op !== 'co' || needle.length < shortestNeedle) return null;
  return sql`o.anchor in (select scim_containing(${connectionId}::uuid, ${model.kind}, ${column}, ${needle}))`;
}

type Comparison = { readonly path: AttributePath; readonly op: CompareOp; readonly value: FilterValue };

/** Adds, to a condition on the addresses of a user, the look-up of who may fulfil it. */
export function withEmailKeys(
  sql: Sql,
  place: FilterPlace,
  filter: Comparison | Extract<Filter, { kind: 'where' }>,
  condition: Fragment,
): Fragment {
  const { path } = filter;
  if (place.kind !== 'resource' || path.extension !== null || path.attribute.name !== 'emails') return condition;
  const sought = 'term' in filter ? valueOf(filter.term) : path.sub?.name === 'value' ? filter : null;
  if (sought === null || typeof sought.value !== 'string') return condition;
  if (sought.op === 'co') {
    const found = containsSql(sql, place, 'emails', 'co', sought.value);
    return found === null ? condition : sql`(${found} and ${condition})`;
  }
  return sought.op === 'eq' ? sql`(${hasEmailKey(sql, place, sought.value)} and ${condition})` : condition;
}

/** The comparison on `value` that every match of the term fulfils. */
function valueOf(term: Filter): { readonly op: CompareOp; readonly value: FilterValue } | null {
  if (term.kind === 'and') return term.terms.map(valueOf).find((one) => one !== null) ?? null;
  if (term.kind !== 'compare' || term.path.attribute.name !== 'value') return null;
  return term.op === 'eq' || term.op === 'co' ? term : null;
}

/** The one address most users have is the mapped one and stands in its column; all others stand in mirror_emails. */
function hasEmailKey(sql: Sql, { connectionId }: ResourcePlace, value: string): Fragment {
  return sql`o.anchor in (
    select m.anchor from mirror_objects m
    where m.connection_id = ${connectionId} and m.email_key = lower(${value}::text)
    union all
    select e.anchor from mirror_emails e
    where e.connection_id = ${connectionId} and e.email_key = left(lower(${value}::text), 512))`;
}
