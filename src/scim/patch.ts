/**
 * PATCH (RFC 7644 section 3.5.2) as a pure function: document and operations in, new document and member change out.
 * Tolerant as scim.md rule 7 says. Members of a group are never read: their operations are collected, so that the
 * cost grows with the change and not with the group.
 */
import type { Filter } from './filter.ts';
import { matches } from './filter-match.ts';
import { isRecord, jsonKey, readKey, sameJson, type Json, type JsonObject } from './json.ts';
import { MemberChange, type PatchOp } from './member-change.ts';
import { convert, convertOne, finish, holderOf, isStored, maxListValues } from './normalize.ts';
import { parsePath, type PatchPath } from './patch-path.ts';
import { printPath, type AttributeModel, type ResourceModel } from './schema-model.ts';
import { badRequest } from './scim-error.ts';

export type PatchOperation = { readonly op: PatchOp; readonly path: string | null; readonly value: Json | undefined };

export type Patched = { readonly document: JsonObject; readonly members: MemberChange; readonly isChanged: boolean };

const maxOperations = 1_000;

/** Reads a PatchOp message; the `schemas` member may be missing, as recorded clients send it. */
export function readOperations(body: JsonObject): PatchOperation[] {
  const given = readKey(body, 'Operations');
  if (!Array.isArray(given) || given.length === 0) {
    throw badRequest('invalidSyntax', 'A PATCH needs "Operations", a list with at least one operation.');
  }
  if (given.length > maxOperations) throw badRequest('tooMany', `A PATCH has at most ${maxOperations} operations.`);
  return given.map(readOperation);
}

function readOperation(given: Json): PatchOperation {
  if (!isRecord(given)) throw badRequest('invalidSyntax', 'Each operation of a PATCH is an object.');
  const op = readKey(given, 'op');
  const lower = typeof op === 'string' ? op.toLowerCase() : '';
  if (lower !== 'add' && lower !== 'remove' && lower !== 'replace') {
    throw badRequest('invalidSyntax', 'The "op" of an operation is add, remove or replace.');
  }
  const path = readKey(given, 'path') ?? null;
  if (path !== null && typeof path !== 'string')
    throw badRequest('invalidPath', 'The "path" of an operation is a text.');
  return { op: lower, path: path === '' ? null : path, value: readKey(given, 'value') };
}

export function applyPatch(model: ResourceModel, before: JsonObject, operations: readonly PatchOperation[]): Patched {
  const document = structuredClone(before);
  const members = new MemberChange();
  const work = { left: maxWork };
  for (const operation of operations) {
    if (operation.path === null) applyWithoutPath(model, document, members, operation, work);
    else applyWithPath(model, document, members, operation, operation.path, work);
  }
  finish(model, document);
  return { document, members, isChanged: !sameJson(before, document) };
}

/** Looks at values of lists that one PATCH may take: many operations on a long list cost their product. */
const maxWork = 50_000;

type Work = { left: number };

function spend(work: Work, looks: number): void {
  work.left -= looks;
  if (work.left < 0) throw badRequest('tooMany', 'The PATCH changes too many values of long lists at once; split it.');
}

function termsOf(filter: Filter | null): number {
  if (filter === null) return 0;
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.terms.reduce((sum, term) => sum + termsOf(term), 0);
    case 'not':
    case 'where':
      return termsOf(filter.term);
    case 'present':
    case 'compare':
      return 1;
  }
}

/** Each key of the value is a path of its own: plain, dotted, with URN, even with a filter (Entra, Okta). */
function applyWithoutPath(
  model: ResourceModel,
  document: JsonObject,
  members: MemberChange,
  operation: PatchOperation,
  work: Work,
): void {
  if (operation.op === 'remove') throw badRequest('noTarget', 'A remove needs a path.');
  if (!isRecord(operation.value))
    throw badRequest('invalidValue', 'An operation without a path needs an object as value.');
  for (const [key, value] of Object.entries(operation.value)) {
    const path = parsePath(model, key);
    // unknown names and echoed read-only ones (Okta sends the id) change nothing
    if (path === null || (path.attribute !== null && !isWritable(path))) continue;
    // nor does a null that a client's serializer put there (authentik): it names no members, as in a PUT
    if (value === null && path.attribute?.name === 'members') continue;
    applyOne(model, document, members, { op: operation.op, path, value, work });
  }
}

