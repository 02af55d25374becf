/** Who comes back after leaving: the user they were, or a question to a person (leaver policy, `rehire`). Pure. */
import { isOver } from './days.ts';
import { conflict } from './drafts.ts';
import type { DecisionContext, Draft, Subject, SubjectLink, SubjectUser } from './subject.ts';

/** What a person's "yes, the same person" leaves on the link that ended, until the next run finds it. */
export const approvedRehire = 'rehire';

export function matchedByOnReturn(link: SubjectLink | null): string {
  return link?.matchedBy === approvedRehire ? 'case' : (link?.matchedBy ?? 'anchor');
}

/**
 * Null: relink. `link` is the one that ended; null where the person came back as a new object that matches by a
 * correlation rule. Who is in another directory all the while did not leave.
 */
export function reviewRehire(
  subject: Subject,
  context: DecisionContext,
  user: SubjectUser,
  link: SubjectLink | null,
): Draft | null {
  const days = context.leaver.reviewRehireAfterDays;
  if (days === null || link?.matchedBy === approvedRehire || subject.otherLinks.some((other) => other.isLive))
    return null;
  const left = link === null ? user.leftAt : link.endedAt;
  const isLong = left !== null && isOver(left, days, context.now);
  if (user.status !== 'removed' && !isLong) return null;
  const what = user.status === 'removed' ? 'after the user was removed' : `more than ${days} days after leaving`;
  const reason = `Back in ${context.connectionName} ${what}, so a person decides whether it is the same person.`;
  const after = { caseKind: 'rehire', candidates: [user.id] };
  return conflict(subject, 'dispute', reason, 'rehire', link === null ? null : user, after);
}
