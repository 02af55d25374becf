/** What follows from the end of a directory object: the leaver policy, or the hand-over to another directory. Pure. */
import { revokeDraft } from './decide-grants.ts';
import { attributeDrafts, blank, conflict, isSuspendedByUs, linkStateAfter, suspendDraft } from './drafts.ts';
import { isOver } from './days.ts';
import { isLiveLink } from './link-states.ts';
import { mergeAttributes } from './merge-attributes.ts';
import { firstOther } from './source-order.ts';
import type { DecisionContext, Draft, Subject, SubjectLink, SubjectUser } from './subject.ts';
import type { ChangeKind } from './vocabulary.ts';

/** The object is deleted or out of scope. A live link ends once its days of grace are over; a dead one may be due for removal. */
export function decideGone(subject: Subject, context: DecisionContext, user: SubjectUser, link: SubjectLink): Draft[] {
  if (!isLiveLink(link.state)) return decideLateRemoval(subject, context, user, link);
  return isInGrace(subject, context, link) ? [] : decideEnded(subject, context, user);
}

/** Who has another directory has no grace: nothing is taken from them. */
function isInGrace(subject: Subject, context: DecisionContext, link: SubjectLink): boolean {
  const { graceDays } = context.leaver;
  if (graceDays === 0 || subject.otherLinks.some((other) => other.isLive)) return false;
  return link.leavingSince === null || !isOver(link.leavingSince, graceDays, context.now);
}

function decideLateRemoval(subject: Subject, context: DecisionContext, user: SubjectUser, link: SubjectLink): Draft[] {
  const days = context.leaver.deleteAfterDays;
  if (days === null || link.endedAt === null || !isOver(link.endedAt, days, context.now)) return [];
  const isElsewhere = subject.otherLinks.some((other) => other.isLive);
  if (isElsewhere || user.status !== 'suspended' || !isSuspendedByUs(user, context)) return [];
  const reason = `Suspended for ${days} days after leaving ${context.connectionName}.`;
  const revokes = subject.ruleGrants.map((grant) =>
    revokeDraft(subject, user, grant, 'leaver', reason, 'delete_after'),
  );
  return decideRemoval(subject, user, reason, 'delete_after', revokes);
}

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
