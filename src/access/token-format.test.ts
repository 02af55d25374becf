import { describe, expect, it } from 'vitest';
import { hashToken, isSameHash, makeToken, parseToken } from './token-format.ts';

describe('token text', () => {
  it('has the published format and parses back to its kind and id', () => {
    const token = makeToken('scim');
    expect(token.text).toMatch(/^rcl_scim_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}$/);
    expect(parseToken(token.text)).toEqual({ kind: 'scim', id: token.id });
  });

  it('drops every single-character typing error without a look-up', () => {
    const { text } = makeToken('api');
    for (let at = 0; at < text.length; at += 1) {
      const other = text.charAt(at) === 'x' ? 'y' : 'x';
      expect(parseToken(text.slice(0, at) + other + text.slice(at + 1))).toBeNull();
    }
  });

  it.each(['', 'rcl_', 'Bearer x', ' '.repeat(100)])('drops %j', (text) => {
    expect(parseToken(text)).toBeNull();
  });

  it('is not accepted with anything before or after it', () => {
    const { text } = makeToken('api');
    expect(parseToken(` ${text}`)).toBeNull();
    expect(parseToken(`${text}\n`)).toBeNull();
  });

  it('hashes the kind too, so a hash can not be moved to another kind, and depends on the pepper', () => {
    const { text } = makeToken('api');
    const pepper = Buffer.alloc(32, 1);
    expect(isSameHash(hashToken(text, pepper), hashToken(text, pepper))).toBe(true);
    expect(isSameHash(hashToken(text, pepper), hashToken(text, Buffer.alloc(32, 2)))).toBe(false);
    expect(isSameHash(hashToken(text, pepper), hashToken(text.replace('_api_', '_scim_'), pepper))).toBe(false);
    expect(isSameHash(hashToken(text, pepper), Buffer.alloc(0))).toBe(false);
  });

  it('never repeats', () => {
    const made = new Set(Array.from({ length: 500 }, () => makeToken('api').text));
    expect(made.size).toBe(500);
  });
});
