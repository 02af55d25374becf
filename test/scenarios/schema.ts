/**
 * The format of a scenario (docs/scenarios.md). Strict: a word that does not exist is an error that names the scenario,
 * the place and the words there are, because a typo in an expectation would be a guarantee that nobody checks.
 */
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { closestName } from '../../src/core/closest-name.ts';
import { caseKinds, connectionStatuses, runStatuses, userStatuses, linkStates } from '../../src/core/vocabulary.ts';

const text = z.string().min(1);
const textOrNull = text.nullable();

/** Fields of a person in a directory. `username: ann` means ann@<the tenant's domain>, likewise for `email`. */
const personSchema = z.strictObject({
  name: textOrNull.optional(),
  username: textOrNull.optional(),
  email: textOrNull.optional(),
  department: textOrNull.optional(),
  employeeId: textOrNull.optional(),
  title: textOrNull.optional(),
  company: textOrNull.optional(),
  ou: textOrNull.optional(),
  hours: z.number().optional(),
  enabled: z.boolean().optional(),
});
export type PersonFields = z.output<typeof personSchema>;

/**
 * deleted: gone, and the directory proves it; unseen: a read leaves it out although it is there; moved away: no longer
 * where the connection reads, and the directory proves that; seen: there again.
 */
export const fates = ['deleted', 'unseen', 'moved away', 'seen'] as const;

const groupSchema = z.union(
  [z.array(text), z.strictObject({ name: text.optional(), members: z.array(text) }), z.enum(fates)],
  { error: `must be a list of members, { name, members }, or ${fates.join(', ')}` },
);

const directorySchema = z.strictObject({
  people: z
    .record(
      text,
      z.union([personSchema, z.enum(fates)], {
        error: `must be ${fates.join(', ')}, or fields of a person: ${Object.keys(personSchema.shape).join(', ')}`,
      }),
    )
    .optional(),
  groups: z.record(text, groupSchema).optional(),
  /** `fine`, or `breaks after 3`: that many objects, and then the connection is lost. */
  read: z
    .string()
    .regex(/^fine$|^breaks after \d+$/, { error: 'must be "fine" or "breaks after <n>"' })
    .optional(),
  /** What the directory answers when it is asked for somebody whom a read left out. */
  proof: z.enum(['the truth', 'unknown', 'deleted', 'present']).optional(),
});
export type DirectoryChange = z.output<typeof directorySchema>;

const userFieldsSchema = personSchema.pick({
  name: true,
  username: true,
  email: true,
  department: true,
  employeeId: true,
  title: true,
});

/** A user made by hand. `roles`: `user`, or `admin@emea` for an organization below the root. */
const handMadeSchema = userFieldsSchema.extend({
  roles: z.array(text).min(1),
  protected: z.boolean().optional(),
});
export type HandMade = z.output<typeof handMadeSchema>;

/** Parts of a connection document (docs/connectors.md); its own schema checks them when the connection is made. */
const connectionSchema = z.record(text, z.unknown());

const givenSchema = z.strictObject({
  /** Paths below the root: emea, emea/berlin. */
  organizations: z.array(text).default([]),
  connection: connectionSchema.default({ roles: [{ everyone: 'user' }] }),
  directory: directorySchema.default({}),
  second: z
    .strictObject({ connection: connectionSchema.default({}), directory: directorySchema.default({}) })
    .optional(),
  users: z.record(text, handMadeSchema).default({}),
  /** Whether somebody has approved the first run before the story begins. */
  firstRun: z.enum(['approved', 'not yet']).default('approved'),
});

const handSchema = z.strictObject({
  edit: text.optional(),
  set: userFieldsSchema.optional(),
  create: text.optional(),
  user: handMadeSchema.optional(),
  grant: text.optional(),
  to: text.optional(),
  revoke: text.optional(),
  exclude: text.optional(),
  from: text.optional(),
  days: z.int().positive().optional(),
  allow: text.optional(),
  protect: text.optional(),
  unprotect: text.optional(),
  suspend: text.optional(),
  reactivate: text.optional(),
  home: text.nullable().optional(),
  of: text.optional(),
});
export type ByHand = z.output<typeof handSchema>;

const caseSchema = z.strictObject({
  about: text,
  decide: z.enum(['link', 'create', 'ignore', 'grant']),
  user: text.optional(),
});

