/** Request controls beside paging. */
import { BerWriter, Control } from 'ldapts';

const octetString = 0x04;

export const controlOids = {
  paged: '1.2.840.113556.1.4.319',
  extendedDn: '1.2.840.113556.1.4.529',
  showDeleted: '1.2.840.113556.1.4.417',
  dirSync: '1.2.840.113556.1.4.841',
  /** RFC 4533 section 2. */
  syncRequest: '1.3.6.1.4.1.4203.1.9.1.1',
  syncState: '1.3.6.1.4.1.4203.1.9.1.2',
  syncDone: '1.3.6.1.4.1.4203.1.9.1.3',
} as const;

/** Any control whose value is known as bytes. */
export class ValueControl extends Control {
  readonly #value: Buffer | null;

  constructor(oid: string, value: Buffer | null, critical: boolean) {
    super(oid, { critical });
    this.#value = value;
  }

  override writeControl(writer: BerWriter): void {
    if (this.#value !== null) writer.writeBuffer(this.#value, octetString);
  }
}

/** MS-ADTS section 3.1.1.3.4.1.5: DNs come as `<GUID=...>;<SID=...>;CN=...`; 1 asks for the dashed text form. */
export function extendedDnControl(): Control {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(1);
  writer.endSequence();
  return new ValueControl(controlOids.extendedDn, writer.buffer, true);
}
