/**
 * The filter language of RFC 7644 section 3.4.2.2, parsed into a typed tree against the resource's attributes. Names
 * are resolved here, so that whoever takes the tree (SQL, PATCH) meets only attributes that exist. Bounded before
 * and while parsing: length, terms and depth. Every fault is 400 invalidFilter, an unknown attribute too: answering
 * it with an empty list would make the client create a duplicate.
 */
import type { RollcallError } from '../core/errors.ts';
import { nextToken, type Token } from './filter-tokens.ts';
import { printPath, resolveName, type AttributeModel, type AttributePath, type ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';

export const compareOps = ['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le'] as const;
export type CompareOp = (typeof compareOps)[number];

export type FilterValue = string | number | boolean | null;

export type Filter =
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Filter[] }
  | { readonly kind: 'not'; readonly term: Filter }
  | { readonly kind: 'compare'; readonly path: AttributePath; readonly op: CompareOp; readonly value: FilterValue }
  | { readonly kind: 'present'; readonly path: AttributePath }
  /** A value path: one value of the attribute fulfils the whole term. Paths inside are relative to the value. */
  | { readonly kind: 'where'; readonly path: AttributePath; readonly term: Filter };

const maxLength = 2_000;
const maxTerms = 50;
const maxDepth = 10;

/** How a name is looked up: in a resource, or among the sub-attributes of a value path. */
type Scope = (name: string) => AttributePath | null;

type State = {
  readonly text: string;
  position: number;
  terms: number;
  token: Token;
};

export function parseFilter(model: ResourceModel, text: string): Filter {
  return parse(text, (name) => {
    const resolved = resolveName(model, name);
    // what is never returned can not be asked for either (RFC 7644 section 7.5.2: no probing of passwords)
    return resolved === null || resolved.attribute === null || !isStoredAndShown(resolved.attribute) ? null : resolved;
  });
}

/** What is computed on request is not stored, so it can not be looked for. */
function isStoredAndShown({ returned }: AttributeModel): boolean {
  return returned !== 'never' && returned !== 'request';
}

/** The filter of a PATCH path: `type eq "work"` within `emails[...]`. */
export function parseValueFilter(attribute: AttributeModel, text: string): Filter {
  return parse(text, valueScope(attribute));
}

function parse(text: string, scope: Scope): Filter {
  if (text.length > maxLength) {
    throw badFilter(`The filter has ${text.length} characters; at most ${maxLength} are allowed.`);
  }
  // Postgres has no such character in a text, and neither has anything stored
  if (text.includes('\u0000')) throw badFilter('The filter contains the character U+0000.');
  const state: State = { text, position: 0, terms: 0, token: { kind: 'end', text: '', start: 0 } };
  advance(state);
  const filter = parseOr(state, scope, 1);
  if (state.token.kind !== 'end') throw unexpected(state, 'the end of the filter');
  return filter;
}

function parseOr(state: State, scope: Scope, depth: number): Filter {
  const terms = [parseAnd(state, scope, depth)];
  while (isWord(state.token, 'or')) {
    advance(state);
    terms.push(parseAnd(state, scope, depth));
  }
  return join('or', terms);
}

function parseAnd(state: State, scope: Scope, depth: number): Filter {
  const terms = [parseTerm(state, scope, depth)];
  while (isWord(state.token, 'and')) {
    advance(state);
    terms.push(parseTerm(state, scope, depth));
  }
  return join('and', terms);
}

function join(kind: 'and' | 'or', terms: readonly Filter[]): Filter {
  const [only] = terms;
  return terms.length === 1 && only !== undefined ? only : { kind, terms };
}

function parseTerm(state: State, scope: Scope, depth: number): Filter {
  if (depth > maxDepth) throw badFilter(`The filter is nested more than ${maxDepth} deep.`);
  if (state.token.kind === '(') return parseGroup(state, scope, depth);
  if (isWord(state.token, 'not') && peekIsOpen(state)) {
    advance(state);
    return { kind: 'not', term: parseGroup(state, scope, depth) };
  }
  state.terms += 1;
  if (state.terms > maxTerms) throw badFilter(`The filter has more than ${maxTerms} terms.`);
  return parseAttributeTerm(state, scope, depth);
}

function parseGroup(state: State, scope: Scope, depth: number): Filter {
  expect(state, '(');
  const inner = parseOr(state, scope, depth + 1);
  expect(state, ')');
  return inner;
}

function parseAttributeTerm(state: State, scope: Scope, depth: number): Filter {
  if (state.token.kind !== 'word') throw unexpected(state, 'an attribute');
  const name = state.token.text;
  const path = scope(name);
  if (path === null) throw badFilter(`There is no attribute "${name}" here.`);
  advance(state);
  if (kindOf(state) === '[') return parseValuePath(state, path, depth);
  return parseComparison(state, path);
}

/** `emails[type eq "work" and value co "x"]`, also followed by `.value eq "x"` (Entra's validator sends that). */
function parseValuePath(state: State, path: AttributePath, depth: number): Filter {
  if (path.attribute.type !== 'complex' || path.sub !== null) {
    throw badFilter(`"${printPath(path)}" has no sub-attributes to filter by.`);
  }
  advance(state);
  const term = parseOr(state, valueScope(path.attribute), depth + 1);
  expect(state, ']');
  if (state.token.kind !== 'word' || !state.token.text.startsWith('.')) return { kind: 'where', path, term };
  const inner = valueScope(path.attribute)(state.token.text.slice(1));
  if (inner === null) throw badFilter(`"${printPath(path)}" has no sub-attribute "${state.token.text.slice(1)}".`);
  state.terms += 1;
  advance(state);
  const compared = parseComparison(state, inner);
  return { kind: 'where', path, term: join('and', [...(term.kind === 'and' ? term.terms : [term]), compared]) };
}

