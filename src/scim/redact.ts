/**
 * What of a request may be kept: the values of attributes that the schemas know and return. A value under any other
 * name is replaced, because nobody knows what it is: an identity provider may map whatever it likes to `apiKey`. What
 * looks like a credential is replaced wherever it stands.
 */
import { isRecord, readKey, type Json, type JsonObject } from './json.ts';
import { parseFilter } from './filter.ts';
import { parsePath } from './patch-path.ts';
import { isRollcallError } from '../core/errors.ts';
import { resolveName, type AttributeModel, type ResourceModel } from './schema-model.ts';

export const hidden = '[not kept]';
const maxTextLength = 1_000;
const maxListValues = 200;

/** A body as sent, for the request log; `model` is null where it may be of either type (bulk). */
export function redactBody(models: readonly ResourceModel[], body: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(body).map(([key, value]) => [key, redactMember(models, key, value)]));
}

const messageMembers: ReadonlySet<string> = new Set([
  'schemas',
  'filter',
  'sortby',
  'sortorder',
  'startindex',
  'count',
  'attributes',
  'excludedattributes',
  'failonerrors',
]);

function redactMember(models: readonly ResourceModel[], key: string, value: Json): Json {
  const name = key.toLowerCase();
  if (name === 'operations' && Array.isArray(value)) {
    return cut(value).map((one) => (isRecord(one) ? redactOperation(models, one) : hidden));
  }
  if (name === 'filter') return typeof value === 'string' ? redactFilter(models, value) : hidden;
  if (messageMembers.has(name)) return scrub(value);
  return redactAttribute(models, key, value);
}

/** Of a PATCH: op, path, value. Of a bulk request: method, path, bulkId, data. */
function redactOperation(models: readonly ResourceModel[], operation: JsonObject): JsonObject {
  const path = readKey(operation, 'path');
  const isOfPatch = readKey(operation, 'op') !== undefined;
  return Object.fromEntries(
    Object.entries(operation).map(([key, value]): [string, Json] => {
      switch (key.toLowerCase()) {
        case 'op':
        case 'method':
        case 'bulkid':
        case 'version':
          return [key, scrub(value)];
        case 'path':
          return [key, typeof value === 'string' ? redactPath(models, value, isOfPatch) : hidden];
        case 'data':
          return [key, isRecord(value) ? redactBody(models, value) : hidden];
        case 'value':
          return [key, redactValue(models, typeof path === 'string' ? path : '', value)];
        default:
          return [key, hidden];
      }
    }),
  );
}

function redactValue(models: readonly ResourceModel[], path: string, value: Json): Json {
  if (path === '') return isRecord(value) ? redactBody(models, value) : hidden;
  const target = targetOf(models, path);
  return target === null ? hidden : keepValue(target, value);
}

/** A path of a PATCH that names something unknown may hold anything in its filter. */
function redactPath(models: readonly ResourceModel[], path: string, isOfPatch: boolean): string {
  if (!isOfPatch) return scrubText(path);
  return scrubText(targetOf(models, path) === null ? withoutTexts(path) : path);
}

function targetOf(models: readonly ResourceModel[], path: string): AttributeModel | 'extension' | null {
  for (const model of models) {
    try {
      const found = parsePath(model, path);
      if (found === null) continue;
      if (found.attribute === null) return 'extension';
      if (found.attribute.returned !== 'never') return found.sub ?? found.attribute;
    } catch (error) {
      // a path that can not be read: 400 was the answer, and nothing of it is kept but its form
      if (!isRollcallError(error)) throw error;
    }
  }
  return null;
}

function redactAttribute(models: readonly ResourceModel[], key: string, value: Json): Json {
  for (const model of models) {
    const name = resolveName(model, key);
    if (name === null) continue;
    if (name.attribute === null) return keepExtension(model, name.extension, value);
    if (name.attribute.returned !== 'never') return keepValue(name.sub ?? name.attribute, value);
  }
  // a PATCH without path may have paths as keys
  const target = key.includes('[') ? targetOf(models, key) : null;
  return target === null ? hidden : keepValue(target, value);
}

function keepExtension(model: ResourceModel, urn: string, value: Json): Json {
  const attributes = model.extensions.get(urn.toLowerCase())?.attributes;
  if (attributes === undefined || !isRecord(value)) return hidden;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]): [string, Json] => {
      const attribute = attributes.get(key.toLowerCase());
      return [key, attribute === undefined ? hidden : keepValue(attribute, one)];
    }),
  );
}

function keepValue(target: AttributeModel | 'extension', value: Json): Json {
  if (target === 'extension') return hidden;
  if (Array.isArray(value)) return cut(value).map((one) => keepValue(target, one));
  if (!isRecord(value)) return scrub(value);
  return Object.fromEntries(
    Object.entries(value).map(([key, one]): [string, Json] => {
      const sub = target.sub.get(key.toLowerCase());
      const isKnown = sub !== undefined || ['$ref', 'displayname', 'display', 'value'].includes(key.toLowerCase());
      return [key, isKnown && !isRecord(one) ? scrub(one) : hidden];
    }),
  );
}

/** A filter that names known attributes only is kept; of any other one its form. */
export function redactFilter(models: readonly ResourceModel[], text: string): string {
  return scrubText(models.some((model) => isFilter(model, text)) ? text : withoutTexts(text));
}

function isFilter(model: ResourceModel, text: string): boolean {
  try {
    parseFilter(model, text);
    return true;
  } catch (error) {
    if (isRollcallError(error)) return false;
    throw error;
  }
}

function withoutTexts(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"?/g, '"…"');
}

/** Details of errors quote what was sent: filters within brackets, the word a parser stumbled over, a piece of JSON. */
export function redactReason(text: string): string {
  const short = text
    .replace(/^(The body is not JSON).*$/s, '$1.')
    .replace(/\[.*\]/gs, '[…]')
    .replace(/(found )".*"/s, '$1"…"');
  return scrubText(short);
}

function cut(values: Json[]): Json[] {
  if (values.length <= maxListValues) return values;
  return [...values.slice(0, maxListValues), `… and ${values.length - maxListValues} more`];
}

function scrub(value: Json): Json {
  if (typeof value === 'string') return scrubText(value);
  if (Array.isArray(value)) return cut(value).map(scrub);
  return isRecord(value) ? hidden : value;
}

/** Tokens of ours, JWTs, Authorization values, PEM keys, long hexadecimal and base64 secrets. */
const credentials =
  /rcl_[a-z]+_\w+|whsec_\S+|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?|\b(?:bearer|basic)\s+\S{8,}|-----BEGIN[\s\S]*|\b[0-9a-f]{40,}\b/gi;

export function scrubText(text: string): string {
  const short = text.length > maxTextLength ? `${text.slice(0, maxTextLength)}…` : text;
  return short.replace(credentials, hidden);
}
