/**
 * Cuts the byte stream into whole LDAP messages (RFC 4511 section 5.1: definite lengths only) and keeps them until they
 * are taken. Bytes are gathered in segments: some servers send each entry in a TLS record of its own, and a hundred
 * thousand small buffers that wait would be the garbage collector's work. A length is read before anything is made for
 * it, so that a message above the cap is refused while it has cost us nothing.
 */
import { RollcallError } from '../../core/errors.ts';
import { pieceOf } from './entry.ts';
import type { Piece } from './entry.ts';
import { readHead } from './results.ts';

const sequenceTag = 0x30;
/** Up to four bytes of length behind tag and length byte. */
const maxLengthBytes = 4;
const segmentBytes = 65_536;

export type Message = {
  readonly id: number;
  readonly tag: number;
  /** The bytes around it, decoded once for all messages in them. */
  readonly piece: Piece;
  readonly start: number;
  readonly contentOffset: number;
  readonly end: number;
};

/** `whole` is the end of its last whole message. */
type Segment = { readonly bytes: Buffer; whole: number };

const makeSegment = (size: number): Segment => ({ bytes: Buffer.allocUnsafeSlow(size), whole: 0 });

export function frameOf({ piece, start, end }: Message): Buffer {
  return piece.bytes.subarray(start, end);
}

export class Inbox {
  readonly #maxMessageBytes: number;
  #current: Segment | null = null;
  #filledBytes = 0;
  /** Full ones that have not been taken to their end. */
  #waiting: Segment[] = [];
  /** Of the message that is taken next, in the first segment that waits. */
  #takenBytes = 0;
  #piece: Piece | null = null;
  #wholeBytes = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** No whole message is left; of one there may be a part. */
  get isEmpty(): boolean {
    return this.#wholeBytes === 0;
  }

  get hasPart(): boolean {
    return this.#current !== null && this.#filledBytes > this.#current.whole;
  }

  /** Of whole messages. */
  get byteLength(): number {
    return this.#wholeBytes;
  }

  /** Tells of each message as it becomes whole. */
  push(chunk: Buffer, onMessage: (id: number, tag: number, bytes: Buffer, start: number, end: number) => void): void {
    for (let from = 0; from < chunk.length;) {
      const segment = this.#segmentWithRoom();
      const copied = chunk.copy(segment.bytes, this.#filledBytes, from);
      from += copied;
      this.#filledBytes += copied;
      for (;;) {
        const start = segment.whole;
        const size = this.#messageSize(segment.bytes, start, this.#filledBytes);
        if (size === 0 || start + size > this.#filledBytes) break;
        const { id, tag } = readHead(segment.bytes, start, start + size);
        segment.whole += size;
        this.#wholeBytes += size;
        onMessage(id, tag, segment.bytes, start, start + size);
      }
    }
  }

  take(): Message | undefined {
    if (this.#wholeBytes === 0) return undefined;
    let segment = this.#waiting[0] ?? this.#current;
    while (segment !== null && this.#takenBytes === segment.whole) {
      this.#waiting.shift();
      this.#takenBytes = 0;
      segment = this.#waiting[0] ?? this.#current;
    }
    if (segment === null) return undefined;
    const start = this.#takenBytes;
    let piece = this.#piece;
    if (piece === null || piece.bytes !== segment.bytes || start >= piece.end) {
      piece = pieceOf(segment.bytes, start, segment.whole);
      this.#piece = piece;
    }
    const end = start + this.#messageSize(segment.bytes, start, segment.whole);
    this.#takenBytes = end;
    this.#wholeBytes -= end - start;
    const { id, tag, contentOffset } = readHead(segment.bytes, start, end);
    return { id, tag, piece, start, contentOffset, end };
  }

  clear(): void {
    this.#current = null;
    this.#piece = null;
    this.#waiting = [];
    this.#filledBytes = 0;
    this.#takenBytes = 0;
    this.#wholeBytes = 0;
  }

  /** Where the next bytes go; the part of a message that has begun moves along. */
  #segmentWithRoom(): Segment {
    const full = this.#current;
    if (full === null) {
      this.#current = makeSegment(segmentBytes);
      return this.#current;
    }
    const size = this.#messageSize(full.bytes, full.whole, this.#filledBytes);
    if (this.#filledBytes < full.bytes.length && full.whole + size <= full.bytes.length) return full;
    const next = makeSegment(Math.max(size, segmentBytes));
    this.#filledBytes = full.bytes.copy(next.bytes, 0, full.whole, this.#filledBytes);
    const isTaken = this.#waiting.length === 0 && this.#takenBytes === full.whole;
    if (isTaken) this.#takenBytes = 0;
    else this.#waiting.push(full);
    this.#current = next;
    return next;
  }

  /** 0 while the header itself is incomplete. */
  #messageSize(bytes: Buffer, start: number, end: number): number {
    if (start === end) return 0;
    if (bytes[start] !== sequenceTag) throw garbage(`first byte 0x${(bytes[start] ?? 0).toString(16)}`);
    if (start + 1 >= end) return 0;
    const first = bytes[start + 1] ?? 0;
    if (first < 0x80) return 2 + first;
    const lengthBytes = first & 0x7f;
    if (lengthBytes === 0 || lengthBytes > maxLengthBytes) throw garbage(`length byte 0x${first.toString(16)}`);
    if (start + 2 + lengthBytes > end) return 0;
    const size = 2 + lengthBytes + bytes.readUIntBE(start + 2, lengthBytes);
    if (size <= this.#maxMessageBytes) return size;
    throw new RollcallError('directory_limit', `The directory announced a message of ${size} bytes.`, {
      remedy: `The limit is ${this.#maxMessageBytes} bytes: narrow the filter or the attributes, or raise maxMessageBytes.`,
      raw: 'message too large',
      details: { size, maxMessageBytes: this.#maxMessageBytes },
    });
  }
}

function garbage(raw: string): RollcallError {
  return new RollcallError('directory_protocol', 'What the server sent is not LDAP.', {
    remedy: 'Check that host and port belong to an LDAP server, and that the TLS mode fits the port.',
    raw,
  });
}
