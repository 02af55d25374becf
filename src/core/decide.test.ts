import { describe, expect, test } from 'vitest';
import {
  candidate,
  contextOf,
  entitlement,
  linked,
  linkOf,
  newcomer,
  otherLink,
  ours,
  ruleGrant,
  rulesOf,
  theirs,
  userId,
  userOf,
} from '../../test/fakes/decision.ts';
import { decideSubject } from './decide.ts';
import type { UserId } from './ids.ts';
import type { DecisionContext, Draft, Subject } from './subject.ts';

const decide = (subject: Subject, context: Partial<DecisionContext> = {}): Draft[] =>
  decideSubject(subject, contextOf(context));
const ops = (subject: Subject, context: Partial<DecisionContext> = {}): string[] =>
  decide(subject, context).map((draft) => draft.op);
const steps = (drafts: readonly Draft[]) => drafts.map((draft) => [draft.op, draft.kind, draft.cause]);

describe('an object without a user', () => {
  test('whom nobody matches becomes a user with the roles its groups give', () => {
    const drafts = decide(newcomer({ mapped: { displayName: 'Ann' }, entitlements: [entitlement()] }));
    expect(steps(drafts)).toEqual([
      ['create', 'joiner', 'joined'],
      ['grant', 'joiner', 'in_group:staff'],
    ]);
    expect(drafts[0]?.after).toEqual({ displayName: 'Ann' });
    expect(drafts.map((draft) => draft.userId)).toEqual(['user-new', 'user-new']);
  });

  test.each([
    ['disabled', { isActive: false }],
    ['out of scope', { isInScope: false }],
    ['absent', { isAbsent: true }],
    ['deleted', { isDeleted: true }],
  ])('that is %s creates nobody', (_what, more) => {
    expect(decide(newcomer({ ...more, mapped: { displayName: 'Ann' } }))).toEqual([]);
    expect(decide(newcomer({ ...more, user: userOf(), candidates: [candidate()] }))).toEqual([]);
  });

  test('that one user matches is linked to that user, whose values it then keeps in step', () => {
    const drafts = decide(
      newcomer({
        mapped: { department: 'Sales' },
        user: userOf(),
        candidates: [candidate()],
        entitlements: [entitlement()],
      }),
    );
    expect(steps(drafts)).toEqual([
      ['link', 'mover', 'matched:username'],
      ['update', 'mover', 'attributes'],
      ['grant', 'mover', 'in_group:staff'],
    ]);
    expect(drafts[0]).toMatchObject({ userId, expectedVersion: 7, after: { matchedBy: 'username' } });
  });

  test.each([
    ['several match', [candidate(), candidate({ userId: 'user-bob' as UserId })], 'disputed_match'],
    ['the only match is privileged or protected', [candidate({ isPrivileged: true })], 'privileged_match'],
    ['the only match is linked to another object', [candidate({ isTaken: true })], 'disputed_match'],
  ])('goes to a person when %s, and nobody is touched', (_what, candidates, caseKind) => {
    const drafts = decide(newcomer({ user: userOf(), candidates, entitlements: [entitlement()] }));
    expect(steps(drafts)).toEqual([['dispute', 'conflict', 'disputed_match']]);
    expect(drafts[0]).toMatchObject({
      userId: null,
      after: { caseKind, candidates: candidates.map((one) => one.userId) },
    });
  });

  test('for whom a person chose "create" becomes a user although somebody matches', () => {
    const link = linkOf({ state: 'disputed', matchedBy: 'create' });
    expect(ops(newcomer({ link, candidates: [candidate({ isTaken: true })] }))).toEqual(['create']);
  });

  test('with a fault is recorded and stops only itself', () => {
    const drafts = decide(newcomer({ problem: 'email: no such key', candidates: [candidate()], user: userOf() }));
    expect(steps(drafts)).toEqual([['error', 'conflict', 'problem']]);
  });
});

describe('absence', () => {
  test('without proof does nothing, whatever else changed', () => {
    const subject = linked({ isAbsent: true, mapped: { department: 'X' }, ruleGrants: [ruleGrant()], isActive: false });
    for (const leaverPolicy of ['keep', 'suspend', 'revoke_roles', 'remove'] as const)
      expect(decide(subject, { leaverPolicy })).toEqual([]);
  });

  test('of a link that ended already says nothing new', () => {
    for (const state of ['gone', 'out_of_scope', 'suspended', 'removed'] as const)
      expect(decide(linked({ isDeleted: true, link: linkOf({ state }) }))).toEqual([]);
  });
});