function applyWithPath(
  model: ResourceModel,
  document: JsonObject,
  members: MemberChange,
  operation: PatchOperation,
  text: string,
  work: Work,
): void {
  const path = parsePath(model, text);
  if (path === null) throw badRequest('invalidPath', `There is no attribute "${text.slice(0, 100)}" here.`);
  if (path.attribute?.returned === 'never') return;
  if (path.attribute !== null && path.attribute.isReadOnly && path.attribute.name !== 'schemas') {
    throw badRequest('mutability', `"${path.attribute.name}" can not be changed.`);
  }
  if (path.attribute?.name === 'schemas') return;
  if (operation.op !== 'remove' && operation.value === undefined) {
    throw badRequest('invalidValue', `The operation on "${text.slice(0, 100)}" has no value.`);
  }
  applyOne(model, document, members, { op: operation.op, path, value: operation.value, work });
}

function isWritable(path: PatchPath): boolean {
  const { attribute } = path;
  return attribute !== null && (isStored(attribute) || attribute.name === 'members');
}

type Step = {
  readonly op: PatchOp;
  readonly path: PatchPath;
  readonly value: Json | undefined;
  readonly work: Work;
};

function applyOne(model: ResourceModel, document: JsonObject, members: MemberChange, step: Step): void {
  const { path } = step;
  const { attribute } = path;
  if (attribute === null) applyToExtension(model, document, step);
  else if (attribute.name === 'members' && model.kind === 'group') {
    if (path.sub !== null && path.sub.name !== 'value') return;
    members.apply(step.op, path.filter, step.value);
  } else {
    const holder = holderOf(document, path.extension);
    if (attribute.isMultiValued)
      spend(step.work, 1 + listOf(holder, attribute).length * (1 + termsOf(path.filter) / 10));
    if (!attribute.isMultiValued) applyToSingle(holder, attribute, step);
    else if (path.filter !== null) applyToSelected(holder, attribute, path.filter, step);
    else if (path.sub !== null) applyToEach(holder, attribute, path.sub, step);
    else applyToList(holder, attribute, step);
  }
}

function applyToExtension(model: ResourceModel, document: JsonObject, step: Step): void {
  const urn = step.path.extension;
  if (urn === null) return;
  if (step.op === 'remove') {
    delete document[urn];
    return;
  }
  const attributes = model.extensions.get(urn.toLowerCase())?.attributes;
  if (attributes === undefined || !isRecord(step.value)) throw badRequest('invalidValue', `"${urn}" takes an object.`);
  for (const [key, value] of Object.entries(step.value)) {
    const attribute = attributes.get(key.toLowerCase());
    if (attribute === undefined || !isStored(attribute)) continue;
    applyOne(model, document, new MemberChange(), {
      op: step.op,
      path: { extension: urn, attribute, filter: null, sub: null },
      value,
      work: step.work,
    });
  }
}

/** Single-valued: simple, or complex with its sub-attributes merged (RFC 7644 section 3.5.2.3). */
function applyToSingle(holder: JsonObject, attribute: AttributeModel, step: Step): void {
  const { sub, filter } = step.path;
  if (filter !== null) throw badRequest('invalidPath', `"${attribute.name}" has one value; it takes no filter.`);
  const current = holder[attribute.name];
  if (sub !== null) {
    const inner = isRecord(current) ? current : {};
    setOrDelete(inner, sub, step.op === 'remove' ? null : (step.value ?? null));
    if (Object.keys(inner).length === 0) delete holder[attribute.name];
    else holder[attribute.name] = inner;
    return;
  }
  const converted = step.op === 'remove' ? undefined : convert(attribute, step.value ?? null);
  if (converted === undefined) delete holder[attribute.name];
  else if (isRecord(converted) && isRecord(current) && attribute.name !== 'manager') Object.assign(current, converted);
  else holder[attribute.name] = converted;
}

function setOrDelete(holder: JsonObject, attribute: AttributeModel, value: Json): void {
  const converted = convert(attribute, value);
  if (converted === undefined) delete holder[attribute.name];
  else holder[attribute.name] = converted;
}

/** The whole list: `emails`. */
function applyToList(holder: JsonObject, attribute: AttributeModel, step: Step): void {
  const current = listOf(holder, attribute);
  const given = step.value === undefined ? undefined : convert(attribute, step.value);
  const values = Array.isArray(given) ? given : [];
  if (step.op === 'replace') storeList(holder, attribute, values);
  else if (step.op === 'add') {
    const known = new Set(current.map(jsonKey));
    const added = values.filter((value) => !known.has(jsonKey(value)));
    storeList(holder, attribute, withPrimary([...current, ...added], added));
  } else if (step.value === undefined || step.value === null) delete holder[attribute.name];
  else {
    // Entra: remove with a value list removes only those
    spend(step.work, current.length * values.length);
    storeList(
      holder,
      attribute,
      current.filter((known) => !values.some((value) => covers(value, known))),
    );
  }
}

