/**
 * The guards: sums over the finished plan, evaluated once, before the first write (design.md section 7). Volume holds
 * a class of changes; plausibility of a full read holds the run. Pure; limits are inclusive as written.
 */
import type { GuardLimits } from './policy.ts';

/** Counts of this plan plus what the connection applied in the last 24 hours, and what they are a share of. */
export type GuardCounts = {
  readonly isFirstRun: boolean;
  readonly liveLinks: number;
  readonly liveGrants: number;
  readonly joiners: number;
  readonly leavers: number;
  readonly revokes: number;
  readonly privilegedGrants: number;
  readonly keyChanges: number;
  readonly emailChanges: number;
  /** Revokes per mapped group, with the members it had before. */
  readonly groupLosses: readonly {
    readonly groupAnchor: string;
    readonly groupName: string;
    readonly lost: number;
    readonly before: number;
  }[];
};

export const guardNames = [
  'leavers',
  'revokes',
  'group_loss',
  'privileged_grants',
  'joiners',
  'key_changes',
  'email_changes',
] as const;
export type GuardName = (typeof guardNames)[number];

export type Breach = {
  readonly guard: GuardName;
  readonly count: number;
  readonly of: number | null;
  /** Only the rows of this group are held; null: the whole class. */
  readonly groupAnchor: string | null;
  readonly message: string;
};

type Limit = { readonly count: number; readonly percent: number };

function exceeds(count: number, of: number, limit: Limit): boolean {
  return count >= limit.count && count * 100 > limit.percent * of;
}

export function evaluateGuards(counts: GuardCounts, limits: GuardLimits): Breach[] {
  const breaches: Breach[] = [];
  const add = (
    guard: GuardName,
    count: number,
    of: number | null,
    message: string,
    groupAnchor: string | null = null,
  ) => breaches.push({ guard, count, of, groupAnchor, message });
  const links = counts.liveLinks;
  if (
    counts.leavers > limits.leaversMax ||
    exceeds(counts.leavers, links, limits.leavers) ||
    exceeds(counts.leavers, links, limits.leaversSmall)
  ) {
    add('leavers', counts.leavers, links, `${counts.leavers} of ${links} linked users would leave.`);
  }
  if (counts.revokes > limits.revokesMax || exceeds(counts.revokes, counts.liveGrants, limits.revokes)) {
    add(
      'revokes',
      counts.revokes,
      counts.liveGrants,
      `${counts.revokes} of ${counts.liveGrants} grants would be revoked.`,
    );
  }
  for (const group of counts.groupLosses) {
    if (!exceeds(group.lost, group.before, limits.groupLoss)) continue;
    const message = `${group.lost} of ${group.before} members left the group ${group.groupName}.`;
    add('group_loss', group.lost, group.before, message, group.groupAnchor);
  }
  if (counts.privilegedGrants >= limits.adminGrants) {
    add(
      'privileged_grants',
      counts.privilegedGrants,
      null,
      `${counts.privilegedGrants} ${counts.privilegedGrants === 1 ? 'grant of a privileged role waits' : 'grants of privileged roles wait'} for a person.`,
    );
  }
  if (!counts.isFirstRun && exceeds(counts.joiners, links, limits.joiners)) {
    add('joiners', counts.joiners, links, `${counts.joiners} users would be created beside ${links} linked ones.`);
  }
  if (exceeds(counts.keyChanges, links, limits.keyChanges)) {
    add('key_changes', counts.keyChanges, links, `${counts.keyChanges} of ${links} usernames would change.`);
  }
  if (exceeds(counts.emailChanges, links, limits.emailChanges)) {
    add(
      'email_changes',
      counts.emailChanges,
      links,
      `${counts.emailChanges} of ${links} e-mail addresses would change.`,
    );
  }
  return breaches;
}
