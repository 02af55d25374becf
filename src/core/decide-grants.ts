/** What a directory object's roles should be: grants that its role mappings give it, revokes of those that ended. Pure. */
import { blank } from './drafts.ts';
import { isWithinCeiling } from './roles.ts';
import type { DecisionContext, Draft, Entitlement, RuleGrant, Subject, SubjectUser } from './subject.ts';
import type { ChangeKind } from './vocabulary.ts';

export function grantDrafts(
  subject: Subject,
  context: DecisionContext,
  user: { readonly id: SubjectUser['id']; readonly version: number | null },
  kind: ChangeKind,
): Draft[] {
  const has = new Set(subject.ruleGrants.map(grantKey));
  return subject.entitlements
    .filter(
      (wanted) => !wanted.isExcluded && isWithinCeiling(wanted.role, context.ceiling) && !has.has(grantKey(wanted)),
    )
    .map((wanted) => ({
      ...blank(subject, kind, null),
      class: 'grant',
      op: 'grant',
      userId: user.id,
      organizationId: wanted.organizationId,
      role: wanted.role,
      grantSource: `rule:${wanted.ruleId}`,
      after: { role: wanted.role, organization: wanted.organizationName },
      reason:
        wanted.groupName === null
          ? `A role mapping gives it to ${context.connectionName}'s users.`
          : `In the group ${wanted.groupName}.`,
      cause: wanted.groupAnchor === null ? `rule:${wanted.ruleId}` : `in_group:${wanted.groupAnchor}`,
    }));
}

export function revokeDrafts(subject: Subject, user: SubjectUser, kind: ChangeKind, context: DecisionContext): Draft[] {
  const entitled = new Map(subject.entitlements.map((entitlement) => [grantKey(entitlement), entitlement]));
  return subject.ruleGrants.flatMap((grant) => {
    const wanted = entitled.get(grantKey(grant));
    if (wanted !== undefined && !wanted.isExcluded && isWithinCeiling(wanted.role, context.ceiling)) return [];
    return [revokeDraft(subject, user, grant, kind, ...revokeReason(grant, wanted))];
  });
}

function revokeReason(grant: RuleGrant, wanted: Entitlement | undefined): [string, string] {
  if (wanted?.isExcluded === true) return ['Excluded by a person.', `excluded:${grant.ruleId}`];
  if (wanted !== undefined) return ['Above what this directory may give.', `ceiling:${grant.ruleId}`];
  if (grant.isRuleEnded) return ['Its role mapping was removed.', `rule_ended:${grant.ruleId}`];
  if (grant.groupAnchor === null) return ['The role mapping no longer applies.', `rule:${grant.ruleId}`];
  return [`Left the group ${grant.groupName ?? grant.groupAnchor}.`, `left_group:${grant.groupAnchor}`];
}

export function revokeDraft(
  subject: Subject,
  user: SubjectUser,
  grant: RuleGrant,
  kind: ChangeKind,
  reason: string,
  cause: string,
): Draft {
  return {
    ...blank(subject, kind, user),
    class: 'revoke',
    op: 'revoke',
    organizationId: grant.organizationId,
    role: grant.role,
    grantSource: `rule:${grant.ruleId}`,
    before: { role: grant.role, organization: grant.organizationName },
    reason,
    cause,
    // a grant is its own version: revoking one that is gone already changes nothing
    expectedVersion: null,
  };
}

function grantKey(grant: Entitlement | RuleGrant): string {
  return `${grant.organizationId}/${grant.role}/${grant.ruleId}`;
}
