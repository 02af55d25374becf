import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestBytes, digestOf, Fingerprints, SetFingerprint } from './fingerprints.ts';

describe('fingerprints', () => {
  test('tell same, changed and new apart, and know what was not seen', () => {
    const known = new Fingerprints(3);
    known.add('user', 'a', digestBytes(digestOf('1')));
    known.add('user', 'b', digestBytes(digestOf('1')));
    known.add('group', 'a', digestBytes(digestOf('1')));
    expect(known.see('user', 'a', digestOf('1'))).toBe('same');
    expect(known.see('user', 'a', digestOf('2'))).toBe('changed');
    expect(known.see('user', 'c', digestOf('1'))).toBe('new');
    expect([known.size, known.seen]).toEqual([3, 1]);
    expect([known.wasSeen('user', 'a'), known.wasSeen('user', 'b'), known.wasSeen('group', 'a')]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('hold a hundred thousand without losing one', () => {
    const count = 100_000;
    const known = new Fingerprints(count);
    for (let index = 0; index < count; index += 1)
      known.add('user', `id-${index}`, digestBytes(digestOf(String(index))));
    let same = 0;
    for (let index = 0; index < count; index += 1)
      if (known.see('user', `id-${index}`, digestOf(String(index))) === 'same') same += 1;
    expect([known.size, known.seen, same]).toEqual([count, count, count]);
  });
});

describe('fingerprint of a set', () => {
  const of = (anchors: readonly string[]) => {
    const fingerprint = new SetFingerprint();
    for (const anchor of anchors) fingerprint.add(anchor);
    return fingerprint.hex;
  };

  test('depends on the members and not on their order', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 20 }), fc.uuid(), (anchors, other) => {
        expect(of(anchors.toReversed())).toBe(of(anchors));
        expect(of([...anchors, other])).not.toBe(of(anchors));
        expect(of([...anchors.slice(1), other]) === of(anchors)).toBe(anchors[0] === other);
      }),
    );
  });
});
