/** `attributes` and `excludedAttributes` (RFC 7644 section 3.9): what an answer shows. They never shape what is written. */
import { isRecord, type JsonObject } from './json.ts';
import { resolveName, type ResourceModel, type ResolvedName } from './schema-model.ts';

export type Projection = {
  /** Null: everything that is returned by default. */
  readonly include: readonly ResolvedName[] | null;
  readonly exclude: readonly ResolvedName[];
};

const maxNames = 100;

export function readProjection(
  model: ResourceModel,
  attributes: string | undefined,
  excludedAttributes: string | undefined,
): Projection {
  const include = attributes === undefined || attributes.trim() === '' ? null : resolveAll(model, attributes);
  return { include, exclude: include === null ? resolveAll(model, excludedAttributes ?? '') : [] };
}

/** Unknown names are left out; a filter behind a name (Entra's reference tests) counts as the name. */
function resolveAll(model: ResourceModel, list: string): ResolvedName[] {
  return list
    .replace(/\[[^\]]*\]/g, '')
    .split(',')
    .slice(0, maxNames)
    .map((name) => resolveName(model, name.trim()))
    .filter((name) => name !== null);
}

/** True when the answer shows the core attribute: what nobody asked for is not read either. */
export function shows(projection: Projection, name: string): boolean {
  const isNamed = (path: ResolvedName) => path.extension === null && path.attribute?.name === name;
  if (projection.include !== null) return projection.include.some(isNamed);
  return !projection.exclude.some((path) => isNamed(path) && path.sub === null);
}

export function project(model: ResourceModel, resource: JsonObject, projection: Projection): JsonObject {
  if (projection.include !== null) return pick(model, resource, projection.include);
  if (projection.exclude.length === 0) return resource;
  const result = structuredClone(resource);
  for (const path of projection.exclude) drop(result, path);
  return result;
}

function pick(model: ResourceModel, resource: JsonObject, paths: readonly ResolvedName[]): JsonObject {
  const result: JsonObject = {};
  for (const attribute of model.attributes.values()) {
    const value = resource[attribute.name];
    if (attribute.returned === 'always' && value !== undefined) result[attribute.name] = value;
  }
  for (const path of paths) copy(resource, result, path);
  return result;
}

function copy(resource: JsonObject, result: JsonObject, path: ResolvedName): void {
  if (path.attribute === null) {
    const content = resource[path.extension];
    if (content !== undefined) result[path.extension] = content;
    return;
  }
  const source = path.extension === null ? resource : resource[path.extension];
  const value = isRecord(source) ? source[path.attribute.name] : undefined;
  if (value === undefined) return;
  const target = path.extension === null ? result : childOf(result, path.extension);
  const { name } = path.attribute;
  const { sub } = path;
  if (sub === null) target[name] = value;
  else if (Array.isArray(value)) {
    const kept = Array.isArray(target[name]) ? target[name] : value.map((): JsonObject => ({}));
    value.forEach((one, index) => copyKey(one, kept[index], sub.name));
    target[name] = kept;
  } else copyKey(value, childOf(target, name), sub.name);
}

function copyKey(from: unknown, to: unknown, key: string): void {
  if (isRecord(from) && isRecord(to) && from[key] !== undefined) to[key] = from[key];
}

function childOf(holder: JsonObject, key: string): JsonObject {
  const child = holder[key];
  if (isRecord(child)) return child;
  const created: JsonObject = {};
  holder[key] = created;
  return created;
}

function drop(resource: JsonObject, path: ResolvedName): void {
  if (path.attribute === null) {
    delete resource[path.extension];
    return;
  }
  if (path.attribute.returned === 'always') return;
  const holder = path.extension === null ? resource : resource[path.extension];
  if (!isRecord(holder)) return;
  const { sub } = path;
  if (sub === null) {
    delete holder[path.attribute.name];
    return;
  }
  const value = holder[path.attribute.name];
  for (const one of Array.isArray(value) ? value : [value]) if (isRecord(one)) delete one[sub.name];
}