describe('a leaver', () => {
  const gone = linked({ isDeleted: true, ruleGrants: [ruleGrant()] });

  test.each([
    ['keep', [['unlink', 'leaver', 'deleted']]],
    ['suspend', [['suspend', 'leaver', 'deleted']]],
    [
      'revoke_roles',
      [
        ['revoke', 'leaver', 'deleted'],
        ['unlink', 'leaver', 'deleted'],
      ],
    ],
    [
      'remove',
      [
        ['revoke', 'leaver', 'deleted'],
        ['remove', 'leaver', 'deleted'],
      ],
    ],
  ] as const)('is treated as the policy %s says', (leaverPolicy, expected) => {
    expect(steps(decide(gone, { leaverPolicy }))).toEqual(expected);
  });

  test('by scope keeps a link that says so', () => {
    const [unlink] = decide(linked({ isInScope: false }), { leaverPolicy: 'keep' });
    expect(unlink).toMatchObject({ cause: 'out_of_scope', after: { linkState: 'out_of_scope' } });
  });

  test('who is suspended already only loses the link', () => {
    const user = userOf({ status: 'suspended', suspendedBy: 'manual' });
    expect(ops({ ...gone, user })).toEqual(['unlink']);
  });

  test('of one source with another live one is a mover: values pass on, only our roles go', () => {
    const subject = linked({
      isDeleted: true,
      user: userOf({ attributes: { department: 'Ours' }, provenance: { department: `connection:${ours}` } }),
      mapped: { department: 'Ours' },
      otherLinks: [otherLink({ mapped: { department: 'Theirs' } })],
      ruleGrants: [ruleGrant()],
    });
    for (const leaverPolicy of ['keep', 'suspend', 'revoke_roles', 'remove'] as const) {
      const drafts = decide(subject, { leaverPolicy });
      expect(steps(drafts)).toEqual([
        ['update', 'mover', 'attributes'],
        ['revoke', 'mover', 'deleted'],
        ['unlink', 'mover', 'deleted'],
      ]);
      expect(drafts[0]?.after).toEqual({ department: 'Theirs' });
    }
  });

  test('of one source takes the standing that the remaining source asserts', () => {
    const disabledThere = [otherLink({ isActive: false })];
    expect(ops(linked({ isDeleted: true, otherLinks: disabledThere }))).toEqual(['suspend', 'unlink']);
    const byUs = userOf({ status: 'suspended', suspendedBy: `connection:${ours}` });
    expect(ops(linked({ isDeleted: true, user: byUs, otherLinks: [otherLink()] }))).toEqual(['reactivate', 'unlink']);
    const byHand = userOf({ status: 'suspended', suspendedBy: 'manual' });
    expect(ops(linked({ isDeleted: true, user: byHand, otherLinks: [otherLink()] }))).toEqual(['unlink']);
  });
});

describe('out of reach of every directory', () => {
  const situations: [string, Partial<Subject>][] = [
    ['disabled', { isActive: false }],
    ['deleted', { isDeleted: true }],
    ['out of scope', { isInScope: false }],
    [
      'changed',
      { mapped: { department: 'X' }, entitlements: [entitlement()], ruleGrants: [ruleGrant({ ruleId: 'r2' })] },
    ],
  ];

  test.each(situations)('a protected user stays untouched when %s', (_what, more) => {
    for (const leaverPolicy of ['keep', 'suspend', 'revoke_roles', 'remove'] as const)
      expect(decide(linked({ ...more, user: userOf({ isProtected: true }) }), { leaverPolicy })).toEqual([]);
  });

  test.each(situations)('the Super Admin is never suspended or removed when %s', (_what, more) => {
    for (const leaverPolicy of ['keep', 'suspend', 'revoke_roles', 'remove'] as const) {
      const drafts = decide(linked({ ...more, user: userOf({ isSuperAdmin: true }) }), { leaverPolicy });
      expect(drafts.filter((draft) => draft.op === 'suspend' || draft.op === 'remove')).toEqual([]);
    }
  });

  test('a Super Admin whom the directory disables or deletes becomes a case', () => {
    const user = userOf({ isSuperAdmin: true });
    for (const more of [{ isActive: false }, { isDeleted: true }])
      expect(decide(linked({ ...more, user }))).toMatchObject([
        { op: 'dispute', after: { caseKind: 'privileged_match' } },
      ]);
  });

  test.each(['ignored', 'held'] as const)('an object whose link is %s stays alone', (state) => {
    expect(decide(linked({ link: linkOf({ state }), isDeleted: true, ruleGrants: [ruleGrant()] }))).toEqual([]);
  });
});

