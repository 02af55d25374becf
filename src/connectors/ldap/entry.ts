/**
 * One search result entry. The bytes are walked once; values are decoded when somebody asks for them, because most
 * attributes of most entries are read at most once and a hundred thousand entries pass in a second.
 */
import { isAscii } from 'node:buffer';
import { RollcallError } from '../../core/errors.ts';
import { booleanValue, filetimeDate, generalizedDate, guidText, integerValue, sidText } from './values.ts';

type AttributeName = {
  readonly spelling: string;
  /** Lower case, options included, without the range option: attribute names are case-insensitive (RFC 4512 2.5). */
  readonly key: string;
  /** First and last index of a ranged answer; `last` null means the range reaches the end. */
  readonly range: { readonly first: number; readonly last: number | null } | null;
};

const names = new Map<string, AttributeName>();
/** The names outlive the read: a hostile server may fill neither the map nor its keys. */
const maxNames = 10_000;
const maxNameLength = 256;

function attributeName(spelling: string): AttributeName {
  const known = names.get(spelling);
  if (known !== undefined) return known;
  const range = /;range=(\d+)-(\d+|\*)/i.exec(spelling);
  const name: AttributeName = {
    spelling,
    key: spelling.replace(/;range=(\d+)-(\d+|\*)/i, '').toLowerCase(),
    range: range === null ? null : { first: Number(range[1]), last: range[2] === '*' ? null : Number(range[2]) },
  };
  if (names.size < maxNames && spelling.length < maxNameLength) names.set(spelling, name);
  return name;
}

/** The names of the entry before, by place: the next entry nearly always has the same ones in the same order. */
const recentNames: AttributeName[] = [];
const maxRecentNames = 64;

/** Above this an entry is a group: its values are decoded one by one, so that its text does not stand in memory twice. */
const maxTextBytes = 65_536;
const aboveAscii = /[\x80-\xff]/;

export type IncompleteRange = { readonly attribute: string; readonly next: number };

/** One `attribute;range=first-last` as sent; `last` null is `*`. `at` is its place among the entry's attributes. */
type RangePart = { readonly key: string; readonly first: number; readonly last: number | null; readonly at: number };

const maxAttributes = 10_000;

/** Where there are many values they are names of members, and those are not this short. */
function maxValuesOf(message: Buffer): number {
  return 10_000 + message.length / 24;
}

export class LdapEntry {
  readonly dn: string;
  readonly #bytes: Buffer;
  /** All of it as Latin-1, byte for byte: cutting values out of one text is far cheaper than decoding each. */
  readonly #text: string | null;
  readonly #isAscii: boolean;
  readonly #keys: string[] = [];
  /** Per attribute the index of its first value in `#spans`, plus one closing index. */
  readonly #starts: number[] = [];
  /** Pairs of start and end offsets of values. */
  readonly #spans: number[] = [];
  #replaced: Map<string, Buffer[]> | null = null;
  #ranges: RangePart[] | null = null;
  /** Attributes the server cut off; the session folds them before anybody sees the entry. */
  incomplete: IncompleteRange[] | null = null;

  /** `offset` points at the content of the SearchResultEntry (RFC 4511 section 4.5.2). */
  constructor(bytes: Buffer, offset: number) {
    this.#bytes = bytes;
    this.#text = bytes.length > maxTextBytes ? null : bytes.toString('latin1');
    this.#isAscii = this.#text !== null && isAscii(bytes);
    const reader = new SpanReader(bytes, offset);
    reader.open(0x04);
    this.dn = this.#textAt(reader.start, reader.end);
    reader.skip();
    reader.open(0x30);
    const listEnd = reader.end;
    for (let place = 0; reader.start < listEnd; place += 1) this.#readAttribute(reader, place);
    this.#starts.push(this.#spans.length);
  }

  #textAt(start: number, end: number): string {
    if (this.#text === null) return this.#bytes.toString('utf8', start, end);
    const text = this.#text.slice(start, end);
    return this.#isAscii || !aboveAscii.test(text) ? text : this.#bytes.toString('utf8', start, end);
  }

  #nameAt(start: number, end: number, place: number): AttributeName {
    const recent = recentNames[place];
    const isSame = recent?.spelling.length === end - start && this.#text?.startsWith(recent.spelling, start) === true;
    if (isSame) return recent;
    const name = attributeName(this.#bytes.toString('latin1', start, end));
    if (place < maxRecentNames && name.spelling.length < maxNameLength) recentNames[place] = name;
    return name;
  }

