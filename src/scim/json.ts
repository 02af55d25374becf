/** JSON as it comes over the wire: read with bounds, cleaned of what must not reach a prototype or Postgres. */
import { badRequest } from './scim-error.ts';

export type Json = string | number | boolean | null | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

/** Deeper than any SCIM message: a bulk request holds a resource (3 levels) in a list of operations. */
const maxDepth = 24;
const maxValues = 400_000;
/** Names through which a later merge could reach Object.prototype; no schema has them. */
const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

export function isRecord(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses and cleans a request body; 400 invalidSyntax for anything but an object. */
export function parseBody(text: string): JsonObject {
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch (cause) {
    throw badRequest(
      'invalidSyntax',
      `The body is not JSON: ${cause instanceof Error ? cause.message : 'unreadable'}.`,
    );
  }
  if (!isRecord(parsed)) throw badRequest('invalidSyntax', 'The body must be a JSON object.');
  clean(parsed);
  return parsed;
}

type Holder = { readonly value: Json[] | JsonObject; readonly depth: number };

/** Level by level, not by recursion: a deep body must not end the stack. */
function clean(root: JsonObject): void {
  const open: Holder[] = [{ value: root, depth: 1 }];
  let seen = 0;
  for (let holder = open.pop(); holder !== undefined; holder = open.pop()) {
    if (holder.depth > maxDepth) throw badRequest('invalidSyntax', `The body is nested more than ${maxDepth} deep.`);
    const { value, depth } = holder;
    for (const key of Object.keys(value)) {
      seen += 1;
      if (seen > maxValues * 3) throw badRequest('tooMany', `The body has more than ${maxValues} values.`);
      cleanOne(value, key, depth, open);
    }
  }
}

function cleanOne(holder: Json[] | JsonObject, key: string, depth: number, open: Holder[]): void {
  const target = holder as JsonObject;
  if (forbiddenKeys.has(key)) {
    delete target[key];
    return;
  }
  const child = target[key];
  if (typeof child === 'string') {
    // Postgres stores neither NUL nor half a surrogate pair in text or jsonb
    if (child.includes('\u0000')) throw badRequest('invalidValue', 'A text contains the character U+0000.');
    if (!child.isWellFormed()) target[key] = child.toWellFormed();
  } else if (typeof child === 'object' && child !== null) {
    open.push({ value: child, depth: depth + 1 });
  }
}

/** Deep equality of JSON, order of keys aside. */
export function sameJson(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((value, index) => sameJson(value, right[index]));
  }
  if (!isRecord(left) || !isRecord(right)) return false;
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => sameJson(left[key], right[key]));
}

/** A text that is equal for values that `sameJson` calls equal: for finding duplicates among many in one pass. */
export function jsonKey(value: Json): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isRecord(inner) ? Object.fromEntries(Object.entries(inner).toSorted(byKey)) : inner,
  );
}

function byKey([left]: [string, Json], [right]: [string, Json]): number {
  return left < right ? -1 : 1;
}

/** The value of a key in any case: SCIM names are case-insensitive, also in messages. */
export function readKey(record: JsonObject, name: string): Json | undefined {
  const exact = Object.hasOwn(record, name) ? record[name] : undefined;
  if (exact !== undefined) return exact;
  const lower = name.toLowerCase();
  for (const key of Object.keys(record)) if (key.toLowerCase() === lower) return record[key];
  return undefined;
}
