/**
 * POST /Bulk (RFC 7644 section 3.7): several writes in one message, each in its own transaction. A `bulkId:...` in
 * the data or path stands for the id of what another operation creates; operations wait for those they refer to,
 * whatever their order in the message.
 */
import { RollcallError } from '../core/errors.ts';
import { isRecord, readKey, type Json, type JsonObject } from './json.ts';
import { locationOf } from './present.ts';
import type { Handler, ResourceHandlers, ScimAnswer, ScimRequest } from './request.ts';
import { groupModel, userModel, type ResourceModel } from './schema-model.ts';
import { answerError, badRequest } from './scim-error.ts';

export const maxBulkOperations = 1_000;
export const maxBulkBytes = 1_048_576;
const responseUrn = 'urn:ietf:params:scim:api:messages:2.0:BulkResponse';
const reference = /^bulkId:(.+)$/i;

type Target = { readonly model: ResourceModel; readonly handlers: ResourceHandlers };

type Operation = {
  readonly method: string;
  readonly path: string;
  readonly bulkId: string | null;
  readonly version: string | undefined;
  readonly data: JsonObject;
  /** bulkIds it refers to, in its data and its path. */
  readonly needs: readonly string[];
};

type Outcome = { readonly result: JsonObject; readonly isError: boolean };

export function createBulk(users: ResourceHandlers, groups: ResourceHandlers): Handler {
  const targets: readonly Target[] = [
    { model: userModel, handlers: users },
    { model: groupModel, handlers: groups },
  ];
  return async (request) => {
    const operations = readBulk(request.body);
    const outcomes = await runAll(targets, request, operations, readFailOnErrors(request.body));
    const results = outcomes.filter((outcome) => outcome !== undefined).map(({ result }) => result);
    return { status: 200, body: { schemas: [responseUrn], Operations: results } };
  };
}

type Progress = {
  readonly targets: readonly Target[];
  readonly request: ScimRequest;
  readonly operations: readonly Operation[];
  readonly outcomes: (Outcome | undefined)[];
  /** bulkId -> id of what was created for it. */
  readonly created: Map<string, string>;
  /** What some operation will still create; a reference to anything else can not be waited for. */
  readonly promised: Set<string>;
  /** Creates that were done without a reference that led in a circle, by their place in the message. */
  readonly incomplete: Set<number>;
};

/** Outcomes in the order of the message; undefined for what `failOnErrors` left undone. */
async function runAll(
  targets: readonly Target[],
  request: ScimRequest,
  operations: readonly Operation[],
  failOnErrors: number,
): Promise<(Outcome | undefined)[]> {
  const progress: Progress = {
    targets,
    request,
    operations,
    outcomes: operations.map(() => undefined),
    created: new Map(),
    promised: new Set(operations.filter(isCreate).map(({ bulkId }) => bulkId)),
    incomplete: new Set(),
  };
  let waiting = [...operations.keys()];
  while (waiting.length > 0) {
    const later: number[] = [];
    for (const index of waiting) {
      const operation = operations[index];
      if (operation === undefined) continue;
      const mustWait = operation.needs.some((id) => progress.promised.has(id) && !progress.created.has(id));
      if (mustWait && later.push(index) > 0) continue;
      await runNext(progress, index, operation);
      if (errorsOf(progress) >= failOnErrors) return progress.outcomes;
    }
    waiting = later.length === waiting.length ? await breakCircle(progress, later) : later;
  }
  for (const index of progress.incomplete) await complete(progress, index);
  return progress.outcomes;
}

function errorsOf({ outcomes }: Progress): number {
  return outcomes.filter((outcome) => outcome?.isError === true).length;
}

async function runNext(progress: Progress, index: number, operation: Operation): Promise<void> {
  const { targets, request, outcomes, created, promised } = progress;
  outcomes[index] = await runOne(targets, request, operation, created);
  if (operation.bulkId !== null && !created.has(operation.bulkId)) promised.delete(operation.bulkId);
}

/**
 * Operations that wait for each other (RFC 7644 section 3.7.1): the first create among them goes on without what is not
 * there yet and gets it at the end. Where there is none, each says which reference is missing.
 */
