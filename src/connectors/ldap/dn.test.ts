import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DnIndex } from './dn-index.ts';
import { dnKey, escapeRdnValue, isKeyBelow } from './dn.ts';

describe('dnKey', () => {
  test.each([
    ['CN=Ann,OU=People,DC=example,DC=org', 'cn=ann, ou=PEOPLE ,dc=Example , dc=ORG'],
    ['cn=John  Smith,dc=x', 'CN= John Smith ,DC=x'],
    ['cn=Smith\\, John,dc=x', 'cn=Smith\\2C John,dc=x'],
    ['cn=Smith\\, John,dc=x', 'cn="Smith, John",dc=x'],
    ['cn=a;dc=x', 'cn=a,dc=x'],
    ['uid=a+cn=b,dc=x', 'CN=B + UID=A,dc=x'],
    ['cn=Chloé,dc=x', 'cn=Chlo\\C3\\A9,dc=x'],
    ['cn=Chloé,dc=x', 'CN=CHLOÉ,dc=x'],
    ['cn=Chloé,dc=x', 'cn=Chloe\u0301,dc=x'],
    ['cn=Ann,dc=x', 'cn=#0403416e6e,dc=x'],
    ['cn=a\\+b,dc=x', 'cn=a\\2bb,dc=x'],
    ['cn=a\\=b,dc=x', 'cn=a=b,dc=x'],
    ['cn=\\ a\\ ,dc=x', 'cn=\\20a\\20,dc=x'],
  ])('%s equals %s', (one, other) => {
    expect(dnKey(one)).toBe(dnKey(other));
  });

  test.each([
    ['cn=a,dc=x', 'cn=a,dc=y'],
    ['cn=a\\,dc\\=x', 'cn=a,dc=x'],
    ['cn=a+b=c,dc=x', 'cn=a\\+b\\=c,dc=x'],
    ['cn=ab,dc=x', 'cn=a b,dc=x'],
  ])('%s differs from %s', (one, other) => {
    expect(dnKey(one)).not.toBe(dnKey(other));
  });

  test('any value escaped into a DN is one RDN, and equals itself in hexadecimal escapes', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }), (value) => {
        const hex = [...Buffer.from(value)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('');
        expect(dnKey(`cn=${escapeRdnValue(value)},dc=x`)).toBe(dnKey(`cn=${hex},dc=x`));
      }),
      { numRuns: 500 },
    );
  });

  test('below means a whole component', () => {
    expect(isKeyBelow('cn=a,dc=x', 'dc=x')).toBe(true);
    expect(isKeyBelow('dc=x', 'dc=x')).toBe(true);
    expect(isKeyBelow('cn=a,dc=xx', 'dc=x')).toBe(false);
    expect(isKeyBelow('cn=a,adc=x', 'dc=x')).toBe(false);
  });
});

describe('DnIndex', () => {
  const anchor = fc.oneof(
    fc.uuid(),
    fc.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{8}){3}$/),
    fc.string({ minLength: 1, maxLength: 30 }),
  );

  test('behaves as a map of keys, whatever the form of the anchor', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ maxLength: 6 }), anchor), { maxLength: 200 }), (pairs) => {
        const index = new DnIndex();
        const map = new Map<string, string>();
        for (const [name, value] of pairs) {
          index.set(`cn=${escapeRdnValue(name)}`, value);
          map.set(dnKey(`cn=${escapeRdnValue(name)}`), value);
        }
        expect(index.size).toBe(map.size);
        for (const [name] of pairs) {
          const dn = `cn=${escapeRdnValue(name)}`;
          expect(index.get(dn)).toBe(map.get(dnKey(dn)));
        }
        expect(index.get('cn=nobody,dc=nowhere')).toBeNull();
      }),
    );
  });

  test('tells a member once per group under whatever spelling, and again to the next group', () => {
    const index = new DnIndex();
    const id = '0b5c1d2e-0000-4000-8000-00000000abcd';
    index.set('cn=Ann,dc=x', id);
    index.beginGroup();
    expect([index.take('CN=ann, DC=X'), index.take('cn=Ann,dc=x'), index.take('cn=Bob,dc=x')]).toEqual([
      id,
      undefined,
      null,
    ]);
    index.beginGroup();
    expect(index.take('cn=Ann,dc=x')).toBe(id);
  });

  test(
    'finds every one of 100,000 names after growing, and costs less than 100 bytes each',
    { timeout: 30_000 },
    () => {
      const index = new DnIndex();
      const anchorOf = (at: number): string => `00000000-0000-4000-8000-${at.toString(16).padStart(12, '0')}`;
      const count = 100_000;
      for (let at = 0; at < count; at += 1) index.set(`uid=user${at},ou=People,dc=example,dc=org`, anchorOf(at));
      let found = 0;
      for (let at = 0; at < count; at += 1) {
        if (index.get(`UID=USER${at},ou=people,dc=example,dc=org`) === anchorOf(at)) found += 1;
      }
      expect([found, index.size]).toEqual([count, count]);
      expect(index.byteLength / count).toBeLessThan(100);
    },
  );
});
