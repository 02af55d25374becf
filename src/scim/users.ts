/** /Users: what each request asks for and is answered; `user-writes.ts` writes. */
import { isRollcallError, RollcallError } from '../core/errors.ts';
import { newId } from '../core/ids.ts';
import type { Db } from '../db/db.ts';
import type { Pushes } from '../reconciliation/reconciliation.ts';
import { userModelOf } from './custom-schema.ts';
import { findOpenCase } from './disputes.ts';
import { tell, type EventName } from './events.ts';
import { readKey, type JsonObject } from './json.ts';
import { normalizeResource } from './normalize.ts';
import { applyPatch, readOperations } from './patch.ts';
import { asksForPortal, withPortal } from './portal.ts';
import { etagOf, locationOf, presentResource } from './present.ts';
import { readProjection, shows, type Projection } from './projection.ts';
import { checkIfMatch, isNotModified, type ResourceHandlers, type ScimAnswer, type ScimRequest } from './request.ts';
import { userModel } from './schema-model.ts';
import { readSettings } from './settings.ts';
import { findHolders, type Holder } from './users-store.ts';
import type { SharedReads } from './shared-reads.ts';
import { objectSql, onlyObject, readObject, type StoredObject } from './store.ts';
import { createUserWrites, keepActive, requiredText, textOrNull, type UserWrites } from './user-writes.ts';
import { writeTenant } from './write.ts';

type Given = { readonly db: Db; readonly pushes: Pushes; readonly reads: SharedReads };
type Resources = Given & { readonly writes: UserWrites };

