/**
 * The names of an entry's attributes, in the order they came. Nearly every entry of a read has the same ones in the same
 * order as another, so that the names are compared with bytes already known instead of being made anew, and whoever wants
 * attributes of a hundred thousand entries finds out once where they stand.
 */

export type AttributeName = {
  readonly spelling: string;
  /** Lower case, options included, without the range option: attribute names are case-insensitive (RFC 4512 2.5). */
  readonly key: string;
  /** First and last index of a ranged answer; `last` null means the range reaches the end. */
  readonly range: { readonly first: number; readonly last: number | null } | null;
};

const rangeOption = /;range=(\d+)-(\d+|\*)/i;

export function attributeName(spelling: string): AttributeName {
  const range = rangeOption.exec(spelling);
  return {
    spelling,
    key: spelling.replace(rangeOption, '').toLowerCase(),
    range: range === null ? null : { first: Number(range[1]), last: range[2] === '*' ? null : Number(range[2]) },
  };
}

/** What is kept outlives the read: a hostile server may neither fill the tree nor make it deep. */
const maxKept = 4_000;
const maxKeptDepth = 64;
const maxKeptNameLength = 256;
let kept = 0;

export class Layout {
  readonly #parent: Layout | null;
  readonly #name: AttributeName;
  readonly #depth: number;
  /** The one that followed last, and all that did. */
  #recent: Layout | null = null;
  #following: Map<string, Layout> | null = null;
  #places: Map<string, number> | null = null;

  constructor(parent: Layout | null, name: AttributeName) {
    this.#parent = parent;
    this.#name = name;
    this.#depth = parent === null ? 0 : parent.#depth + 1;
  }

  /** How many attributes there are. */
  get size(): number {
    return this.#depth;
  }

  /** The attribute added last. */
  get name(): AttributeName {
    return this.#name;
  }

  /** This layout and one more attribute, whose name stands between `start` and `end`. */
  with(bytes: Buffer, start: number, end: number): Layout {
    const recent = this.#recent;
    if (recent !== null && isSame(recent.#name.spelling, bytes, start, end)) return recent;
    const spelling = bytes.toString('latin1', start, end);
    const known = this.#following?.get(spelling);
    if (known !== undefined) {
      this.#recent = known;
      return known;
    }
    const made = new Layout(this, attributeName(spelling));
    if (this.#depth >= maxKeptDepth || spelling.length > maxKeptNameLength || kept >= maxKept) return made;
    kept += 1;
    this.#following ??= new Map();
    this.#following.set(spelling, made);
    this.#recent = made;
    return made;
  }

  keys(): string[] {
    return Layout.#keysOf(this);
  }

  static #keysOf(layout: Layout): string[] {
    const keys: string[] = [];
    for (let at = layout; at.#parent !== null; at = at.#parent) keys.push(at.#name.key);
    return keys.toReversed();
  }

  /** Of the first attribute with this key; -1 when there is none. */
  placeOf(key: string): number {
    this.#places ??= placesOf(this.keys());
    return this.#places.get(key) ?? -1;
  }
}

function placesOf(keys: readonly string[]): Map<string, number> {
  const places = new Map<string, number>();
  for (const [place, key] of keys.entries()) if (!places.has(key)) places.set(key, place);
  return places;
}

function isSame(spelling: string, bytes: Buffer, start: number, end: number): boolean {
  if (spelling.length !== end - start) return false;
  for (let at = 0; at < spelling.length; at += 1) if (spelling.charCodeAt(at) !== bytes[start + at]) return false;
  return true;
}

const makeRoot = (): Layout => new Layout(null, attributeName(''));
let root = makeRoot();

/** No attribute yet. A tree that is full is begun anew: what is read now is more likely to come again. */
export function emptyLayout(): Layout {
  if (kept >= maxKept) {
    root = makeRoot();
    kept = 0;
  }
  return root;
}
