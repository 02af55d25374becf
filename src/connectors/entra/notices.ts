/** Notices without a flood: the first hundred of a kind one by one, the rest as a number at the end. */
import type { DirectoryEvent } from '../contract/contract.ts';

const maxOfAKind = 100;

export type Notices = {
  /** The notice, while there were few of its kind. */
  note(code: string, message: string, anchor: string): DirectoryEvent[];
  countIgnoredMembers(count: number): void;
  summary(): DirectoryEvent[];
};

export function createNotices(): Notices {
  const counts = new Map<string, number>();
  let ignoredMembers = 0;
  return {
    note: (code, message, anchor) => {
      const count = (counts.get(code) ?? 0) + 1;
      counts.set(code, count);
      return count <= maxOfAKind ? [{ type: 'notice', code, message, anchor }] : [];
    },
    countIgnoredMembers: (count) => {
      ignoredMembers += count;
    },
    summary: () => {
      const notices: DirectoryEvent[] = [];
      for (const [code, count] of counts) {
        if (count <= maxOfAKind) continue;
        notices.push({ type: 'notice', code, message: `${count - maxOfAKind} more of this kind.`, anchor: null });
      }
      if (ignoredMembers > 0) {
        const message = `${ignoredMembers} group members are neither users nor groups (devices, services, contacts).`;
        notices.push({ type: 'notice', code: 'members_ignored', message, anchor: null });
      }
      return notices;
    },
  };
}
