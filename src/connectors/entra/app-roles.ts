/**
 * App roles of an enterprise application as groups: each role is one, and its members are who has the role. There is
 * no delta query for assignments (A3), so the list is read each time, and the members of a role again only when the
 * list changed or an assigned group did. As in Entra's own sign-in and provisioning, an assigned group gives the role
 * to its direct members only ("Assign users and groups to an application": nested memberships do not count).
 */
import { createHash } from 'node:crypto';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { AbsenceVerdict, DirectoryEvent, DirectoryObject } from '../contract/contract.ts';
import { checkLink, isGuid } from './delta-page.ts';
import type { GraphSession, JsonObject } from './graph-session.ts';
import { readMembers } from './group-members.ts';
import type { Notices } from './notices.ts';

/** Assigned to the application without a role of its own (Graph "appRoleAssignment"). */
const defaultAccess = '00000000-0000-0000-0000-000000000000';
const prefix = 'app-role:';
/** 2,000 pages of 999 are two million assignments. */
const maxPages = 2_000;
const maxMembersPerEvent = 5_000;

/** What a delta read knows of the read before it. */
export type AppRolesMark = { readonly hash: string; readonly anchors: readonly string[] };

type Role = { readonly object: DirectoryObject; readonly users: Set<string>; readonly groups: Set<string> };

export type AppRoles = {
  readonly application: string;
  readonly mark: AppRolesMark;
  readonly roles: number;
  readonly assignments: number;
  /** Anchors of the roles of a user who is a direct member of these groups. */
  rolesOf(user: string, groups: readonly string[]): string[];
  /** Tells of a group that the round showed: its members may have changed. */
  noteGroup(anchor: string): void;
  /** To be asked for after the groups. */
  events(session: GraphSession, notices: Notices, before: AppRolesMark | null): AsyncGenerator<DirectoryEvent>;
};

export function isAppRole(anchor: string): boolean {
  return anchor.startsWith(prefix);
}

type Application = { readonly id: string; readonly name: string; readonly roles: readonly JsonObject[] };

async function readApplication(session: GraphSession, appId: string): Promise<Application> {
  const select = 'id,appId,displayName,appRoles';
  const url = `${session.graphUrl}/v1.0/servicePrincipals(appId='${appId}')?$select=${select}`;
  const body = await getApplication(session, url, appId);
  const { id, displayName, appRoles } = body;
  if (!isGuid(id) || !Array.isArray(appRoles)) {
    throw new RollcallError(
      'directory_permission',
      'The application may not see the roles of the enterprise application.',
      {
        raw: 'appRoles',
        remedy: 'Add the application permission Application.Read.All and grant admin consent.',
      },
    );
  }
  const roles = (appRoles as unknown[]).filter(
    (role): role is JsonObject => typeof role === 'object' && role !== null && isGuid(Reflect.get(role, 'id')),
  );
  return { id, name: typeof displayName === 'string' ? displayName : appId, roles };
}

async function getApplication(session: GraphSession, url: string, appId: string): Promise<JsonObject> {
  try {
    return await session.getObject(url);
  } catch (error) {
    if (!isRollcallError(error, 'directory_not_found')) throw error;
    throw new RollcallError(
      'directory_not_found',
      `The tenant has no enterprise application with client id ${appId}.`,
      {
        cause: error,
        remedy: 'Check appRolesOf: it is the application (client) id, not the object id.',
        ...(error.raw === undefined ? {} : { raw: error.raw }),
      },
    );
  }
}

function roleOf(raw: JsonObject, application: string): Role {
  const id = String(raw['id']).toLowerCase();
  const title = typeof raw['displayName'] === 'string' ? raw['displayName'] : id;
  const value = typeof raw['value'] === 'string' ? raw['value'] : null;
  const name = `App role: ${title}`;
  const object: DirectoryObject = {
    kind: 'group',
    anchor: `${prefix}${id}`,
    name,
    locator: value,
    isActive: true,
    inactiveReason: null,
    attributes: { displayName: name, application, ...(value === null ? {} : { value }) },
  };
  return { object, users: new Set(), groups: new Set() };
}

async function* readAssignments(session: GraphSession, servicePrincipal: string): AsyncGenerator<readonly unknown[]> {
  const place = `${session.graphUrl}/v1.0/servicePrincipals/${servicePrincipal}/appRoleAssignedTo`;
  let url = `${place}?$select=appRoleId,principalId,principalType&$top=999`;
  for (let pages = 0; pages < maxPages; pages += 1) {
    const page = await session.getPage(url);
    yield page['value'] as readonly unknown[];
    const next = page['@odata.nextLink'];
    if (typeof next !== 'string') return;
    const before = url;
    url = checkLink(next, place);
    if (url === before) break;
  }
  throw new RollcallError('directory_protocol', 'The list of app role assignments does not end.', {
    raw: 'nextLink',
    remedy: 'Nothing was changed; the next run starts again.',
  });
}

