/**
 * Mapping and scope: CEL over one directory object -> attributes of a user. Pure and bounded: an expression has at
 * most 500 nodes, no regular expressions (they could backtrack), and is compiled once per run.
 */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { faultOfExpression, keyOfExpression } from './correlation.ts';
import { RollcallError } from './errors.ts';
import { compilePlain } from './plain-expressions.ts';
import type { Mapping } from './policy.ts';

type Attributes = Readonly<Record<string, unknown>>;

export type MappedAttributes = Readonly<Record<string, string | null>>;

export type MappingResult = {
  readonly mapped: MappedAttributes;
  readonly isInScope: boolean;
  /** Ids of the predicates that hold. */
  readonly ruleIds: readonly string[];
  /** Why this object can not be mapped; the object is then left alone. */
  readonly problem: string | null;
};

export type Mapper = {
  /** Directory attributes the expressions read. */
  readonly attributes: readonly string[];
  map(object: Attributes): MappingResult;
};

type Compiled = {
  readonly source: string;
  readonly attributes: ReadonlySet<string>;
  evaluate(object: Attributes): unknown;
};

const environment = new Environment({
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 500, maxDepth: 50, maxListElements: 100, maxMapEntries: 100, maxCallArguments: 16 },
}).registerVariable('object', 'map');

const maxValueLength = 4000;

/** Throws invalid_input naming the expression and the fault; `where` is its path in the document. */
export function compileExpression(source: string, where: string): Compiled {
  const checked = environment.check(source);
  if (!checked.valid) {
    const at = positionOf(source, checked.error?.range?.start ?? 0);
    throw new RollcallError('invalid_input', `${where}: the expression ${JSON.stringify(source)} is not valid CEL.`, {
      raw: `line ${at.line}, column ${at.column}: ${firstLine(checked.error?.message ?? 'unknown fault')}`,
      details: at,
      remedy: 'Attributes are read as object.<name>, e.g. object.mail.',
    });
  }
  const parsed = environment.parse(source);
  const attributes = new Set<string>();
  collectAttributes(parsed.ast, attributes, where);
  mustBeFlat(parsed.ast, where, null);
  return {
    source,
    attributes,
    evaluate: compilePlain(parsed.ast) ?? ((object) => parsed({ object: withNulls(object, attributes) }) as unknown),
  };
}

export type MapperSpec = {
  readonly mappings: readonly Mapping[];
  readonly scope: string | undefined;
  readonly predicates: readonly { readonly id: string; readonly expression: string }[];
  /** Of correlation rules. */
  readonly keys?: readonly string[];
};

export function compileMapper(spec: MapperSpec): Mapper {
  const mappings = spec.mappings.map((mapping, index) => ({
    target: mapping.target,
    compiled: compileExpression(mapping.expression, `mappings[${index}].expression`),
  }));
  const scope = spec.scope === undefined ? null : compileExpression(spec.scope, 'scope');
  const predicates = spec.predicates.map((rule, index) => ({
    id: rule.id,
    compiled: compileExpression(rule.expression, `roles[${index}].predicate`),
  }));
  const keys = (spec.keys ?? []).map((expression) => compileExpression(expression, 'correlation'));
  const all = [...keys, ...mappings.map((mapping) => mapping.compiled), ...predicates.map((rule) => rule.compiled)];
  if (scope !== null) all.push(scope);
  // every result has the same names in the same order: made once, filled per object
  const shape: Record<string, string | null> = {};
  for (const { target } of mappings) shape[target] = null;
  return {
    attributes: [...new Set(all.flatMap((compiled) => [...compiled.attributes]))].toSorted(),
    map: (object) => {
      const problems: string[] = [];
      const mapped = { ...shape };
      for (const { target, compiled } of mappings) {
        mapped[target] = evaluateText(compiled, object, 'mapping to ', target, problems);
      }
      for (const key of keys) {
        // a linked object has no need of its key, so a fault here is not a problem of the object
        const faults: string[] = [];
        mapped[keyOfExpression(key.source)] = evaluateText(key, object, 'correlation rule', '', faults);
        if (faults[0] !== undefined) mapped[faultOfExpression(key.source)] = faults[0];
      }
      const isInScope = scope === null || evaluateBool(scope, object, 'scope', problems);
      const ruleIds = predicates.flatMap(({ id, compiled }) =>
        evaluateBool(compiled, object, 'role predicate', problems) ? [id] : [],
      );
      return { mapped, isInScope, ruleIds, problem: problems[0] ?? null };
    },
  };
}

