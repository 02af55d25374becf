/**
 * Search filters (RFC 4515). Our own parser because ldapts decodes escapes as Latin-1, so that `(cn=Chlo\c3\a9)` finds
 * nobody, and refuses white space between parts. Values are bytes from end to end. White space between parts is
 * accepted; inside a value it counts.
 */
import { Filter, SearchFilter } from 'ldapts';
import type { BerWriter, SearchFilterValues } from 'ldapts';
import { RollcallError } from '../../core/errors.ts';

export type LdapFilter = Filter;

const octetString = 0x04;

type Write = (writer: BerWriter) => void;

/** A filter that writes its own bytes; ldapts puts tag and length around them. */
class BytesFilter extends Filter {
  readonly type: SearchFilterValues;
  readonly #text: string;
  readonly #write: Write;

  constructor(type: SearchFilterValues, text: string, write: Write) {
    super();
    this.type = type;
    this.#text = text;
    this.#write = write;
  }

  override writeFilter(writer: BerWriter): void {
    this.#write(writer);
  }

  override toString(): string {
    return this.#text;
  }
}

/** `Filter` of ldapts writes `not` and sets through `write`, which adds the tag. */
function composite(type: SearchFilterValues, sign: string, parts: readonly LdapFilter[]): LdapFilter {
  const text = `(${sign}${parts.map((part) => part.toString()).join('')})`;
  return new BytesFilter(type, text, (writer) => {
    for (const part of parts) part.write(writer);
  });
}

export function allOf(...parts: readonly LdapFilter[]): LdapFilter {
  return composite(SearchFilter.and, '&', parts);
}

export function anyOf(...parts: readonly LdapFilter[]): LdapFilter {
  return composite(SearchFilter.or, '|', parts);
}

export function notOf(part: LdapFilter): LdapFilter {
  return composite(SearchFilter.not, '!', [part]);
}

export function isPresent(attribute: string): LdapFilter {
  return new BytesFilter(SearchFilter.present, `(${attribute}=*)`, (writer) => {
    for (const byte of Buffer.from(attribute, 'latin1')) writer.writeByte(byte);
  });
}

/** Exact bytes: text is UTF-8, a Buffer stays what it is (objectGUID). */
export function equals(attribute: string, value: string | Buffer): LdapFilter {
  return comparison(SearchFilter.equalityMatch, attribute, '=', typeof value === 'string' ? Buffer.from(value) : value);
}

function comparison(type: SearchFilterValues, attribute: string, sign: string, value: Buffer): LdapFilter {
  return new BytesFilter(type, `(${attribute}${sign}${escapeFilterValue(value)})`, (writer) => {
    writer.writeString(attribute);
    writer.writeBuffer(value, octetString);
  });
}

