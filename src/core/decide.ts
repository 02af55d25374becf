/**
 * What should happen to one subject: data in, steps out, no IO. The promises of design.md section 2 that concern one
 * user stand here: absence alone does nothing, sync takes only what sync gave, privileged targets go to a person.
 */
import { isLiveLink } from './link-states.ts';
import { mergeAttributes, type AttributeChange } from './merge-attributes.ts';
import { isWithinCeiling } from './roles.ts';
import { firstOther, goesBefore } from './source-order.ts';
import type { DecisionContext, Draft, Entitlement, RuleGrant, Subject, SubjectUser } from './subject.ts';
import type { ChangeKind } from './vocabulary.ts';

export function decideSubject(subject: Subject, context: DecisionContext): Draft[] {
  const { link, user } = subject;
  if (link?.state === 'ignored' || link?.state === 'held') return [];
  const isUnlinked = link === null || user === null || link.state === 'disputed';
  const isGone = subject.isDeleted || !subject.isInScope;
  if (isUnlinked) return isGone || subject.isAbsent ? [] : decideUnlinked(subject, context);
  if (subject.problem !== null) return [conflict(subject, 'error', `Left alone: ${subject.problem}.`, 'problem', user)];
  if (user.isProtected) return [];
  if (isGone) return isLiveLink(link.state) ? decideEnded(subject, context, user) : [];
  // absence without proof: the user stays as is until the directory says more
  if (subject.isAbsent) return [];
  return decideLive(subject, context, user);
}

// ------------------------------------------------------------------ objects without a user yet

function decideUnlinked(subject: Subject, context: DecisionContext): Draft[] {
  if (subject.problem !== null) return [conflict(subject, 'error', `Left alone: ${subject.problem}.`, 'problem', null)];
  // nobody is created only to be suspended; the object comes back here when the directory enables it
  if (!subject.isActive) return [];
  if (subject.link?.matchedBy === 'create') return decideJoiner(subject, context);
  const [candidate, ...more] = subject.candidates;
  if (candidate === undefined) return decideJoiner(subject, context);
  const dispute = disputeOf(subject, context);
  if (dispute !== null || more.length > 0 || subject.user === null) {
    return [
      conflict(subject, 'dispute', dispute ?? `Several users match by ${candidate.rule}.`, 'disputed_match', null, {
        candidates: subject.candidates.map((found) => found.userId),
        caseKind: subject.candidates.some((found) => found.isPrivileged) ? 'privileged_match' : 'disputed_match',
      }),
    ];
  }
  const linked: Draft = {
    ...blank(subject, 'mover', subject.user),
    class: 'link',
    op: 'link',
    after: { matchedBy: candidate.rule },
    reason: `The same ${words(candidate.rule)} as the user ${candidate.name}.`,
    cause: `matched:${candidate.rule}`,
  };
  return [linked, ...decideLive(subject, context, subject.user)];
}

function disputeOf(subject: Subject, context: DecisionContext): string | null {
  const names = subject.candidates.map((candidate) => candidate.name).join(', ');
  const rule = words(subject.candidates[0]?.rule ?? 'username');
  if (subject.candidates.length > 1) return `${subject.candidates.length} users have the same ${rule}: ${names}.`;
  const candidate = subject.candidates[0];
  if (candidate?.isTaken === true) {
    return `${candidate.name} has the same ${rule} but is already linked to another object of ${context.connectionName}.`;
  }
  if (candidate?.isPrivileged === true) {
    return `${candidate.name} has the same ${rule} and is protected or holds a privileged role, so a person decides.`;
  }
  return null;
}

function decideJoiner(subject: Subject, context: DecisionContext): Draft[] {
  const userId = context.newUserId();
  const values = mergeAttributes(subject, context, null, true);
  const created: Draft = {
    ...blank(subject, 'joiner', null),
    class: 'create',
    op: 'create',
    userId,
    after: Object.fromEntries(values.map((change) => [change.target, change.after])),
    reason: `New in ${context.connectionName}; no user matches.`,
    cause: 'joined',
  };
  const granted = grantDrafts(subject, context, { id: userId, version: null }, 'joiner');
  return [created, ...granted];
}

// ------------------------------------------------------------------ users the directory vouches for

