import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AttributeValue, DirectoryObject } from '../../connectors/contract/contract.ts';
import { contentOf } from './content.ts';

const value: fc.Arbitrary<AttributeValue> = fc.oneof(
  fc.string({ maxLength: 4 }),
  fc.constantFrom('"1:a', '-', '[1', '>', '@', '1;', 'true;'),
  fc.integer({ min: -3, max: 3 }),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.string({ maxLength: 2 }), { maxLength: 3 }),
);
const attributes = fc.dictionary(fc.string({ minLength: 1, maxLength: 3 }), value, { maxKeys: 4 });
const object = fc.record({
  kind: fc.constant('user' as const),
  anchor: fc.constant('a'),
  name: fc.string({ maxLength: 3 }),
  locator: fc.option(fc.string({ maxLength: 3 })),
  isActive: fc.boolean(),
  inactiveReason: fc.option(fc.string({ maxLength: 3 })),
  attributes,
});
const result = fc.option(
  fc.record({
    mapped: fc.dictionary(fc.string({ maxLength: 2 }), fc.option(fc.string({ maxLength: 2 })), { maxKeys: 3 }),
    isInScope: fc.boolean(),
    ruleIds: fc.array(fc.string({ maxLength: 2 }), { maxLength: 2 }),
    problem: fc.option(fc.string({ maxLength: 3 })),
  }),
);

const reversed = (of: DirectoryObject): DirectoryObject => ({
  ...of,
  attributes: Object.fromEntries(Object.entries(of.attributes).toReversed()),
});
/** What must not be mixed up, as JSON tells it. */
const plain = ({ attributes: all, ...rest }: DirectoryObject, mapping: unknown): string =>
  JSON.stringify([rest, Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)), mapping]);

describe('the content of an object', () => {
  test('is the same text exactly when everything the mirror keeps is the same', () => {
    fc.assert(
      fc.property(object, result, object, result, (one, oneMapped, other, otherMapped) => {
        const isSame = plain(one, oneMapped) === plain(other, otherMapped);
        expect(contentOf(one, oneMapped) === contentOf(other, otherMapped)).toBe(isSame);
      }),
      { numRuns: 2_000 },
    );
  });

  test('does not depend on the order in which a directory names the attributes', () => {
    fc.assert(
      fc.property(object, result, (one, mapped) => {
        expect(contentOf(reversed(one), mapped)).toBe(contentOf(one, mapped));
      }),
    );
  });

  test.each<[string, Record<string, AttributeValue>, Record<string, AttributeValue>]>([
    ['a text and a list of it', { a: 'x' }, { a: ['x'] }],
    ['a number and its text', { a: 1 }, { a: '1' }],
    ['one value and two', { a: ['x', 'y'] }, { a: ['xy'] }],
    ['nothing and an empty text', { a: null }, { a: '' }],
    ['two values and one that looks like both', { a: 'b', c: 'd' }, { a: 'b@"c"d' }],
    ['a value and the name of the next', { a: 'b', c: 'd' }, { a: 'b@"1:c', d: 'd' }],
  ])('tells %s apart', (_, one, other) => {
    const of = (all: Record<string, AttributeValue>): DirectoryObject => ({
      kind: 'user',
      anchor: 'a',
      name: 'n',
      locator: null,
      isActive: true,
      inactiveReason: null,
      attributes: all,
    });
    expect(contentOf(of(one), null)).not.toBe(contentOf(of(other), null));
  });
});
