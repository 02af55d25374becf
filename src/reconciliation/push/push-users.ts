/**
 * Users that are pushed: one, or several that came together (their statements are the same, so that a burst of pushes
 * costs one transaction). Together go only pushes that have nothing to do with each other and only add; all others are
 * refused here before anything is saved, and each goes alone.
 */
import { RollcallError } from '../../core/errors.ts';
import type { TenantTx } from '../../db/db.ts';
import { databaseErrorCode } from '../../db/db.ts';
import { allSent } from './all-sent.ts';
import { contentOf, writeMirrorUsers, type PushedUsers, type UserContent } from './mirror-users.ts';
import { NotTogether } from './not-together.ts';
import { subjectsOfNewcomers } from './newcomers.ts';
import type { KnownPush, Opener, OpenPush } from './open-push.ts';
import type { Expectation, PushContext, PushedUser, UserPush, Written } from './push-types.ts';
import { settle } from './settle.ts';
import { StartOver, takesWholeWay } from './whole-way.ts';

export async function writeUser(
  tx: TenantTx,
  opener: Opener,
  context: PushContext,
  user: PushedUser,
  expect: Expectation,
): Promise<Written> {
  try {
    const { opened, pushed } = await mirror(tx, opener, context, [{ user, expect }]);
    const [{ written }] = await allSent([pushed.mirrored, settle(tx, opened, [user.anchor], { pushed })]);
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
  opener: Opener,
  context: PushContext,
  pushes: readonly UserPush[],
): Promise<(Written | null)[]> {
  const requestIds = new Map(pushes.map(({ user, requestId }) => [user.anchor, requestId]));
  const { opened, pushed } = await mirror(tx, opener, context, pushes);
  const areAlike = new Set(pushes.map(({ expect }) => expect === 'new')).size === 1;
  const settling = { requestIds, pushed: areAlike ? pushed : undefined };
  const [{ written }] = await allSent([pushed.mirrored, settle(tx, opened, [...requestIds.keys()], settling)]);
  return pushes.map(({ user }) => written.get(user.anchor) ?? null);
}

type Push = Pick<UserPush, 'user' | 'expect'>;

/**
 * Opens the push and sends the objects. New ones are mapped by what was known of the connection the last time and leave in
 * the packet that asks whether it still holds, which it hardly ever does not.
 */
async function mirror(
  tx: TenantTx,
  opener: Opener,
  context: PushContext,
  pushes: readonly Push[],
): Promise<{ readonly opened: OpenPush; readonly pushed: PushedUsers }> {
  const isEarly = pushes.every(({ expect }) => expect === 'new') && !takesWholeWay(tx);
  const known = isEarly ? opener.known(context) : null;
  const opening = opener.open(tx, context);
  if (known === null) {
    const opened = await opening;
    return { opened, pushed: send(tx, opened, pushes) };
  }
  const [opened, pushed] = await allSent([opening, sendEarly(tx, known, pushes)]);
  if (opened.mapper !== known.mapper)
    throw new StartOver('The connection, its mappings or its rules were changed meanwhile.');
  return { opened, pushed };
}

/** A promise, so that what keeps them from going together is told when the opening is over. */
async function sendEarly(tx: TenantTx, known: KnownPush, pushes: readonly Push[]): Promise<PushedUsers> {
  const pushed = send(tx, known, pushes);
  await allSent([pushed.mirrored, pushed.newcomers]);
  return pushed;
}

function send(tx: TenantTx, known: KnownPush, pushes: readonly Push[]): PushedUsers {
  const writes = pushes.map(({ user, expect }) => ({ content: contentOf(known, user), expect }));
  const contents = writes.map(({ content }) => content);
  if (!areApart(contents)) throw new NotTogether('Two of them share a key.');
  const mirrored = writeMirrorUsers(tx, known, writes);
  const areNew = pushes.every(({ expect }) => expect === 'new');
  const newcomers = areNew ? subjectsOfNewcomers(tx, known, contents, mirrored) : null;
  // told by who asks for them; a connection that is paused asks for nobody
  newcomers?.catch(() => undefined);
  return { contents, mirrored, newcomers };
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
