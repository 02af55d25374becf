/** How users are written: alone, or several that came together, each in its own words and with its own answer. */
import type { Db, TenantTx } from '../db/db.ts';
import type { PushedUser, Pushes, Written } from '../reconciliation/reconciliation.ts';
import { flatten } from './attributes.ts';
import { tell, tellAll, type EventName, type Told } from './events.ts';
import { sameJson, type JsonObject } from './json.ts';
import { withPortal } from './portal.ts';
import { shows, type Projection } from './projection.ts';
import { checkIfMatch, type ScimRequest } from './request.ts';
import { notFound } from './scim-error.ts';
import { userModel } from './schema-model.ts';
import { anchorOf, readObject, readObjects, type StoredObject } from './store.ts';
import { createTogether, type Outcome } from './together.ts';
import { writeOnce, writeTenant } from './write.ts';

export type Creation = {
  readonly request: ScimRequest;
  readonly projection: Projection;
  readonly anchor: string;
  readonly document: JsonObject;
};

export type UserChange = {
  readonly request: ScimRequest;
  readonly projection: Projection;
  readonly name: EventName;
  /** The whole document as it is to be; computed from what is locked. */
  readonly compute: (before: JsonObject) => JsonObject;
};

export type UserWrites = {
  create(creation: Creation): Promise<StoredObject>;
  /** Writes unless nothing changed. */
  change(change: UserChange): Promise<StoredObject>;
};

type Resources = { readonly db: Db; readonly pushes: Pushes };

export function createUserWrites(resources: Resources): UserWrites {
  const create = createTogether<Creation, StoredObject>({
    keysOf: ({ document }) => keysOf(document),
    onApart,
    alone: (creation) => createAlone(resources, creation),
    together: (creations) => createAll(resources, creations),
  });
  const change = createTogether<UserChange, StoredObject>({
    keysOf: ({ request }) => [anchorOf(request.id)],
    onApart,
    alone: (wish) => changeAlone(resources, wish),
    together: (wishes) => changeAll(resources, wishes),
  });
  return {
    create: (creation) => create(placeOf(creation.request), creation),
    change: (wish) => change(placeOf(wish.request), wish),
  };
}

/** What is unique in a connection: of two creates with the same, the second waits for the first. */
function keysOf(document: JsonObject): string[] {
  const externalId = textOrNull(document['externalId']);
  const userName = `userName ${requiredText(document, 'userName').toLowerCase()}`;
  return externalId === null ? [userName] : [userName, `externalId ${externalId}`];
}

function onApart([first]: readonly Pick<Creation, 'request'>[], error: unknown): void {
  first?.request.log.debug({ err: error }, 'writes that came together are made one by one');
}

function placeOf({ context }: ScimRequest): string {
  return `${context.tenantId}/${context.connectionId}`;
}

// ---------------------------------------------------------------- new ones

/** Uniqueness is the index's word, not a read before. */
function createAlone({ db, pushes }: Resources, creation: Creation): Promise<StoredObject> {
  const { request, anchor, document } = creation;
  const { context } = request;
  return writeTenant(db, context.tenantId, async (tx) => {
    const written = await pushes.writeUser(tx, context, toPushedUser(anchor, document), 'new');
    tell(tx, request, { model: userModel, name: 'create', anchor, before: null, after: document });
    return show(tx, creation, toObject(anchor, document, written, []));
  });
}

async function createAll(
  { db, pushes }: Resources,
  creations: readonly Creation[],
): Promise<readonly Outcome<StoredObject>[]> {
  const [first] = creations;
  if (first === undefined) return [];
  const { context } = first.request;
  return writeOnce(db, context.tenantId, async (tx) => {
    const rows = await pushes.writeUsers(
      tx,
      context,
      creations.map(({ request, anchor, document }) => ({
        requestId: request.context.requestId,
        user: toPushedUser(anchor, document),
        expect: 'new',
      })),
    );
    const told: { request: ScimRequest; told: Told }[] = [];
    const shown = creations.map((creation, index) => {
      const written = rows[index] ?? null;
      if (written === null) return null;
      const { request, anchor, document } = creation;
      told.push({ request, told: { model: userModel, name: 'create', anchor, before: null, after: document } });
      return show(tx, creation, toObject(anchor, document, written, []));
    });
    tellAll(tx, told);
    return Promise.all(shown.map(async (object) => (object === null ? null : { value: await object })));
  });
}

// ---------------------------------------------------------------- changes

