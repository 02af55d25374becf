import { describe, expect, test } from 'vitest';
import {
  authoritative,
  contextOf,
  linked,
  linkOf,
  newcomer,
  otherLink,
  ours,
  rulesOf,
  theirs,
  userOf,
} from '../../test/fakes/decision.ts';
import { mergeAttributes, usableUsername, type AttributeChange } from './merge-attributes.ts';
import type { Attributes, SourceRules } from './subject.ts';

type Mapping = SourceRules['mappings'][string];

/** What becomes of `department`: who says what, what stands, and how our connection writes it. */
function merged(situation: {
  ours?: Attributes;
  theirs?: Attributes;
  stands?: string | null;
  provenance?: string;
  applied?: Attributes | 'no link';
  mapping?: Mapping;
  theirMapping?: Mapping;
  ourPriority?: number;
  isOurObjectLive?: boolean;
}): Omit<AttributeChange, 'source'>[] {
  const { stands = null, provenance, applied = {} } = situation;
  const user = userOf({
    attributes: { department: stands },
    provenance: provenance === undefined ? {} : { department: provenance },
  });
  const subject = linked({
    user,
    link: applied === 'no link' ? null : linkOf({ applied }),
    mapped: situation.ours ?? {},
    otherLinks: situation.theirs === undefined ? [] : [otherLink({ mapped: situation.theirs })],
  });
  const sources = new Map([
    [ours, rulesOf(situation.ourPriority ?? 100, { department: situation.mapping ?? authoritative })],
    [theirs, rulesOf(50, { department: situation.theirMapping ?? authoritative })],
  ]);
  const found = mergeAttributes(subject, contextOf({ sources }), user, situation.isOurObjectLive ?? true);
  return found.changes.map(({ source: _source, ...change }) => change);
}
const to = (after: string | null, before: string | null) => [{ target: 'department', before, after }];

describe('one source', () => {
  test('writes what it says and nothing that stands already', () => {
    expect(merged({ ours: { department: 'A' }, stands: 'B' })).toEqual(to('A', 'B'));
    expect(merged({ ours: { department: 'A' }, stands: 'A' })).toEqual([]);
  });

  test('leaves alone what it does not map', () => {
    expect(merged({ ours: {}, stands: 'B' })).toEqual([]);
  });

  test('clears by null, or keeps, as the mapping says', () => {
    expect(merged({ ours: { department: null }, stands: 'B' })).toEqual(to(null, 'B'));
    expect(merged({ ours: { department: null }, stands: 'B', mapping: { ...authoritative, onNull: 'keep' } })).toEqual(
      [],
    );
  });

  test('with strength initial fills an empty value and touches none that stands', () => {
    const mapping: Mapping = { strength: 'initial', onNull: 'clear', conflict: 'source' };
    expect(merged({ ours: { department: 'A' }, mapping })).toEqual(to('A', null));
    expect(merged({ ours: { department: 'A' }, stands: 'B', mapping })).toEqual([]);
    expect(merged({ ours: { department: null }, stands: 'B', mapping })).toEqual([]);
  });
});

describe('several sources', () => {
  test('the lower priority number wins', () => {
    expect(merged({ ours: { department: 'A' }, theirs: { department: 'B' }, stands: 'C' })).toEqual(to('B', 'C'));
    const first = { ours: { department: 'A' }, theirs: { department: 'B' }, stands: 'C', ourPriority: 10 };
    expect(merged(first)).toEqual(to('A', 'C'));
  });

  test('one that has no value lets the next speak', () => {
    expect(merged({ ours: { department: 'A' }, theirs: { department: null }, stands: 'C' })).toEqual(to('A', 'C'));
  });

  test('one with strength fallback speaks only while no other has a value', () => {
    const fallback: Mapping = { strength: 'fallback', onNull: 'clear', conflict: 'source' };
    const both = { ours: { department: 'A' }, theirs: { department: 'B' }, theirMapping: fallback };
    expect(merged(both)).toEqual(to('A', null));
    expect(merged({ ...both, ours: { department: null } })).toEqual(to('B', null));
  });

  test('one that ended says nothing any more', () => {
    const ended = { ours: { department: 'A' }, theirs: { department: 'B' }, ourPriority: 10, isOurObjectLive: false };
    expect(merged({ ...ended, stands: 'A' })).toEqual(to('B', 'A'));
  });
});

describe('a value set by hand', () => {
  const edited = { stands: 'By hand', provenance: 'manual' };

  test('stays until the source says something new', () => {
    expect(merged({ ...edited, ours: { department: 'A' }, applied: { department: 'A' } })).toEqual([]);
    expect(merged({ ...edited, ours: { department: 'B' }, applied: { department: 'A' } })).toEqual(to('B', 'By hand'));
  });

  test('stays at the first meeting, by a match and by the word of a person alike', () => {
    expect(merged({ ...edited, ours: { department: 'A' }, applied: 'no link' })).toEqual([]);
    expect(merged({ ...edited, ours: { department: 'A' }, applied: {} })).toEqual([]);
  });

  test('is filled at the first meeting where it is empty', () => {
    const empty = { stands: null, provenance: 'manual', ours: { department: 'A' } };
    expect(merged({ ...empty, applied: 'no link' })).toEqual(to('A', null));
  });

  test('is not undone by a run of a source that is not the one that decides', () => {
    const both = { ours: { department: 'A' }, theirs: { department: 'B' }, applied: { department: 'Old' } };
    expect(merged({ ...edited, ...both })).toEqual([]);
  });
});

describe('usernames', () => {
  const proven = new Set(['contoso.test']);

  test('count only inside the proven domains, in whatever case', () => {
    expect(usableUsername('ann@contoso.test', proven)).toBe('ann@contoso.test');
    expect(usableUsername('Ann@CONTOSO.test', proven)).toBe('Ann@CONTOSO.test');
    for (const foreign of ['ann@elsewhere.test', 'ann@sub.contoso.test', 'ann', '@contoso.test', '', null])
      expect(usableUsername(foreign, proven)).toBeNull();
  });

  test('outside them leave a newcomer without one, and a user with the one that stands', () => {
    const context = contextOf();
    const mapped = { username: 'ann@elsewhere.test' };
    expect(mergeAttributes(newcomer({ mapped }), context, null, true).changes).toEqual([]);
    const user = userOf({ attributes: { username: 'ann@contoso.test' } });
    expect(mergeAttributes(linked({ mapped, user }), context, user, true).changes).toEqual([]);
  });
});
