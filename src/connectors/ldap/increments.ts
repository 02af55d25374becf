/**
 * Whether a connection can read changes only, by which means, and from where. A full read takes the position before it
 * begins, so that what changes meanwhile comes again with the next increment.
 */
import { isRollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { CursorBinding, Position } from './cursor.ts';
import { hashOfQuery } from './cursor.ts';
import { dirSyncPosition } from './dirsync.ts';
import { isPresent, namesInFilter } from './filter.ts';
import { notice, userFormOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { contextOf } from './proof.ts';
import type { LdapSettings } from './settings.ts';

export type Increments = LdapSettings['increments'];

/**
 * Attributes that change without any change of the entry that shows them: back links (MS-ADTS section 3.1.1.1.6) and a
 * matching rule that follows links. No feed of changes reports them.
 */
const silentNames = new Set([
  'memberof',
  '1.2.840.113556.1.2.102',
  'directreports',
  'managedobjects',
  'tokengroups',
  '1.2.840.113556.1.4.1941',
]);

export type Means = { readonly kinds: readonly Position['by'][]; readonly why: string | null };

/** What this connection could use, before the server is asked. */
function meansOf(options: ReadOptions, increments: Increments): Means {
  if (increments === 'off') return { kinds: [], why: null };
  const { directory } = options;
  const { profile, rootDse, users, groups } = directory;
  if (!profile.hasPrimaryGroups) {
    const why = `${profile.vendor} is read in full each time, which is quick`;
    return { kinds: [], why: increments === 'auto' ? null : why };
  }
  if (!profile.hasExtendedDns) return { kinds: [], why: 'they need objectGUID as id attribute' };
  const names = [profile.userFilter, profile.groupFilter].flatMap((text) => [...namesInFilter(text)]);
  const silent = [...names, ...options.attributes.map((name) => name.toLowerCase())].find((name) =>
    silentNames.has(name),
  );
  if (silent !== undefined) return { kinds: [], why: `${silent} changes without any sign on the entry that shows it` };
  const [domain] = rootDse.namingContexts;
  if (domain === undefined || [users, groups].some(({ base }) => contextOf(directory, base) !== domain)) {
    return { kinds: [], why: 'the base DNs do not lie in the domain of this server' };
  }
  return { kinds: increments === 'auto' ? ['dirsync', 'usn'] : [increments], why: null };
}

export type Start = {
  readonly position: Position | null;
  readonly binding: CursorBinding | null;
  readonly events: DirectoryEvent[];
};

const noStart: Start = { position: null, binding: null, events: [] };

/** The position a full read begins with; null, with a notice where somebody asked for it, when there is none. */
export async function startIncrements(options: ReadOptions, increments: Increments): Promise<Start> {
  const { kinds, why } = meansOf(options, increments);
  if (why !== null) return { ...noStart, events: [unavailable(why)] };
  const binding = kinds.length === 0 ? null : await bindingOf(options);
  const reasons: string[] = [];
  for (const kind of kinds) {
    const position =
      binding === null ? 'the server does not say which domain controller it is' : await take(options, kind);
    if (typeof position !== 'string') return { position, binding, events: [] };
    reasons.push(position);
  }
  return reasons.length === 0 ? noStart : { ...noStart, events: [unavailable(reasons.join('; '))] };
}

function unavailable(why: string): DirectoryEvent {
  return notice('increments_unavailable', `Every run reads everything; changes alone can not be read: ${why}.`);
}

async function take(options: ReadOptions, kind: Position['by']): Promise<Position | string> {
  if (kind === 'usn') {
    const usn = options.directory.rootDse.highestCommittedUsn;
    return usn === null ? 'the server does not show highestCommittedUSN' : { by: 'usn', usn };
  }
  try {
    return { by: 'dirsync', cookie: (await dirSyncPosition(options)).toString('base64') };
  } catch (error) {
    // A refusal is an answer; a lost connection is none.
    if (!isRollcallError(error) || error.details['resultCode'] === undefined) throw error;
    const isRights = error.details['resultCode'] === 50;
    return isRights
      ? 'DirSync needs the right Replicating Directory Changes on the domain'
      : `DirSync was refused (${error.raw ?? error.message})`;
  }
}

/** The identity of this very domain controller (MS-ADTS section 6.1.1.2.2.1.2.1.1, invocationId), and what is read. */
export async function bindingOf(options: ReadOptions): Promise<CursorBinding | null> {
  const { directory, now } = options;
  const { session, rootDse, profile, users, groups } = directory;
  if (rootDse.dsServiceName === null) return null;
  const [service] = await session.find({
    base: rootDse.dsServiceName,
    scope: 'base',
    filter: isPresent('objectClass'),
    attributes: ['invocationId'],
    doing: 'asking which domain controller this is',
  });
  const server = service?.guid('invocationid') ?? null;
  if (server === null) return null;
  const names = [...userFormOf(options).names].toSorted();
  const { userFilter, groupFilter, memberAttributes } = profile;
  const parts = [users.base, userFilter, names, options.readGroups, options.lockedAccounts];
  const query = hashOfQuery([...parts, groups.base, groupFilter, memberAttributes, options.userNameAttribute ?? null]);
  return { server, query, now };
}
