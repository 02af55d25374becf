import { describe, expect, test } from 'vitest';
import {
  authoritative,
  contextOf,
  linked,
  linkOf,
  otherLink,
  ours,
  rulesOf,
  theirs,
  userOf,
} from '../../test/fakes/decision.ts';
import { decideSubject } from './decide.ts';
import type { ConflictPolicy } from './policy.ts';
import type { SubjectLink } from './subject.ts';

type Sides = {
  readonly applied?: string | null;
  readonly source: string | null;
  readonly local: string | null;
  readonly by?: string;
  readonly resolved?: SubjectLink['resolved'];
};

/** What becomes of a department that somebody edited: `after` of an update, `drift` of a case, or nothing. */
function decide(conflict: ConflictPolicy, { applied, source, local, by = 'manual', resolved = {} }: Sides) {
  const subject = linked({
    mapped: { department: source },
    link: linkOf({ applied: applied === undefined ? {} : { department: applied }, resolved }),
    user: userOf({ attributes: { department: local }, provenance: { department: by } }),
  });
  const sources = new Map([[ours, rulesOf(100, { department: { ...authoritative, conflict } })]]);
  const [draft, ...more] = decideSubject(subject, contextOf({ sources }));
  expect(more).toEqual([]);
  if (draft === undefined) return null;
  return draft.op === 'update' ? draft.after?.['department'] : draft.after?.['drift'];
}
const drift = (local: string | null, source: string | null) => ({ department: { local, source } });

describe('a value that a person edited', () => {
  test.each<[string, Sides, unknown, unknown, unknown]>([
    // the situation, and what becomes of it by source, local and review
    ['here only', { applied: 'A', source: 'A', local: 'L' }, null, null, drift('L', 'A')],
    ['on both sides', { applied: 'A', source: 'B', local: 'L' }, 'B', null, drift('L', 'B')],
    ['here, to what the source says by now', { applied: 'A', source: 'B', local: 'B' }, null, null, null],
    ['before the first meeting', { source: 'B', local: 'L' }, null, null, drift('L', 'B')],
    ['and cleared', { applied: 'A', source: 'A', local: null }, null, 'A', drift(null, 'A')],
    ['while the source cleared its own', { applied: 'A', source: null, local: 'L' }, null, null, drift('L', null)],
  ])('%s is judged by the conflict policy', (_what, sides, source, local, review) => {
    // a source that clears its value has changed it
    expect(decide('source', sides)).toEqual(sides.source === null ? null : source);
    expect(decide('local', sides)).toEqual(local);
    expect(decide('review', sides)).toEqual(review);
  });

  test('is the only thing that the policy is about: what the directory itself wrote follows the directory', () => {
    for (const conflict of ['source', 'local', 'review'] as const)
      expect(decide(conflict, { applied: 'A', source: 'B', local: 'A', by: `connection:${ours}` })).toBe('B');
  });
});

describe('a decided drift', () => {
  const sides = { applied: 'A', source: 'B', local: 'L' };
  const decided = (take: 'source' | 'local', more: Partial<{ source: string; local: string }> = {}) => ({
    resolved: { department: { source: 'B', local: 'L', take, ...more } },
  });

  test('is done as the person said', () => {
    expect(decide('review', { ...sides, ...decided('source') })).toBe('B');
    expect(decide('review', { ...sides, ...decided('local') })).toBeNull();
  });

  test('says nothing about other values: they are another question', () => {
    for (const take of ['source', 'local'] as const) {
      expect(decide('review', { ...sides, ...decided(take, { source: 'C' }) })).toEqual(drift('L', 'B'));
      expect(decide('review', { ...sides, ...decided(take, { local: 'M' }) })).toEqual(drift('L', 'B'));
    }
  });
});

describe('a value that another directory says', () => {
  test('is a row of its own, which names that directory', () => {
    const subject = linked({
      mapped: { department: 'Ours', displayName: 'Ann B' },
      user: userOf({ attributes: { department: 'Ours', displayName: 'Ann' } }),
      otherLinks: [otherLink({ mapped: { department: 'Theirs' } })],
    });
    const drafts = decideSubject(subject, contextOf());
    expect(drafts.map(({ op, after, grantSource, reason }) => ({ op, after, grantSource, reason }))).toEqual([
      {
        op: 'update',
        after: { department: 'Theirs' },
        grantSource: `connection:${theirs}`,
        reason: 'Department as Directory 50 says, which goes first now.',
      },
      {
        op: 'update',
        after: { displayName: 'Ann B' },
        grantSource: null,
        reason: 'Display name changed in Directory.',
      },
    ]);
  });
});
