import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { entryBytes } from '../../../test/servers/fake-ldap.ts';
import { LdapEntry, pieceOf } from './entry.ts';
import { Inbox, frameOf } from './inbox.ts';
import { readHead } from './results.ts';
import { filetimeDate, generalizedDate, guidBytes, guidText, integerValue, sidText } from './values.ts';

describe('values', () => {
  test('a GUID is printed with its first three fields little-endian, and read back', () => {
    const bytes = Buffer.from('33221100554477668899aabbccddeeff', 'hex');
    expect(guidText(bytes)).toBe('00112233-4455-6677-8899-aabbccddeeff');
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (array) => {
        const guid = Buffer.from(array);
        expect(guidBytes(guidText(guid) ?? '')).toEqual(guid);
      }),
    );
    expect(guidText(Buffer.alloc(15))).toBeNull();
    expect(guidBytes('not-a-guid')).toBeNull();
  });

  test('a SID is printed as Windows does', () => {
    const bytes = Buffer.from('010500000000000515000000a065cf7e784b9b5fe77c8770091c0100', 'hex');
    expect(sidText(bytes)).toBe('S-1-5-21-2127521184-1604012920-1887927527-72713');
    expect(sidText(bytes.subarray(0, 20))).toBeNull();
  });

  test('FILETIME 0 and the largest value mean never', () => {
    expect(filetimeDate('132539328000000000')?.toISOString()).toBe('2021-01-01T00:00:00.000Z');
    expect(filetimeDate('0')).toBeNull();
    expect(filetimeDate('9223372036854775807')).toBeNull();
    expect(filetimeDate('soon')).toBeNull();
  });

  test.each([
    ['20210203040506Z', '2021-02-03T04:05:06.000Z'],
    ['20210203040506.5Z', '2021-02-03T04:05:06.500Z'],
    ['2021020304Z', '2021-02-03T04:00:00.000Z'],
    ['202102030405Z', '2021-02-03T04:05:00.000Z'],
    ['20210203040506+0130', '2021-02-03T02:35:06.000Z'],
    ['20210203040506-05', '2021-02-03T09:05:06.000Z'],
    ['20210203040506.0Z', '2021-02-03T04:05:06.000Z'],
  ])('generalized time %s is %s', (text, iso) => {
    expect(generalizedDate(text)?.toISOString()).toBe(iso);
  });

  test.each(['', '2021', '20211303040506Z', '20210231040506Z', '20210203040506'])(
    '%s is no generalized time',
    (text) => {
      expect(generalizedDate(text)).toBeNull();
    },
  );

  test('integers beyond what a double holds are not rounded', () => {
    expect(integerValue('-2147483648')).toBe(-2_147_483_648);
    expect(integerValue('9223372036854775807')).toBeNull();
  });
});

describe('entries', () => {
  const attribute = fc.tuple(
    fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/),
    fc.array(
      fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
      { minLength: 1, maxLength: 4 },
    ),
  );

  test('what a server encodes is what the entry gives, under lower-case names', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 30 }),
        fc.array(attribute, { maxLength: 6 }),
        (dn, pairs) => {
          const attributes = Object.fromEntries(pairs.map(([name, values]) => [name.toUpperCase(), values]));
          const frame = entryBytes(7, dn, attributes);
          const head = readHead(frame);
          const entry = new LdapEntry(pieceOf(frame), head.contentOffset, frame.length);
          expect([head.id, entry.dn]).toEqual([7, dn]);
          for (const [name, values] of Object.entries(attributes))
            expect(entry.values(name.toLowerCase())).toEqual(values);
          expect(entry.keys().length).toBe(Object.keys(attributes).length);
        },
      ),
    );
  });

  test('cut at any byte, an entry throws and never loses values silently', () => {
    const whole = entryBytes(7, 'cn=a,dc=x', { cn: ['a'], member: ['cn=b', 'cn=c'] });
    for (let end = 8; end < whole.length; end += 1) {
      expect(() => new LdapEntry(pieceOf(whole, 0, end), readHead(whole).contentOffset, end), `at ${end}`).toThrow();
    }
  });
});

describe('frames', () => {
  test('messages come out whole however the bytes are cut', () => {
    const messages = [
      entryBytes(1, 'cn=a', {}),
      entryBytes(2, 'cn=b', { x: ['y'.repeat(300)] }),
      entryBytes(3, 'cn=c', {}),
    ];
    const bytes = Buffer.concat(messages);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length }), { maxLength: 12 }), (cuts) => {
        const inbox = new Inbox(10_000);
        const frames: Buffer[] = [];
        let from = 0;
        for (const to of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
          inbox.push(bytes.subarray(from, to), () => undefined);
          for (let message = inbox.take(); message !== undefined; message = inbox.take()) frames.push(frameOf(message));
          from = to;
        }
        expect(frames).toEqual(messages);
        expect(inbox.isEmpty && !inbox.hasPart).toBe(true);
      }),
    );
  });
});
