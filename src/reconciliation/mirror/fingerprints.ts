/**
 * What the mirror knows, small enough to hold: 32 bytes per object in typed arrays, so that a full read of a million
 * unchanged objects sends nothing to the database (perf.md). Open addressing over a 128-bit digest of (kind, anchor).
 */
import { hash } from 'node:crypto';
import type { ObjectKind } from '../../core/vocabulary.ts';

const wordsPerSlot = 8;

export type Comparison = 'same' | 'changed' | 'new';

export function digestOf(text: string): Buffer {
  return hash('md5', text, 'buffer');
}

export class Fingerprints {
  readonly #mask: number;
  readonly #slots: Uint32Array;
  /** 0 empty, 1 known, 2 seen. */
  readonly #states: Uint8Array;
  #size = 0;
  #seen = 0;

  /** `count`: how many objects will be added at most. */
  constructor(count: number) {
    let capacity = 1024;
    while (capacity * 0.6 < count) capacity *= 2;
    this.#mask = capacity - 1;
    this.#slots = new Uint32Array(capacity * wordsPerSlot);
    this.#states = new Uint8Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  get seen(): number {
    return this.#seen;
  }

  add(kind: ObjectKind, anchor: string, contentHash: Buffer): void {
    if (this.#size >= this.#mask * 0.9)
      throw new Error(`Fingerprints were made for fewer than ${this.#size + 1} objects`);
    const key = keyDigest(kind, anchor);
    const slot = this.#find(key);
    if (this.#states[slot] === 0) this.#size += 1;
    this.#states[slot] = 1;
    writeDigest(this.#slots, slot * wordsPerSlot, key);
    writeDigest(this.#slots, slot * wordsPerSlot + 4, contentHash);
  }

  /** Compares and remembers that the object was seen in this read. */
  see(kind: ObjectKind, anchor: string, contentHash: Buffer): Comparison {
    const slot = this.#find(keyDigest(kind, anchor));
    const state = this.#states[slot];
    if (state === 0) return 'new';
    if (state === 1) {
      this.#states[slot] = 2;
      this.#seen += 1;
    }
    return equalsDigest(this.#slots, slot * wordsPerSlot + 4, contentHash) ? 'same' : 'changed';
  }

  wasSeen(kind: ObjectKind, anchor: string): boolean {
    return this.#states[this.#find(keyDigest(kind, anchor))] === 2;
  }

  #find(key: Buffer): number {
    let slot = key.readUInt32LE(0) & this.#mask;
    while (this.#states[slot] !== 0 && !equalsDigest(this.#slots, slot * wordsPerSlot, key))
      slot = (slot + 1) & this.#mask;
    return slot;
  }
}

function keyDigest(kind: ObjectKind, anchor: string): Buffer {
  return digestOf(`${kind}:${anchor}`);
}

function writeDigest(slots: Uint32Array, at: number, digest: Buffer): void {
  for (let word = 0; word < 4; word += 1) slots[at + word] = digest.readUInt32LE(word * 4);
}

function equalsDigest(slots: Uint32Array, at: number, digest: Buffer): boolean {
  for (let word = 0; word < 4; word += 1) if (slots[at + word] !== digest.readUInt32LE(word * 4)) return false;
  return true;
}

/** Order-free fingerprint of a set of anchors: two sums of independent 32-bit hashes, and the count. */
export class SetFingerprint {
  #low = 0;
  #high = 0;
  #count = 0;

  add(anchor: string): void {
    // two 32-bit FNV lanes (draft-eastlake-fnv: offset basis and prime), FNV-1a and FNV-1, so that they differ in every bit
    let a = 0x811c9dc5;
    let b = 0x811c9dc5;
    for (let index = 0; index < anchor.length; index += 1) {
      const code = anchor.charCodeAt(index);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b, 0x01000193) ^ code;
    }
    // FNV's high bits of short texts are weak: spread them before they are summed
    a = Math.imul(a ^ (a >>> 15), 0x01000193);
    b = Math.imul(b ^ (b >>> 13), 0x01000193);
    this.#low = (this.#low + a) >>> 0;
    this.#high = (this.#high + b) >>> 0;
    this.#count += 1;
  }

  get count(): number {
    return this.#count;
  }

  /** 12 bytes as hex. */
  get hex(): string {
    return [this.#low, this.#high, this.#count].map((word) => word.toString(16).padStart(8, '0')).join('');
  }
}
