/**
 * From what clients send to the one shape that is stored: names as the schema spells them, values of their type,
 * nulls and unknown attributes dropped. Tolerant as scim.md rules 7 and 8 say; the definitions of scimmy check last.
 */
import { customUrn } from './custom-schema.ts';
import { isRecord, jsonKey, type Json, type JsonObject } from './json.ts';
import { resolveName, type AttributeModel, type ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';

/**
 * A whole resource of POST or PUT, without id, meta, groups and members. `members` are read apart.
 * Read-only attributes that clients echo are dropped, `password` is too (we keep none).
 */
export function normalizeResource(model: ResourceModel, body: JsonObject): JsonObject {
  const document: JsonObject = {};
  for (const [key, value] of Object.entries(body)) {
    if (value === null) continue;
    const name = resolveName(model, key);
    if (name === null) continue;
    if (name.attribute === null) mergeExtension(model, document, name.extension, value);
    else if (name.sub === null && isStored(name.attribute)) {
      setAttribute(holderOf(document, name.extension), name.attribute, value);
    }
  }
  return finish(model, document);
}

/** True for what a client may write and we keep in the document. */
export function isStored(attribute: AttributeModel): boolean {
  return !attribute.isReadOnly && attribute.returned !== 'never' && attribute.name !== 'members';
}

/** The object that holds an attribute: the document itself or its extension. */
export function holderOf(document: JsonObject, extension: string | null): JsonObject {
  if (extension === null) return document;
  const holder = document[extension];
  if (isRecord(holder)) return holder;
  const created: JsonObject = {};
  document[extension] = created;
  return created;
}

function mergeExtension(model: ResourceModel, document: JsonObject, urn: string, value: Json): void {
  const attributes = model.extensions.get(urn.toLowerCase())?.attributes;
  if (attributes === undefined || !isRecord(value)) return;
  const holder = holderOf(document, urn);
  for (const [key, inner] of Object.entries(value)) {
    const attribute = attributes.get(key.toLowerCase());
    if (attribute !== undefined && isStored(attribute)) setAttribute(holder, attribute, inner);
  }
}

function setAttribute(holder: JsonObject, attribute: AttributeModel, value: Json): void {
  const converted = convert(attribute, value);
  if (converted === undefined) delete holder[attribute.name];
  else holder[attribute.name] = converted;
}

/** Of an attribute other than members. */
export const maxListValues = 500;

/** A value in the attribute's type; undefined for "no value" (null, empty list, empty complex). */
export function convert(attribute: AttributeModel, value: Json): Json | undefined {
  if (attribute.isMultiValued) return convertMany(attribute, value);
  // Entra sends a single value as a list of one
  const single = Array.isArray(value) ? value[0] : value;
  return single === undefined || single === null ? undefined : convertOne(attribute, single);
}

function convertMany(attribute: AttributeModel, value: Json): Json[] | undefined {
  const values = new Map<string, Json>();
  const given = Array.isArray(value) ? value : [value];
  if (given.length > maxListValues) {
    throw badRequest('tooMany', `"${attribute.name}" has more than ${maxListValues} values.`);
  }
  for (const one of given) {
    const converted = one === null ? undefined : convertOne(attribute, one);
    if (converted !== undefined && !values.has(jsonKey(converted))) values.set(jsonKey(converted), converted);
  }
  return values.size === 0 ? undefined : keepOnePrimary([...values.values()]);
}

/** RFC 7643 section 2.4: `primary` true at most once; the first one wins where a message says it twice. */
function keepOnePrimary(values: Json[]): Json[] {
  let hasPrimary = false;
  for (const value of values) {
    if (!isRecord(value) || value['primary'] !== true) continue;
    if (hasPrimary) value['primary'] = false;
    hasPrimary = true;
  }
  return values;
}

/** One value of the attribute, of a list or not. */
export function convertOne(attribute: AttributeModel, value: Json): Json | undefined {
  switch (attribute.type) {
    case 'complex':
      return convertComplex(attribute, value);
    case 'boolean':
      return convertBoolean(attribute, value);
    case 'integer':
    case 'decimal':
      return convertNumber(attribute, value);
    case 'string':
    case 'reference':
    case 'binary':
    case 'dateTime':
      return convertText(attribute, value);
  }
}

function convertComplex(attribute: AttributeModel, value: Json): JsonObject | undefined {
  const given = asComplex(attribute, value);
  const result: JsonObject = {};
  for (const [key, inner] of Object.entries(given)) {
    const sub = attribute.sub.get(key.toLowerCase()) ?? aliasOf(attribute, key);
    if (sub === undefined || (sub.isReadOnly && sub.name !== 'displayName')) continue;
    const converted = convert(sub, inner);
    if (converted !== undefined) result[sub.name] = converted;
  }
  return Object.keys(result).length === 0 ? undefined : result;
}

/** Manager as plain text, roles as stringified JSON: both become an object with `value`. */
function asComplex(attribute: AttributeModel, value: Json): JsonObject {
  if (isRecord(value)) return unpackRole(attribute, value);
  if (attribute.sub.has('value') && !Array.isArray(value)) return unpackRole(attribute, { value });
  throw badRequest('invalidValue', `"${attribute.name}" takes an object.`);
}

/** Entra's SingleAppRoleAssignment sends `{"id":..., "value":..., "displayName":...}` as text inside `value`. */
function unpackRole(attribute: AttributeModel, value: JsonObject): JsonObject {
  const text = value['value'];
  if (attribute.name !== 'roles' || typeof text !== 'string' || !text.trimStart().startsWith('{')) return value;
  const inner = parseRole(text);
  return inner === null ? value : { ...value, ...inner };
}

function parseRole(text: string): JsonObject | null {
  try {
    const inner = JSON.parse(text) as Json;
    const role = isRecord(inner) ? inner['value'] : undefined;
    const label = isRecord(inner) ? inner['displayName'] : undefined;
    if (typeof role !== 'string') return null;
    return { value: role, ...(typeof label === 'string' ? { display: label } : {}) };
  } catch (error) {
    // a role whose name merely starts with a brace stays as it is
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Entra writes `displayName` where the schema of a list says `display`. */
function aliasOf(attribute: AttributeModel, key: string): AttributeModel | undefined {
  return key.toLowerCase() === 'displayname' ? attribute.sub.get('display') : undefined;
}

function convertBoolean(attribute: AttributeModel, value: Json): boolean {
  if (typeof value === 'boolean') return value;
  const text = typeof value === 'string' ? value.trim().toLowerCase() : '';
  if (text === 'true') return true;
  if (text === 'false') return false;
  throw badRequest('invalidValue', `"${attribute.name}" is true or false.`);
}

function convertNumber(attribute: AttributeModel, value: Json): number {
  const number = typeof value === 'number' ? value : typeof value === 'string' && value !== '' ? Number(value) : NaN;
  if (!Number.isFinite(number)) throw badRequest('invalidValue', `"${attribute.name}" is a number.`);
  return number;
}

function convertText(attribute: AttributeModel, value: Json): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  // {"value": "x"} where the plain text is meant
  const inner = isRecord(value) ? value['value'] : undefined;
  if (typeof inner === 'string') return inner;
  if (inner === null) return undefined;
  throw badRequest('invalidValue', `"${attribute.name}" takes a text.`);
}

/** Schemas as the content says, required attributes, the definitions' own check. */
export function finish(model: ResourceModel, document: JsonObject): JsonObject {
  const schemas: Json[] = [model.urn];
  // an attribute list that was taken out of the connection's settings goes with the next write
  if (!model.extensions.has(customUrn.toLowerCase())) delete document[customUrn];
  for (const extension of model.extensions.values()) {
    const content = document[extension.urn];
    if (isRecord(content) && Object.keys(content).length > 0) schemas.push(extension.urn);
    else delete document[extension.urn];
  }
  document['schemas'] = schemas;
  const required = model.kind === 'user' ? 'userName' : 'displayName';
  const name = document[required];
  if (typeof name !== 'string' || name.trim() === '') {
    throw badRequest('invalidValue', `"${required}" is required and must not be empty.`);
  }
  checkLengths(document);
  validate(model, document);
  return document;
}

/** Keys are indexed; a btree entry holds 2,700 bytes. */
function checkLengths(document: JsonObject): void {
  for (const name of ['userName', 'displayName', 'externalId']) {
    const value = document[name];
    if (typeof value === 'string' && value.length > 512) {
      throw badRequest('invalidValue', `"${name}" has more than 512 characters.`);
    }
  }
}

function validate(model: ResourceModel, document: JsonObject): void {
  checkAll(model.attributes, document);
  for (const extension of model.extensions.values()) {
    const content = document[extension.urn];
    if (isRecord(content)) checkAll(extension.attributes, content);
  }
}

function checkAll(attributes: ReadonlyMap<string, AttributeModel>, holder: JsonObject): void {
  for (const attribute of attributes.values()) {
    const value = holder[attribute.name];
    if (value === undefined || attribute.definition === null) continue;
    try {
      attribute.definition.coerce(value, 'in');
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw badRequest('invalidValue', `${cause.message}.`);
    }
  }
}