describe('an explicit disable', () => {
  test('suspends, and the reason names the directory', () => {
    expect(decide(linked({ isActive: false }))).toMatchObject([
      {
        op: 'suspend',
        kind: 'leaver',
        cause: 'disabled',
        reason: 'Disabled in Directory.',
        after: { suspendedBy: `connection:${ours}`, linkState: 'linked' },
      },
    ]);
  });

  test.each([
    ['another live source of higher priority decides', 50, true, []],
    ['another live source of lower priority does not', 200, true, ['suspend']],
    ['a source of higher priority that is not live does not', 50, false, ['suspend']],
    ['of two equal priorities the lower id decides', 100, true, []],
  ])('%s', (_what, priority, isLive, expected) => {
    const sources = new Map([
      [ours, rulesOf(100)],
      [theirs, rulesOf(priority)],
    ]);
    expect(ops(linked({ isActive: false, otherLinks: [otherLink({ isLive })] }), { sources })).toEqual(expected);
  });

  test('what a directory that goes first has disabled is its own to suspend, except in the plan of a new order', () => {
    const disabledThere = linked({ otherLinks: [otherLink({ isActive: false })] });
    expect(ops(disabledThere)).toEqual([]);
    expect(ops(disabledThere, { isReordered: true })).toEqual(['suspend']);
  });

  test('is taken back only where the suspension was ours', () => {
    const by = (suspendedBy: string) => userOf({ status: 'suspended', suspendedBy });
    expect(ops(linked({ user: by(`connection:${ours}`) }))).toEqual(['reactivate']);
    expect(ops(linked({ user: by(`connection:${theirs}`) }))).toEqual([]);
    expect(ops(linked({ user: by('manual') }))).toEqual([]);
  });

  test('who comes back is linked again, and re-activated only from a suspension or removal of ours', () => {
    const link = linkOf({ state: 'suspended' });
    const back = (user: Partial<Parameters<typeof userOf>[0]>) => ops(linked({ link, user: userOf(user) }));
    expect(back({ status: 'suspended', suspendedBy: `connection:${ours}` })).toEqual(['link', 'reactivate']);
    expect(back({ status: 'suspended', suspendedBy: 'manual' })).toEqual(['link']);
    expect(ops(linked({ link: linkOf({ state: 'removed' }), user: userOf({ status: 'removed' }) }))).toEqual(['link']);
    const removed = userOf({ status: 'removed', suspendedBy: `connection:${ours}` });
    expect(ops(linked({ link: linkOf({ state: 'removed' }), user: removed }))).toEqual(['link', 'reactivate']);
  });
});

describe('usernames', () => {
  test('that differ only in case are no change', () => {
    const user = userOf({ attributes: { username: 'ann@contoso.test' } });
    expect(decide(linked({ user, mapped: { username: 'Ann@Contoso.TEST' } }))).toEqual([]);
  });

  test('change in a row of their own', () => {
    const user = userOf({ attributes: { username: 'ann@contoso.test', department: 'A' } });
    const drafts = decide(linked({ user, mapped: { username: 'bea@contoso.test', department: 'B' } }));
    expect(drafts.map((draft) => [draft.class, draft.after])).toEqual([
      ['update', { department: 'B' }],
      ['key', { username: 'bea@contoso.test' }],
    ]);
  });
});

describe('roles', () => {
  test('above the ceiling and excluded ones are not given, and are taken where they stand', () => {
    const above = entitlement({ ruleId: 'r-admin', role: 'admin' });
    const excluded = entitlement({ ruleId: 'r-user', isExcluded: true });
    const subject = linked({ entitlements: [above, excluded] });
    expect(decide(subject, { ceiling: 'user' })).toEqual([]);
    const standing = {
      ...subject,
      ruleGrants: [ruleGrant({ ruleId: 'r-admin', role: 'admin' }), ruleGrant({ ruleId: 'r-user' })],
    };
    expect(decide(standing, { ceiling: 'user' }).map((draft) => [draft.op, draft.grantSource])).toEqual([
      ['revoke', 'rule:r-admin'],
      ['revoke', 'rule:r-user'],
    ]);
  });

  test.each([
    ['who left the group', {}, [], 'left_group:staff', 'Left the group Staff.'],
    ['whose mapping ended', { isRuleEnded: true }, [], 'rule_ended:r1', 'Its role mapping was removed.'],
    ['whose predicate holds no more', { groupAnchor: null }, [], 'rule:r1', 'The role mapping no longer applies.'],
    ['whom a person excluded', {}, [entitlement({ isExcluded: true })], 'excluded:r1', 'Excluded by a person.'],
  ])('are taken from one %s, for that reason', (_what, more, entitlements, cause, reason) => {
    expect(decide(linked({ ruleGrants: [ruleGrant(more)], entitlements }))).toMatchObject([
      { op: 'revoke', cause, reason },
    ]);
  });

  test('that stand already are not given again', () => {
    expect(decide(linked({ ruleGrants: [ruleGrant()], entitlements: [entitlement()] }))).toEqual([]);
  });
});