const userFacts = z.strictObject({
  ...userFieldsSchema.shape,
  status: z.enum(userStatuses).optional(),
  suspendedBy: textOrNull.optional(),
  /** Effective roles, all of them. */
  roles: z.array(text).optional(),
  /** Every grant with its giver: `user by Staff`, `admin@emea by hand`, `user by everyone`. */
  grants: z.array(text).optional(),
  link: z.union([z.enum(linkStates), z.literal('none')]).optional(),
  /** Another name under which this user is known. */
  is: text.optional(),
  /** A user of its own since the story began: without this word, a name stands for one user for ever. */
  isNew: z.boolean().optional(),
  home: textOrNull.optional(),
  source: z.record(text, text).optional(),
});

export const userExpectation = z.union([z.literal('none'), userFacts], {
  error: `must be none, or any of ${Object.keys(userFacts.shape).join(', ')}`,
});
export type UserExpectation = z.output<typeof userExpectation>;

const thenSchema = z.strictObject({
  run: z.enum(runStatuses).optional(),
  /** Code of the error the last run ended with. */
  error: text.optional(),
  /** All rows of the last run, in any order: `suspend ann`, `grant user to ann`, `update ann department`. */
  plan: z.array(text).optional(),
  held: z.array(text).optional(),
  stale: z.array(text).optional(),
  /** Guards (volume) and checks (plausibility) that hold the last run: all of them. */
  guards: z.array(text).optional(),
  /** Why, in the last run: the row, and text its reason contains. */
  reasons: z.record(text, text).optional(),
  users: z.record(text, userExpectation).optional(),
  numberOfUsers: z.int().min(0).optional(),
  /** The status of the first connection. */
  connection: z.enum(connectionStatuses).optional(),
  /** What the held plan names as the most likely cause: text it contains. */
  likelyCause: text.optional(),
  /** Groups that no role mapping names. */
  unmappedGroups: z.array(text).optional(),
  /** Of all users, how many have each status. */
  statuses: z.partialRecord(z.enum(userStatuses), z.int()).optional(),
  superAdmin: textOrNull.optional(),
  /** Every open case: `disputed_match ann`. */
  cases: z
    .array(
      z.string().refine((line) => caseKinds.some((kind) => line.startsWith(`${kind} `)), {
        error: `must be "<kind> <who>", the kind one of ${caseKinds.join(', ')}`,
      }),
    )
    .optional(),
  /** What was announced since the last `then`, all of it. */
  notices: z.array(text).optional(),
  /** What explain says of somebody: texts that stand in it somewhere. */
  explain: z.record(text, z.array(text)).optional(),
});
export type Then = z.output<typeof thenSchema>;

const stepSchemas = {
  directory: directorySchema,
  /** held: the run stops where a guard or the first plan stops it; approved: a person approves whatever waits. */
  sync: z.enum(['normal', 'approved', 'preview']),
  approve: z.strictObject({ by: text.optional(), digest: z.enum(['shown', 'another']).optional() }),
  discard: z.literal(true),
  byHand: z.union([handSchema, z.array(handSchema)]),
  case: caseSchema,
  /** `10 days`, `25 hours`. */
  time: z.string().regex(/^\d+ (days?|hours?)$/, { error: 'must be like "10 days" or "25 hours"' }),
  /** Parts of the connection document that somebody changes. */
  connection: connectionSchema,
  pause: text,
  resume: z.literal(true),
  /** The last run that applied anything, or what it did to one user, is planned to be taken back; then it waits. */
  undo: z.strictObject({ user: text.optional(), keepsRunning: z.boolean().optional() }),
  /** The links of this person that an undo holds are given back to the directory. */
  release: text,
  /** One person is read from the directory now. */
  provision: text,
  /** The worker dies before its n-th transaction; another one goes on. */
  crash: z.strictObject({ at: z.int().min(1), approve: z.boolean().optional() }),
  elsewhere: z.array(z.unknown()),
  // oxlint-disable-next-line no-thenable -- a word of the format, in a table that nobody awaits
  then: thenSchema,
} as const;
type StepName = keyof typeof stepSchemas;
export const stepNames: readonly string[] = Object.keys(stepSchemas);
export type StepValues = { readonly [Name in StepName]: z.output<(typeof stepSchemas)[Name]> };

export type Step = {
  readonly [Name in StepName]: {
    readonly step: Name;
    readonly value: Name extends 'elsewhere' ? readonly Step[] : StepValues[Name];
    /** The connection it concerns; null: the first. */
    readonly in: string | null;
    /** The error code with which the step is refused. */
    readonly refused: string | null;
  };
}[StepName];