/** True when `known` has everything `value` names. */
function covers(value: Json, known: Json): boolean {
  if (!isRecord(value) || !isRecord(known)) return sameJson(value, known);
  return Object.entries(value).every(([key, one]) => key === '$ref' || sameJson(one, known[key]));
}

/** A sub-attribute of every value: `emails.value`; the first value is created when there is none. */
function applyToEach(holder: JsonObject, attribute: AttributeModel, sub: AttributeModel, step: Step): void {
  const current = listOf(holder, attribute).filter(isRecord);
  if (current.length === 0 && step.op !== 'remove') current.push({});
  storeList(holder, attribute, writeSub(attribute, current, current, sub, step));
}

/** The values a filter selects: `emails[type eq "work"]`, `emails[type eq "work"].value`. */
function applyToSelected(holder: JsonObject, attribute: AttributeModel, filter: Filter, step: Step): void {
  const current = listOf(holder, attribute).filter(isRecord);
  const selected = current.filter((value) => matches(filter, value));
  const { sub } = step.path;
  if (step.op === 'remove') {
    const left =
      sub === null
        ? current.filter((value) => !selected.includes(value))
        : writeSub(attribute, current, selected, sub, step);
    storeList(holder, attribute, left);
    return;
  }
  if (selected.length === 0) {
    if (isNothing(step.value)) return;
    const created = fromFilter(attribute, filter);
    current.push(created);
    selected.push(created);
  }
  if (sub !== null) {
    storeList(holder, attribute, writeSub(attribute, current, selected, sub, step));
    return;
  }
  const value = convertOne(attribute, Array.isArray(step.value) ? (step.value[0] ?? null) : (step.value ?? null));
  if (!isRecord(value)) throw badRequest('invalidValue', `"${attribute.name}" takes an object.`);
  for (const one of selected) {
    if (step.op === 'replace') for (const key of Object.keys(one)) if (key !== 'type') delete one[key];
    Object.assign(one, value);
  }
  storeList(holder, attribute, withPrimary(current, selected));
}

function writeSub(
  attribute: AttributeModel,
  all: readonly JsonObject[],
  selected: readonly JsonObject[],
  sub: AttributeModel,
  step: Step,
): Json[] {
  for (const one of selected) {
    // a value that carries more than the sub-attribute: a role as stringified JSON
    const whole = step.op === 'remove' ? undefined : convertOne(attribute, { [sub.name]: step.value ?? null });
    delete one[sub.name];
    if (isRecord(whole)) Object.assign(one, whole);
  }
  const written = withPrimary([...all], sub.name === 'primary' ? selected : []);
  // Entra clears an e-mail by an empty value: what is left of it says nothing
  return written.filter((one) => !isRecord(one) || !selected.includes(one) || hasContent(attribute, one));
}

function hasContent(attribute: AttributeModel, value: JsonObject): boolean {
  if (attribute.sub.has('value')) return !isNothing(value['value']);
  return Object.keys(value).some((key) => key !== 'type' && key !== 'primary');
}

function isNothing(value: Json | undefined): boolean {
  return value === undefined || value === null || value === '';
}

/** One primary only: what this operation made primary wins (RFC 7644 section 3.5.2). */
function withPrimary(all: Json[], written: readonly Json[]): Json[] {
  const winner = written.filter(isRecord).findLast((value) => value['primary'] === true);
  if (winner === undefined) return all;
  for (const value of all)
    if (isRecord(value) && value !== winner && value['primary'] === true) value['primary'] = false;
  return all;
}

/** A value that fulfils a filter of equalities, for a target that does not exist yet; else 400 noTarget. */
function fromFilter(attribute: AttributeModel, filter: Filter): JsonObject {
  const created: JsonObject = {};
  const terms = filter.kind === 'and' ? filter.terms : [filter];
  for (const term of terms) {
    if (term.kind !== 'compare' || term.op !== 'eq' || term.value === null) {
      throw badRequest('noTarget', `No value of "${attribute.name}" fulfils the filter of the path.`);
    }
    setOrDelete(created, term.path.attribute, term.value);
  }
  return created;
}

function listOf(holder: JsonObject, attribute: AttributeModel): Json[] {
  const current = holder[attribute.name];
  return Array.isArray(current) ? [...current] : [];
}

function storeList(holder: JsonObject, attribute: AttributeModel, values: Json[]): void {
  if (values.length > maxListValues) {
    throw badRequest(
      'tooMany',
      `"${printPath({ extension: null, attribute, sub: null })}" has more than ${maxListValues} values.`,
    );
  }
  if (values.length === 0) delete holder[attribute.name];
  else holder[attribute.name] = values;
}
