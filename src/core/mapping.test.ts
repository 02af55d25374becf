import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileExpression, compileMapper } from './mapping.ts';
import { mappingSchema } from './policy.ts';

const mapping = (target: string, expression: string) => mappingSchema.parse({ target, expression });

describe('mapping', () => {
  test('maps attributes by name, trims, and turns blank and absent into null', () => {
    const mapper = compileMapper({
      mappings: [
        mapping('email', 'object.mail'),
        mapping('phone', 'object.phones'),
        mapping('department', 'object.none'),
      ],
      scope: undefined,
      predicates: [],
    });
    expect(mapper.attributes).toEqual(['mail', 'none', 'phones']);
    expect(mapper.map({ mail: ' a@b.c ', phones: ['1', '2'] }).mapped).toEqual({
      email: 'a@b.c',
      phone: '1',
      department: null,
    });
    expect(mapper.map({ mail: '  ' }).mapped['email']).toBeNull();
  });

  test.each([
    'object.a',
    'object["a"]',
    'object.a != null ? object.a : object.b',
    'object.a == null ? "none" : object.a',
    'object.a != null ? object.a : object.b != null ? object.b : null',
  ])('%s gives what CEL gives, though no interpreter runs it', (expression) => {
    const value = fc.oneof(
      fc.string({ maxLength: 3 }),
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.array(fc.string()),
    );
    // a condition that is no null check leaves the whole expression to CEL
    const [plain, cel] = [
      compileExpression(expression, 'x'),
      compileExpression(`1 == 1 ? (${expression}) : "no"`, 'x'),
    ];
    fc.assert(
      fc.property(fc.record({ a: value, b: value }, { requiredKeys: [] }), (object) => {
        expect(plain.evaluate(object)).toEqual(cel.evaluate(object));
      }),
    );
  });

  test('an expression may choose between attributes', () => {
    const mapper = compileMapper({
      mappings: [mapping('displayName', 'object.displayName != null ? object.displayName : object.cn')],
      scope: undefined,
      predicates: [],
    });
    expect(mapper.map({ cn: 'Ann' }).mapped['displayName']).toBe('Ann');
  });

  test('scope and predicates decide per object; a fault is a problem of that object only', () => {
    const mapper = compileMapper({
      mappings: [],
      scope: 'object.userType != "Guest"',
      predicates: [
        { id: 'everyone', expression: 'true' },
        { id: 'sales', expression: 'object.department.startsWith("Sales")' },
      ],
    });
    expect(mapper.map({ userType: 'Guest', department: 'x' }).isInScope).toBe(false);
    expect(mapper.map({ userType: 'Member', department: 'Sales EMEA' }).ruleIds).toEqual(['everyone', 'sales']);
    expect(mapper.map({ userType: 'Member' }).problem).toContain('role predicate');
  });

  test('refuses what is not CEL, and regular expressions, naming the place', () => {
    expect(() => compileExpression('object.mail +', 'mappings[0].expression')).toThrow(/mappings\[0\]/);
    expect(() => compileExpression('object.mail.matches("(a+)+$")', 'scope')).toThrow(/matches\(\) is not allowed/);
  });
});

describe('an expression that is refused', () => {
  test.each([
    ['object.mail + ', 1, 15],
    ['\n  object.a &&\n  zap', 3, 3],
    ['foo.bar', 1, 1],
  ])('%j says at which line and column', (source, line, column) => {
    expect(() => compileExpression(source, 'scope')).toThrow(expect.objectContaining({ details: { line, column } }));
  });

  test('is a loop inside a loop; one after the other is fine', () => {
    const nested = 'object.a.exists(x, object.b.exists(y, x == y))';
    expect(() => compileExpression(nested, 'scope')).toThrow('exists() inside exists() is not allowed');
    const chained = compileExpression('object.a.filter(x, x != "b").map(y, y + "!")', 'scope');
    expect(chained.evaluate({ a: ['a', 'b'] })).toEqual(['a!']);
  });
});
