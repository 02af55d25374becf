/** Says whether a value fulfils the filter of a value path: `emails[type eq "work"]` in a PATCH. Same rules as the SQL. */
import type { CompareOp, Filter, FilterValue } from './filter.ts';
import type { AttributeModel, AttributePath } from './schema-model.ts';
import { isRecord, type Json } from './json.ts';

export function matches(filter: Filter, value: Json): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.terms.every((term) => matches(term, value));
    case 'or':
      return filter.terms.some((term) => matches(term, value));
    case 'not':
      return !matches(filter.term, value);
    case 'present':
      return isPresent(read(filter.path, value));
    case 'where': {
      const inner = read(filter.path, value);
      return (Array.isArray(inner) ? inner : [inner]).some((one) => one !== undefined && matches(filter.term, one));
    }
    case 'compare':
      return compare(filter.path.sub ?? filter.path.attribute, filter.op, read(filter.path, value), filter.value);
  }
}

function read(path: AttributePath, value: Json): Json | undefined {
  const attribute = isRecord(value) ? value[path.attribute.name] : undefined;
  if (path.sub === null) return attribute;
  return isRecord(attribute) ? attribute[path.sub.name] : undefined;
}

function isPresent(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === '') return false;
  return !(Array.isArray(value) && value.length === 0);
}

function compare(leaf: AttributeModel, op: CompareOp, actual: Json | undefined, wanted: FilterValue): boolean {
  if (wanted === null) return (op === 'eq') === !isPresent(actual);
  if (actual === undefined || actual === null) return op === 'ne';
  if (typeof actual === 'boolean' || typeof actual === 'number') {
    return compareOrdered(op, Number(actual), Number(wanted));
  }
  if (typeof actual !== 'string') return op === 'ne';
  const fold = (text: string) => (leaf.isCaseExact ? text : text.toLowerCase());
  return compareText(op, fold(actual), fold(String(wanted)));
}

function compareText(op: CompareOp, actual: string, wanted: string): boolean {
  if (op === 'co') return actual.includes(wanted);
  if (op === 'sw') return actual.startsWith(wanted);
  if (op === 'ew') return actual.endsWith(wanted);
  return compareOrdered(op, actual, wanted);
}

function compareOrdered<Value extends string | number>(op: CompareOp, actual: Value, wanted: Value): boolean {
  switch (op) {
    case 'eq':
      return actual === wanted;
    case 'ne':
      return actual !== wanted;
    case 'gt':
      return actual > wanted;
    case 'ge':
      return actual >= wanted;
    case 'lt':
      return actual < wanted;
    case 'le':
      return actual <= wanted;
    case 'co':
    case 'sw':
    case 'ew':
      return false;
  }
}
