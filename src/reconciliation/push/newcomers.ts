/**
 * New people whom nothing in the tenant concerns: no user has one of their keys, nobody who was deleted had, and no
 * group waits for them. Most new people are such, and all that a decision needs of them is what was just inserted.
 */
import { readRules } from '../../core/correlation.ts';
import type { Subject } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';
import { mayBeKnown } from '../plan/candidates.ts';
import { subjectOfNew } from '../plan/subjects.ts';
import { allSent } from './all-sent.ts';
import type { Mirrored, UserContent } from './mirror-users.ts';
import type { KnownPush } from './open-push.ts';

/** In the order in which they were inserted; null where one of them may be known, and all have to be looked up. */
export async function subjectsOfNewcomers(
  tx: TenantTx,
  { connection, context: { connectionId }, rules, hasGroupRules }: KnownPush,
  contents: readonly UserContent[],
  mirrored: Promise<Mirrored>,
): Promise<readonly Subject[] | null> {
  const correlation = readRules(connection.policy.correlation);
  const usernames = contents.flatMap(({ usernameKey }) => usernameKey ?? []);
  const [{ created }, areKnown, areAwaited] = await allSent([
    mirrored,
    mayBeKnown(tx, connectionId, correlation, contents, usernames),
    hasGroupRules ? areMembers(tx, connectionId, contents) : false,
  ]);
  if (areKnown || areAwaited) return null;
  return created.map((object) => subjectOfNew(object, rules, correlation));
}

async function areMembers(tx: TenantTx, connectionId: string, contents: readonly UserContent[]): Promise<boolean> {
  const rows = await tx.sql`
    select 1 from mirror_edges
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and member_anchor = any(${contents.map(({ anchor }) => anchor)})
    limit 1`;
  return rows.length > 0;
}