export function createUsers(given: Given): ResourceHandlers {
  const { db, pushes } = given;
  const resources: Resources = { ...given, writes: createUserWrites(given) };
  return {
    get: (request) => getUser(given, request),
    create: (request) => createUser(resources, request),

    replace: async (request) => {
      const given = normalizeResource(userModelOf(request.settings), request.body);
      return changeUser(resources, request, 'put', (before) => keepExternalId(request.body, before, given));
    },

    patch: async (request) => {
      const model = userModelOf(request.settings);
      const operations = readOperations(request.body);
      return changeUser(resources, request, 'patch', (before) => applyPatch(model, before, operations).document);
    },

    remove: async (request) => {
      const { context } = request;
      await writeTenant(db, context.tenantId, async (tx) => {
        const before = await readObject(tx, context, userModel, request.id, { relations: false, lock: true });
        checkIfMatch(request, before.version);
        await pushes.remove(tx, context, 'user', before.anchor);
        tell(tx, request, {
          model: userModel,
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

async function getUser({ db, reads }: Given, request: ScimRequest): Promise<ScimAnswer> {
  const { context, id } = request;
  const projection = projectionOf(request);
  const want = { relations: shows(projection, 'groups') };
  const object = asksForPortal(projection)
    ? await db.tenant(context.tenantId, async (tx) => {
        const found = await readObject(tx, context, userModel, id, want);
        const [shown = found] = await withPortal(tx, context, projection, [found]);
        return shown;
      })
    : onlyObject(await reads(context.tenantId, (sql) => objectSql({ sql }, context, userModel, id, want)));
  if (isNotModified(request, object.version)) return { status: 304, headers: { ETag: etagOf(object.version) } };
  return answer(200, request, object, projection);
}

async function createUser(resources: Resources, request: ScimRequest): Promise<ScimAnswer> {
  const projection = projectionOf(request);
  const document = keepActive({ active: true }, normalizeResource(userModelOf(request.settings), request.body));
  const anchor = newId();
  let object: StoredObject;
  try {
    object = await resources.writes.create({ request, projection, anchor, document });
  } catch (error) {
    if (!isRollcallError(error, 'conflict')) throw error;
    return answerDuplicate(resources, request, document, error);
  }
  if (request.settings['disputedMatch'] === 'refuse') await refuseDisputed(resources.db, request, anchor);
  const created = answer(201, request, object, projection);
  return { ...created, headers: { ...created.headers, Location: locationOf(userModel, anchor, request.base) } };
}

/**
 * For identity providers that show refusals to somebody: what was pushed stays, so that the case can be decided, but
 * whoever pushes is told that nobody has access yet.
 */
async function refuseDisputed(db: Db, { context }: ScimRequest, anchor: string): Promise<void> {
  const caseId = await db.tenant(context.tenantId, (tx) => findOpenCase(tx, context.connectionId, anchor));
  if (caseId === null) return;
  const sentence = `The user was stored as ${anchor}, but may be somebody the portal has already, which a person must decide: case ${caseId}.`;
  throw new RollcallError('conflict', sentence);
}

/** Rule 9: an inactive user of this connection who has the name is named as the cause, or taken back. */
async function answerDuplicate(
  resources: Resources,
  request: ScimRequest,
  document: JsonObject,
  conflict: RollcallError,
): Promise<ScimAnswer> {
  const { context, settings } = request;
  const holders = await readHolders(resources.db, context, document);
  const inactive = holders.find((holder) => holder.hasName && !holder.isActive);
  if (inactive !== undefined && readSettings(settings).inactiveDuplicate === 'reactivate') {
    const given = { ...document, active: readKey(request.body, 'active') === undefined ? true : document['active'] };
    return changeUser(resources, { ...request, id: inactive.id, ifMatch: undefined }, 'put', (before) =>
      keepExternalId(request.body, before, given as JsonObject),
    );
  }
  throw explainConflict(document, holders, conflict);
}

function readHolders(db: Db, place: ScimRequest['context'], document: JsonObject): Promise<Holder[]> {
  const wanted = { userName: requiredText(document, 'userName'), externalId: textOrNull(document['externalId']) };
  return db.tenant(place.tenantId, (tx) => findHolders(tx, place, wanted));
}

/** Which of the two is taken, by whom, and that case does not tell names apart: an admin looks for exactly that. */
function explainConflict(document: JsonObject, holders: readonly Holder[], conflict: RollcallError): RollcallError {
  const [holder] = holders;
  if (holder === undefined) return conflict;
  const { id, userName, hasName, isActive, caseId } = holder;
  const wanted = requiredText(document, 'userName');
  const spelling = userName === wanted ? '' : ` as "${userName}" (upper and lower case do not tell userNames apart)`;
  const sentence = !hasName
    ? `This externalId is there already: user ${id} has it.`
    : isActive
      ? `A user with this userName is there already${spelling}: ${id}.`
      : `A user with this userName is there already${spelling} and is inactive: ${id}. Activate that one by PATCH.`;
  const waiting = caseId === null ? '' : ` It waits for a person in the portal: case ${caseId}.`;
  return new RollcallError('conflict', sentence + waiting, { cause: conflict });
}

/** Computes the new document from the present one, and writes it unless nothing changed. */
async function changeUser(
  { db, writes }: Resources,
  request: ScimRequest,
  name: EventName,
  compute: (before: JsonObject) => JsonObject,
): Promise<ScimAnswer> {
  const { context } = request;
  const projection = projectionOf(request);
  let wanted: JsonObject = {};
  const noting = (before: JsonObject): JsonObject => {
    wanted = keepActive(before, compute(before));
    return wanted;
  };
  const changed = await writes.change({ request, projection, name, compute: noting }).catch(async (error: unknown) => {
    if (!isRollcallError(error, 'conflict')) throw error;
    const holders = await readHolders(db, context, wanted);
    const others = holders.filter(({ id }) => id !== request.id.toLowerCase());
    throw explainConflict(wanted, others, error);
  });
  return answer(200, request, changed, projection);
}

function projectionOf(request: ScimRequest): Projection {
  const model = userModelOf(request.settings);
  return readProjection(model, request.query.get('attributes'), request.query.get('excludedattributes'));
}

function answer(status: number, request: ScimRequest, object: StoredObject, projection: Projection): ScimAnswer {
  return {
    status,
    body: presentResource(userModel, object, request.base, projection),
    headers: { ETag: etagOf(object.version) },
  };
}

/** Okta's PUT omits externalId; dropping it would lose the key by which a rehire is found. An explicit null clears it. */
export function keepExternalId(body: JsonObject, before: JsonObject, document: JsonObject): JsonObject {
  const kept = before['externalId'];
  return kept === undefined || readKey(body, 'externalId') !== undefined
    ? { ...document }
    : { ...document, externalId: kept };
}
