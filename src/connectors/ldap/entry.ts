/**
 * One search result entry. The bytes are walked once, and every length in them is checked; values are found and decoded
 * when somebody asks for them, because most attributes of most entries are read at most once and a hundred thousand
 * entries pass in a second.
 */
import { isAscii } from 'node:buffer';
import { RollcallError } from '../../core/errors.ts';
import { attributeName, emptyLayout } from './layout.ts';
import type { Layout } from './layout.ts';
import { booleanValue, filetimeDate, generalizedDate, guidText, integerValue, sidText } from './values.ts';

/** Above this an entry is a group: its values are decoded one by one, so that its text does not stand in memory twice. */
const maxTextBytes = 65_536;
const aboveAscii = /[\x80-\xff]/;

/** Bytes that came together, with one or many messages. */
export type Piece = {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** All of it as Latin-1, byte for byte: cutting values out of one text is far cheaper than decoding each. */
  readonly text: string | null;
  readonly isAscii: boolean;
};

export function pieceOf(bytes: Buffer, start = 0, end = bytes.length): Piece {
  const isShort = end - start <= maxTextBytes;
  const text = isShort ? bytes.toString('latin1', start, end) : null;
  return { bytes, start, end, text, isAscii: isShort && isAscii(bytes.subarray(start, end)) };
}

export type IncompleteRange = { readonly attribute: string; readonly next: number };

/** One `attribute;range=first-last` as sent; `last` null is `*`. `place` is that of the attribute in the layout. */
type RangePart = { readonly key: string; readonly first: number; readonly last: number | null; readonly place: number };

const maxAttributes = 10_000;

/** Where there are many values they are names of members, and those are not this short. */
function maxValuesOf(messageBytes: number): number {
  return 10_000 + messageBytes / 24;
}

/** Those of the entry that is being read: a list that grows would be copied several times for each. */
const readSpans: number[] = [];
let spansRead = 0;

export class LdapEntry {
  readonly dn: string;
  readonly #piece: Piece;
  /** Of the attributes that have values. */
  readonly layout: Layout;
  /** Per attribute of the layout where its values (each with tag and length) begin and where they end. */
  readonly #spans: readonly number[];
  #replaced: Map<string, Buffer[]> | null = null;
  #ranges: RangePart[] | null = null;
  /** Attributes the server cut off; the session folds them before anybody sees the entry. */
  incomplete: IncompleteRange[] | null = null;

  /** `offset` points at the content of the SearchResultEntry (RFC 4511 section 4.5.2), `end` behind its message. */
  constructor(piece: Piece, offset: number, end: number) {
    const { bytes } = piece;
    this.#piece = piece;
    const dnEnd = endOf(bytes, offset, 0x04, end);
    this.dn = this.#textAt(contentOf(bytes, offset), dnEnd);
    const listEnd = endOf(bytes, dnEnd, 0x30, end);
    let layout = emptyLayout();
    spansRead = 0;
    for (let at = contentOf(bytes, dnEnd); at < listEnd;) {
      const attributeEnd = endOf(bytes, at, 0x30, listEnd);
      layout = this.#readAttribute(layout, contentOf(bytes, at), attributeEnd);
      at = attributeEnd;
    }
    this.layout = layout;
    this.#spans = readSpans.slice(0, spansRead);
  }

