import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCursors, cursorTimeoutSeconds } from './cursors.ts';

const query = ['connection', 'user', 'userName sw "a"', ''];
const place = { anchor: 'a-1', key: 'Müller', total: 7 };
const refused = (scimType: string) => expect.objectContaining({ code: 'invalid_input', scimType });

function create(pepper = Buffer.alloc(32, 1)) {
  let nowMs = Date.UTC(2026, 0, 1);
  const cursors = createCursors(pepper, { now: () => new Date(nowMs) });
  return { cursors, pass: (seconds: number) => (nowMs += seconds * 1_000) };
}

describe('a cursor', () => {
  it('opens for its own query and holds what was put into it, in characters that a URL takes as they are', () => {
    const { cursors } = create();
    const text = cursors.seal(query, place);
    expect(text).toMatch(/^[\w-]+$/);
    expect(text).not.toContain(Buffer.from('Müller').toString('base64url'));
    expect(cursors.open(query, text)).toEqual(place);
    expect(cursors.seal(query, place)).not.toBe(text);
  });

  it('does not open for another query, connection or installation, nor changed by one character', () => {
    const { cursors } = create();
    const text = cursors.seal(query, place);
    for (const other of [['other', ...query.slice(1)], [...query.slice(0, 3), 'userName ascending'], []]) {
      expect(() => cursors.open(other, text)).toThrow(refused('invalidCursor'));
    }
    expect(() => create(Buffer.alloc(32, 2)).cursors.open(query, text)).toThrow(refused('invalidCursor'));
    for (let index = 0; index < text.length; index += 1) {
      const changed = `${text.slice(0, index)}${text[index] === 'A' ? 'B' : 'A'}${text.slice(index + 1)}`;
      // the last character of base64 may hold bits that mean nothing
      if (Buffer.from(changed, 'base64url').equals(Buffer.from(text, 'base64url'))) continue;
      expect(() => cursors.open(query, changed)).toThrow(refused('invalidCursor'));
    }
  });

  it('is told apart from one that has expired', () => {
    const { cursors, pass } = create();
    const text = cursors.seal(query, place);
    pass(cursorTimeoutSeconds);
    expect(cursors.open(query, text)).toEqual(place);
    pass(1);
    expect(() => cursors.open(query, text)).toThrow(refused('expiredCursor'));
  });

  it('that nobody issued is refused, whatever it is', { timeout: 30_000 }, () => {
    const { cursors } = create();
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String({ maxLength: 200 })), (text) => {
        expect(() => cursors.open(query, text)).toThrow(refused('invalidCursor'));
      }),
      { numRuns: 50 },
    );
    expect(() => cursors.open(query, 'A'.repeat(5_000))).toThrow(refused('invalidCursor'));
  });
});
