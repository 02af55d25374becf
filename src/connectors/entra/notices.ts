/** Notices without a flood: the first hundred of a kind one by one, the rest as a number at the end. */
import type { DirectoryEvent } from '../contract/contract.ts';

const maxOfAKind = 100;

export type Notices = {
  /** The notice, while there were few of its kind. */
  note(code: string, message: string, anchor: string): DirectoryEvent[];
  countIgnoredMembers(count: number): void;
  /** A group whose members only those with a permission of its own may see (Graph "group", visibility). */
  seeGroup(anchor: string, visibility: unknown, hasMembers: boolean): void;
  summary(): DirectoryEvent[];
};

export function createNotices(): Notices {
  const counts = new Map<string, number>();
  let ignoredMembers = 0;
  const hidden = new Map<string, boolean>();
  return {
    note: (code, message, anchor) => {
      const count = (counts.get(code) ?? 0) + 1;
      counts.set(code, count);
      return count <= maxOfAKind ? [{ type: 'notice', code, message, anchor }] : [];
    },
    countIgnoredMembers: (count) => {
      ignoredMembers += count;
    },
    seeGroup: (anchor, visibility, hasMembers) => {
      if (visibility !== 'HiddenMembership' || (hidden.size >= maxOfAKind && !hidden.has(anchor))) return;
      // a big group comes on several pages
      hidden.set(anchor, hidden.get(anchor) === true || hasMembers);
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
      for (const [anchor, isShown] of hidden) {
        if (isShown) continue;
        const message = 'The group hides its members: without the permission Member.Read.Hidden it looks empty.';
        notices.push({ type: 'notice', code: 'members_hidden', message, anchor });
      }
      return notices;
    },
  };
}
