/** Inputs of a decision, whole and quiet: a test names only what its situation is about. */
import type { ConnectionId, OrganizationId, UserId } from '../../src/core/ids.ts';
import type {
  Candidate,
  DecisionContext,
  Entitlement,
  OtherLink,
  RuleGrant,
  SourceRules,
  Subject,
  SubjectLink,
  SubjectUser,
} from '../../src/core/subject.ts';

export const ours = 'connection-b' as ConnectionId;
export const theirs = 'connection-a' as ConnectionId;
export const root = 'organization-root' as OrganizationId;
export const userId = 'user-ann' as UserId;

export const authoritative = { strength: 'authoritative', onNull: 'clear', conflict: 'source' } as const;

export function rulesOf(priority: number, mappings: SourceRules['mappings'] = {}): SourceRules {
  return {
    name: `Directory ${priority}`,
    priority,
    mappings: { username: authoritative, displayName: authoritative, department: authoritative, ...mappings },
  };
}

export function contextOf(more: Partial<DecisionContext> = {}): DecisionContext {
  return {
    connectionId: ours,
    connectionName: 'Directory',
    organization: { id: null, name: 'Contoso' },
    ceiling: 'admin',
    leaverPolicy: 'suspend',
    leaver: { graceDays: 0, deleteAfterDays: null, reviewRehireAfterDays: null },
    now: '2026-03-01T00:00:00Z',
    provenDomains: new Set(['contoso.test']),
    isReordered: false,
    sources: new Map([
      [ours, rulesOf(100)],
      [theirs, rulesOf(50)],
    ]),
    newUserId: () => 'user-new' as UserId,
    ...more,
  };
}

export function userOf(more: Partial<SubjectUser> = {}): SubjectUser {
  return {
    id: userId,
    version: 7,
    status: 'active',
    suspendedBy: null,
    leftAt: null,
    isProtected: false,
    isSuperAdmin: false,
    attributes: {},
    provenance: {},
    ...more,
  };
}

export function linkOf(more: Partial<SubjectLink> = {}): SubjectLink {
  return {
    state: 'linked',
    matchedBy: 'joined',
    applied: {},
    resolved: {},
    leavingSince: null,
    endedAt: null,
    ...more,
  };
}

/** An object that nobody owns yet. */
export function newcomer(more: Partial<Subject> = {}): Subject {
  return {
    anchor: 'ann',
    name: 'Ann',
    objectVersion: 1,
    isActive: true,
    isInScope: true,
    isAbsent: false,
    isDeleted: false,
    problem: null,
    mapped: {},
    link: null,
    user: null,
    otherLinks: [],
    correlationFault: null,
    candidates: [],
    entitlements: [],
    ruleGrants: [],
    quotaHome: null,
    ...more,
  };
}

/** An object linked to an active user. */
export function linked(more: Partial<Subject> = {}): Subject {
  return newcomer({ link: linkOf(), user: userOf(), ...more });
}

export function candidate(more: Partial<Candidate> = {}): Candidate {
  return {
    userId,
    name: 'Ann',
    rule: 'username',
    isReview: false,
    version: 7,
    isPrivileged: false,
    isTaken: false,
    ...more,
  };
}

export function otherLink(more: Partial<OtherLink> = {}): OtherLink {
  return { connectionId: theirs, isLive: true, isActive: true, mapped: {}, ...more };
}

export function ruleGrant(more: Partial<RuleGrant> = {}): RuleGrant {
  return {
    ruleId: 'r1',
    organizationId: root,
    organizationName: 'Contoso',
    isSubOrganization: false,
    precedence: 100,
    role: 'user',
    groupAnchor: 'staff',
    groupName: 'Staff',
    isRuleEnded: false,
    ...more,
  };
}

export function entitlement(more: Partial<Entitlement> = {}): Entitlement {
  const { isRuleEnded: _ended, ...rest } = ruleGrant();
  return { ...rest, isExcluded: false, ...more };
}
