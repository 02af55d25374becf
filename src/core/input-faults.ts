/** What a schema found wrong with a document, in words for the person who wrote it; every fault at once. */
import { z } from 'zod';
import { closestName } from './closest-name.ts';

export type InputFault = {
  readonly path: readonly PropertyKey[];
  /** A sentence. */
  readonly message: string;
  readonly remedy: string | null;
};

/** `schema` is the one that refused the document: it knows the names that would have been right, and what they mean. */
export function inputFaults(error: z.ZodError, schema: z.ZodType): InputFault[] {
  const names = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return error.issues.flatMap((issue) => faultsOf(issue, [], names));
}

export function describeInputFault(fault: InputFault): string {
  const path = fault.path.length === 0 ? '' : `${fault.path.map(String).join('.')}: `;
  return `${path}${fault.message}${fault.remedy === null ? '' : ` ${fault.remedy}`}`;
}

type JsonSchema = {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly description?: string;
};

function faultsOf(issue: z.core.$ZodIssue, above: readonly PropertyKey[], names: JsonSchema): InputFault[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaAt(names, path)?.properties ?? {});
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: 'There is no such setting.',
      remedy: suggest(key, known),
    }));
  }
  if (issue.code === 'invalid_union') {
    const likely = likeliestBranch(issue.errors);
    if (likely !== null) return likely.flatMap((inner) => faultsOf(inner, path, names));
  }
  return [{ path, message: `${describeIssue(issue)}.`, remedy: schemaAt(names, path)?.description ?? null }];
}

function suggest(key: string, known: readonly string[]): string | null {
  const closest = closestName(key, known);
  if (closest !== null) return `Did you mean ${closest}?`;
  return known.length === 0 ? null : `Known here: ${known.join(', ')}.`;
}

/** Of the forms a value may take, the one it has the fewest faults against is the one that was meant. */
function likeliestBranch(branches: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] | null {
  const cost = (issues: readonly z.core.$ZodIssue[]): number =>
    issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
  const [best] = branches.toSorted((a, b) => cost(a) - cost(b));
  return best === undefined || best.length === 0 ? null : best;
}

function schemaAt(root: JsonSchema, path: readonly PropertyKey[]): JsonSchema | undefined {
  let schema: JsonSchema | undefined = root;
  for (const step of path) schema = typeof step === 'number' ? schema?.items : schema?.properties?.[String(step)];
  return schema;
}

/** What one value has to be, without its name and without an end: `must be at most 200`. `section`: what an object is called. */
export function describeIssue(issue: z.core.$ZodIssue, section = 'a section of settings'): string {
  if (issue.code === 'invalid_type') {
    const received = /received (\w+)$/.exec(issue.message)?.[1] ?? '';
    if (received === 'undefined') return 'is missing';
    const words: Readonly<Record<string, string>> = { ...kindWords, object: section, record: section };
    return `must be ${words[issue.expected] ?? issue.expected}, not ${words[received] ?? received}`;
  }
  if (issue.code === 'invalid_value') {
    return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}`;
  }
  if (issue.code === 'too_big') return `must ${boundWords(issue.origin, 'at most', issue.maximum)}`;
  if (issue.code === 'too_small') return `must ${boundWords(issue.origin, 'at least', issue.minimum)}`;
  return issue.message;
}

const kindWords: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  null: 'nothing',
};

function boundWords(origin: string, bound: string, limit: number | bigint): string {
  if (origin === 'string') return `have ${bound} ${limit} characters`;
  if (origin === 'array') return `have ${bound} ${limit} entries`;
  return `be ${bound} ${limit}`;
}