function decideLive(subject: Subject, context: DecisionContext, user: SubjectUser): Draft[] {
  const drafts: Draft[] = [];
  const isReturning = subject.link !== null && !isLiveLink(subject.link.state) && subject.link.state !== 'disputed';
  if (isReturning) {
    drafts.push({
      ...blank(subject, 'mover', user),
      class: 'link',
      op: 'link',
      after: { matchedBy: subject.link?.matchedBy ?? 'anchor' },
      reason: `Back in ${context.connectionName}.`,
      cause: 'returned',
    });
  }
  drafts.push(...attributeDrafts(subject, mergeAttributes(subject, context, user, true), user, context));
  drafts.push(...statusDrafts(subject, context, user, isReturning));
  drafts.push(...grantDrafts(subject, context, user, 'mover'), ...revokeDrafts(subject, user, 'mover', context));
  return drafts;
}

/** The live source of highest priority decides whether the user is enabled (design.md promise 4). */
function isDecider(subject: Subject, context: DecisionContext): boolean {
  const first = firstOther(subject, context);
  return first === undefined || goesBefore(context, context.connectionId, first.connectionId);
}

function statusDrafts(subject: Subject, context: DecisionContext, user: SubjectUser, isReturning: boolean): Draft[] {
  if (!isDecider(subject, context)) return [];
  if (!subject.isActive && user.status === 'active') {
    return [suspendDraft(subject, user, `Disabled in ${context.connectionName}.`, 'disabled', context)];
  }
  const isOurs = isSuspendedByUs(user, context);
  const isBack = user.status === 'removed' ? isReturning : user.status === 'suspended' && isOurs;
  if (!subject.isActive || !isBack) return [];
  return [
    {
      ...blank(subject, 'mover', user),
      class: 'update',
      op: 'reactivate',
      before: { status: user.status },
      after: { status: 'active' },
      reason: isReturning ? `Back in ${context.connectionName}.` : `Enabled again in ${context.connectionName}.`,
      cause: isReturning ? 'returned' : 'enabled',
    },
  ];
}

function isSuspendedByUs(user: SubjectUser, context: DecisionContext): boolean {
  return user.suspendedBy === `connection:${context.connectionId}`;
}

function suspendDraft(
  subject: Subject,
  user: SubjectUser,
  reason: string,
  cause: string,
  context: DecisionContext,
  suspendedBy = context.connectionId,
): Draft {
  if (user.isSuperAdmin) {
    return conflict(subject, 'dispute', `${reason} Not suspended: holds Super Admin; transfer it first.`, cause, user, {
      caseKind: 'privileged_match',
      candidates: [user.id],
    });
  }
  return {
    ...blank(subject, 'leaver', user),
    class: 'suspend',
    op: 'suspend',
    before: { status: user.status },
    after: {
      status: 'suspended',
      suspendedBy: `connection:${suspendedBy}`,
      linkState: linkStateAfter(subject, 'suspend'),
    },
    reason,
    cause,
  };
}

function attributeDrafts(
  subject: Subject,
  found: readonly AttributeChange[],
  user: SubjectUser,
  context: DecisionContext,
): Draft[] {
  const drafts: Draft[] = [];
  const ordinary = found.filter((change) => change.target !== 'username');
  if (ordinary.length > 0) {
    drafts.push({
      ...blank(subject, 'mover', user),
      class: 'update',
      op: 'update',
      before: Object.fromEntries(ordinary.map((change) => [change.target, change.before])),
      after: Object.fromEntries(ordinary.map((change) => [change.target, change.after])),
      reason: `${ordinary.map((change) => words(change.target)).join(', ')} changed in ${context.connectionName}.`,
      cause: 'attributes',
    });
  }
  const username = found.find((change) => change.target === 'username');
  if (username !== undefined) {
    drafts.push({
      ...blank(subject, 'mover', user),
      class: 'key',
      op: 'key',
      before: { username: username.before },
      after: { username: username.after },
      reason: `Username changed in ${context.connectionName}.`,
      cause: 'username',
    });
  }
  return drafts;
}

// ------------------------------------------------------------------ grants

