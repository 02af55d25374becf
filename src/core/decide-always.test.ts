/** What holds for every decision, whatever the directory and the portal say. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  candidate,
  contextOf,
  entitlement,
  linkOf,
  newcomer,
  otherLink,
  ours,
  root,
  ruleGrant,
  rulesOf,
  theirs,
  userOf,
} from '../../test/fakes/decision.ts';
import { decideSubject } from './decide.ts';
import type { ConnectionId } from './ids.ts';
import { grantableRoles, isWithinCeiling } from './roles.ts';
import type { Draft } from './subject.ts';

const role = fc.constantFrom(...grantableRoles);
const ruleId = fc.constantFrom('r1', 'r2', 'r3');
const text = fc.option(fc.constantFrom('x', 'y', 'ann@contoso.test', 'Ann@contoso.test', 'ann@elsewhere.test'), {
  nil: null,
});
const attributes = fc.record({ username: text, department: text }, { requiredKeys: [] });
const someUser = fc
  .record({
    status: fc.constantFrom('active', 'suspended', 'removed' as const),
    suspendedBy: fc.constantFrom(null, 'manual', `connection:${ours}`, `connection:${theirs}`),
    isProtected: fc.boolean(),
    isSuperAdmin: fc.boolean(),
    attributes,
    provenance: fc.record({ department: fc.constantFrom('manual', `connection:${ours}`) }, { requiredKeys: [] }),
  })
  .map((more) => userOf(more));
const someLink = fc
  .record({
    state: fc.constantFrom(
      ...([
        'linked',
        'missing',
        'gone',
        'out_of_scope',
        'suspended',
        'removed',
        'disputed',
        'ignored',
        'held',
      ] as const),
    ),
    matchedBy: fc.constantFrom('joined', 'create', null),
    applied: attributes,
  })
  .map((more) => linkOf(more));
const someOthers = fc.uniqueArray(
  fc
    .record({
      connectionId: fc.constantFrom('connection-a', 'connection-c', 'connection-d').map((id) => id as ConnectionId),
      isLive: fc.boolean(),
      isActive: fc.boolean(),
      mapped: attributes,
    })
    .map((more) => otherLink(more)),
  { selector: (link) => link.connectionId },
);
const someSubject = fc
  .record({
    isActive: fc.boolean(),
    isInScope: fc.boolean(),
    isAbsent: fc.boolean(),
    isDeleted: fc.boolean(),
    problem: fc.constantFrom(null, null, 'a fault'),
    mapped: attributes,
    link: fc.option(someLink, { nil: null }),
    user: fc.option(someUser, { nil: null }),
    otherLinks: someOthers,
    candidates: fc.array(
      fc.record({ isPrivileged: fc.boolean(), isTaken: fc.boolean() }).map((more) => candidate(more)),
      { maxLength: 2 },
    ),
    entitlements: fc.uniqueArray(
      fc.record({ ruleId, role, isExcluded: fc.boolean() }).map((more) => entitlement(more)),
      { selector: (one) => `${one.ruleId}/${one.role}` },
    ),
    ruleGrants: fc.uniqueArray(
      fc.record({ ruleId, role, isRuleEnded: fc.boolean() }).map((more) => ruleGrant(more)),
      { selector: (one) => `${one.ruleId}/${one.role}` },
    ),
  })
  .map((more) => newcomer(more));
const someContext = fc
  .record({
    ceiling: role,
    leaverPolicy: fc.constantFrom('keep', 'suspend', 'revoke_roles', 'remove' as const),
    priorities: fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), fc.nat(2)),
  })
  .map(({ priorities: [a, b, c, d], ...more }) =>
    contextOf({
      ...more,
      sources: new Map([
        [theirs, rulesOf(a)],
        [ours, rulesOf(b)],
        ['connection-c' as ConnectionId, rulesOf(c)],
        ['connection-d' as ConnectionId, rulesOf(d)],
      ]),
    }),
  );

describe('whatever the directory and the portal say', () => {
  test('no role above the ceiling and none that a person excluded is ever given, and only our grants are taken', () => {
    fc.assert(
      fc.property(someSubject, someContext, (subject, context) => {
        const drafts = decideSubject(subject, context);
        for (const draft of drafts.filter((found) => found.op === 'grant')) {
          expect(isWithinCeiling(draft.role ?? 'super_admin', context.ceiling)).toBe(true);
          const wanted = subject.entitlements.find(
            (one) => `rule:${one.ruleId}` === draft.grantSource && one.role === draft.role,
          );
          expect(wanted?.isExcluded).toBe(false);
        }
        const owned = new Set(subject.ruleGrants.map((grant) => `${root}/rule:${grant.ruleId}/${grant.role}`));
        for (const draft of drafts.filter((found) => found.op === 'revoke'))
          expect(owned).toContain(`${draft.organizationId}/${draft.grantSource}/${draft.role}`);
      }),
      { seed: 1, numRuns: 2_000 },
    );
  });

  test('a decision is the same for the same input, in whatever order its parts come', () => {
    fc.assert(
      fc.property(someSubject, someContext, fc.nat(), (subject, context, turn) => {
        const turned = <T>(list: readonly T[]): T[] => {
          const at = list.length === 0 ? 0 : turn % list.length;
          return [...list.slice(at), ...list.slice(0, at)].toReversed();
        };
        const shuffled = {
          ...subject,
          otherLinks: turned(subject.otherLinks),
          entitlements: turned(subject.entitlements),
          ruleGrants: turned(subject.ruleGrants),
        };
        const inOrder = (drafts: readonly Draft[]) => drafts.map((draft) => JSON.stringify(draft)).toSorted();
        expect(decideSubject(subject, context)).toEqual(decideSubject(subject, context));
        expect(inOrder(decideSubject(shuffled, context))).toEqual(inOrder(decideSubject(subject, context)));
      }),
      { seed: 2, numRuns: 1_000 },
    );
  });

  test('who is protected, absent without proof, ignored or held gets no step that touches a user', () => {
    fc.assert(
      fc.property(someSubject, someContext, (subject, context) => {
        const isQuiet =
          (subject.isAbsent && !subject.isDeleted && subject.isInScope && subject.problem === null) ||
          subject.link?.state === 'ignored' ||
          subject.link?.state === 'held' ||
          (subject.user?.isProtected === true && subject.link !== null && subject.link.state !== 'disputed');
        if (isQuiet) expect(decideSubject(subject, context).filter((draft) => draft.class !== 'conflict')).toEqual([]);
      }),
      { seed: 3, numRuns: 2_000 },
    );
  });
});