function evaluateText(
  compiled: Compiled,
  object: Attributes,
  what: string,
  target: string,
  problems: string[],
): string | null {
  try {
    return toText(compiled.evaluate(object));
  } catch (error) {
    problems.push(
      `${what}${target}: ${compiled.source}: ${firstLine(String(error instanceof Error ? error.message : error))}`,
    );
    return null;
  }
}

/** A fault counts as false here, and as a problem of the object: it is then left alone altogether. */
function evaluateBool(compiled: Compiled, object: Attributes, what: string, problems: string[]): boolean {
  try {
    const value = compiled.evaluate(object);
    if (typeof value === 'boolean') return value;
    problems.push(`${what}: ${compiled.source}: gives ${value === null ? 'null' : typeof value}, not true or false`);
  } catch (error) {
    problems.push(`${what}: ${compiled.source}: ${firstLine(String(error instanceof Error ? error.message : error))}`);
  }
  return false;
}

/** The first value of a list; numbers and booleans as text; blank is null. */
function toText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) return toText(value[0]);
  if (typeof value === 'bigint' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') throw new Error(`gives ${typeof value}, not text`);
  // Postgres text can not hold NUL, and nobody's name has one
  const text = (value.includes('\u0000') ? value.replaceAll('\u0000', '') : value).trim();
  if (text.length > maxValueLength) throw new Error(`gives ${text.length} characters; ${maxValueLength} are allowed`);
  return text === '' ? null : text;
}

function withNulls(object: Attributes, names: ReadonlySet<string>): Attributes {
  let filled: Record<string, unknown> | null = null;
  for (const name of names) {
    if (object[name] === undefined) {
      filled ??= { ...object };
      filled[name] = null;
    }
  }
  return filled ?? object;
}

function collectAttributes(node: ASTNode, found: Set<string>, where: string): void {
  if (node.op === 'rcall' && node.args[0] === 'matches') {
    throw new RollcallError('invalid_input', `${where}: matches() is not allowed.`, {
      remedy: 'Use startsWith, endsWith, contains or ==; a regular expression could stop the daemon.',
    });
  }
  if (node.op === '.' && node.args[0].op === 'id' && node.args[0].args === 'object') found.add(node.args[1]);
  if (node.op === '[]' && node.args[0].op === 'id' && node.args[0].args === 'object') {
    const key = node.args[1];
    if (key.op === 'value' && typeof key.args === 'string') found.add(key.args);
  }
  for (const child of childrenOf(node.args)) collectAttributes(child, found, where);
}

const loops: ReadonlySet<unknown> = new Set(['all', 'exists', 'exists_one', 'map', 'filter']);

/** One loop over a list costs its length; one inside another could keep a run busy for hours over a large group. */
function mustBeFlat(node: ASTNode, where: string, around: string | null): void {
  if (node.op !== 'rcall' || !loops.has(node.args[0])) {
    for (const child of childrenOf(node.args)) mustBeFlat(child, where, around);
    return;
  }
  const [name, list, body] = node.args;
  if (around !== null) {
    throw new RollcallError('invalid_input', `${where}: ${name}() inside ${around}() is not allowed.`, {
      remedy: 'Use one loop over a list in an expression, or one after the other.',
    });
  }
  // the list may come from another loop: that one ends before this one begins
  mustBeFlat(list, where, around);
  for (const child of childrenOf(body)) mustBeFlat(child, where, name);
}

/** Both count from 1. */
function positionOf(source: string, offset: number): { readonly line: number; readonly column: number } {
  const before = source.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1) ?? '').length + 1 };
}

function childrenOf(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf);
  return isNode(args) ? [args] : [];
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
