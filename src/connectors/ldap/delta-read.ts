/**
 * A delta read of Active Directory or OpenLDAP: which objects changed since the cursor, each of them read anew by its id,
 * so that base and filter decide as in a full read. What no feed tells leads to a full read: a renamed organizational unit moves
 * everybody below it without a word about them.
 */
import type { ObjectKind } from '../../core/vocabulary.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import { ChangedUsers } from './changed-users.ts';
import { changedGroups } from './changed-groups.ts';
import type { LdapCursor, Position } from './cursor.ts';
import { seesDeletions } from './deletions.ts';
import { isHistoryLost, readChanges } from './dirsync-changes.ts';
import { groupsNaming, wholeGroups } from './members-by-name.ts';
import type { Named } from './members-by-name.ts';
import { searchOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { pagedWhole } from './ranged.ts';
import { readSyncChanges } from './syncrepl-changes.ts';
import { readUsnChanges } from './usn-changes.ts';

const sweepShrinkShare = 0.8;
const sweepShrinkCount = 10;

type Batches = AsyncGenerator<DirectoryEvent[], void>;

const readers: Readonly<Record<Position['by'], (options: ReadOptions, from: LdapCursor) => Batches>> = {
  dirsync: readByDirSync,
  usn: readByUsn,
  syncrepl: readBySyncrepl,
};

/** Ends with `complete` or, when the history is lost or not enough, with `reset`. */
export async function* readDelta(options: ReadOptions, from: LdapCursor): Batches {
  try {
    yield* readers[from.position.by](options, from);
  } catch (error) {
    if (!isHistoryLost(error)) throw error;
    yield reset(`The server does not take the stored position: ${error.raw ?? error.message}`);
  }
}

function reset(reason: string): DirectoryEvent[] {
  return [{ type: 'reset', reason }];
}

async function* readByDirSync(options: ReadOptions, from: LdapCursor): Batches {
  const changes = await readChanges(options, from);
  if (typeof changes === 'string') {
    yield reset(changes);
    return;
  }
  yield changes.tombstones;
  const users = new ChangedUsers(options, from);
  yield* users.byId(changes.users);
  yield* users.ended();
  yield* changedGroups(options, changes.groups);
  yield* users.primaryGroups();
  const position = { by: 'dirsync', cookie: changes.cookie } as const;
  yield* end(options, { ...from, position, nextEnd: users.nextEnd }, await seesDeletions(options.directory));
}

async function* readByUsn(options: ReadOptions, from: LdapCursor): Batches {
  const changes = await readUsnChanges(options, from);
  if (typeof changes === 'string') {
    yield reset(changes);
    return;
  }
  const users = new ChangedUsers(options, from);
  yield* users.matching(changes.users);
  yield* users.ended();
  yield* changedGroups(options, changes.groups);
  yield* users.primaryGroups();
  const position: Position = { by: 'usn', usn: changes.usn };
  yield* end(options, { ...from, position, nextEnd: users.nextEnd }, false);
}

/** An id may be that of a user or a group, or of something else: each is looked for among both. */
async function* readBySyncrepl(options: ReadOptions, from: LdapCursor): Batches {
  const changes = await readSyncChanges(options, from);
  if (typeof changes === 'string') {
    yield reset(changes);
    return;
  }
  const users = new ChangedUsers(options, from);
  const found: Named[] = [];
  yield* noting(users.byId(new Set(changes.ids)), found);
  yield* users.ended();
  if (options.readGroups) {
    yield* noting(wholeGroups(options, changes.ids, from.users + from.groups), found);
    yield* groupsNaming(options, found);
  }
  const position: Position = { by: 'syncrepl', cookie: changes.cookie };
  yield* end(options, { ...from, position, nextEnd: users.nextEnd }, changes.tellsDeletions);
}

async function* noting(batches: Batches, found: Named[]): Batches {
  for await (const batch of batches) {
    for (const event of batch) {
      if (event.type !== 'upsert') continue;
      const { anchor, locator } = event.object;
      if (locator !== null) found.push({ anchor, dn: locator });
    }
    yield batch;
  }
}

/** Where nobody tells about deletions, all ids are looked at. */
async function* end(options: ReadOptions, cursor: LdapCursor, tellsDeletions: boolean): Batches {
  const counts = { users: cursor.users, groups: cursor.groups };
  if (!tellsDeletions) {
    for (const kind of options.readGroups ? (['user', 'group'] as const) : (['user'] as const)) {
      const found = yield* sweep(options, kind);
      const known = counts[`${kind}s`];
      if (found < known * sweepShrinkShare && known - found > sweepShrinkCount) {
        yield reset(`Only ${found} of ${known} ${kind}s are there: that is for a full read to judge.`);
        return;
      }
      counts[`${kind}s`] = found;
    }
  }
  yield [{ type: 'complete', mode: 'delta', cursor: { ...cursor, ...counts, at: options.now.toISOString() } }];
}

/** Ids only: what an account is not told about deletions, it can see. Returns how many there are. */
async function* sweep(options: ReadOptions, kind: ObjectKind): AsyncGenerator<DirectoryEvent[], number> {
  const { directory, pageSize } = options;
  const place = kind === 'user' ? directory.users : directory.groups;
  const search = searchOf(place, [directory.profile.idAttribute], `counting all ${kind}s`);
  let count = 0;
  yield [{ type: 'sweep', kind, anchors: [] }];
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    const anchors = entries.flatMap((entry) => directory.anchors.read(entry) ?? []);
    count += anchors.length;
    yield [{ type: 'sweep', kind, anchors }];
  }
  return count;
}
