/** /Groups: the group's own attributes as a document, its members as a change that never reads the others. */
import type { RollcallError } from '../core/errors.ts';
import { newId } from '../core/ids.ts';
import type { Db, TenantTx } from '../db/db.ts';
import type { PushedGroup, Pushes } from '../reconciliation/reconciliation.ts';
import { tell, type EventName } from './events.ts';
import { readKey, sameJson, type JsonObject } from './json.ts';
import { MemberChange } from './member-change.ts';
import { findUnknown } from './members-store.ts';
import { normalizeResource } from './normalize.ts';
import { applyPatch, readOperations } from './patch.ts';
import { etagOf, locationOf, presentResource } from './present.ts';
import { readProjection, shows, type Projection } from './projection.ts';
import { checkIfMatch, isNotModified, type ResourceHandlers, type ScimAnswer, type ScimRequest } from './request.ts';
import { groupModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';
import { readSettings } from './settings.ts';
import { readMemberFacts, readObject, type StoredObject } from './store.ts';
import { requiredText, textOrNull } from './user-writes.ts';
import { keepExternalId } from './users.ts';
import { writeTenant } from './write.ts';

type Wish = { readonly document: JsonObject; readonly members: MemberChange };
type Resources = { readonly db: Db; readonly pushes: Pushes };

export function createGroups(resources: Resources): ResourceHandlers {
  const { db, pushes } = resources;
  return {
    get: (request) => getGroup(db, request),
    create: (request) => createGroup(resources, request),

    replace: async (request) => {
      const projection = projectionOf(request);
      const given = normalizeResource(groupModel, request.body);
      const members = membersOf(request.body);
      const object = await writeTenant(db, request.context.tenantId, async (tx) => {
        const anchor = await changeGroup(tx, pushes, request, 'put', (before) => ({
          document: keepExternalId(request.body, before, given),
          members,
        }));
        return readGroup(tx, request, anchor, projection);
      });
      return answer(200, request, object, projection);
    },

    /** 204 without reading members, unless the client asks for attributes (RFC 7644 section 3.5.2). */
    patch: async (request) => {
      const operations = readOperations(request.body);
      const wantsBody = request.query.has('attributes');
      const projection = projectionOf(request);
      const object = await writeTenant(db, request.context.tenantId, async (tx) => {
        const anchor = await changeGroup(tx, pushes, request, 'patch', (before) =>
          applyPatch(groupModel, before, operations),
        );
        return wantsBody ? readGroup(tx, request, anchor, projection) : null;
      });
      return object === null ? { status: 204 } : answer(200, request, object, projection);
    },

    remove: async (request) => {
      const { context } = request;
      await writeTenant(db, context.tenantId, async (tx) => {
        const before = await readObject(tx, context, groupModel, request.id, { relations: false, lock: true });
        checkIfMatch(request, before.version);
        await pushes.remove(tx, context, 'group', before.anchor);
        tell(tx, request, {
          model: groupModel,
          name: 'delete',
          anchor: before.anchor,
          before: before.resource,
          after: null,
        });
      });
      return { status: 204 };
    },
  };
}

async function getGroup(db: Db, request: ScimRequest): Promise<ScimAnswer> {
  const projection = projectionOf(request);
  const object = await db.tenant(request.context.tenantId, (tx) => readGroup(tx, request, request.id, projection));
  if (isNotModified(request, object.version)) return { status: 304, headers: { ETag: etagOf(object.version) } };
  return answer(200, request, object, projection);
}

function readGroup(tx: TenantTx, request: ScimRequest, id: string, projection: Projection): Promise<StoredObject> {
  return readObject(tx, request.context, groupModel, id, { relations: shows(projection, 'members') });
}

async function createGroup({ db, pushes }: Resources, request: ScimRequest): Promise<ScimAnswer> {
  const { context } = request;
  const projection = projectionOf(request);
  const document = normalizeResource(groupModel, request.body);
  const members = membersOf(request.body);
  const anchor = newId();
  const object = await writeTenant(db, context.tenantId, async (tx) => {
    const written = await pushes.writeGroup(tx, context, toPushedGroup(anchor, document), 'new');
    const isFilled = await changeMembers(tx, pushes, request, anchor, members);
    tell(tx, request, {
      model: groupModel,
      name: 'create',
      anchor,
      before: null,
      after: document,
      more: isFilled ? ['members'] : [],
    });
    if (members.namesReplacement) return readGroup(tx, request, anchor, projection);
    return { anchor, resource: document, relations: [], ...written };
  });
  const created = answer(201, request, object, projection);
  return { ...created, headers: { ...created.headers, Location: locationOf(groupModel, anchor, request.base) } };
}

/** Locks the group's row, writes what differs; members are touched only where the request names them. */
async function changeGroup(
  tx: TenantTx,
  pushes: Pushes,
  request: ScimRequest,
  name: EventName,
  compute: (before: JsonObject) => Wish,
): Promise<string> {
  const { context } = request;
  const reading = readObject(tx, context, groupModel, request.id, { relations: false, lock: true });
  // behind the lock, however long it is waited for
  pushes.begin(tx, context);
  const before = await reading;
  checkIfMatch(request, before.version);
  const { document, members } = compute(before.resource);
  if (!sameJson(before.resource, document)) {
    await pushes.writeGroup(tx, context, toPushedGroup(before.anchor, document), { version: before.version });
  }
  const areMembersChanged = await changeMembers(tx, pushes, request, before.anchor, members);
  tell(tx, request, {
    model: groupModel,
    name,
    anchor: before.anchor,
    before: before.resource,
    after: document,
    more: areMembersChanged ? ['members'] : [],
  });
  return before.anchor;
}

/** True when somebody came or went. */
async function changeMembers(
  tx: TenantTx,
  pushes: Pushes,
  request: ScimRequest,
  anchor: string,
  members: MemberChange,
): Promise<boolean> {
  warnOfForeign(request, anchor, members);
  if (members.isEmpty) return false;
  const { result } = members;
  if (members.namesReplacement && 'replace' in result) await guardReplacement(tx, request, anchor, result.replace);
  const isStrict = readSettings(request.settings).strictMembers;
  if (isStrict && members.foreign.size > 0) throw unknownMembers(members.foreign.size, [...members.foreign]);
  if (isStrict)
    await refuseUnknown(findUnknown(tx, request.context, 'replace' in result ? result.replace : result.add));
  // of a whole group only those are asked for who came: whoever was in it before was told of before
  const asked = 'replace' in result || isStrict ? null : findUnknown(tx, request.context, result.add);
  const [{ added, removed, came }, known] = await Promise.all([
    pushes.changeMembers(tx, request.context, anchor, result),
    asked,
  ]);
  const { count, examples } = known ?? (await findUnknown(tx, request.context, isStrict ? [] : came));
  if (count > 0) {
    request.note(`${count} members are not there yet and join when they arrive, e.g. "${examples[0] ?? ''}".`);
  }
  return added + removed > 0;
}

async function refuseUnknown(asked: ReturnType<typeof findUnknown>): Promise<void> {
  const { count, examples } = await asked;
  if (count > 0) throw unknownMembers(count, examples);
}

/** Okta does not repeat what was taken: a connection that is strict refuses, so that somebody sees it (rule 4). */
function unknownMembers(count: number, examples: readonly string[]): RollcallError {
  const named = examples.slice(0, 5).map((id) => `"${id}"`);
  return badRequest('invalidValue', `${count} members are not known in this connection, e.g. ${named.join(', ')}.`);
}

const firstAsked = 100;

/**
 * A full replacement in which nobody is known is a mistake of the client (ids of another directory), not a wish to
 * empty the group: 400 unless the group is empty anyway (scim.md rule 4).
 */
async function guardReplacement(
  tx: TenantTx,
  request: ScimRequest,
  anchor: string,
  ids: readonly string[],
): Promise<void> {
  // where the client is right, the first ones say so
  const some = await readMemberFacts(tx, request.context, anchor, ids.slice(0, firstAsked));
  if (some.isAnyKnown || !some.hasMembers) return;
  const all = await readMemberFacts(tx, request.context, anchor, ids);
  if (all.isAnyKnown) return;
  throw badRequest('invalidValue', 'None of the members is known in this connection; the group was left as it is.');
}

function warnOfForeign(request: ScimRequest, anchor: string, members: MemberChange): void {
  if (members.foreign.size === 0) return;
  const { connectionId, requestId } = request.context;
  request.log.warn(
    { connectionId, requestId, kind: 'group', id: anchor, count: members.foreign.size },
    'a request named members by ids that are not of this service; they were left out',
  );
  const [first] = members.foreign;
  request.note(
    `${members.foreign.size} members were left out: their ids are not of this service, e.g. "${first ?? ''}".`,
  );
}

/** Members of POST and PUT. A body that does not name them leaves them as they are: absence is not deletion. */
function membersOf(body: JsonObject): MemberChange {
  const members = new MemberChange();
  const given = readKey(body, 'members');
  if (given !== undefined && given !== null) members.replaceBy(given);
  return members;
}

function projectionOf(request: ScimRequest): Projection {
  return readProjection(groupModel, request.query.get('attributes'), request.query.get('excludedattributes'));
}

function answer(status: number, request: ScimRequest, object: StoredObject, projection: Projection): ScimAnswer {
  return {
    status,
    body: presentResource(groupModel, object, request.base, projection),
    headers: { ETag: etagOf(object.version) },
  };
}

function toPushedGroup(anchor: string, resource: JsonObject): PushedGroup {
  return {
    anchor,
    displayName: requiredText(resource, 'displayName'),
    externalId: textOrNull(resource['externalId']),
    resource,
  };
}
