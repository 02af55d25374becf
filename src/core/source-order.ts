/** Which of several directories goes first: lower priority number, then id, so that the order never depends on chance. */
import type { ConnectionId } from './ids.ts';
import type { DecisionContext, OtherLink, Subject } from './subject.ts';

export function goesBefore(context: DecisionContext, a: ConnectionId, b: ConnectionId): boolean {
  const priority = (id: ConnectionId) => context.sources.get(id)?.priority ?? Number.MAX_SAFE_INTEGER;
  return priority(a) < priority(b) || (priority(a) === priority(b) && a < b);
}

/** The live source of highest priority beside the one that is decided for. */
export function firstOther(subject: Subject, context: DecisionContext): OtherLink | undefined {
  return subject.otherLinks
    .filter((link) => link.isLive)
    .toSorted((a, b) => (goesBefore(context, a.connectionId, b.connectionId) ? -1 : 1))[0];
}
