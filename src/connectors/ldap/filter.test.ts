import { BerReader, BerWriter } from 'ldapts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allOf, equals, escapeFilterValue, isPresent, notOf, parseFilter } from './filter.ts';
import type { LdapFilter } from './filter.ts';

function bytesOf(filter: LdapFilter): string {
  const writer = new BerWriter();
  filter.write(writer);
  return writer.buffer.toString('hex');
}

/** Attribute and value of an equality filter, as they go over the wire. */
function comparisonOf(filter: LdapFilter): { attribute: string | null; value: Buffer | null } {
  const writer = new BerWriter();
  filter.write(writer);
  const reader = new BerReader(writer.buffer);
  reader.readSequence(0xa3);
  return { attribute: reader.readString(), value: reader.readString(0x04, true) };
}

describe('parseFilter', () => {
  test('escapes are bytes: UTF-8 in escapes and UTF-8 in text are the same filter', () => {
    const escaped = parseFilter('(cn=Chlo\\c3\\a9 M\\C3\\BCller)');
    expect(comparisonOf(escaped).value?.toString('utf8')).toBe('Chloé Müller');
    expect(bytesOf(escaped)).toBe(bytesOf(parseFilter('(cn=Chloé Müller)')));
  });

  test('every value survives being escaped and parsed, byte for byte', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (array) => {
        const value = Buffer.from(array);
        const filter = parseFilter(`(objectGUID=${escapeFilterValue(value)})`);
        expect(comparisonOf(filter)).toEqual({ attribute: 'objectGUID', value });
        expect(bytesOf(filter)).toBe(bytesOf(equals('objectGUID', value)));
      }),
    );
  });

  test('what a filter prints parses to the same bytes', () => {
    const value = fc.string({ maxLength: 12, unit: 'grapheme' }).map((text) => escapeFilterValue(Buffer.from(text)));
    const name = fc.constantFrom('cn', 'mail', 'member;lang-de', '2.5.4.3');
    const { filter: anyFilter } = fc.letrec<{ filter: string; leaf: string }>((tie) => ({
      leaf: fc.oneof(
        fc.tuple(name, fc.constantFrom('=', '>=', '<=', '~='), value).map((parts) => `(${parts.join('')})`),
        fc.tuple(name, value, value).map(([attribute, a, b]) => `(${attribute}=*${a}*x${b})`),
        name.map((attribute) => `(${attribute}=*)`),
        value.map((text) => `(cn:dn:caseExactMatch:=${text})`),
      ),
      filter: fc.oneof(
        { maxDepth: 3 },
        tie('leaf'),
        fc.array(tie('filter'), { maxLength: 3 }).map((parts) => `(&${parts.join(' ')})`),
        fc.array(tie('filter'), { maxLength: 3 }).map((parts) => `( | ${parts.join('\n')} )`),
        tie('filter').map((part) => `(!${part})`),
      ),
    }));
    fc.assert(
      fc.property(anyFilter, (text) => {
        const filter = parseFilter(text);
        expect(bytesOf(parseFilter(filter.toString()))).toBe(bytesOf(filter));
      }),
    );
  });

  test('white space between parts is accepted, inside a value it counts', () => {
    expect(bytesOf(parseFilter(' ( & (cn=a b) \n\t (! (mail=*) ) ) '))).toBe(
      bytesOf(allOf(equals('cn', 'a b'), notOf(isPresent('mail')))),
    );
    expect(comparisonOf(parseFilter('(cn= a )')).value?.toString()).toBe(' a ');
  });

  test('a filter without parentheses is one comparison', () => {
    expect(bytesOf(parseFilter('uid=ann'))).toBe(bytesOf(equals('uid', 'ann')));
  });

  test('the wire form of every kind is that of RFC 4511', () => {
    const forms: Record<string, string> = {
      '(cn=*)': '8702636e',
      '(cn=a)': 'a3070402636e040161',
      '(cn>=a)': 'a5070402636e040161',
      '(cn<=a)': 'a6070402636e040161',
      '(cn~=a)': 'a8070402636e040161',
      '(cn=a*b*c)': 'a40f0402636e3009800161810162820163',
      '(cn=*b*)': 'a4090402636e3003810162',
      '(&)': 'a000',
      '(|)': 'a100',
    };
    for (const [text, hex] of Object.entries(forms)) {
      expect(bytesOf(parseFilter(text)), text).toBe(hex);
    }
    const extensible = bytesOf(parseFilter('(userAccountControl:1.2.840.113556.1.4.803:=2)'));
    expect(extensible).toContain(Buffer.from('1.2.840.113556.1.4.803').toString('hex'));
    expect(extensible.endsWith('830132')).toBe(true);
  });

  test.each([
    ['(cn=a', 6],
    ['(cn=a))', 7],
    ['cn', 1],
    ['(c n=a)', 2],
    ['(cn=a\\g0)', 6],
    ['(cn=a\\2)', 6],
    ['(!(cn=a)(cn=b))', 15],
    ['(&(cn=a)', 9],
    ['(=a)', 2],
    ['(:=a)', 2],
    ['', 1],
  ])('%s is refused with the column', (text, column) => {
    expect(() => parseFilter(text)).toThrowError(expect.objectContaining({ code: 'invalid_input' }) as Error);
    expect(() => parseFilter(text)).toThrow(`column ${column}:`);
  });

  test('deep nesting is refused, not a crash', () => {
    expect(() => parseFilter('(!'.repeat(5_000))).toThrow(/deeper than/);
  });
});
