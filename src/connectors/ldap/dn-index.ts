/**
 * DN -> anchor for every entry of one read, so that members can be told by immutable id. Open addressing over typed
 * arrays: 96 bits of a keyed hash of the DN's key and 16 bytes of anchor, about 60 MB for a million entries where a Map
 * of texts takes several hundred. The hash is keyed per index, so nobody can prepare two names that meet.
 */
import { dnKey } from './dn.ts';
import { KeyedHash } from './keyed-hash.ts';

/** How the 16 bytes of a slot become an anchor again; 0 marks a free slot. */
const forms = { free: 0, uuid: 1, nsUniqueId: 2, text: 3 } as const;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const nsUniqueIdPattern = /^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$/;
const initialSlots = 1 << 10;
const maxLoad = 0.75;

export class DnIndex {
  readonly #hash = new KeyedHash();
  #mask = initialSlots - 1;
  /** Three words of hash per slot. */
  #hashes = new Uint32Array(initialSlots * 3);
  #anchors = Buffer.alloc(initialSlots * 16);
  #forms = new Uint8Array(initialSlots);
  /** Anchors that are neither UUID nor nsUniqueId; the slot holds their index. */
  readonly #texts: string[] = [];
  #size = 0;
  /** One bit per slot: taken since `beginGroup`. Made by the first group, when the index does not grow any more. */
  #taken = new Uint8Array(0);

  get size(): number {
    return this.#size;
  }

  /** Bytes of the tables, for the memory test. */
  get byteLength(): number {
    return this.#hashes.byteLength + this.#anchors.byteLength + this.#forms.byteLength;
  }

  set(dn: string, anchor: string): void {
    if (this.#size >= maxLoad * (this.#mask + 1)) this.#grow();
    this.#hash.digest(dnKey(dn));
    const { a, b, c } = this.#hash;
    const slot = this.#slotOf(a, b, c);
    if (this.#forms[slot] === forms.free) this.#size += 1;
    this.#writeHash(slot, a, b, c);
    this.#writeAnchor(slot, anchor);
  }

  get(dn: string): string | null {
    this.#hash.digest(dnKey(dn));
    return this.#readAnchor(this.#slotOf(this.#hash.a, this.#hash.b, this.#hash.c));
  }

  beginGroup(): void {
    const bytes = (this.#mask + 1) / 8;
    if (this.#taken.length === bytes) this.#taken.fill(0);
    else this.#taken = new Uint8Array(bytes);
  }

  /**
   * The anchor of a member, once per group however often and under whatever spelling it stands there: undefined after
   * that; null when nobody has the name.
   */
  take(dn: string): string | null | undefined {
    this.#hash.digest(dnKey(dn));
    const slot = this.#slotOf(this.#hash.a, this.#hash.b, this.#hash.c);
    if (this.#forms[slot] === forms.free) return null;
    const [byte, bit] = [slot >> 3, 1 << (slot & 7)];
    const before = this.#taken[byte] ?? 0;
    if ((before & bit) !== 0) return undefined;
    this.#taken[byte] = before | bit;
    return this.#readAnchor(slot);
  }

  #writeHash(slot: number, a: number, b: number, c: number): void {
    const at = slot * 3;
    this.#hashes[at] = a;
    this.#hashes[at + 1] = b;
    this.#hashes[at + 2] = c;
  }

  /** The slot of this hash, or the free one where it belongs. */
  #slotOf(a: number, b: number, c: number): number {
    for (let slot = a & this.#mask; ; slot = (slot + 1) & this.#mask) {
      if (this.#forms[slot] === forms.free) return slot;
      const at = slot * 3;
      if (this.#hashes[at] === a && this.#hashes[at + 1] === b && this.#hashes[at + 2] === c) return slot;
    }
  }

  #writeAnchor(slot: number, anchor: string): void {
    const at = slot * 16;
    const isUuid = uuidPattern.test(anchor);
    if (isUuid || nsUniqueIdPattern.test(anchor)) {
      writeHex(this.#anchors, at, anchor);
      this.#forms[slot] = isUuid ? forms.uuid : forms.nsUniqueId;
    } else {
      this.#anchors.writeUInt32LE(this.#texts.push(anchor) - 1, at);
      this.#forms[slot] = forms.text;
    }
  }

  #readAnchor(slot: number): string | null {
    const form = this.#forms[slot];
    const at = slot * 16;
    if (form === forms.free) return null;
    if (form === forms.text) return this.#texts[this.#anchors.readUInt32LE(at)] ?? null;
    return hexText(this.#anchors, at, form === forms.uuid ? uuidDashes : nsUniqueIdDashes);
  }

  #grow(): void {
    const [hashes, anchors, usedForms] = [this.#hashes, this.#anchors, this.#forms];
    const slots = (this.#mask + 1) * 2;
    this.#mask = slots - 1;
    this.#hashes = new Uint32Array(slots * 3);
    this.#anchors = Buffer.alloc(slots * 16);
    this.#forms = new Uint8Array(slots);
    for (let old = 0; old < usedForms.length; old += 1) {
      const form = usedForms[old] ?? forms.free;
      if (form === forms.free) continue;
      const [a, b, c] = [hashes[old * 3] ?? 0, hashes[old * 3 + 1] ?? 0, hashes[old * 3 + 2] ?? 0];
      const slot = this.#slotOf(a, b, c);
      this.#writeHash(slot, a, b, c);
      anchors.copy(this.#anchors, slot * 16, old * 16, old * 16 + 16);
      this.#forms[slot] = form;
    }
  }
}

/** Bytes before which a dash stands. */
const uuidDashes = 0b0000_0101_0101_0000;
const nsUniqueIdDashes = 0b0001_0001_0001_0000;
const digits = Buffer.from('0123456789abcdef');
const text = Buffer.alloc(36);

/** In one piece: a text put together from parts takes six times the memory of its characters. */
function hexText(bytes: Buffer, at: number, dashes: number): string {
  let end = 0;
  for (let index = 0; index < 16; index += 1) {
    if (((dashes >> index) & 1) !== 0) {
      text[end] = 0x2d;
      end += 1;
    }
    const byte = bytes[at + index] ?? 0;
    text[end] = digits[byte >> 4] ?? 0;
    text[end + 1] = digits[byte & 0xf] ?? 0;
    end += 2;
  }
  return text.toString('latin1', 0, end);
}

/** Hexadecimal digits in lower case, with dashes anywhere. */
function writeHex(bytes: Buffer, at: number, hex: string): void {
  let [to, high] = [at, -1];
  for (let index = 0; index < hex.length; index += 1) {
    const code = hex.charCodeAt(index);
    if (code === 0x2d) continue;
    const digit = code <= 0x39 ? code - 0x30 : code - 0x57;
    if (high === -1) {
      high = digit;
      continue;
    }
    bytes[to] = (high << 4) | digit;
    to += 1;
    high = -1;
  }
}