function valueScope(attribute: AttributeModel): Scope {
  return (name) => {
    const lower = name.toLowerCase();
    const prefix = `${attribute.name.toLowerCase()}.`;
    const sub = attribute.sub.get(lower.startsWith(prefix) ? lower.slice(prefix.length) : lower);
    return sub === undefined ? null : { extension: null, attribute: sub, sub: null };
  };
}

function parseComparison(state: State, path: AttributePath): Filter {
  const op = state.token.kind === 'word' ? state.token.text.toLowerCase() : '';
  if (op === 'pr') {
    advance(state);
    return { kind: 'present', path };
  }
  const known = compareOps.find((candidate) => candidate === op);
  if (known === undefined) throw unexpected(state, 'an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr)');
  advance(state);
  if (state.token.kind !== 'word' && state.token.kind !== 'string') throw unexpected(state, 'a value');
  const token = state.token;
  const target = comparable(path);
  const leaf = target.sub ?? target.attribute;
  const value = readValue(leaf, known, token);
  advance(state);
  return { kind: 'compare', path: target, op: known, value };
}

/** A complex attribute compared as such means its `value` (RFC 7644 section 3.4.2.2). */
function comparable(path: AttributePath): AttributePath {
  if (path.sub !== null || path.attribute.type !== 'complex') return path;
  const value = path.attribute.sub.get('value');
  if (value === undefined) throw badFilter(`"${printPath(path)}" can not be compared; name one of its sub-attributes.`);
  return { ...path, sub: value };
}

const ordering: readonly CompareOp[] = ['gt', 'ge', 'lt', 'le'];
const substring: readonly CompareOp[] = ['co', 'sw', 'ew'];

function readValue(leaf: AttributeModel, op: CompareOp, token: Token): FilterValue {
  const isQuoted = token.kind === 'string';
  const lower = token.text.toLowerCase();
  if (!isQuoted && lower === 'null') {
    if (op !== 'eq' && op !== 'ne') throw badFilter(`Nothing can be compared with null by "${op}".`);
    return null;
  }
  switch (leaf.type) {
    case 'boolean':
      if (lower !== 'true' && lower !== 'false') throw badFilter(`"${leaf.name}" is true or false.`);
      if (op !== 'eq' && op !== 'ne')
        throw badFilter(`"${leaf.name}" is a boolean and can not be compared by "${op}".`);
      return lower === 'true';
    case 'integer':
    case 'decimal': {
      const number = Number(token.text);
      if (!Number.isFinite(number) || token.text.trim() === '') throw badFilter(`"${leaf.name}" is a number.`);
      if (substring.includes(op)) throw badFilter(`"${leaf.name}" is a number and can not be compared by "${op}".`);
      return number;
    }
    case 'dateTime':
      if (substring.includes(op)) throw badFilter(`"${leaf.name}" is a time and can not be compared by "${op}".`);
      return readInstant(leaf, token.text);
    case 'binary':
      if (ordering.includes(op)) throw badFilter(`"${leaf.name}" is binary and can not be compared by "${op}".`);
      return token.text;
    case 'complex':
      throw badFilter(`"${leaf.name}" can not be compared; name one of its sub-attributes.`);
    case 'string':
    case 'reference':
      return token.text;
  }
}

/** Years of four digits only: what Postgres and JavaScript both hold. Entra sends seven decimals of a second. */
const instantPattern = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/i;

function readInstant(leaf: AttributeModel, text: string): string {
  const parsed = instantPattern.test(text) ? new Date(text) : null;
  if (parsed === null || Number.isNaN(parsed.getTime())) {
    throw badFilter(`"${leaf.name}" is a time, such as 2026-01-31T08:00:00Z.`);
  }
  return parsed.toISOString();
}

// ---------------------------------------------------------------- tokens

function advance(state: State): void {
  state.token = nextToken(state.text, state.position);
  state.position = state.token.start + (state.token.length ?? state.token.text.length);
}

/** A call, so that the type is not narrowed by what the token was before. */
function kindOf(state: State): Token['kind'] {
  return state.token.kind;
}

function peekIsOpen(state: State): boolean {
  return nextToken(state.text, state.position).kind === '(';
}

function expect(state: State, kind: '(' | ')' | ']'): void {
  if (state.token.kind !== kind) throw unexpected(state, `"${kind}"`);
  advance(state);
}

function isWord(token: Token, word: string): boolean {
  return token.kind === 'word' && token.text.toLowerCase() === word;
}

function unexpected(state: State, wanted: string): RollcallError {
  const found = state.token.kind === 'end' ? 'the end' : `"${state.token.text.slice(0, 40)}"`;
  return badFilter(`At character ${state.token.start + 1} of the filter: expected ${wanted}, found ${found}.`);
}

function badFilter(message: string): RollcallError {
  return badRequest('invalidFilter', message);
}

// ---------------------------------------------------------------- printing

/** The filter as text; parsing it gives the same tree. */
export function printFilter(filter: Filter): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.terms
        .map((term) => (isJoin(term) ? `(${printFilter(term)})` : printFilter(term)))
        .join(` ${filter.kind} `);
    case 'not':
      return `not (${printFilter(filter.term)})`;
    case 'present':
      return `${printPath(filter.path)} pr`;
    case 'where':
      return `${printPath(filter.path)}[${printFilter(filter.term)}]`;
    case 'compare':
      return `${printPath(filter.path)} ${filter.op} ${JSON.stringify(filter.value)}`;
  }
}

function isJoin(filter: Filter): boolean {
  return filter.kind === 'and' || filter.kind === 'or';
}