/** Reads roles and assignments; the members of assigned groups come with the events. */
export async function openAppRoles(session: GraphSession, appId: string): Promise<AppRoles> {
  const application = await readApplication(session, appId);
  const roles = new Map<string, Role>();
  for (const raw of [{ id: defaultAccess, displayName: 'Default Access' }, ...application.roles]) {
    const role = roleOf(raw, application.name);
    roles.set(role.object.anchor, role);
  }
  let assignments = 0;
  let orphans = 0;
  for await (const page of readAssignments(session, application.id)) {
    for (const entry of page) {
      const { appRoleId, principalId, principalType } = (entry ?? {}) as JsonObject;
      const role = roles.get(`${prefix}${String(appRoleId).toLowerCase()}`);
      if (!isGuid(principalId) || role === undefined) orphans += 1;
      else if (principalType === 'User') role.users.add(principalId.toLowerCase());
      else if (principalType === 'Group') role.groups.add(principalId.toLowerCase());
      assignments += 1;
    }
  }
  const touched = new Set<string>();
  const assigned = new Set([...roles.values()].flatMap((role) => [...role.groups]));
  const mark: AppRolesMark = { hash: hashOf(roles), anchors: [...roles.keys()] };
  return {
    application: application.name,
    mark,
    roles: application.roles.length,
    assignments,
    rolesOf: (user, groups) =>
      [...roles.values()]
        .filter((role) => role.users.has(user) || groups.some((group) => role.groups.has(group)))
        .map((role) => role.object.anchor),
    noteGroup: (anchor) => {
      if (assigned.has(anchor)) touched.add(anchor);
    },
    events: async function* (reading, notices, before) {
      if (orphans > 0) {
        const why = `${orphans} app role assignments name no role of the application.`;
        yield* notices.note('assignments_ignored', why, application.id);
      }
      for (const anchor of before?.anchors ?? []) {
        if (!roles.has(anchor)) yield { type: 'tombstone', kind: 'group', anchor, isRestorable: false };
      }
      for (const role of roles.values()) {
        const isSame = before?.hash === mark.hash && [...role.groups].every((group) => !touched.has(group));
        if (!isSame) yield* roleEvents(reading, role);
      }
    },
  };
}

function hashOf(roles: ReadonlyMap<string, Role>): string {
  const hash = createHash('sha256');
  for (const { object, users, groups } of [...roles.values()].toSorted((a, b) =>
    compare(a.object.anchor, b.object.anchor),
  )) {
    hash.update(JSON.stringify([object, [...users].toSorted(compare), [...groups].toSorted(compare)]));
  }
  return hash.digest('base64url');
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The role, and its members as a whole: who has it by name, then who has it through a group, nobody twice. */
async function* roleEvents(session: GraphSession, { object, users, groups }: Role): AsyncGenerator<DirectoryEvent> {
  yield { type: 'upsert', object };
  const groupAnchor = object.anchor;
  yield { type: 'members', groupAnchor, change: 'set', memberAnchors: [] };
  const seen = new Set(users);
  yield* additions(groupAnchor, [...users]);
  for (const group of groups) {
    for await (const anchors of readMembers(session, group, 'users')) {
      const fresh = anchors.filter((anchor) => !seen.has(anchor));
      for (const anchor of fresh) seen.add(anchor);
      yield* additions(groupAnchor, fresh);
    }
  }
}

function* additions(groupAnchor: string, anchors: readonly string[]): Generator<DirectoryEvent> {
  for (let from = 0; from < anchors.length; from += maxMembersPerEvent) {
    const memberAnchors = anchors.slice(from, from + maxMembersPerEvent);
    yield { type: 'members', groupAnchor, change: 'add', memberAnchors };
  }
}

/** A role is gone when the application is there and does not list it. Roles that are no longer asked for are out of scope. */
export async function* proveRoles(
  session: GraphSession,
  appId: string | undefined,
  anchors: readonly string[],
): AsyncGenerator<AbsenceVerdict> {
  if (anchors.length === 0) return;
  if (appId === undefined) {
    for (const anchor of anchors) yield { anchor, verdict: 'out_of_scope' };
    return;
  }
  const { roles } = await readApplication(session, appId);
  const living = new Set([defaultAccess, ...roles.map((role) => String(role['id']).toLowerCase())]);
  for (const anchor of anchors) {
    yield { anchor, verdict: living.has(anchor.slice(prefix.length)) ? 'present' : 'deleted' };
  }
}