/** RFC 4515 section 3: everything but plain printable characters as `\xx`. */
export function escapeFilterValue(value: Buffer): string {
  let text = '';
  for (const byte of value) {
    const isPlain = byte > 0x1f && byte < 0x7f && byte !== 0x28 && byte !== 0x29 && byte !== 0x2a && byte !== 0x5c;
    text += isPlain ? String.fromCharCode(byte) : `\\${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}

/** Lower-case names of the attributes and matching rules that the text of a valid filter mentions. */
export function namesInFilter(text: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [, head = ''] of text.matchAll(/\(\s*([^()&|!=]+?)\s*[~<>]?=/g)) {
    for (const name of head.split(':')) if (name.trim() !== '') names.add(name.trim().toLowerCase());
  }
  return names;
}

const maxDepth = 50;
const attributePattern = /^(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)(?:;[A-Za-z0-9-]+)*$/;
const rulePattern = /^(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)$/;

/** Throws `invalid_input` naming the column (counted from 1). */
export function parseFilter(text: string): LdapFilter {
  const parser = new FilterParser(text);
  return parser.parseWhole();
}

class FilterParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parseWhole(): LdapFilter {
    this.#skipSpace();
    // `uid=a` without parentheses is what many tools print and accept.
    const filter = this.#peek() === '(' ? this.#group(0) : this.#item(this.#text.length);
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#fault('nothing may follow the filter');
    return filter;
  }

  #group(depth: number): LdapFilter {
    if (depth > maxDepth) throw this.#fault(`deeper than ${maxDepth} levels`);
    this.#expect('(');
    this.#skipSpace();
    const sign = this.#peek();
    const filter =
      sign === '&' || sign === '|' || sign === '!' ? this.#operation(sign, depth) : this.#item(this.#itemEnd());
    this.#skipSpace();
    this.#expect(')');
    return filter;
  }

  #operation(sign: '&' | '|' | '!', depth: number): LdapFilter {
    this.#at += 1;
    const parts: LdapFilter[] = [];
    for (this.#skipSpace(); this.#peek() === '('; this.#skipSpace()) parts.push(this.#group(depth + 1));
    if (sign !== '!') return sign === '&' ? allOf(...parts) : anyOf(...parts); // empty is legal: RFC 4526
    const [only] = parts;
    if (only === undefined || parts.length > 1) throw this.#fault('"!" takes exactly one filter');
    return notOf(only);
  }

  /** An unescaped parenthesis ends an item. */
  #itemEnd(): number {
    let end = this.#at;
    while (end < this.#text.length && this.#text[end] !== ')' && this.#text[end] !== '(') end += 1;
    return end;
  }

  #item(end: number): LdapFilter {
    const sign = this.#text.indexOf('=', this.#at);
    if (sign === -1 || sign >= end) throw this.#fault('a comparison needs "="');
    const before = this.#text[sign - 1] ?? '';
    const isTwoSigns = before === '>' || before === '<' || before === '~' || before === ':';
    const name = this.#text.slice(this.#at, isTwoSigns ? sign - 1 : sign).trim();
    const valueStart = sign + 1;
    const filter =
      before === ':' ? this.#extensible(name, valueStart, end) : this.#compare(name, before, valueStart, end);
    this.#at = end;
    return filter;
  }

  #compare(name: string, before: string, start: number, end: number): LdapFilter {
    if (!attributePattern.test(name)) throw this.#fault(`"${name}" is not an attribute name`);
    const signs = { '>': SearchFilter.greaterOrEqual, '<': SearchFilter.lessOrEqual, '~': SearchFilter.approxMatch };
    const type = before === '>' || before === '<' || before === '~' ? signs[before] : undefined;
    if (type !== undefined) return comparison(type, name, `${before}=`, this.#bytes(start, end));
    const raw = this.#text.slice(start, end);
    if (raw.trim() === '*') return isPresent(name);
    if (!raw.includes('*')) return equals(name, this.#bytes(start, end));
    return this.#substrings(name, start, end);
  }

  #substrings(name: string, start: number, end: number): LdapFilter {
    const parts: Buffer[] = [];
    let from = start;
    for (let at = start; at <= end; at += 1) {
      if (at < end && this.#text[at] !== '*') continue;
      parts.push(this.#bytes(from, at));
      from = at + 1;
    }
    const text = `(${name}=${parts.map(escapeFilterValue).join('*')})`;
    return new BytesFilter(SearchFilter.substrings, text, (writer) => {
      writer.writeString(name);
      writer.startSequence();
      for (const [index, part] of parts.entries()) {
        const tag = index === 0 ? 0x80 : index === parts.length - 1 ? 0x82 : 0x81;
        if (part.length > 0) writer.writeBuffer(part, tag);
      }
      writer.endSequence();
    });
  }

  /** `attr:dn:rule:=value`, each of attribute, `dn` and rule optional, but not both names (RFC 4515 section 3). */
  #extensible(head: string, start: number, end: number): LdapFilter {
    const [attribute = '', ...options] = head.split(':').map((part) => part.trim());
    const hasDn = options[0]?.toLowerCase() === 'dn';
    const [rule = '', ...tooMany] = hasDn ? options.slice(1) : options;
    const isNamed = attribute === '' ? rule !== '' : attributePattern.test(attribute);
    if (!isNamed || tooMany.length > 0 || (rule !== '' && !rulePattern.test(rule))) {
      throw this.#fault(`"${head}" is not a matching rule`);
    }
    const value = this.#bytes(start, end);
    const text = `(${attribute}${hasDn ? ':dn' : ''}${rule === '' ? '' : `:${rule}`}:=${escapeFilterValue(value)})`;
    return new BytesFilter(SearchFilter.extensibleMatch, text, (writer) => {
      if (rule !== '') writer.writeString(rule, 0x81);
      if (attribute !== '') writer.writeString(attribute, 0x82);
      writer.writeBuffer(value, 0x83);
      if (hasDn) writer.writeBoolean(true, 0x84);
    });
  }

  /** `\xx` is one byte; everything else is UTF-8. */
  #bytes(start: number, end: number): Buffer {
    const parts: Buffer[] = [];
    let from = start;
    for (let at = this.#text.indexOf('\\', start); at !== -1 && at < end; at = this.#text.indexOf('\\', from)) {
      const pair = this.#text.slice(at + 1, Math.min(at + 3, end));
      if (!/^[0-9a-f]{2}$/i.test(pair)) throw this.#fault('a backslash needs two hexadecimal digits', at);
      parts.push(Buffer.from(this.#text.slice(from, at)), Buffer.from(pair, 'hex'));
      from = at + 3;
    }
    parts.push(Buffer.from(this.#text.slice(from, end)));
    return Buffer.concat(parts);
  }

  #peek(): string | undefined {
    return this.#text[this.#at];
  }

  #expect(sign: string): void {
    if (this.#peek() !== sign) throw this.#fault(`"${sign}" expected`);
    this.#at += 1;
  }

  #skipSpace(): void {
    while (/\s/.test(this.#peek() ?? '')) this.#at += 1;
  }

  #fault(what: string, at: number = this.#at): RollcallError {
    return new RollcallError('invalid_input', `The filter is not valid at column ${at + 1}: ${what}.`, {
      remedy: 'Write it like (&(objectClass=person)(mail=*)); ( ) * \\ in values are \\28 \\29 \\2a \\5c.',
      details: { column: at + 1 },
    });
  }
}
