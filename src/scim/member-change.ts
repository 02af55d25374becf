/**
 * What a request wants of a group's members, without reading them: a sequence of adds, removes and replaces folded
 * into one change. SCIM ids are lower-case UUIDs of ours; anything else can never become a member.
 */
import { RollcallError } from '../core/errors.ts';
import { isUuid } from '../core/ids.ts';
import type { Filter } from './filter.ts';
import { isRecord, readKey, type Json } from './json.ts';
import { badRequest } from './scim-error.ts';

export type PatchOp = 'add' | 'remove' | 'replace';

const maxMembers = 200_000;

export class MemberChange {
  #replaces = false;
  readonly #add = new Set<string>();
  readonly #remove = new Set<string>();
  /** Ids that can not be ours, for the log. */
  readonly foreign = new Set<string>();

  apply(op: PatchOp, filter: Filter | null, value: Json | undefined): void {
    if (filter !== null) this.#applyFiltered(op, idsOf(filter), value);
    else if (op === 'add') this.add(this.#read(value ?? null));
    else if (op === 'replace') this.replace(this.#read(value ?? null));
    // RFC 7644 section 3.5.2.2: no filter and no value empties; Entra: a value list removes only those
    else if (value === undefined || value === null) this.replace([]);
    else this.remove(this.#read(value));
  }

  add(ids: readonly string[]): void {
    for (const id of ids) {
      this.#add.add(id);
      this.#remove.delete(id);
    }
    this.#guardSize();
  }

  remove(ids: readonly string[]): void {
    for (const id of ids) {
      this.#add.delete(id);
      if (!this.#replaces) this.#remove.add(id);
    }
    this.#guardSize();
  }

  replace(ids: readonly string[]): void {
    this.#replaces = true;
    this.#add.clear();
    this.#remove.clear();
    this.add(ids);
  }

  /** Reads a member list of POST or PUT. */
  replaceBy(value: Json): void {
    this.replace(this.#read(value));
  }

  /** True when the request names whom the group shall have, be they known or not. */
  get namesReplacement(): boolean {
    return this.#replaces && (this.#add.size > 0 || this.foreign.size > 0);
  }

  get isEmpty(): boolean {
    return !this.#replaces && this.#add.size === 0 && this.#remove.size === 0;
  }

  /** The folded change, as Pushes.changeMembers takes it. */
  get result():
    | { readonly replace: readonly string[] }
    | { readonly add: readonly string[]; readonly remove: readonly string[] } {
    return this.#replaces ? { replace: [...this.#add] } : { add: [...this.#add], remove: [...this.#remove] };
  }

  #applyFiltered(op: PatchOp, ids: readonly string[], value: Json | undefined): void {
    const own = ids.filter((id) => this.#isOurs(id)).map((id) => id.toLowerCase());
    if (op === 'remove') this.remove(own);
    else if (op === 'add') this.add(own);
    else {
      this.remove(own);
      this.add(value === undefined || value === null ? [] : this.#read(value));
    }
  }

  #read(value: Json): string[] {
    if (value === null) return [];
    const ids: string[] = [];
    for (const one of Array.isArray(value) ? value : [value]) {
      const id = idOf(one);
      if (this.#isOurs(id)) ids.push(id.toLowerCase());
    }
    return ids;
  }

  #isOurs(id: string): boolean {
    if (isUuid(id)) return true;
    if (this.foreign.size < 100) this.foreign.add(id.slice(0, 100));
    return false;
  }

  #guardSize(): void {
    if (this.#add.size + this.#remove.size > maxMembers) {
      throw new RollcallError('too_large', `A request changes at most ${maxMembers} members; split it.`);
    }
  }
}

function idOf(member: Json): string {
  const value = isRecord(member) ? readKey(member, 'value') : member;
  if (typeof value === 'string' && value !== '') return value;
  const reference = isRecord(member) ? readKey(member, '$ref') : undefined;
  if (typeof reference === 'string') return reference.slice(reference.lastIndexOf('/') + 1);
  throw badRequest('invalidValue', 'Each member needs a "value", the id of a user or group.');
}

/** The ids of `members[value eq "..."]`, several joined by `or`; other filters would need the members read. */
function idsOf(filter: Filter): string[] {
  if (filter.kind === 'or') return filter.terms.flatMap(idsOf);
  if (filter.kind === 'compare' && filter.op === 'eq' && filter.path.attribute.name === 'value') {
    return [String(filter.value)];
  }
  throw badRequest('invalidFilter', 'Members can be selected by: value eq "id", several joined by or.');
}