function changeAlone({ db, pushes }: Resources, wish: UserChange): Promise<StoredObject> {
  const { request, projection, name } = wish;
  const { context } = request;
  return writeTenant(db, context.tenantId, async (tx) => {
    const relations = shows(projection, 'groups');
    const reading = readObject(tx, context, userModel, request.id, { relations, lock: true });
    // behind the lock, however long it is waited for
    pushes.begin(tx, context);
    const before = await reading;
    const document = documentOf(wish, before);
    if (document === null) return show(tx, wish, before);
    const pushed = toPushedUser(before.anchor, document);
    const written = await pushes.writeUser(tx, context, pushed, { version: before.version });
    tell(tx, request, { model: userModel, name, anchor: before.anchor, before: before.resource, after: document });
    return show(tx, wish, toObject(before.anchor, document, written, before.relations));
  });
}

/** The document to write; null where the request changes nothing. Throws what the client is to be told. */
function documentOf({ request, compute }: UserChange, before: StoredObject): JsonObject | null {
  checkIfMatch(request, before.version);
  const document = keepActive(before.resource, compute(before.resource));
  return sameJson(before.resource, document) ? null : document;
}

type Prepared = { readonly wish: UserChange; readonly before: StoredObject; readonly document: JsonObject | null };

async function changeAll(
  { db, pushes }: Resources,
  wishes: readonly UserChange[],
): Promise<readonly Outcome<StoredObject>[]> {
  const [first] = wishes;
  if (first === undefined) return [];
  const { context } = first.request;
  return writeOnce(db, context.tenantId, async (tx) => {
    const preparing = prepareAll(tx, wishes);
    pushes.begin(tx, context);
    const prepared = await preparing;
    const writing = prepared.flatMap((one) => ('wish' in one && one.document !== null ? [one] : []));
    const rows = await pushes.writeUsers(
      tx,
      context,
      writing.map(({ wish, before, document }) => ({
        requestId: wish.request.context.requestId,
        user: toPushedUser(before.anchor, document ?? {}),
        expect: { version: before.version },
      })),
    );
    const written = new Map(writing.map((one, index) => [one, rows[index] ?? null]));
    tellAll(
      tx,
      writing.flatMap((one) => {
        const { wish, before, document: after } = one;
        const told = { model: userModel, name: wish.name, anchor: before.anchor, before: before.resource, after };
        return written.get(one) === null ? [] : [{ request: wish.request, told }];
      }),
    );
    return Promise.all(prepared.map((one) => outcomeOf(tx, one, written)));
  });
}

/** Reads and locks all of them; whoever is refused is refused alone. */
async function prepareAll(
  tx: TenantTx,
  wishes: readonly UserChange[],
): Promise<(Prepared | { readonly error: unknown })[]> {
  const [first] = wishes;
  if (first === undefined) return [];
  const objects = await readObjects(
    tx,
    first.request.context,
    userModel,
    wishes.map(({ request }) => request.id),
    { relations: wishes.some(({ projection }) => shows(projection, 'groups')) },
  );
  return wishes.map((wish) => {
    try {
      const before = objects.get(anchorOf(wish.request.id));
      if (before === undefined) throw notFound();
      return { wish, before, document: documentOf(wish, before) };
    } catch (error) {
      return { error };
    }
  });
}

async function outcomeOf(
  tx: TenantTx,
  one: Prepared | { readonly error: unknown },
  written: ReadonlyMap<Prepared, Written | null>,
): Promise<Outcome<StoredObject>> {
  if ('error' in one) return one;
  const { wish, before, document } = one;
  if (document === null) return { value: await show(tx, wish, before) };
  const row = written.get(one) ?? null;
  return row === null
    ? null
    : { value: await show(tx, wish, toObject(before.anchor, document, row, before.relations)) };
}

// ---------------------------------------------------------------- both

async function show(
  tx: TenantTx,
  { request, projection }: Pick<Creation, 'request' | 'projection'>,
  object: StoredObject,
): Promise<StoredObject> {
  const [shown = object] = await withPortal(tx, request.context, projection, [object]);
  return shown;
}

/** `active` that is not named keeps its value: only an explicit word may disable or enable a person. */
export function keepActive(before: JsonObject, document: JsonObject): JsonObject {
  return document['active'] === undefined ? { ...document, active: before['active'] ?? true } : document;
}

function toObject(
  anchor: string,
  resource: JsonObject,
  written: Written,
  relations: StoredObject['relations'],
): StoredObject {
  return { anchor, resource, relations, ...written };
}

function toPushedUser(anchor: string, resource: JsonObject): PushedUser {
  return {
    anchor,
    userName: requiredText(resource, 'userName'),
    externalId: textOrNull(resource['externalId']),
    displayName: textOrNull(resource['displayName']),
    isActive: resource['active'] !== false,
    attributes: flatten(resource),
    resource,
  };
}

/** Empty means none, for a key that must be unique. */
export function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** A required attribute of a document that passed `finish`. */
export function requiredText(resource: JsonObject, name: string): string {
  const value = resource[name];
  if (typeof value !== 'string') throw new TypeError(`The resource has no ${name}.`);
  return value;
}