  #textAt(start: number, end: number): string {
    const { bytes, text: all, start: from, isAscii: isPlain } = this.#piece;
    if (all === null) return bytes.toString('utf8', start, end);
    const text = all.slice(start - from, end - from);
    return isPlain || !aboveAscii.test(text) ? text : bytes.toString('utf8', start, end);
  }

  #readAttribute(before: Layout, at: number, attributeEnd: number): Layout {
    const { bytes } = this.#piece;
    const nameEnd = endOf(bytes, at, 0x04, attributeEnd);
    const nameStart = contentOf(bytes, at);
    const setEnd = endOf(bytes, nameEnd, 0x31, attributeEnd);
    const setStart = contentOf(bytes, nameEnd);
    if (setStart === setEnd) {
      // AD answers `member` empty beside `member;range=0-1499`: the empty one says nothing.
      this.#seeRange(bytes.toString('latin1', nameStart, nameEnd), null);
      return before;
    }
    checkValues(bytes, setStart, setEnd);
    if (before.size >= maxAttributes) throw malformed('more attributes than anybody has');
    const layout = before.with(bytes, nameStart, nameEnd);
    if (layout.name.range !== null) this.#seeRange(layout.name.spelling, before.size);
    readSpans[spansRead] = setStart;
    readSpans[spansRead + 1] = setEnd;
    spansRead += 2;
    return layout;
  }

  #seeRange(spelling: string, place: number | null): void {
    const { key, range } = attributeName(spelling);
    if (range === null) return;
    if (range.last !== null) {
      this.incomplete ??= [];
      this.incomplete.push({ attribute: key, next: range.last + 1 });
    }
    if (place === null) return;
    this.#ranges ??= [];
    this.#ranges.push({ key, ...range, place });
  }

  /** Lower-case names of the attributes that have values. */
  keys(): readonly string[] {
    const keys = this.layout.keys();
    for (const key of this.#replaced?.keys() ?? []) if (this.layout.placeOf(key) === -1) keys.push(key);
    return keys;
  }

  values(key: string): Buffer[] {
    const replaced = this.#replaced?.get(key);
    if (replaced !== undefined) return replaced;
    const place = this.layout.placeOf(key);
    return place === -1 ? [] : this.#valuesAt(place);
  }

  #valuesAt(place: number): Buffer[] {
    const { bytes } = this.#piece;
    const found: Buffer[] = [];
    const setEnd = this.#spans[place * 2 + 1] ?? 0;
    for (let at = this.#spans[place * 2] ?? 0; at < setEnd;) {
      const end = endOf(bytes, at, 0x04, setEnd);
      found.push(bytes.subarray(contentOf(bytes, at), end));
      at = end;
    }
    return found;
  }

  /** The parts of an attribute that came with ranges; DirSync uses them to tell added from removed values. */
  ranges(key: string): { first: number; last: number | null; texts: string[] }[] {
    const parts = this.#ranges?.filter((part) => part.key === key) ?? [];
    return parts.map(({ first, last, place }) => ({ first, last, texts: this.#valuesAt(place).map(String) }));
  }

  texts(key: string): string[] {
    const replaced = this.#replaced?.get(key);
    if (replaced !== undefined) return replaced.map((value) => value.toString('utf8'));
    const place = this.layout.placeOf(key);
    const found: string[] = [];
    if (place === -1) return found;
    const { bytes } = this.#piece;
    const setEnd = this.#spans[place * 2 + 1] ?? 0;
    for (let at = this.#spans[place * 2] ?? 0; at < setEnd;) {
      const end = endOf(bytes, at, 0x04, setEnd);
      found.push(this.#textAt(contentOf(bytes, at), end));
      at = end;
    }
    return found;
  }

  /** The same one by one: a group may have very many. */
  *eachText(key: string): Generator<string> {
    if (this.#replaced?.has(key) === true) {
      yield* this.texts(key);
      return;
    }
    const place = this.layout.placeOf(key);
    if (place === -1) return;
    const { bytes } = this.#piece;
    const setEnd = this.#spans[place * 2 + 1] ?? 0;
    for (let at = this.#spans[place * 2] ?? 0; at < setEnd;) {
      const end = endOf(bytes, at, 0x04, setEnd);
      yield this.#textAt(contentOf(bytes, at), end);
      at = end;
    }
  }

  /** An attribute that is one value of ASCII, by its place in the layout; null where it is anything else. */
  plainTextAt(place: number): string | null {
    const { bytes, text, start, isAscii: isPlain } = this.#piece;
    const at = this.#spans[place * 2] ?? 0;
    const setEnd = this.#spans[place * 2 + 1] ?? 0;
    const end = endOf(bytes, at, 0x04, setEnd);
    if (end !== setEnd || text === null) return null;
    const value = text.slice(contentOf(bytes, at) - start, end - start);
    return isPlain || !aboveAscii.test(value) ? value : null;
  }

  /** A ranged attribute was folded: the layout does not tell all of its names. */
  get isFolded(): boolean {
    return this.#replaced !== null;
  }

  /** Attributes that came with a range, whole or in part. */
  rangedKeys(): string[] {
    return [...new Set(this.#ranges?.map(({ key }) => key) ?? [])];
  }

  has(key: string): boolean {
    return this.layout.placeOf(key) !== -1 || this.#replaced?.has(key) === true;
  }

  first(key: string): Buffer | null {
    return this.values(key)[0] ?? null;
  }

  text(key: string): string | null {
    const place = this.layout.placeOf(key);
    if (place === -1) return null;
    const { bytes } = this.#piece;
    const at = this.#spans[place * 2] ?? 0;
    return this.#textAt(contentOf(bytes, at), endOf(bytes, at, 0x04, bytes.length));
  }

  guid(key: string): string | null {
    const bytes = this.first(key);
    return bytes === null ? null : guidText(bytes);
  }

  sid(key: string): string | null {
    const bytes = this.first(key);
    return bytes === null ? null : sidText(bytes);
  }

  int(key: string): number | null {
    const text = this.text(key);
    return text === null ? null : integerValue(text);
  }

  bool(key: string): boolean | null {
    const text = this.text(key);
    return text === null ? null : booleanValue(text);
  }

  filetime(key: string): Date | null {
    const text = this.text(key);
    return text === null ? null : filetimeDate(text);
  }

  generalizedTime(key: string): Date | null {
    const text = this.text(key);
    return text === null ? null : generalizedDate(text);
  }

  /** Puts the whole set of a ranged attribute in place of its first part. */
  replaceValues(key: string, values: Buffer[]): void {
    this.#replaced ??= new Map();
    this.#replaced.set(key, values);
  }
}

/** Where the content of the element at `at` begins; only behind `endOf`, which checks the length. */
function contentOf(bytes: Buffer, at: number): number {
  const first = bytes[at + 1] ?? 0;
  return first < 0x80 ? at + 2 : at + 2 + (first & 0x7f);
}

/** The end of the element at `at`, which must have this tag and lie inside of `limit`. */
function endOf(bytes: Buffer, at: number, tag: number, limit: number): number {
  if (bytes[at] !== tag) throw malformed(`expected tag 0x${tag.toString(16)} at byte ${at}`);
  const first = bytes[at + 1] ?? 0xff;
  const end = first < 0x80 ? at + 2 + first : longEndOf(bytes, at + 2, first & 0x7f);
  if (end > limit) throw malformed(`element at byte ${at} is longer than what it is part of`);
  return end;
}

function longEndOf(bytes: Buffer, at: number, count: number): number {
  if (count === 0 || count > 4 || at + count > bytes.length) throw malformed(`bad length at byte ${at}`);
  return at + count + bytes.readUIntBE(at, count);
}

/** Every value lies inside of its set: whoever reads one later can rely on it. */
function checkValues(bytes: Buffer, start: number, end: number): void {
  let count = 0;
  for (let at = start; at < end; count += 1) at = endOf(bytes, at, 0x04, end);
  if (count > maxValuesOf(end - start)) throw malformed('more values than anybody has');
}

function malformed(raw: string): RollcallError {
  return new RollcallError('directory_protocol', 'The directory sent an entry that can not be decoded.', { raw });
}
