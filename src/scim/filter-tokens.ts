/** Tokens of the filter language. Linear in the text: each character is looked at once. */
import { badRequest } from './scim-error.ts';

export type Token = {
  readonly kind: 'word' | 'string' | '(' | ')' | '[' | ']' | 'end';
  /** Of a string: its value, unescaped. */
  readonly text: string;
  readonly start: number;
  /** Characters in the filter, where that differs from the text. */
  readonly length?: number;
};

/** The token that starts at or after `from`. */
export function nextToken(text: string, from: number): Token {
  let start = from;
  while (start < text.length && isSpace(text[start])) start += 1;
  const first = text[start];
  if (first === undefined) return { kind: 'end', text: '', start };
  if (first === '(' || first === ')' || first === '[' || first === ']') return { kind: first, text: first, start };
  if (first === '"') return stringToken(text, start);
  let end = start;
  while (end < text.length && !endsWord(text[end])) end += 1;
  return { kind: 'word', text: text.slice(start, end), start };
}

/** A JSON string (RFC 7644: compValue is JSON), unescaped by the JSON parser. */
function stringToken(text: string, start: number): Token {
  let end = start + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  if (end >= text.length)
    throw badRequest('invalidFilter', `The text that starts at character ${start + 1} has no end.`);
  const literal = text.slice(start, end + 1);
  return { kind: 'string', text: unescape(literal, start), start, length: literal.length };
}

function unescape(literal: string, start: number): string {
  if (!literal.includes('\\') && !hasControl(literal)) return literal.slice(1, -1);
  try {
    const value: unknown = JSON.parse(literal);
    if (typeof value === 'string' && !value.includes('\u0000')) return value;
  } catch (cause) {
    throw badRequest(
      'invalidFilter',
      `The text that starts at character ${start + 1} has a wrong escape (${cause instanceof Error ? cause.message : 'JSON'}).`,
    );
  }
  throw badRequest('invalidFilter', `The text that starts at character ${start + 1} is not usable.`);
}

function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) < 0x20) return true;
  return false;
}

function isSpace(char: string | undefined): boolean {
  return char === ' ' || char === '\t' || char === '\n' || char === '\r';
}

function endsWord(char: string | undefined): boolean {
  return isSpace(char) || char === '(' || char === ')' || char === '[' || char === ']' || char === '"';
}
