/**
 * Users that are pushed: one, or several that came together (their statements are the same, so that a burst of pushes
 * costs one transaction). Together go only pushes that have nothing to do with each other and only add; all others are
 * refused here before anything is saved, and each goes alone.
 */
import { RollcallError } from '../../core/errors.ts';
import type { TenantTx } from '../../db/db.ts';
import { databaseErrorCode } from '../../db/db.ts';
import { allSent } from './all-sent.ts';
import { contentOf, writeMirrorUsers, type UserContent } from './mirror-users.ts';
import { NotTogether } from './not-together.ts';
import type { OpenPush } from './open-push.ts';
import type { PushedUser, Expectation, UserPush, Written } from './push-types.ts';
import { settle } from './settle.ts';

export async function writeUser(
  tx: TenantTx,
  opened: OpenPush,
  user: PushedUser,
  expect: Expectation,
): Promise<Written> {
  const content = contentOf(opened, user);
  try {
    const mirrored = writeMirrorUsers(tx, opened, [{ content, expect }]);
    const pushed = { areNew: expect === 'new', contents: [content], mirrored };
    const [{ written }] = await allSent([mirrored, settle(tx, opened, [user.anchor], { pushed })]);
    const row = written.get(user.anchor);
    if (row !== undefined) return row;
  } catch (cause) {
    if (databaseErrorCode(cause) !== '23505') throw cause;
    throw conflict({ cause });
  }
  if (expect === 'new') throw conflict({});
  throw new RollcallError('version_mismatch', 'The resource was changed by another request meanwhile.', {
    remedy: 'Read it again and repeat the change.',
  });
}

function conflict(options: { readonly cause?: unknown }): RollcallError {
  const text = 'There is already a user with this userName or externalId in this connection.';
  return new RollcallError('conflict', text, options);
}

/** In the order of `pushes`; null is one that can not be written like this, and of which nothing was. */
export async function writeUsers(
  tx: TenantTx,
  opened: OpenPush,
  pushes: readonly UserPush[],
): Promise<(Written | null)[]> {
  const writes = pushes.map(({ user, expect }) => ({ content: contentOf(opened, user), expect }));
  const contents = writes.map(({ content }) => content);
  if (!areApart(contents)) throw new NotTogether('Two of them share a key.');
  const requestIds = new Map(pushes.map(({ user, requestId }) => [user.anchor, requestId]));
  const areNew = pushes.every(({ expect }) => expect === 'new');
  const mirrored = writeMirrorUsers(tx, opened, writes);
  const isOneKind = areNew || pushes.every(({ expect }) => expect !== 'new');
  const settling = { requestIds, pushed: isOneKind ? { areNew, contents, mirrored } : undefined };
  const [{ written }] = await allSent([mirrored, settle(tx, opened, [...requestIds.keys()], settling)]);
  return contents.map(({ anchor }) => written.get(anchor) ?? null);
}

/** By none of the keys that correlation looks at could one of them be found for another. */
function areApart(contents: readonly UserContent[]): boolean {
  const seen = new Set<string>();
  for (const { user_name_key, email_key, employee_id_key, usernameKey } of contents) {
    const own = new Set([user_name_key, email_key, employee_id_key, usernameKey].filter((key) => key !== null));
    for (const key of own) if (seen.has(key)) return false;
    for (const key of own) seen.add(key);
  }
  return true;
}
