import { describe, expect, test } from 'vitest';
import { candidate, contextOf, newcomer, userOf } from '../../test/fakes/decision.ts';
import { correlationSchema, readRules } from './correlation.ts';
import { decideSubject } from './decide.ts';
import { compileMapper } from './mapping.ts';

const rulesOf = (value: unknown) => readRules(correlationSchema.parse(value));

describe('a correlation rule', () => {
  test('as a word is the same as its object', () => {
    expect(rulesOf(['username', 'email', 'employee_id'])).toEqual(
      rulesOf([{ by: 'username' }, { by: 'email' }, { by: 'employee_id' }]),
    );
    expect(rulesOf(undefined).map((rule) => [rule.label, rule.spec])).toEqual([
      ['username', null],
      ['email', null],
      ['employee_id', null],
    ]);
  });

  test('needs an index of its own only where it looks at something else than the key column', () => {
    expect(rulesOf([{ by: 'username', normalize: ['trim', 'lowercase'] }])[0]?.spec).toBeNull();
    expect(rulesOf([{ by: 'username', normalize: ['strip_domain', 'digits'] }])[0]?.spec).toBe(
      'username|strip_domain,digits',
    );
    expect(rulesOf([{ by: 'anchor', attribute: 'attributes.guid' }])[0]?.spec).toBe('attributes.guid|');
    expect(rulesOf([{ by: 'employee_id', attribute: 'phone' }])[0]?.spec).toBe('phone|');
  });

  test.each<[string, unknown]>([
    ['an expression that is missing', { by: 'expression', attribute: 'phone' }],
    ['an expression beside another key', { by: 'email', expression: 'object.mail' }],
    ['no attribute to compare with', { by: 'anchor' }],
    ['an attribute that users do not have', { by: 'anchor', attribute: 'guid' }],
    ['a normalizer nobody knows', { by: 'email', normalize: ['rot13'] }],
  ])('is refused with %s', (_what, rule) => expect(correlationSchema.safeParse([rule]).success).toBe(false));
});

describe('whom a rule finds', () => {
  test('goes to a person where the rule says review', () => {
    const subject = newcomer({ user: userOf(), candidates: [candidate({ rule: 'attributes.badge', isReview: true })] });
    expect(decideSubject(subject, contextOf())).toMatchObject([
      { op: 'dispute', reason: 'Ann has the same badge, and this rule leaves the decision to a person.' },
    ]);
  });

  test('is not guessed where a rule could not be asked: that is a row of the plan, and nobody is created', () => {
    const drafts = decideSubject(newcomer({ correlationFault: 'correlation rule: no such key' }), contextOf());
    expect(drafts).toMatchObject([{ op: 'error', kind: 'conflict', cause: 'correlation' }]);
  });
});

test('a fault in the key of a rule leaves the mapping of the object as it is', () => {
  const mapper = compileMapper({
    mappings: [{ target: 'displayName', expression: 'object.name', strength: 'authoritative', onNull: 'clear' }],
    scope: undefined,
    predicates: [],
    keys: ['object.badge + 1'],
  });
  expect(mapper.attributes).toEqual(['badge', 'name']);
  const result = mapper.map({ name: 'Ann', badge: 'x' });
  expect(result).toMatchObject({ problem: null, mapped: { displayName: 'Ann' } });
  expect(Object.keys(result.mapped)).toContain('correlation fault:object.badge + 1');
});
