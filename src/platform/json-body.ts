/**
 * platform/json-body: request bodies that are JSON, of bounded size and depth, and nothing else. The depth is read
 * from the bytes before they are parsed, because what follows (zod, scimmy, our own walks) recurses.
 */
import type { IncomingMessage } from 'node:http';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { RollcallError } from '../core/errors.ts';

export type JsonBodyOptions = {
  readonly limitBytes: number;
  /** Media types accepted; `application/json` unless given. */
  readonly types?: readonly string[];
  readonly maxDepth?: number;
};

export function jsonBody(options: JsonBodyOptions): RequestHandler {
  const types = options.types ?? ['application/json'];
  const maxDepth = options.maxDepth ?? 32;
  const parse = express.json({
    limit: options.limitBytes,
    type: () => true,
    strict: true,
    reviver: refuseProto,
    verify: (_request: IncomingMessage, _response, bytes: Buffer) => {
      checkDepth(bytes, maxDepth);
    },
  });
  return (request: Request, response: Response, next: NextFunction) => {
    if (!hasBody(request)) {
      next();
      return;
    }
    if (!isAccepted(request.headers['content-type'], types)) {
      throw new RollcallError('unsupported_media_type', `The body must be ${types.join(' or ')} in UTF-8.`);
    }
    parse(request, response, next);
  };
}

/** RFC 9112 section 6.3: a request has a body exactly when one of these fields is present. */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

function isAccepted(contentType: string | undefined, types: readonly string[]): boolean {
  const [type = '', ...parameters] = (contentType ?? '').toLowerCase().split(';');
  const charset = parameters.map((part) => part.trim()).find((part) => part.startsWith('charset='));
  const isUtf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset);
  return isUtf8 && types.includes(type.trim());
}

/**
 * `__proto__` as a key is never meant well, and a library that copies keys would follow it. A plain SyntaxError, because
 * body-parser strips whatever is thrown while parsing of all but its message and stack.
 */
function refuseProto(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SyntaxError('a key named __proto__');
  return value;
}

const quote = 0x22;
const backslash = 0x5c;

/** Counts open brackets outside strings; UTF-8 never has these bytes inside another character. */
export function checkDepth(bytes: Uint8Array, maxDepth: number): void {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (isInString) {
      if (byte === backslash) at += 1;
      else if (byte === quote) isInString = false;
    } else if (byte === quote) isInString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > maxDepth) {
        throw new RollcallError('invalid_input', `The body is nested deeper than ${maxDepth} levels.`);
      }
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
}
