/**
 * Cuts the byte stream into whole LDAP messages (RFC 4511 section 5.1: definite lengths only). The header is read before
 * anything is kept, so a message above the cap is refused while it has cost us nothing.
 */
import { RollcallError } from '../../core/errors.ts';

const sequenceTag = 0x30;
const nothing = Buffer.alloc(0);

export class FrameReader {
  readonly #maxMessageBytes: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** Bytes that must have arrived before another look makes sense: joining big messages stays linear. */
  #neededBytes = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  get isEmpty(): boolean {
    return this.#pendingBytes === 0;
  }

  /** Whole messages, header included, as views of the given bytes. */
  push(chunk: Buffer): Buffer[] {
    const bytes = this.#join(chunk);
    const frames: Buffer[] = [];
    let offset = 0;
    while (offset < bytes.length) {
      const size = this.#messageSize(bytes, offset);
      if (size === 0 || bytes.length - offset < size) {
        this.#keep(bytes.subarray(offset), size);
        break;
      }
      frames.push(bytes.subarray(offset, offset + size));
      offset += size;
    }
    return frames;
  }

  #join(chunk: Buffer): Buffer {
    if (this.#pendingBytes === 0) return chunk;
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    if (this.#pendingBytes < this.#neededBytes) return nothing;
    const bytes = Buffer.concat(this.#pending, this.#pendingBytes);
    this.#pending = [];
    this.#pendingBytes = 0;
    return bytes;
  }

  #keep(rest: Buffer, neededBytes: number): void {
    this.#pending = [rest];
    this.#pendingBytes = rest.length;
    this.#neededBytes = neededBytes;
  }

  /** 0 while the header itself is incomplete. */
  #messageSize(bytes: Buffer, offset: number): number {
    if (bytes[offset] !== sequenceTag) throw garbage(`first byte 0x${(bytes[offset] ?? 0).toString(16)}`);
    const first = bytes[offset + 1];
    if (first === undefined) return 0;
    if (first < 0x80) return 2 + first;
    const lengthBytes = first & 0x7f;
    if (lengthBytes === 0 || lengthBytes > 4) throw garbage(`length byte 0x${first.toString(16)}`);
    if (bytes.length - offset < 2 + lengthBytes) return 0;
    const size = 2 + lengthBytes + bytes.readUIntBE(offset + 2, lengthBytes);
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
