/**
 * One user now, for provisioning on demand: GET /users with a filter (an id, or a name that may be any of three), and
 * GET /users/{id}/memberOf for the groups it is a direct member of. Microsoft documents `eq` on all four properties.
 */
import { RollcallError } from '../../core/errors.ts';
import type { FoundObject, ObjectReference } from '../contract/contract.ts';
import { openAppRoles } from './app-roles.ts';
import { checkLink, isGuid, placeOf, type PageItem } from './delta-page.ts';
import type { GraphSession, JsonObject } from './graph-session.ts';
import { userObject } from './objects.ts';
import type { Selection } from './selection.ts';

/** Nobody is in so many groups: Graph allows a user 5,000 at most in 50 pages of 100. */
const maxPages = 100;

export async function readUser(
  session: GraphSession,
  selection: Selection,
  reference: ObjectReference,
  appRolesOf?: string,
): Promise<FoundObject[]> {
  const filter = filterOf(reference);
  if (filter === null) return [];
  // a list has the manager by $expand only: it is a relationship (Graph "List users")
  const wanted = selection.user.filter((name) => name !== 'manager');
  const expand = wanted.length < selection.user.length ? '&$expand=manager($select=id)' : '';
  const select = wanted.map(encodeURIComponent).join(',');
  const url = `${session.graphUrl}/v1.0/users?$filter=${encodeURIComponent(filter)}&$select=${select}${expand}&$top=10`;
  const body = await session.getPage(url);
  const found: FoundObject[] = [];
  const appRoles = appRolesOf === undefined ? null : await openAppRoles(session, appRolesOf);
  for (const raw of body['value'] as readonly unknown[]) {
    const item = itemOf(raw);
    const object = item === null ? null : userObject(item, expandedManager(item.raw));
    if (item === null || object === null) throw unreadable();
    const groups = await groupsOf(session, item.id);
    found.push({ object, groups: [...groups, ...(appRoles?.rolesOf(item.id, groups) ?? [])] });
  }
  return found;
}

/** Quotes are doubled (OData 4.01 URL conventions, section 5.1.1.6.1). */
function filterOf(reference: ObjectReference): string | null {
  if ('anchor' in reference) return isGuid(reference.anchor) ? `id eq '${reference.anchor}'` : null;
  const value = `'${reference.name.replaceAll("'", "''")}'`;
  return ['userPrincipalName', 'mail', 'displayName'].map((name) => `${name} eq ${value}`).join(' or ');
}

async function groupsOf(session: GraphSession, id: string): Promise<string[]> {
  const groups = new Set<string>();
  const seen = new Set<string>();
  let url = `${session.graphUrl}/v1.0/users/${id}/memberOf?$select=id&$top=999`;
  for (let page = 0; page < maxPages; page += 1) {
    const body = await session.getPage(url);
    for (const raw of body['value'] as readonly unknown[]) {
      const item = itemOf(raw);
      // administrative units and directory roles come in the same list
      if (item !== null && item.raw['@odata.type'] === '#microsoft.graph.group') groups.add(item.id);
    }
    const next = body['@odata.nextLink'];
    if (typeof next !== 'string') return [...groups].toSorted();
    if (seen.has(next)) break;
    seen.add(next);
    url = checkLink(next, placeOf(session.graphUrl, 'users'));
  }
  throw new RollcallError('directory_protocol', 'Microsoft Graph never came to the end of the groups of a user.', {
    remedy: 'Nothing was changed.',
    raw: '@odata.nextLink',
  });
}

function expandedManager({ manager }: JsonObject): string | null {
  const id: unknown = typeof manager === 'object' && manager !== null ? Reflect.get(manager, 'id') : null;
  return isGuid(id) ? id.toLowerCase() : null;
}

function itemOf(value: unknown): PageItem | null {
  if (typeof value !== 'object' || value === null) return null;
  const raw = value as JsonObject;
  const { id } = raw;
  return isGuid(id) ? ({ id: id.toLowerCase(), raw, removed: null } as PageItem) : null;
}

function unreadable(): RollcallError {
  return new RollcallError('directory_permission', 'The application sees the user, but not whether it is enabled.', {
    remedy: 'Add the application permission User.Read.All and grant admin consent.',
    raw: 'accountEnabled',
  });
}
