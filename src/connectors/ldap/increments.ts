/**
 * Whether a connection can read changes only, by which means, and from where. A full read takes the position before it
 * begins, so that what changes meanwhile comes again with the next increment.
 */
import { isRollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { CursorBinding, Position } from './cursor.ts';
import { hashOfQuery } from './cursor.ts';
import type { Directory } from './directory.ts';
import { dirSyncPosition } from './dirsync.ts';
import { controlOids } from './controls.ts';
import { isPresent, namesInFilter } from './filter.ts';
import { notice, userFormOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { contextOf } from './proof.ts';
import type { LdapSettings } from './settings.ts';
import { syncPosition, treeIdentity } from './syncrepl.ts';

export type Increments = LdapSettings['increments'];

/**
 * Attributes that change without any change of the entry that shows them: back links (MS-ADTS section 3.1.1.1.6), a
 * matching rule that follows links, and what OpenLDAP computes or writes on the side (slapo-memberof, slapo-lastbind). No
 * feed of changes reports them.
 */
const silentNames = new Set([
  'memberof',
  '1.2.840.113556.1.2.102',
  'directreports',
  'managedobjects',
  'tokengroups',
  '1.2.840.113556.1.4.1941',
  'ismemberof',
  'entrydn',
  'hassubordinates',
  'numsubordinates',
  'authtimestamp',
  'pwdlastsuccess',
]);

export type Means = { readonly kinds: readonly Position['by'][]; readonly why: string | null };

/** What this connection could use, before the server is asked. */
function meansOf(options: ReadOptions, increments: Increments): Means {
  if (increments === 'off') return { kinds: [], why: null };
  const { profile } = options.directory;
  const names = [profile.userFilter, profile.groupFilter].flatMap((text) => [...namesInFilter(text)]);
  const silent = [...names, ...options.attributes.map((name) => name.toLowerCase())].find((name) =>
    silentNames.has(name),
  );
  const means = profile.hasPrimaryGroups ? windowsMeans(options, increments) : openldapMeans(options, increments);
  if (means.why !== null || silent === undefined) return means;
  return { kinds: [], why: `${silent} changes without any sign on the entry that shows it` };
}

function windowsMeans({ directory }: ReadOptions, increments: Exclude<Increments, 'off'>): Means {
  const { profile, rootDse, users, groups } = directory;
  if (increments === 'syncrepl') return { kinds: [], why: 'syncrepl is for OpenLDAP' };
  if (!profile.hasExtendedDns) return { kinds: [], why: 'they need objectGUID as id attribute' };
  const [domain] = rootDse.namingContexts;
  if (domain === undefined || [users, groups].some(({ base }) => contextOf(directory, base) !== domain)) {
    return { kinds: [], why: 'the base DNs do not lie in the domain of this server' };
  }
  return { kinds: increments === 'auto' ? ['dirsync', 'usn'] : [increments], why: null };
}

/** Other products take the control as well, but 389 Directory Server says nothing of a deletion, and the rest is unknown. */
function openldapMeans({ directory, readGroups }: ReadOptions, increments: Exclude<Increments, 'off'>): Means {
  const { profile, rootDse, users, groups } = directory;
  if (profile.vendor !== 'openldap') return { kinds: [], why: `${profile.vendor} does not tell them reliably` };
  if (increments !== 'auto' && increments !== 'syncrepl') {
    return { kinds: [], why: `${increments} is for Active Directory; OpenLDAP has syncrepl` };
  }
  if (profile.idAttribute.toLowerCase() !== 'entryuuid')
    return { kinds: [], why: 'they need entryUUID as id attribute' };
  if (!rootDse.supportedControls.has(controlOids.syncRequest)) return { kinds: [], why: overlayMissing };
  const tree = contextOf(directory, users.base);
  if (tree === null || (readGroups && contextOf(directory, groups.base) !== tree)) {
    return { kinds: [], why: 'the base DNs do not lie in one tree of this server' };
  }
  return { kinds: ['syncrepl'], why: null };
}

const overlayMissing = 'the server does not offer syncrepl: the database of the base DN needs the overlay syncprov';

/** Why a position could not be told from that of another server. */
const nameless: Readonly<Record<Position['by'], string>> = {
  dirsync: 'the server does not say which domain controller it is',
  usn: 'the server does not say which domain controller it is',
  syncrepl: 'the account may not read entryUUID of the topmost entry of the tree',
};

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
    const position = binding === null ? nameless[kind] : await take(options, kind);
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
  if (kind === 'syncrepl') return takeSyncrepl(options);
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

async function takeSyncrepl({ directory }: ReadOptions): Promise<Position | string> {
  try {
    const found = await syncPosition(directory);
    return typeof found === 'string' ? found : { by: 'syncrepl', cookie: found.cookie.toString('base64') };
  } catch (error) {
    // A refusal is an answer; a lost connection is none.
    if (!isRollcallError(error) || error.details['resultCode'] === undefined) throw error;
    if (error.details['resultCode'] === 12) return overlayMissing;
    return `the account may not use syncrepl (${error.raw ?? error.message})`;
  }
}

/** Whose position it is, and what is read. Null: the server does not say. */
export async function bindingOf(options: ReadOptions): Promise<CursorBinding | null> {
  const { directory, now } = options;
  const { profile, users, groups } = directory;
  const server = profile.hasPrimaryGroups ? await domainController(directory) : await treeIdentity(directory);
  if (server === null) return null;
  const names = [...userFormOf(options).names].toSorted();
  const { userFilter, groupFilter, memberAttributes } = profile;
  const parts = [users.base, userFilter, names, options.readGroups, options.lockedAccounts];
  const query = hashOfQuery([...parts, groups.base, groupFilter, memberAttributes, options.userNameAttribute ?? null]);
  return { server, query, now };
}

/** The identity of this very domain controller (MS-ADTS section 6.1.1.2.2.1.2.1.1, invocationId). */
async function domainController({ session, rootDse }: Directory): Promise<string | null> {
  if (rootDse.dsServiceName === null) return null;
  const [service] = await session.find({
    base: rootDse.dsServiceName,
    scope: 'base',
    filter: isPresent('objectClass'),
    attributes: ['invocationId'],
    doing: 'asking which domain controller this is',
  });
  return service?.guid('invocationid') ?? null;
}
