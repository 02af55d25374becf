/** Paths of PATCH operations (RFC 7644 section 3.5.2, figure 7): `attr`, `attr.sub`, `attr[filter]`, `attr[filter].sub`, with or without URN. */
import { parseValueFilter, type Filter } from './filter.ts';
import { nextToken } from './filter-tokens.ts';
import { resolveName, type AttributeModel, type ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';

export type PatchPath = {
  readonly extension: string | null;
  /** Null: the whole extension. */
  readonly attribute: AttributeModel | null;
  readonly filter: Filter | null;
  readonly sub: AttributeModel | null;
};

const maxLength = 2_000;

/** Null when the resource type has no such attribute. */
export function parsePath(model: ResourceModel, text: string): PatchPath | null {
  const path = text.trim();
  if (path.length > maxLength) throw badRequest('invalidPath', `The path has more than ${maxLength} characters.`);
  const open = path.indexOf('[');
  if (open < 0) return plainPath(model, path);
  const name = resolveName(model, path.slice(0, open));
  if (name === null || name.attribute === null) return null;
  if (name.attribute.type !== 'complex' || name.sub !== null) {
    throw badRequest('invalidPath', `"${path.slice(0, open)}" has no sub-attributes to filter by.`);
  }
  const close = closingBracket(path, open);
  const filter = parseValueFilter(name.attribute, path.slice(open + 1, close));
  const sub = subOf(name.attribute, path.slice(close + 1));
  return sub === undefined ? null : { extension: name.extension, attribute: name.attribute, filter, sub };
}

function plainPath(model: ResourceModel, path: string): PatchPath | null {
  const name = resolveName(model, path);
  return name === null ? null : { ...name, filter: null };
}

function subOf(attribute: AttributeModel, rest: string): AttributeModel | null | undefined {
  if (rest === '') return null;
  if (!rest.startsWith('.')) throw badRequest('invalidPath', `"${rest.slice(0, 40)}" does not belong behind a filter.`);
  const name = rest.slice(1).toLowerCase();
  return attribute.sub.get(name) ?? (name === 'displayname' ? attribute.sub.get('display') : undefined);
}

/** The bracket that ends the filter; brackets inside texts do not count. */
function closingBracket(path: string, open: number): number {
  let depth = 0;
  let position = open;
  for (;;) {
    const token = nextToken(path, position);
    if (token.kind === 'end') throw badRequest('invalidPath', 'The filter of the path has no end.');
    if (token.kind === '[') depth += 1;
    if (token.kind === ']') depth -= 1;
    if (depth === 0) return token.start;
    position = token.start + (token.length ?? token.text.length);
  }
}
