/**
 * What an admin may decide about one connection: scope, mappings, correlation, leavers, guards. Stored as the
 * connection's policy, part of its versioned document. Defaults are the ones of design.md section 7.
 */
import { z } from 'zod';
import { correlationSchema } from './correlation.ts';
import { attributeTarget } from './targets.ts';
import { leaverPolicies } from './vocabulary.ts';

/** Whose word counts for an attribute that a person edited here: the three sides are last applied, source, current. */
export const conflictPolicies = ['source', 'local', 'review'] as const;
export type ConflictPolicy = (typeof conflictPolicies)[number];

export const mappingSchema = z.strictObject({
  target: attributeTarget.describe('Attribute of the user.'),
  expression: z.string().min(1).max(2000).describe("CEL over `object`: its attributes by the directory's own names."),
  strength: z
    .enum(['authoritative', 'initial', 'fallback'])
    .default('authoritative')
    .describe(
      'authoritative: keep in step; initial: only while the user has no value; fallback: only while no other source has one.',
    ),
  onNull: z
    .enum(['keep', 'clear'])
    .default('clear')
    .describe("What a source value that is empty does to the user's value."),
  conflict: z
    .enum(conflictPolicies)
    .optional()
    .describe("What happens to a value that a person edited; the connection's own rule unless given."),
});
export type Mapping = z.output<typeof mappingSchema>;

/** Count and share limits; a breach needs `count` reached and, where given, `percent` exceeded. */
const limit = (count: number, percent: number) =>
  z
    .strictObject({ count: z.int().min(1).default(count), percent: z.number().min(0).max(100).default(percent) })
    .prefault({});

export const guardLimitsSchema = z.strictObject({
  leaversMax: z.int().min(1).default(500).describe('More leavers than this are held.'),
  leavers: limit(10, 10).describe('At least count leavers and more than percent of the live links.'),
  leaversSmall: limit(3, 30).describe('The same for small connections.'),
  revokesMax: z.int().min(1).default(1000).describe('More revoked grants than this are held.'),
  revokes: limit(20, 15),
  groupLoss: limit(10, 50).describe('Per mapped group: at least count and more than percent of its members.'),
  adminGrants: z.int().min(1).default(1).describe('From this many new privileged grants on, they are held.'),
  joiners: limit(50, 25).describe('After the first run.'),
  keyChanges: limit(20, 10).describe('Changes of usernames.'),
  emailChanges: limit(20, 10),
});
export type GuardLimits = z.output<typeof guardLimitsSchema>;

export const quarantineLimitsSchema = z.strictObject({
  failedRuns: z.int().min(1).max(1000).default(5).describe('A quarantine begins with this many failed runs in a row.'),
  failedObjects: limit(20, 50).describe(
    'At least count users of a run, and more than percent of them can not be used; or changes, and so many fail.',
  ),
});
export type QuarantineLimits = z.output<typeof quarantineLimitsSchema>;

export const leaverSchema = z
  .strictObject({
    policy: z
      .enum(leaverPolicies)
      .default('suspend')
      .describe('keep; suspend; revoke_roles: take the roles this directory gave; remove.'),
    graceDays: z
      .int()
      .min(0)
      .max(365)
      .default(0)
      .describe('The policy acts this many days after the object was found gone; who is back before keeps everything.'),
    deleteAfterDays: z
      .int()
      .min(1)
      .max(3650)
      .optional()
      .describe('Users suspended as leavers are removed after this many days; only with policy suspend.'),
    rehire: z
      .enum(['relink', 'review'])
      .default('relink')
      .describe('relink: who comes back gets the user back; review: a person decides, see reviewAfterDays.'),
    reviewAfterDays: z
      .int()
      .min(0)
      .max(3650)
      .default(30)
      .describe('With rehire review: who is back within these days, and was not removed, is relinked all the same.'),
  })
  .refine((leaver) => leaver.deleteAfterDays === undefined || leaver.policy === 'suspend', {
    error: 'goes with policy suspend only',
    path: ['deleteAfterDays'],
  });
export type Leaver = z.output<typeof leaverSchema>;

export const approvalSchema = z.strictObject({
  approvers: z
    .int()
    .min(1)
    .max(2)
    .default(1)
    .describe('How many must approve a plan that waits. 2: the second neither asked for the run nor approved first.'),
});

export const policySchema = z.strictObject({
  scope: z
    .string()
    .min(1)
    .max(2000)
    .optional()
    .describe('CEL predicate; objects for which it is false are out of scope.'),
  mappings: z.array(mappingSchema).max(100).default([]).describe("Empty: the connector's defaults."),
  extendMappings: z
    .boolean()
    .optional()
    .describe("True: the connector's defaults stand too, except where a mapping here has the same target."),
  correlation: correlationSchema,
  conflict: z
    .enum(conflictPolicies)
    .default('source')
    .describe(
      'A value edited here. source: stays until the directory changes its own; local: stays until it is cleared here; review: a person decides.',
    ),
  leaver: leaverSchema.prefault({}).describe('What happens to a user whose last live link ended.'),
  guards: guardLimitsSchema.prefault({}),
  quarantine: quarantineLimitsSchema.prefault({}),
  approval: approvalSchema.prefault({}),
});
export type Policy = z.output<typeof policySchema>;

/** The mappings in force: those of the document, or the connector's own where it has none, or both where it extends them. */
export function mappingsInForce(
  policy: Pick<Policy, 'mappings' | 'extendMappings'>,
  defaults: readonly unknown[],
): readonly Mapping[] {
  const { mappings, extendMappings = false } = policy;
  if (mappings.length > 0 && !extendMappings) return mappings;
  const named = new Set(mappings.map((mapping) => mapping.target));
  const own = defaults.map((mapping) => mappingSchema.parse(mapping));
  return [...own.filter((mapping) => !named.has(mapping.target)), ...mappings];
}
