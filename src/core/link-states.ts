/** Which link states count as live: the directory still vouches for the user (design.md section 7). */
import type { Subject } from './subject.ts';
import type { LinkState } from './vocabulary.ts';

/** `missing` is live: absence without proof means nothing. `held` is live but out of reach of runs. */
export const liveLinkStates = ['linked', 'missing', 'held'] as const satisfies readonly LinkState[];

export function isLiveLink(state: LinkState): boolean {
  return (liveLinkStates as readonly LinkState[]).includes(state);
}

/** The object is gone and the link lives on: days of grace run, or the user is protected. Nothing is settled by that. */
export function isWaiting(subject: Subject): boolean {
  const isGone = subject.isDeleted || !subject.isInScope;
  return isGone && (subject.link?.state === 'linked' || subject.link?.state === 'missing');
}
