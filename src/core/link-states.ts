/** Which link states count as live: the directory still vouches for the user (design.md section 7). */
import type { LinkState } from './vocabulary.ts';

/** `missing` is live: absence without proof means nothing. `held` is live but out of reach of runs. */
export const liveLinkStates = ['linked', 'missing', 'held'] as const satisfies readonly LinkState[];

const moves: Record<LinkState, readonly LinkState[]> = {
  linked: ['missing', 'gone', 'out_of_scope', 'suspended', 'removed', 'held'],
  missing: ['linked', 'gone', 'out_of_scope', 'suspended', 'removed', 'held'],
  gone: ['linked', 'suspended', 'removed'],
  out_of_scope: ['linked', 'gone', 'suspended', 'removed'],
  suspended: ['linked', 'removed', 'gone', 'out_of_scope'],
  removed: ['linked'],
  disputed: ['linked', 'ignored'],
  ignored: ['linked', 'disputed'],
  held: ['linked'],
};

export function isLiveLink(state: LinkState): boolean {
  return (liveLinkStates as readonly LinkState[]).includes(state);
}

export function canMove(from: LinkState, to: LinkState): boolean {
  return from === to || moves[from].includes(to);
}