export const ways = ['pull', 'push'] as const;
export type Way = (typeof ways)[number];

export const promiseNames = [
  'absence is not deletion',
  'what was previewed is applied',
  'nothing dangerous by surprise',
  'sync takes only what sync gave',
  'explained and undone',
  'a crash loses nothing',
  'one bad object stops only itself',
  'identity is the immutable id',
] as const;

const scenarioSchema = z.strictObject({
  name: text,
  promise: z.enum(promiseNames).optional(),
  /** The same story told by a directory that is read, and by a provider that pushes. */
  ways: z.array(z.enum(ways)).min(1).default(['pull']),
  given: givenSchema.prefault({}),
  when: z.array(z.unknown()).min(1),
});

export type Scenario = Omit<z.output<typeof scenarioSchema>, 'when'> & { readonly when: readonly Step[] };

const fileSchema = z.strictObject({ subject: text, scenarios: z.array(z.unknown()).min(1) });

/** Throws an error with one line for each fault: file, scenario, place, sentence. */
export function parseScenarios(file: string, yaml: string): { subject: string; scenarios: Scenario[] } {
  const faults: string[] = [];
  const document = parseDocument(yaml);
  const [fault] = document.errors;
  if (fault !== undefined) throw new Error(`${file}: ${fault.message}`);
  const outer = fileSchema.safeParse(document.toJS());
  if (!outer.success) throw new Error(describeFaults(file, outer.error).join('\n'));
  const scenarios = outer.data.scenarios.flatMap((value, index): Scenario[] => {
    const parsed = scenarioSchema.safeParse(value);
    if (!parsed.success) {
      const named = z.object({ name: z.string() }).safeParse(value);
      faults.push(
        ...describeFaults(`${file}: ${named.success ? named.data.name : `scenario ${index + 1}`}`, parsed.error),
      );
      return [];
    }
    const where = `${file}: ${parsed.data.name}`;
    const when = parsed.data.when.flatMap((step, at) => parseStep(step, `${where}: when[${at}]`, faults));
    return [{ ...parsed.data, when }];
  });
  if (faults.length > 0) throw new Error(faults.join('\n'));
  return { subject: outer.data.subject, scenarios };
}

/** What a step means when it is only named. */
const bare: Partial<Record<StepName, unknown>> = {
  sync: 'normal',
  approve: {},
  discard: true,
  resume: true,
  undo: {},
  pause: 'Paused.',
};

function parseStep(value: unknown, where: string, faults: string[]): Step[] {
  const record = typeof value === 'string' ? { [value]: bare[value as StepName] } : value;
  if (typeof record !== 'object' || record === null || Array.isArray(record)) {
    faults.push(`${where}: a step is one word, or one word and what it needs.`);
    return [];
  }
  const { in: connection = null, refused = null, ...rest } = record as Record<string, unknown>;
  const keys = Object.keys(rest);
  const [name] = keys;
  if (keys.length !== 1 || name === undefined || !isStepName(name)) {
    const near = keys.map((key) => closestName(key, Object.keys(stepSchemas))).find((found) => found !== null);
    const hint = near === undefined || near === null ? '' : ` Did you mean ${near}?`;
    faults.push(
      `${where}: needs exactly one of ${Object.keys(stepSchemas).join(', ')}; it has ${keys.join(', ') || 'none'}.${hint}`,
    );
    return [];
  }
  const parsed = stepSchemas[name].safeParse(rest[name] ?? bare[name]);
  const around = z.strictObject({ in: textOrNull, refused: textOrNull }).safeParse({ in: connection, refused });
  for (const result of [parsed, around])
    if (!result.success) faults.push(...describeFaults(`${where}.${name}`, result.error));
  if (!parsed.success || !around.success) return [];
  const inner =
    name === 'elsewhere' && Array.isArray(parsed.data)
      ? parsed.data.flatMap((step, at) => parseStep(step, `${where}.elsewhere[${at}]`, faults))
      : parsed.data;
  return [{ step: name, value: inner, ...around.data } as Step];
}

function isStepName(name: string): name is StepName {
  return Object.hasOwn(stepSchemas, name);
}

function describeFaults(where: string, error: z.ZodError): string[] {
  return error.issues.map((issue) => `${where}: ${issue.path.join('.') || 'here'}: ${issue.message}`);
}
