/**
 * The second way to read changes of Active Directory: every object carries the number of its newest change on this very
 * domain controller ("Polling for Changes Using USNChanged", Microsoft). Any account may ask; deletions are not told,
 * so that a sweep of all ids follows.
 */
import type { GroupChange } from './changed-groups.ts';
import { containerFilter } from './dirsync-changes.ts';
import type { LdapCursor } from './cursor.ts';
import { allOf, parseFilter } from './filter.ts';
import type { LdapFilter } from './filter.ts';
import { anchorOf, plainDn, searchOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { pagedWhole } from './ranged.ts';

const maxGroups = 200_000;

export type UsnChanges = {
  /** Matches the changed ones. */
  readonly users: LdapFilter;
  /** Read whole. */
  readonly groups: ReadonlyMap<string, GroupChange>;
  /** The next position: the server's newest change before anything was asked. */
  readonly usn: string;
};

export async function readUsnChanges(options: ReadOptions, from: LdapCursor): Promise<UsnChanges | string> {
  const { directory } = options;
  if (from.position.by !== 'usn') return 'The stored position is of another kind.';
  const mark = BigInt(from.position.usn);
  const { highestCommittedUsn } = directory.rootDse;
  if (highestCommittedUsn === null) return 'The server does not show highestCommittedUSN any more.';
  // Only a restored server counts from a lower number again.
  if (BigInt(highestCommittedUsn) < mark) return 'The server is older than the stored position: it was restored.';
  const next = mark + 1n;
  const moved = await movedContainer(options, next);
  if (moved !== null) return `${moved} changed: it may have been renamed or moved, and everybody below it with it.`;
  const since = parseFilter(`(uSNChanged>=${next})`);
  const groups = new Map<string, GroupChange>();
  if (!options.readGroups) return { users: since, groups, usn: highestCommittedUsn };
  const { base, filter } = directory.groups;
  const search = searchOf(
    { base, filter: allOf(filter, since) },
    [directory.profile.idAttribute],
    'asking for changed groups',
  );
  for await (const entries of pagedWhole(directory.session, search, options.pageSize)) {
    for (const entry of entries) groups.set(anchorOf(directory, entry), null);
    if (groups.size > maxGroups) return `More than ${maxGroups} changed groups.`;
  }
  return { users: since, groups, usn: highestCommittedUsn };
}

/** A container made since then had nobody below it before (`uSNCreated` counts on the same server). */
async function movedContainer({ directory, pageSize }: ReadOptions, next: bigint): Promise<string | null> {
  const filter = parseFilter(`(&${containerFilter}(uSNChanged>=${next})(!(uSNCreated>=${next})))`);
  const place = { base: directory.rootDse.namingContexts[0] ?? '', filter };
  const search = searchOf(place, ['objectGUID'], 'asking for moved organizational units');
  let moved: string | null = null;
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    moved ??= entries[0] === undefined ? null : plainDn(entries[0].dn);
  }
  return moved;
}
