/**
 * What should happen to one subject: data in, steps out, no IO. The promises of design.md section 2 that concern one
 * user stand here: absence alone does nothing, sync takes only what sync gave, privileged targets go to a person.
 */
import { decideGone } from './decide-ended.ts';
import { grantDrafts, revokeDrafts } from './decide-grants.ts';
import { quotaHomeDrafts } from './decide-quota-home.ts';
import { attributeDrafts, blank, conflict, isSuspendedByUs, suspendDraft, words } from './drafts.ts';
import { isLiveLink } from './link-states.ts';
import { matchedByOnReturn, reviewRehire } from './rehire.ts';
import { mergeAttributes } from './merge-attributes.ts';
import { firstOther, goesBefore } from './source-order.ts';
import type { DecisionContext, Draft, Subject, SubjectUser } from './subject.ts';

export function decideSubject(subject: Subject, context: DecisionContext): Draft[] {
  const drafts = decideSteps(subject, context);
  return [...drafts, ...quotaHomeDrafts(subject, context, drafts)];
}

function decideSteps(subject: Subject, context: DecisionContext): Draft[] {
  const { link, user } = subject;
  if (link?.state === 'ignored' || link?.state === 'held') return [];
  const isUnlinked = link === null || user === null || link.state === 'disputed';
  const isGone = subject.isDeleted || !subject.isInScope;
  if (isUnlinked) return isGone || subject.isAbsent ? [] : decideUnlinked(subject, context);
  // a fault in an expression says nothing about an object that is deleted
  if (subject.problem !== null && !subject.isDeleted) {
    return [conflict(subject, 'error', `Left alone: ${subject.problem}.`, 'problem', user)];
  }
  if (user.isProtected) return [];
  if (isGone) return decideGone(subject, context, user, link);
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
  if (subject.correlationFault !== null) {
    return [conflict(subject, 'error', `Left alone: ${subject.correlationFault}.`, 'correlation', null)];
  }
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
  const rehire = isSuspendedByUs(subject.user, context) ? reviewRehire(subject, context, subject.user, null) : null;
  if (rehire !== null) return [rehire];
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
  if (candidate?.isReview === true) {
    return `${candidate.name} has the same ${rule}, and this rule leaves the decision to a person.`;
  }
  return null;
}

function decideJoiner(subject: Subject, context: DecisionContext): Draft[] {
  const userId = context.newUserId();
  const values = mergeAttributes(subject, context, null, true).changes;
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
    const rehire = reviewRehire(subject, context, user, subject.link);
    if (rehire !== null) return [rehire];
    drafts.push({
      ...blank(subject, 'mover', user),
      class: 'link',
      op: 'link',
      after: { matchedBy: matchedByOnReturn(subject.link) },
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
  if (!isDecider(subject, context)) return outrankedStatus(subject, context, user);
  if (!subject.isActive && user.status === 'active') {
    return [suspendDraft(subject, user, `Disabled in ${context.connectionName}.`, 'disabled', context)];
  }
  const isOurs = isSuspendedByUs(user, context);
  const isBack = user.status === 'removed' ? isReturning : user.status === 'suspended';
  if (!subject.isActive || !isBack || !isOurs) return [];
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

/** What the source that goes first now says of somebody about whom our word counted before. */
function outrankedStatus(subject: Subject, context: DecisionContext, user: SubjectUser): Draft[] {
  const first = firstOther(subject, context);
  // in a plan of the new order only: at other times that source suspends by itself, under its own guards
  if (first?.isActive === false && user.status === 'active' && context.isReordered) {
    const reason = `${context.connectionName} no longer goes first, and the directory that does has the user disabled.`;
    return [suspendDraft(subject, user, reason, 'disabled', context, first.connectionId)];
  }
  if (first?.isActive !== true || user.status !== 'suspended' || !isSuspendedByUs(user, context)) return [];
  return [
    {
      ...blank(subject, 'mover', user),
      class: 'update',
      op: 'reactivate',
      before: { status: user.status },
      after: { status: 'active' },
      reason: `${context.connectionName} no longer goes first, and the directory that does has the user enabled.`,
      cause: 'enabled',
    },
  ];
}
