/**
 * Is this full read plausible? Compared with the last good full run; a breach holds the whole run (design.md section
 * 7.4). Pure.
 */
import { z } from 'zod';

/** What a good full run leaves behind for the next one to be compared with. */
export const baselineSchema = z.object({
  /** When it was taken; objects that the mirror got later are new to it. */
  at: z.string().optional(),
  users: z.int(),
  groups: z.int(),
  /** attribute -> objects that had a value. */
  filled: z.record(z.string(), z.int()).default({}),
  /** mapped group -> effective direct members. */
  mappedGroups: z.record(z.string(), z.object({ name: z.string(), members: z.int() })).default({}),
});
export type Baseline = z.output<typeof baselineSchema>;

export type Reading = Baseline & {
  /** Users that no good full read has shown before. */
  readonly newUsers: number;
  /** Groups whose mapping a person ended: that they are not measured any more says nothing about the directory. */
  readonly unmapped: readonly string[];
};

export type Implausibility = { readonly check: string; readonly message: string };

const shrinkPercent = 20;
const shrinkCount = 10;

export function checkPlausibility(reading: Reading, baseline: Baseline | null): Implausibility[] {
  if (baseline === null || baseline.users === 0) {
    return reading.users === 0
      ? [
          {
            check: 'empty',
            message: 'The directory answered with no users at all. Check base, filter and the rights of the account.',
          },
        ]
      : [];
  }
  if (reading.users === 0) {
    return [
      { check: 'empty', message: `The directory answered with no users; the last good read had ${baseline.users}.` },
    ];
  }
  const found: Implausibility[] = [];
  for (const kind of ['users', 'groups'] as const) {
    const lost = baseline[kind] - reading[kind];
    if (lost > shrinkCount && lost * 100 > baseline[kind] * shrinkPercent) {
      found.push({
        check: 'shrunk',
        message: `The directory shows ${reading[kind]} ${kind}; the last good read had ${baseline[kind]}.`,
      });
    }
  }
  for (const [anchor, before] of Object.entries(baseline.mappedGroups)) {
    if (reading.unmapped.includes(anchor)) continue;
    const now = reading.mappedGroups[anchor];
    if (now === undefined) {
      found.push({ check: 'group_gone', message: `The mapped group ${before.name} is not in the directory any more.` });
    } else if (now.members === 0 && before.members > 0) {
      found.push({
        check: 'group_emptied',
        message: `The mapped group ${before.name} is empty; it had ${before.members} members.`,
      });
    }
  }
  for (const [attribute, before] of Object.entries(baseline.filled)) {
    if (before > shrinkCount && (reading.filled[attribute] ?? 0) === 0) {
      found.push({
        check: 'attribute_gone',
        message: `No object has a value for ${attribute} any more; ${before} had one. The account may have lost the right to read it.`,
      });
    }
  }
  if (reading.newUsers * 2 > reading.users && reading.newUsers > shrinkCount) {
    found.push({
      check: 'swapped',
      message: `${reading.newUsers} of ${reading.users} users have ids never seen before: this looks like another directory.`,
    });
  }
  return found;
}
