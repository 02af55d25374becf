/** The shapes of the steps of a plan, which every part of the decision puts together. Pure. */
import type { ConnectionId } from './ids.ts';
import type { AttributeChange, Merged } from './merge-attributes.ts';
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
  { changes, drifts }: Merged,
  user: SubjectUser,
  context: DecisionContext,
): Draft[] {
  const drafts: Draft[] = [];
  for (const [source, ofSource] of Map.groupBy(changes, (change) => change.source)) {
    const ordinary = ofSource.filter((change) => change.target !== 'username');
    if (ordinary.length > 0) drafts.push(valuesDraft(subject, user, context, source, 'update', ordinary));
    const username = ofSource.filter((change) => change.target === 'username');
    if (username.length > 0) drafts.push(valuesDraft(subject, user, context, source, 'key', username));
  }
  if (drifts.length > 0) drafts.push(driftDraft(subject, user, context, drifts));
  return drafts;
}

function valuesDraft(
  subject: Subject,
  user: SubjectUser,
  context: DecisionContext,
  source: ConnectionId,
  op: 'update' | 'key',
  changes: readonly AttributeChange[],
): Draft {
  const isOurs = source === context.connectionId;
  const names = capitalize(changes.map((change) => words(change.target)).join(', '));
  const other = context.sources.get(source)?.name ?? 'another directory';
  return {
    ...blank(subject, 'mover', user),
    class: op,
    op,
    grantSource: isOurs ? null : `connection:${source}`,
    before: Object.fromEntries(changes.map((change) => [change.target, change.before])),
    after: Object.fromEntries(changes.map((change) => [change.target, change.after])),
    reason: isOurs
      ? `${names} changed in ${context.connectionName}.`
      : `${names} as ${other} says, which goes first now.`,
    cause: op === 'key' ? 'username' : 'attributes',
  };
}

function driftDraft(
  subject: Subject,
  user: SubjectUser,
  context: DecisionContext,
  drifts: readonly AttributeChange[],
): Draft {
  const shown = drifts
    .map(({ target, before, after }) => `${words(target)} is ${quoted(before)} here and ${quoted(after)} there`)
    .join('; ');
  const reason = `Edited by hand, and ${context.connectionName} says otherwise: ${shown}.`;
  return conflict(subject, 'dispute', reason, 'drift', user, {
    caseKind: 'drift',
    candidates: [user.id],
    drift: Object.fromEntries(drifts.map(({ target, before, after }) => [target, { local: before, source: after }])),
  });
}

function quoted(value: string | null): string {
  return value === null ? 'empty' : JSON.stringify(value);
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function isSuspendedByUs(user: SubjectUser, context: DecisionContext): boolean {
  return user.suspendedBy === `connection:${context.connectionId}`;
}