async function breakCircle(progress: Progress, waiting: readonly number[]): Promise<number[]> {
  const { operations, created, promised, incomplete } = progress;
  const index = waiting.find((one) => operations[one]?.method === 'POST');
  const operation = index === undefined ? undefined : operations[index];
  if (index === undefined || operation === undefined) {
    promised.clear();
    return [...waiting];
  }
  const data = withoutReferences(operation.data, created);
  const needs = operation.needs.filter((id) => created.has(id));
  await runNext(progress, index, { ...operation, data, needs });
  if (progress.outcomes[index]?.isError === false) incomplete.add(index);
  return waiting.filter((one) => one !== index);
}

/** Gives a resource the references it was created without; one whose reference came to nothing is taken back. */
async function complete(progress: Progress, index: number): Promise<void> {
  const { targets, request, operations, outcomes, created } = progress;
  const operation = operations[index];
  const first = outcomes[index];
  const id = created.get(operation?.bulkId ?? '');
  if (operation === undefined || first === undefined || id === undefined) return;
  const path = `${operation.path.replace(/\/$/, '')}/${id}`;
  const completed = await runOne(targets, request, { ...operation, method: 'PUT', path }, created);
  const { version } = completed.result;
  outcomes[index] = completed.isError
    ? { isError: true, result: { ...completed.result, method: 'POST' } }
    : { isError: false, result: { ...first.result, ...(version === undefined ? {} : { version }) } };
  if (completed.isError) await runOne(targets, request, { ...operation, method: 'DELETE', path, needs: [] }, created);
}

async function runOne(
  targets: readonly Target[],
  request: ScimRequest,
  operation: Operation,
  created: Map<string, string>,
): Promise<Outcome> {
  const { method, bulkId, version } = operation;
  const common: JsonObject = { method, ...(bulkId === null ? {} : { bulkId }) };
  try {
    const missing = operation.needs.find((id) => !created.has(id));
    if (missing !== undefined) {
      throw new RollcallError('conflict', `Nothing was created for bulkId "${missing.slice(0, 100)}".`, {
        scimType: 'invalidValue',
      });
    }
    const { target, id } = route(targets, fill(operation.path, created));
    const handler = handlerOf(target.handlers, method, id);
    const data = fillAll(operation.data, created);
    const answer = await handler({
      ...request,
      id,
      body: data,
      query: new Map(),
      ifMatch: version,
      ifNoneMatch: undefined,
    });
    const anchor = id === '' ? idOf(answer) : id;
    if (bulkId !== null && id === '') created.set(bulkId, anchor);
    return {
      isError: false,
      result: { ...common, ...describe(answer, locationOf(target.model, anchor, request.base)) },
    };
  } catch (error) {
    const { status, body, isOurs } = answerError(error);
    if (isOurs) request.log.error({ err: error, method, ...request.context }, 'an operation of a bulk request failed');
    const isOfMember = operation.method !== 'POST' && operation.needs.length === 0;
    const location = isOfMember ? { location: `${request.base}${operation.path}` } : {};
    return {
      isError: true,
      result: { ...common, ...location, status: String(status), response: { ...body } as JsonObject },
    };
  }
}

function describe(answer: ScimAnswer, location: string): JsonObject {
  const etag = answer.headers?.['ETag'];
  return { location, ...(etag === undefined ? {} : { version: etag }), status: String(answer.status) };
}

function idOf({ body }: ScimAnswer): string {
  const id = body?.['id'];
  if (typeof id !== 'string') throw new TypeError('A created resource has no id.');
  return id;
}

