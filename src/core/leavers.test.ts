import { describe, expect, test } from 'vitest';
import {
  candidate,
  contextOf,
  linked,
  linkOf,
  newcomer,
  otherLink,
  ours,
  ruleGrant,
  userOf,
} from '../../test/fakes/decision.ts';
import { decideSubject } from './decide.ts';
import { leaverSchema } from './policy.ts';
import type { LeaverDays, Subject } from './subject.ts';

const at = (day: string) => `2026-01-${day}T12:00:00Z`;
const suspended = userOf({ status: 'suspended', suspendedBy: `connection:${ours}`, leftAt: at('01') });

function decide(subject: Subject, now: string, leaver: Partial<LeaverDays> = {}) {
  const days = { graceDays: 0, deleteAfterDays: null, reviewRehireAfterDays: null, ...leaver };
  return decideSubject(subject, contextOf({ leaver: days, now }));
}
const ops = (...args: Parameters<typeof decide>) => decide(...args).map((draft) => draft.op);

describe('days of grace', () => {
  const leaving = linked({ isDeleted: true, link: linkOf({ leavingSince: at('01') }), ruleGrants: [ruleGrant()] });
  const grace = { graceDays: 10 };

  test.each(['keep', 'suspend', 'revoke_roles', 'remove'] as const)(
    'hold back the policy %s until they are over',
    (leaverPolicy) => {
      const decideAt = (now: string) =>
        decideSubject(
          leaving,
          contextOf({
            leaverPolicy,
            leaver: { graceDays: 10, deleteAfterDays: null, reviewRehireAfterDays: null },
            now,
          }),
        );
      expect(decideAt('2026-01-11T11:59:59Z')).toEqual([]);
      expect(decideAt('2026-01-11T12:00:00Z')).not.toEqual([]);
    },
  );

  test('begin when the object is first found gone', () => {
    expect(ops(linked({ isDeleted: true }), at('20'), grace)).toEqual([]);
    expect(ops(linked({ isInScope: false, link: linkOf({ leavingSince: null }) }), at('20'), grace)).toEqual([]);
  });

  test('do not delay what the directory says outright: a disabled user is suspended at once', () => {
    expect(ops(linked({ isActive: false }), at('02'), grace)).toEqual(['suspend']);
  });

  test('do not delay a hand-over to another directory', () => {
    expect(ops({ ...leaving, otherLinks: [otherLink()] }, at('02'), grace)).toEqual(['revoke', 'unlink']);
  });
});

describe('a suspended leaver', () => {
  const left = linked({
    isDeleted: true,
    user: suspended,
    link: linkOf({ state: 'suspended', endedAt: at('01') }),
    ruleGrants: [ruleGrant()],
  });
  const removal = { deleteAfterDays: 20 };

  test('is removed after the days set for it, with the roles this directory gave, and not a second before', () => {
    expect(ops(left, '2026-01-21T11:59:59Z', removal)).toEqual([]);
    expect(decide(left, '2026-01-21T12:00:00Z', removal).map((draft) => [draft.op, draft.kind, draft.cause])).toEqual([
      ['revoke', 'leaver', 'delete_after'],
      ['remove', 'leaver', 'delete_after'],
    ]);
  });

  test.each<[string, Partial<Subject>]>([
    ['a person suspended', { user: { ...suspended, suspendedBy: 'manual' } }],
    ['another directory suspended', { user: { ...suspended, suspendedBy: 'connection:other' } }],
    ['is active again', { user: userOf() }],
    ['is protected', { user: { ...suspended, isProtected: true } }],
    ['another directory vouches for', { otherLinks: [otherLink()] }],
  ])('whom %s is never removed', (_what, more) => expect(ops({ ...left, ...more }, at('30'), removal)).toEqual([]));

  test('who holds Super Admin becomes a case', () => {
    expect(ops({ ...left, user: { ...suspended, isSuperAdmin: true } }, at('30'), removal)).toEqual(['dispute']);
  });
});

describe('who comes back', () => {
  const back = linked({ user: suspended, link: linkOf({ state: 'suspended', endedAt: at('01') }) });
  const asNew = newcomer({ user: suspended, candidates: [candidate()] });
  const review = { reviewRehireAfterDays: 15 };
  const removed = linked({
    user: { ...suspended, status: 'removed' },
    link: linkOf({ state: 'removed', endedAt: at('01') }),
  });

  test.each([
    ['the same object', back],
    ['a new object that matches', asNew],
  ])('as %s within the days is relinked', (_what, subject) => {
    expect(ops(subject, at('15'), review)).toEqual(['link', 'reactivate']);
  });

  test.each([
    ['the same object', back],
    ['a new object that matches', asNew],
  ])('as %s after them is a case', (_what, subject) => {
    const drafts = decide(subject, at('17'), review);
    expect(drafts).toMatchObject([
      { op: 'dispute', cause: 'rehire', after: { caseKind: 'rehire', candidates: ['user-ann'] } },
    ]);
    expect(ops(subject, at('17'))).toEqual(['link', 'reactivate']);
  });

  test('after a removal is a case at once where rehires are reviewed, and relinked where not', () => {
    expect(ops(removed, at('02'), review)).toEqual(['dispute']);
    expect(ops(removed, at('02'))).toEqual(['link', 'reactivate']);
  });

  test('and whom a person approved is relinked', () => {
    const drafts = decide(
      { ...removed, link: linkOf({ state: 'removed', endedAt: at('01'), matchedBy: 'rehire' }) },
      at('30'),
      review,
    );
    expect(drafts.map((draft) => draft.op)).toEqual(['link', 'reactivate']);
    expect(drafts[0]?.after).toEqual({ matchedBy: 'case' });
  });

  test('was not away while another directory vouched', () => {
    expect(ops({ ...back, otherLinks: [otherLink()] }, at('30'), review)).toContain('link');
  });

  test('is re-activated only where we suspended or removed', () => {
    for (const user of [{ ...suspended, suspendedBy: 'manual' }, userOf({ status: 'removed', suspendedBy: 'manual' })])
      expect(ops({ ...back, user }, at('02'))).toEqual(['link']);
  });
});

test('removal after days goes with policy suspend only', () => {
  expect(leaverSchema.safeParse({ policy: 'keep', deleteAfterDays: 3 }).success).toBe(false);
  expect(leaverSchema.parse({ deleteAfterDays: 3 })).toEqual({
    policy: 'suspend',
    graceDays: 0,
    deleteAfterDays: 3,
    rehire: 'relink',
    reviewAfterDays: 30,
  });
});
