import { describe, expect, it } from 'vitest';
import { isRollcallError } from '../core/errors.ts';
import { builtInDomain, checkDomain, checkSlug, slugOf } from './names.ts';

const invalid = expect.toSatisfy((error) => isRollcallError(error, 'invalid_input'));

describe('slugs', () => {
  it.each([
    ['Contoso Ltd. (EMEA)', 'contoso-ltd-emea'],
    ['Münchner Straße', 'munchner-stra-e'],
    ['--A--', 'a'],
    [`${'x'.repeat(49)} y`, 'x'.repeat(49)],
  ])('of %j is %j and always passes the check', (name, slug) => {
    expect(slugOf(name)).toBe(slug);
    expect(checkSlug(slug)).toBe(slug);
  });

  it.each(['', '-a', 'a-', 'A', 'a.b', 'a/b', 'x'.repeat(64)])('refuse %j', (slug) => {
    expect(() => checkSlug(slug)).toThrow(invalid);
  });

  it('are asked for where a name has no Latin letter', () => {
    expect(() => slugOf('株式会社')).toThrow(invalid);
  });
});

describe('domains', () => {
  it.each([
    ['Contoso.COM', 'contoso.com'],
    [' a.b.example. ', 'a.b.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ])('%j is kept as %j', (text, name) => {
    expect(checkDomain(text)).toBe(name);
  });

  it.each(['', 'com', 'a..b', '10.0.0.1', 'bücher.example', 'a b.com', '*.com', '@a.com', `${'a.'.repeat(127)}com`])(
    'refuse %j',
    (text) => {
      expect(() => checkDomain(text)).toThrow(invalid);
    },
  );

  it('every root has one of its own under the operator’s', () => {
    expect(builtInDomain('contoso', 'Rollcall.example')).toBe('contoso.rollcall.example');
  });
});
