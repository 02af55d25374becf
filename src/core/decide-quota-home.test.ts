import { describe, expect, it } from 'vitest';
import { contextOf, entitlement, linked, linkOf, newcomer, ruleGrant, userOf } from '../../test/fakes/decision.ts';
import { decideSubject } from './decide.ts';
import type { OrganizationId } from './ids.ts';
import type { DecisionContext, QuotaHome, Subject } from './subject.ts';

const emea = 'organization-emea' as OrganizationId;
const apac = 'organization-apac' as OrganizationId;
const root = { id: null, name: 'Contoso' };

const homeOf = (more: Partial<QuotaHome> = {}): QuotaHome => ({
  ...root,
  source: 'first',
  first: root,
  elsewhere: [],
  ...more,
});

const inEmea = { organizationId: emea, organizationName: 'EMEA', isSubOrganization: true, ruleId: 'rule-emea' };
const inApac = { organizationId: apac, organizationName: 'APAC', isSubOrganization: true, ruleId: 'rule-apac' };

/** Where the draws go after the plan; undefined where nothing moves. */
function moved(subject: Subject, context: DecisionContext = contextOf()): unknown {
  return decideSubject(subject, context).find((draft) => draft.op === 'quota_home')?.after?.['quotaHome'];
}

describe('a quota home', () => {
  it('is the organization of the mapping of highest precedence that grants in a sub-organization', () => {
    const entitlements = [
      entitlement({ precedence: 1 }),
      entitlement({ ...inApac, precedence: 20 }),
      entitlement({ ...inEmea, precedence: 10 }),
    ];
    const subject = linked({ quotaHome: homeOf(), entitlements });
    expect(moved(subject)).toBe(emea);
    const [move] = decideSubject(subject, contextOf()).filter((draft) => draft.op === 'quota_home');
    expect(move).toMatchObject({
      class: 'update',
      before: { quotaHome: null, organization: 'Contoso' },
      after: { quotaHome: emea, organization: 'EMEA', source: 'rule:rule-emea' },
      expectedVersion: 7,
    });
  });

  it('is decided by the id where two mappings have the same precedence', () => {
    const entitlements = [entitlement(inEmea), entitlement(inApac)];
    expect(moved(linked({ quotaHome: homeOf(), entitlements }))).toBe(apac);
    expect(moved(linked({ quotaHome: homeOf(), entitlements: entitlements.toReversed() }))).toBe(apac);
  });

  it('of a newcomer moves in the same plan that creates the user', () => {
    const subject = newcomer({ entitlements: [entitlement(inEmea)] });
    const drafts = decideSubject(subject, contextOf());
    expect(drafts.map((draft) => draft.op)).toEqual(['create', 'grant', 'quota_home']);
    expect(drafts.at(-1)).toMatchObject({ kind: 'joiner', userId: 'user-new', expectedVersion: null });
  });

  it('goes back to where the user was first added once no mapping grants in a sub-organization', () => {
    const home = homeOf({ id: emea, name: 'EMEA', source: 'rule:rule-emea', first: { id: apac, name: 'APAC' } });
    expect(moved(linked({ quotaHome: home, ruleGrants: [ruleGrant(inEmea)] }))).toBe(apac);
  });

  it('that a person chose is never moved', () => {
    const home = homeOf({ source: 'manual' });
    expect(moved(linked({ quotaHome: home, entitlements: [entitlement(inEmea)] }))).toBeUndefined();
  });

  it.each([
    ['an exclusion stands against it', { entitlements: [entitlement({ ...inEmea, isExcluded: true })] }],
    ['the user is protected', { entitlements: [entitlement(inEmea)], user: userOf({ isProtected: true }) }],
    ['the link is held', { entitlements: [entitlement(inEmea)], link: linkOf({ state: 'held' }) }],
    ['the object is absent without proof', { entitlements: [entitlement(inEmea)], isAbsent: true }],
    ['the object can not be mapped', { entitlements: [entitlement(inEmea)], problem: 'no' }],
  ])('does not move while %s', (_name, more) => {
    expect(moved(linked({ quotaHome: homeOf(), ...more }))).toBeUndefined();
  });

  it('does not follow a mapping that gives more than the ceiling allows', () => {
    const subject = linked({ quotaHome: homeOf(), entitlements: [entitlement({ ...inEmea, role: 'admin' })] });
    expect(moved(subject, contextOf({ ceiling: 'user' }))).toBeUndefined();
  });

  it('stays where another connection of higher precedence put it', () => {
    const elsewhere = [{ ...inApac, precedence: 1 }];
    const home = homeOf({ id: apac, name: 'APAC', source: 'rule:rule-apac', elsewhere });
    expect(
      moved(linked({ quotaHome: home, entitlements: [entitlement({ ...inEmea, precedence: 5 })] })),
    ).toBeUndefined();
  });

  it('goes back when a leaver loses the roles that put it there', () => {
    const home = homeOf({ id: emea, name: 'EMEA', source: 'rule:rule-emea' });
    const subject = linked({ quotaHome: home, isDeleted: true, ruleGrants: [ruleGrant(inEmea)] });
    expect(moved(subject, contextOf({ leaverPolicy: 'revoke_roles' }))).toBeNull();
    expect(moved(subject, contextOf({ leaverPolicy: 'keep' }))).toBeUndefined();
  });
});
