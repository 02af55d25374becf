import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRollcallError } from '../core/errors.ts';
import { compareOps, parseFilter, parseValueFilter, printFilter, type Filter } from './filter.ts';
import { matches } from './filter-match.ts';
import { groupModel, userModel, type AttributePath } from './schema-model.ts';

function refusal(text: string): string | undefined {
  try {
    parseFilter(userModel, text);
    return undefined;
  } catch (error) {
    if (!isRollcallError(error, 'invalid_input')) throw error;
    return error.scimType;
  }
}

/** The tree without the models, for reading. */
function sketch(text: string): string {
  return printFilter(parseFilter(userModel, text));
}

describe('filters', () => {
  it.each([
    ['userName eq "bjensen"', 'userName eq "bjensen"'],
    ['USERNAME EQ "bjensen"', 'userName eq "bjensen"'],
    ['urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"', 'userName sw "J"'],
    ['name.familyName co "O\'Malley"', 'name.familyName co "O\'Malley"'],
    ['title pr and userType eq "Employee"', 'title pr and userType eq "Employee"'],
    ['title pr or userType eq "Intern" and active eq true', 'title pr or (userType eq "Intern" and active eq true)'],
    ['not (userType eq "x")', 'not (userType eq "x")'],
    ['emails[type eq "work" and value co "@example.com"]', 'emails[type eq "work" and value co "@example.com"]'],
    ['emails[type eq "work"].value eq "a"', 'emails[type eq "work" and value eq "a"]'],
    ['emails co "example.com"', 'emails.value co "example.com"'],
    ['name.FamilyName eq Employee1', 'name.familyName eq "Employee1"'],
    ['active eq "True"', 'active eq true'],
    ['title eq null', 'title eq null'],
    ['userName eq "a\\"b\\\\c"', 'userName eq "a\\"b\\\\c"'],
    ['manager eq "7"', 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "7"'],
    ['meta.lastmodified ge "2021-09-23T19:35:41.8420572Z"', 'meta.lastModified ge "2021-09-23T19:35:41.842Z"'],
    ['((userName eq "a"))', 'userName eq "a"'],
  ])('reads %s', (text, canonical) => {
    expect(sketch(text)).toBe(canonical);
  });

  it.each([
    'userName eq',
    'userName',
    '',
    '()',
    'eq "x"',
    'userName zz "x"',
    'nonsense eq "x"',
    'emails.nonsense eq "x"',
    'password eq "x"',
    'userName eq a\u0000b',
    'userName eq "\\u0000"',
    '__proto__.x eq "1"',
    'constructor eq "1"',
    'userName eq "x',
    'userName eq "x" and',
    'userName eq "x" userType eq "y"',
    '(userName eq "x"',
    'userName eq "x")',
    'emails[type eq "work"',
    'emails[nonsense eq "x"]',
    'userName[x eq "y"]',
    'name eq "x"',
    'active gt true',
    'active eq maybe',
    'meta.created gt "yesterday"',
    'meta.created co "2026"',
    'userName gt null',
    `userName eq "${'x'.repeat(2_001)}"`,
    Array.from({ length: 51 }, () => 'title pr').join(' or '),
    `${'('.repeat(11)}title pr${')'.repeat(11)}`,
    `${'not ('.repeat(11)}title pr${')'.repeat(11)}`,
  ])('refuses %s as invalidFilter, never with an empty result', (text) => {
    expect(refusal(text)).toBe('invalidFilter');
  });

  it('reads what it prints, for any tree', () => {
    fc.assert(
      fc.property(filters, (filter) => {
        const text = printFilter(filter);
        fc.pre(text.length <= 2_000);
        expect(printFilter(parseFilter(userModel, text))).toBe(text);
      }),
    );
  });

  it('throws nothing but its own refusal, whatever the text', () => {
    const words = fc.constantFrom(
      'userName',
      'eq',
      'and',
      'not',
      '(',
      ')',
      '[',
      ']',
      '"',
      '\\',
      'emails',
      '.',
      ' ',
      'pr',
      '1',
    );
    const soup = fc.array(fc.oneof(words, fc.string()), { maxLength: 60 }).map((parts) => parts.join(' '));
    fc.assert(
      fc.property(soup, (text) => {
        expect([undefined, 'invalidFilter']).toContain(refusal(text));
      }),
      { numRuns: 500 },
    );
  });

  it('needs time in proportion to the text: the longest hostile ones are read in milliseconds', () => {
    const hostile = [
      '('.repeat(2_000),
      `userName eq "${'\\'.repeat(1_980)}`,
      'a'.repeat(2_000),
      `${'emails['.repeat(285)}`,
      `${'not '.repeat(499)}`,
      ' '.repeat(2_000),
    ];
    const startMs = performance.now();
    for (const text of hostile) expect(refusal(text)).toBe('invalidFilter');
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });
});

describe('value filters of a path', () => {
  const emails = userModel.attributes.get('emails');
  const members = groupModel.attributes.get('members');
  const matching = (text: string, value: Record<string, string | boolean>) => {
    if (emails === undefined) throw new Error('the model has no emails');
    return matches(parseValueFilter(emails, text), value);
  };

  it.each([
    ['type eq "work"', { type: 'WORK' }, true],
    ['type eq "work"', { type: 'home' }, false],
    ['type eq "work"', {}, false],
    ['type ne "work"', {}, true],
    ['primary eq true', { primary: true }, true],
    ['primary eq "True"', { primary: true }, true],
    ['not (primary eq true)', {}, true],
    ['value ew "example.com" and type eq "work"', { type: 'work', value: 'x@EXAMPLE.com' }, true],
    ['value pr', { value: '' }, false],
    ['value eq null', {}, true],
  ])('%s on %j is %s', (text, value, expected) => {
    expect(matching(text, value)).toBe(expected);
  });

  it('knows the sub-attributes of members', () => {
    if (members === undefined) throw new Error('the model has no members');
    expect(printFilter(parseValueFilter(members, 'Value eq "1"'))).toBe('value eq "1"');
  });
});

// ---------------------------------------------------------------- any tree

function pathTo(name: string, sub?: string): AttributePath {
  const attribute = userModel.attributes.get(name);
  if (attribute === undefined) throw new Error(`no ${name}`);
  return { extension: null, attribute, sub: sub === undefined ? null : (attribute.sub.get(sub) ?? null) };
}

function inner(name: string): AttributePath {
  const attribute = userModel.attributes.get('emails')?.sub.get(name);
  if (attribute === undefined) throw new Error(`no ${name}`);
  return { extension: null, attribute, sub: null };
}

const text = fc.string({ maxLength: 12 }).filter((value) => !value.includes('\u0000'));
const leafOf = (paths: readonly AttributePath[]): fc.Arbitrary<Filter> =>
  fc.oneof(
    fc.record({
      kind: fc.constant('compare' as const),
      path: fc.constantFrom(...paths),
      op: fc.constantFrom(...compareOps),
      value: text,
    }),
    fc.record({ kind: fc.constant('present' as const), path: fc.constantFrom(...paths) }),
  );
const valueLeaf = leafOf([inner('value'), inner('type')]);
const leaf: fc.Arbitrary<Filter> = fc.oneof(
  leafOf([pathTo('username'), pathTo('name', 'familyname'), pathTo('title'), pathTo('externalid')]),
  fc.record({ kind: fc.constant('where' as const), path: fc.constant(pathTo('emails')), term: valueLeaf }),
);
const { tree: filters } = fc.letrec<{ tree: Filter }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    leaf,
    fc.record({ kind: fc.constant('not' as const), term: tie('tree') }),
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      terms: fc.array(tie('tree'), { minLength: 2, maxLength: 3 }),
    }),
  ),
}));
