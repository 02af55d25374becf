/**
 * Cuts the byte stream into whole LDAP messages (RFC 4511 section 5.1: definite lengths only). The header is read before
 * anything is kept, so a message above the cap is refused while it has cost us nothing; one below it is collected in one
 * buffer of its own size.
 */
import { RollcallError } from '../../core/errors.ts';

const sequenceTag = 0x30;
/** Tag, length byte and up to four more bytes of length. */
const maxHeaderBytes = 6;
const nothing = Buffer.alloc(0);

export class FrameReader {
  readonly #maxMessageBytes: number;
  /** A header that has not arrived whole: a few bytes at most. */
  #header = nothing;
  /** A message that has not arrived whole. */
  #message: Buffer | null = null;
  #filledBytes = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  get isEmpty(): boolean {
    return this.#header.length === 0 && this.#message === null;
  }

  /** Whole messages, header included, as views of the given bytes where they arrived in one piece. */
  push(chunk: Buffer): Buffer[] {
    const frames: Buffer[] = [];
    let bytes = this.#message === null ? this.#withHeader(chunk) : this.#fill(chunk, frames);
    while (bytes.length > 0) {
      const size = this.#messageSize(bytes);
      if (size === 0) {
        // Own copy: a view would keep the whole chunk alive.
        this.#header = Buffer.from(bytes);
        break;
      }
      if (bytes.length < size) {
        this.#message = Buffer.allocUnsafeSlow(size);
        this.#filledBytes = bytes.copy(this.#message);
        break;
      }
      frames.push(bytes.subarray(0, size));
      bytes = bytes.subarray(size);
    }
    return frames;
  }

  #withHeader(chunk: Buffer): Buffer {
    if (this.#header.length === 0) return chunk;
    const bytes = Buffer.concat([this.#header, chunk]);
    this.#header = nothing;
    return bytes;
  }

  /** Adds to the message that is under way; what is left belongs to the next one. */
  #fill(chunk: Buffer, frames: Buffer[]): Buffer {
    const message = this.#message ?? nothing;
    const copied = chunk.copy(message, this.#filledBytes);
    this.#filledBytes += copied;
    if (this.#filledBytes < message.length) return nothing;
    frames.push(message);
    this.#message = null;
    return chunk.subarray(copied);
  }

  /** 0 while the header itself is incomplete. */
  #messageSize(bytes: Buffer): number {
    if (bytes[0] !== sequenceTag) throw garbage(`first byte 0x${(bytes[0] ?? 0).toString(16)}`);
    const first = bytes[1];
    if (first === undefined) return 0;
    if (first < 0x80) return 2 + first;
    const lengthBytes = first & 0x7f;
    if (lengthBytes === 0 || lengthBytes > maxHeaderBytes - 2) throw garbage(`length byte 0x${first.toString(16)}`);
    if (bytes.length < 2 + lengthBytes) return 0;
    const size = 2 + lengthBytes + bytes.readUIntBE(2, lengthBytes);
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
