/**
 * One user now, for provisioning on demand: searched by immutable id or by name among what the connection reads, with
 * the groups that name it as a direct member (and its primary group, which no member list shows).
 */
import type { FoundObject, ObjectReference } from '../contract/contract.ts';
import type { LdapEntry } from './entry.ts';
import { allOf, anyOf, equals, type LdapFilter } from './filter.ts';
import { anchorOf, plainDn, searchOf, userFormOf, type ReadOptions } from './objects.ts';
import { pagedWhole } from './ranged.ts';

/** More matches than this and the name says nothing. */
const maxFound = 10;
/** What people call a user by; an attribute a server does not know matches nobody (RFC 4511 section 4.5.1.7). */
const nameAttributes = ['sAMAccountName', 'userPrincipalName', 'uid', 'mail', 'cn', 'displayName'] as const;

export async function readUser(options: ReadOptions, reference: ObjectReference): Promise<FoundObject[]> {
  const { directory, pageSize } = options;
  const wanted = filterOf(options, reference);
  if (wanted === null) return [];
  const form = userFormOf(options);
  const names = new Set([
    ...form.names,
    ...(directory.profile.hasPrimaryGroups ? ['primaryGroupID', 'objectSid'] : []),
  ]);
  const place = { base: directory.users.base, filter: allOf(directory.users.filter, wanted) };
  const entries: LdapEntry[] = [];
  for await (const page of pagedWhole(directory.session, searchOf(place, names, 'looking for one user'), pageSize)) {
    entries.push(...page);
    if (entries.length > maxFound) break;
  }
  const found: FoundObject[] = [];
  for (const entry of entries.slice(0, maxFound)) {
    const groups = options.readGroups ? await groupsOf(options, entry) : [];
    found.push({ object: form.toObject(entry, anchorOf(directory, entry)), groups });
  }
  return found;
}

function filterOf({ directory, userNameAttribute }: ReadOptions, reference: ObjectReference): LdapFilter | null {
  if ('anchor' in reference) {
    const value = directory.anchors.toValue(reference.anchor);
    return value === null ? null : equals(directory.profile.idAttribute, value);
  }
  const names = [...(userNameAttribute === undefined ? [] : [userNameAttribute]), ...nameAttributes];
  return anyOf(...[...new Set(names)].map((name) => equals(name, reference.name)));
}

async function groupsOf({ directory, pageSize }: ReadOptions, user: LdapEntry): Promise<string[]> {
  const { profile } = directory;
  const dn = plainDn(user.dn);
  const isMember = profile.memberAttributes.map((attribute) => equals(attribute, dn));
  const primary = primaryGroupSid(user);
  const filter = anyOf(...isMember, ...(primary === null ? [] : [equals('objectSid', primary)]));
  const place = { base: directory.groups.base, filter: allOf(directory.groups.filter, filter) };
  const search = searchOf(place, [profile.idAttribute], 'looking for the groups of one user');
  const groups = new Set<string>();
  for await (const page of pagedWhole(directory.session, search, pageSize)) {
    for (const entry of page) groups.add(anchorOf(directory, entry));
  }
  return [...groups].toSorted();
}

/** The user's own SID with the last part replaced (MS-ADTS "primaryGroupID"). */
function primaryGroupSid(user: LdapEntry): string | null {
  const sid = user.sid('objectsid');
  const rid = user.int('primarygroupid');
  return sid === null || rid === null ? null : sid.replace(/-\d+$/, `-${rid}`);
}