function route(targets: readonly Target[], path: string): { readonly target: Target; readonly id: string } {
  const [, endpoint, id] = /^\/?([A-Za-z]+)(?:\/([^/?#]+))?\/?$/.exec(path) ?? [];
  const target = targets.find(({ model }) => model.endpoint.toLowerCase() === endpoint?.toLowerCase());
  if (target === undefined) throw badRequest('invalidPath', `"${path.slice(0, 100)}" is no path of a resource.`);
  return { target, id: id ?? '' };
}

function handlerOf(handlers: ResourceHandlers, method: string, id: string): Handler {
  if (id === '' && method === 'POST') return handlers.create;
  if (id !== '' && method === 'PUT') return handlers.replace;
  if (id !== '' && method === 'PATCH') return handlers.patch;
  if (id !== '' && method === 'DELETE') return handlers.remove;
  throw new RollcallError('method_not_allowed', `A bulk operation can not ${method} this path.`);
}

// ---------------------------------------------------------------- reading

function readBulk(body: JsonObject): Operation[] {
  const given = readKey(body, 'Operations');
  if (!Array.isArray(given)) throw badRequest('invalidSyntax', 'A bulk request needs "Operations", a list.');
  if (given.length > maxBulkOperations) {
    throw new RollcallError('too_large', `A bulk request has at most ${maxBulkOperations} operations.`);
  }
  return given.map(readOperation);
}

function readOperation(given: Json): Operation {
  if (!isRecord(given)) throw badRequest('invalidSyntax', 'Each operation of a bulk request is an object.');
  const method = readKey(given, 'method');
  const path = readKey(given, 'path');
  if (typeof method !== 'string' || typeof path !== 'string') {
    throw badRequest('invalidSyntax', 'Each operation of a bulk request needs a method and a path.');
  }
  const bulkId = readKey(given, 'bulkId');
  const version = readKey(given, 'version');
  const data = readKey(given, 'data') ?? {};
  if (!isRecord(data)) throw badRequest('invalidSyntax', 'The data of a bulk operation is an object.');
  return {
    method: method.toUpperCase(),
    path,
    bulkId: typeof bulkId === 'string' && bulkId !== '' ? bulkId : null,
    version: typeof version === 'string' ? version : undefined,
    data,
    needs: [...referencesIn(data), ...path.split('/').flatMap(referenceOf)],
  };
}

function isCreate(operation: Operation): operation is Operation & { readonly bulkId: string } {
  return operation.method === 'POST' && operation.bulkId !== null;
}

function readFailOnErrors(body: JsonObject): number {
  const given = readKey(body, 'failOnErrors');
  return typeof given === 'number' && given >= 1 ? given : Number.POSITIVE_INFINITY;
}

// ---------------------------------------------------------------- references

function referenceOf(text: string): string[] {
  const id = reference.exec(text)?.[1];
  return id === undefined ? [] : [id];
}

/** Depth is bounded by the reader of bodies. */
function referencesIn(value: Json): string[] {
  if (typeof value === 'string') return referenceOf(value);
  if (typeof value !== 'object' || value === null) return [];
  return (Array.isArray(value) ? value : Object.values(value)).flatMap(referencesIn);
}

/** The data without members, managers and the like that name what is not created yet. */
function withoutReferences(data: JsonObject, created: ReadonlyMap<string, string>): JsonObject {
  const isOpen = (value: Json) => typeof value === 'string' && referenceOf(value).some((id) => !created.has(id));
  const strip = (value: Json): Json | undefined => {
    if (isOpen(value)) return undefined;
    if (Array.isArray(value)) return value.map(strip).filter((one) => one !== undefined);
    if (!isRecord(value)) return value;
    return Object.values(value).some(isOpen) ? undefined : stripAll(value);
  };
  const stripAll = (record: JsonObject): JsonObject =>
    Object.fromEntries(
      Object.entries(record).flatMap(([key, value]) => {
        const stripped = strip(value);
        return stripped === undefined ? [] : [[key, stripped] as const];
      }),
    );
  return stripAll(data);
}

function fill(path: string, created: ReadonlyMap<string, string>): string {
  return path
    .split('/')
    .map((part) => fillText(part, created))
    .join('/');
}

function fillText(text: string, created: ReadonlyMap<string, string>): string {
  const id = reference.exec(text)?.[1];
  return id === undefined ? text : (created.get(id) ?? text);
}

function fillAll(data: JsonObject, created: ReadonlyMap<string, string>): JsonObject {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, fillValue(value, created)]));
}

function fillValue(value: Json, created: ReadonlyMap<string, string>): Json {
  if (typeof value === 'string') return fillText(value, created);
  if (Array.isArray(value)) return value.map((one) => fillValue(one, created));
  return isRecord(value) ? fillAll(value, created) : value;
}
