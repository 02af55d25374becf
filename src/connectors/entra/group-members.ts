/** The direct members of one group, as a list rather than a round. */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import { checkLink } from './delta-page.ts';
import type { GraphSession } from './graph-session.ts';
import { memberChanges } from './objects.ts';

type Wanted = 'users and groups' | 'users';

/** 5,000 pages of 999 are five million members. */
const maxPages = 5_000;

/** Yields anchors by page; nothing when the group is gone by now. */
export async function* readMembers(
  session: GraphSession,
  group: string,
  wanted: Wanted = 'users and groups',
): AsyncGenerator<readonly string[]> {
  const place = `${session.graphUrl}/v1.0/groups/${group}/members`;
  let url = `${place}?$select=id&$top=999`;
  for (let pages = 0; pages < maxPages; pages += 1) {
    const page = await getUnlessGone(session, url);
    if (page === null) return;
    const members = page['value'] as readonly unknown[];
    yield memberChanges(wanted === 'users' ? members.filter(isUser) : members).added;
    const next = page['@odata.nextLink'];
    if (typeof next !== 'string') return;
    url = checkLink(next, place);
  }
  throw new RollcallError('directory_protocol', 'The member list of a group does not end.', { raw: group });
}

function isUser(member: unknown): boolean {
  return (
    typeof member === 'object' && member !== null && Reflect.get(member, '@odata.type') === '#microsoft.graph.user'
  );
}

async function getUnlessGone(session: GraphSession, url: string): Promise<Readonly<Record<string, unknown>> | null> {
  try {
    return await session.getPage(url);
  } catch (error) {
    if (isRollcallError(error, 'directory_not_found')) return null;
    throw error;
  }
}
