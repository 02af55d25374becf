/** The shapes of the steps of a plan, which every part of the decision puts together. Pure. */
import type { AttributeChange } from './merge-attributes.ts';
import type { DecisionContext, Draft, Subject, SubjectUser } from './subject.ts';
import type { ChangeKind } from './vocabulary.ts';

export function linkStateAfter(subject: Subject, op: 'suspend' | 'unlink'): string {
  const isGone = subject.isDeleted || !subject.isInScope;
  if (!isGone) return 'linked';
  if (op === 'suspend') return 'suspended';
  return subject.isDeleted ? 'gone' : 'out_of_scope';
}

export function blank(
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

export function conflict(
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

export function words(name: string): string {
  return name
    .replace(/^attributes\./, '')
    .replaceAll('_', ' ')
    .replace(/([a-z])([A-Z])/g, (_match, before: string, upper: string) => `${before} ${upper.toLowerCase()}`);
}

export function suspendDraft(
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

export function attributeDrafts(
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

export function isSuspendedByUs(user: SubjectUser, context: DecisionContext): boolean {
  return user.suspendedBy === `connection:${context.connectionId}`;
}