function grantDrafts(
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

function revokeDrafts(subject: Subject, user: SubjectUser, kind: ChangeKind, context: DecisionContext): Draft[] {
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

function revokeDraft(
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

// ------------------------------------------------------------------ objects that ended

function decideEnded(subject: Subject, context: DecisionContext, user: SubjectUser): Draft[] {
  const [reason, cause] = subject.isDeleted
    ? [`Deleted in ${context.connectionName}.`, 'deleted']
    : [`No longer in the scope of ${context.connectionName}.`, 'out_of_scope'];
  const isElsewhere = subject.otherLinks.some((link) => link.isLive);
  const revoke = (kind: ChangeKind) =>
    subject.ruleGrants.map((grant) => revokeDraft(subject, user, grant, kind, reason, cause));
  const unlink = (kind: ChangeKind): Draft => ({
    ...blank(subject, kind, user),
    class: 'remove',
    op: 'unlink',
    after: { linkState: linkStateAfter(subject, 'unlink') },
    reason: isElsewhere ? `${reason} Another directory still vouches for the user.` : reason,
    cause,
  });
  if (isElsewhere) {
    const values = attributeDrafts(subject, mergeAttributes(subject, context, user, false), user, context);
    const status = handedOverStatus(subject, context, user);
    // the end of the link waits with the suspension where a guard holds that
    const kind = status.some((draft) => draft.kind === 'leaver') ? 'leaver' : 'mover';
    return [...values, ...status, ...revoke(kind), unlink(kind)];
  }
  switch (context.leaverPolicy) {
    case 'keep':
      return [unlink('leaver')];
    case 'suspend':
      return user.status === 'active' ? [suspendDraft(subject, user, reason, cause, context)] : [unlink('leaver')];
    case 'revoke_roles':
      return [...revoke('leaver'), unlink('leaver')];
    case 'remove':
      return decideRemoval(subject, user, reason, cause, revoke('leaver'));
  }
}

/** The first of the sources that remain decides from now on; what we suspended is its word now. */
function handedOverStatus(subject: Subject, context: DecisionContext, user: SubjectUser): Draft[] {
  const heir = firstOther(subject, context);
  const isOurs = user.status === 'suspended' && isSuspendedByUs(user, context);
  if (heir === undefined || (user.status !== 'active' && !isOurs)) return [];
  if (!heir.isActive) {
    const reason = `No longer in ${context.connectionName}, and disabled in the directory that remains.`;
    return [suspendDraft(subject, user, reason, 'disabled', context, heir.connectionId)];
  }
  if (!isOurs) return [];
  return [
    {
      ...blank(subject, 'mover', user),
      class: 'update',
      op: 'reactivate',
      before: { status: user.status },
      after: { status: 'active' },
      reason: `No longer in ${context.connectionName}, and enabled in the directory that remains.`,
      cause: 'enabled',
    },
  ];
}

function decideRemoval(subject: Subject, user: SubjectUser, reason: string, cause: string, revokes: Draft[]): Draft[] {
  if (user.isSuperAdmin) {
    return [
      conflict(subject, 'dispute', `${reason} Not removed: holds Super Admin; transfer it first.`, cause, user, {
        caseKind: 'privileged_match',
        candidates: [user.id],
      }),
    ];
  }
  const removed: Draft = {
    ...blank(subject, 'leaver', user),
    class: 'remove',
    op: 'remove',
    before: { status: user.status },
    after: { status: 'removed', linkState: 'removed' },
    reason,
    cause,
  };
  return [...revokes, removed];
}

// ------------------------------------------------------------------ shapes

function linkStateAfter(subject: Subject, op: 'suspend' | 'unlink'): string {
  const isGone = subject.isDeleted || !subject.isInScope;
  if (!isGone) return 'linked';
  if (op === 'suspend') return 'suspended';
  return subject.isDeleted ? 'gone' : 'out_of_scope';
}

function blank(
  subject: Subject,
  kind: ChangeKind,
  user: SubjectUser | null,
): Omit<Draft, 'class' | 'op' | 'reason' | 'cause'> {
  return {
    kind,
    userId: user?.id ?? null,
    organizationId: null,
    role: null,
    grantSource: null,
    before: null,
    after: null,
    expectedVersion: subject.user !== null && user !== null ? user.version : null,
  };
}

function conflict(
  subject: Subject,
  op: 'dispute' | 'error',
  reason: string,
  cause: string,
  user: SubjectUser | null,
  after: Readonly<Record<string, unknown>> | null = null,
): Draft {
  return { ...blank(subject, 'conflict', user), class: 'conflict', op, after, reason, cause };
}

/** employee_id, jobTitle -> `employee id`, `job title`. */
function words(name: string): string {
  return name
    .replace(/^attributes\./, '')
    .replaceAll('_', ' ')
    .replace(/([a-z])([A-Z])/g, (_match, before: string, upper: string) => `${before} ${upper.toLowerCase()}`);
}