  #readAttribute(reader: SpanReader, place: number): void {
    reader.open(0x30);
    reader.open(0x04);
    const name = this.#nameAt(reader.start, reader.end, place);
    reader.skip();
    reader.open(0x31);
    const setEnd = reader.end;
    const isEmpty = reader.start === setEnd;
    const maxSpans = 2 * maxValuesOf(this.#bytes);
    const { range } = name;
    if (range !== null && range.last !== null) {
      this.incomplete ??= [];
      this.incomplete.push({ attribute: name.key, next: range.last + 1 });
    }
    // AD answers `member` empty beside `member;range=0-1499`: the empty one says nothing.
    if (isEmpty) return;
    if (range !== null) {
      this.#ranges ??= [];
      this.#ranges.push({ key: name.key, ...range, at: this.#keys.length });
    }
    this.#keys.push(name.key);
    this.#starts.push(this.#spans.length);
    while (reader.start < setEnd) {
      reader.open(0x04);
      this.#spans.push(reader.start, reader.end);
      reader.skip();
      if (this.#spans.length > maxSpans) throw malformed('more values than anybody has');
    }
    if (this.#keys.length > maxAttributes) throw malformed('more attributes than anybody has');
  }

  /** Lower-case names of the attributes that have values. */
  keys(): readonly string[] {
    return this.#keys;
  }

  values(key: string): Buffer[] {
    const replaced = this.#replaced?.get(key);
    if (replaced !== undefined) return replaced;
    const index = this.#keys.indexOf(key);
    return index === -1 ? [] : this.#valuesAt(index);
  }

  #valuesAt(index: number): Buffer[] {
    const found: Buffer[] = [];
    const end = this.#starts[index + 1] ?? 0;
    for (let at = this.#starts[index] ?? 0; at < end; at += 2) {
      found.push(this.#bytes.subarray(this.#spans[at], this.#spans[at + 1]));
    }
    return found;
  }

  /** The parts of an attribute that came with ranges; DirSync uses them to tell added from removed values. */
  ranges(key: string): { first: number; last: number | null; texts: string[] }[] {
    const parts = this.#ranges?.filter((part) => part.key === key) ?? [];
    return parts.map(({ first, last, at }) => ({ first, last, texts: this.#valuesAt(at).map(String) }));
  }

  texts(key: string): string[] {
    const replaced = this.#replaced?.get(key);
    if (replaced !== undefined) return replaced.map((value) => value.toString('utf8'));
    const index = this.#keys.indexOf(key);
    const found: string[] = [];
    if (index === -1) return found;
    const end = this.#starts[index + 1] ?? 0;
    for (let at = this.#starts[index] ?? 0; at < end; at += 2) {
      found.push(this.#textAt(this.#spans[at] ?? 0, this.#spans[at + 1] ?? 0));
    }
    return found;
  }

  /** The same one by one: a group may have very many. */
  *eachText(key: string): Generator<string> {
    if (this.#replaced?.has(key) === true) {
      yield* this.texts(key);
      return;
    }
    const index = this.#keys.indexOf(key);
    if (index === -1) return;
    const end = this.#starts[index + 1] ?? 0;
    for (let at = this.#starts[index] ?? 0; at < end; at += 2) {
      yield this.#textAt(this.#spans[at] ?? 0, this.#spans[at + 1] ?? 0);
    }
  }

  /** Attributes that came with a range, whole or in part. */
  rangedKeys(): string[] {
    return [...new Set(this.#ranges?.map(({ key }) => key) ?? [])];
  }

  has(key: string): boolean {
    return this.#keys.includes(key);
  }

  first(key: string): Buffer | null {
    return this.values(key)[0] ?? null;
  }

  text(key: string): string | null {
    const index = this.#keys.indexOf(key);
    if (index === -1) return null;
    const at = this.#starts[index] ?? 0;
    return this.#textAt(this.#spans[at] ?? 0, this.#spans[at + 1] ?? 0);
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
    if (!this.#keys.includes(key)) this.#keys.push(key);
  }
}

/** Walks tag-length-value triples; `start` and `end` are the content of the element opened last. */
class SpanReader {
  start: number;
  end: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer, offset: number) {
    this.#bytes = bytes;
    this.start = offset;
    this.end = bytes.length;
  }

  /** Opens the element at `start`; its content must lie inside the message. */
  open(tag: number): void {
    const bytes = this.#bytes;
    let at = this.start;
    if (bytes[at] !== tag) throw malformed(`expected tag 0x${tag.toString(16)} at byte ${at}`);
    let length = bytes[at + 1] ?? 0xff;
    at += 2;
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0 || count > 4 || at + count > bytes.length) throw malformed(`bad length at byte ${at}`);
      length = bytes.readUIntBE(at, count);
      at += count;
    }
    if (at + length > bytes.length) throw malformed(`element at byte ${at} is longer than its message`);
    this.start = at;
    this.end = at + length;
  }

  /** Moves behind the element opened last. */
  skip(): void {
    this.start = this.end;
  }
}

function malformed(raw: string): RollcallError {
  return new RollcallError('directory_protocol', 'The directory sent an entry that can not be decoded.', { raw });
}
