/**
 * Correlation rules: how an owner is found for an object without a link. In a document a rule is a word (`username`) or
 * an object; here both become the same thing. Values are normalized by one function in the database, on both sides.
 */
import { z } from 'zod';
import { attributeTarget } from './targets.ts';
import { correlationKeys } from './vocabulary.ts';

/** Applied in the order given; trimming, lower case and NFKC come first, always. */
export const normalizers = [
  'trim',
  'lowercase',
  'strip_domain',
  'strip_plus_tag',
  'digits',
  'strip_leading_zeros',
  'alphanumeric',
] as const;

const always: ReadonlySet<string> = new Set(['trim', 'lowercase']);

const ownAttributes = { username: 'username', email: 'email', employee_id: 'employeeId' } as const;

const ruleObject = z
  .strictObject({
    by: z
      .enum([...correlationKeys, 'anchor', 'expression'])
      .describe("What of the object: a mapped value, its immutable id (anchor), or an expression of one's own."),
    expression: z.string().min(1).max(2000).optional().describe('CEL over `object`; with by: expression.'),
    attribute: attributeTarget
      .optional()
      .describe('The attribute of users it is compared with; needed with anchor and expression.'),
    normalize: z.array(z.enum(normalizers)).max(8).default([]).describe('Applied to both sides, in this order.'),
    mode: z.enum(['automatic', 'review']).default('automatic').describe('review: whoever it finds, a person decides.'),
  })
  .refine((rule) => (rule.by === 'expression') === (rule.expression !== undefined), {
    error: 'goes with by: expression, and is needed there',
    path: ['expression'],
  })
  .refine((rule) => rule.attribute !== undefined || (rule.by !== 'expression' && rule.by !== 'anchor'), {
    error: 'is needed with by: anchor and by: expression',
    path: ['attribute'],
  });

export const correlationSchema = z
  .array(z.union([z.enum(correlationKeys), ruleObject]))
  .max(10)
  .default(['username', 'email', 'employee_id'])
  .describe('Rules, in order, by which an object without a link finds its user.');
export type Correlation = z.output<typeof correlationSchema>;

export type CorrelationRule = {
  readonly by: z.output<typeof ruleObject>['by'];
  /** Null unless `by` is expression. */
  readonly expression: string | null;
  readonly attribute: string;
  readonly normalizers: readonly string[];
  readonly isReview: boolean;
  /** As a person reads it. */
  readonly label: string;
  /** Names the index of user keys; null where the users' own key column serves. */
  readonly spec: string | null;
};

export function readRules(correlation: Correlation): CorrelationRule[] {
  return correlation.map((written) => {
    const rule: z.output<typeof ruleObject> =
      typeof written === 'string' ? { by: written, normalize: [], mode: 'automatic' } : written;
    const own = rule.by === 'anchor' || rule.by === 'expression' ? null : ownAttributes[rule.by];
    const attribute = rule.attribute ?? own ?? '';
    const steps = rule.normalize.filter((step) => !always.has(step));
    const isPlain = attribute === own && steps.length === 0;
    return {
      by: rule.by,
      expression: rule.expression ?? null,
      attribute,
      normalizers: steps,
      isReview: rule.mode === 'review',
      label: attribute === own ? rule.by : attribute,
      spec: isPlain ? null : `${attribute}|${steps.join(',')}`,
    };
  });
}

/** Expressions that the mapper computes beside the mappings. */
export function expressionsOf(correlation: Correlation): string[] {
  return correlation.flatMap((rule) =>
    typeof rule === 'string' || rule.expression === undefined ? [] : [rule.expression],
  );
}

/** Where the mapped values of an object hold what a rule's expression gave, or why it gave nothing. */
export const keyOfExpression = (expression: string): string => `correlation:${expression}`;
export const faultOfExpression = (expression: string): string => `correlation fault:${expression}`;
