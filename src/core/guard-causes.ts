/** What brought about the changes that a guard holds, in words: who approves reads the cause before the names. Pure. */

/** Users of held changes that share a cause, and the name of the group it speaks of. */
export type CauseCount = { readonly cause: string; readonly users: number; readonly groupName: string | null };

export type HeldCause = { readonly cause: string; readonly users: number; readonly words: string };

export function describeCause({ cause, users, groupName }: CauseCount): HeldCause {
  return { cause, users, words: `${users.toLocaleString('en-US')} ${wordsOf(cause, users, groupName)}` };
}

/** The words after the number, by what stands before the colon of the cause. */
function wordsOf(cause: string, users: number, groupName: string | null): string {
  const [kind, rest] = splitOnce(cause);
  const [were, have, lose] = users === 1 ? ['was', 'has', 'loses'] : ['were', 'have', 'lose'];
  switch (kind) {
    case 'left_group':
      return `left the group ${groupName ?? rest}`;
    case 'in_group':
      return `${were} added to the group ${groupName ?? rest}`;
    case 'deleted':
      return `${were} deleted in the directory`;
    case 'disabled':
      return `${were} disabled in the directory`;
    case 'out_of_scope':
      return `left the scope of the connection`;
    case 'rule_ended':
      return `${lose} a role because its role mapping was removed`;
    case 'ceiling':
      return `${lose} a role above the ceiling of the connection`;
    case 'excluded':
      return `${were} excluded by a person`;
    case 'rule':
      return `${have} a role changed by a role mapping without a group`;
    case 'joined':
      return `${users === 1 ? 'is' : 'are'} new in the directory`;
    case 'username':
      return `${have} another username in the directory`;
    case 'attributes':
      return `${have} other values in the directory`;
    case 'matched':
      return `${were} found by ${rest.replaceAll('_', ' ')}`;
    case 'returned':
      return `${were} away and ${users === 1 ? 'is' : 'are'} back`;
    case 'enabled':
      return `${were} enabled again in the directory`;
    case 'replaced':
      return `${were} deleted in the directory and made anew`;
    case 'delete_after':
      return `${were} suspended as leavers long enough to be removed`;
    case 'quota_home':
      return `${have} another quota home`;
    case 'case':
      return `${were} given a role by the person who decided their case`;
    case 'undo':
      return `${users === 1 ? 'is' : 'are'} put back by the undo (${rest.replaceAll('_', ' ')})`;
    default:
      return wordsOfConflict(kind, users === 1) ?? `for the cause ${cause.replaceAll('_', ' ')}`;
  }
}

/** What waits for a person beside what is held. */
function wordsOfConflict(kind: string, isOne: boolean): string | undefined {
  const [is, has] = isOne ? ['is', 'has'] : ['are', 'have'];
  const words: Readonly<Record<string, string>> = {
    last_admin: `${is} the last active Admin of an organization, and ${isOne ? 'stays' : 'stay'}`,
    disputed_match: `may be somebody who ${is} there already`,
    rehire: `${is} back after a long time`,
    duplicate_key: `${isOne ? 'wants' : 'want'} a username that somebody else has`,
    drift: `${has} values that were edited by hand`,
    problem: `${has} a fault in the directory`,
    correlation: `can not be compared by a correlation rule`,
  };
  return words[kind];
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf(':');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** A sentence for the most likely cause, or the two that share it; empty where there is none. */
export function nameLikelyCause(causes: readonly HeldCause[]): string {
  const total = causes.reduce((sum, one) => sum + one.users, 0);
  const [first, second] = causes;
  if (first === undefined) return '';
  if (second === undefined || first.users * 2 > total) return ` Most likely cause: ${first.words}.`;
  return ` Most likely causes: ${first.words}, ${second.words}.`;
}
