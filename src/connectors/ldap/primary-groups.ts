/**
 * Active Directory's other way to be in a group: the user's `primaryGroupID` is the last part of the group's SID
 * (MS-ADTS section 3.1.1.1.8), and neither `member` nor `memberOf` says so. Usually it is Domain Users, with everybody.
 */
import type { LdapEntry } from './entry.ts';
import { domainOfSid } from './values.ts';

const guidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const guidBytes = 16;
const initialGuids = 64;

export class PrimaryGroups {
  /** `domain:rid` -> its members. */
  readonly #members = new Map<string, AnchorList>();

  add(entry: LdapEntry, anchor: string): void {
    const rid = entry.int('primarygroupid');
    if (rid === null) return;
    const key = `${domainOf(entry.dn)}:${rid}`;
    let list = this.#members.get(key);
    if (list === undefined) {
      list = new AnchorList();
      this.#members.set(key, list);
    }
    list.push(anchor);
  }

  /** Those whose primary group this is. Built-in groups (S-1-5-32-...) are nobody's. */
  *membersOf(group: LdapEntry): Generator<string> {
    const sid = group.sid('objectsid');
    if (sid === null || domainOfSid(sid) === null) return;
    const rid = sid.slice(sid.lastIndexOf('-') + 1);
    yield* this.#members.get(`${domainOf(group.dn)}:${rid}`)?.values() ?? [];
  }
}

/** RIDs repeat from domain to domain, and a global catalog shows several: the domain is the DC part of the name. */
function domainOf(dn: string): string {
  const at = /,dc=/i.exec(dn)?.index;
  return at === undefined ? '' : dn.slice(at).toLowerCase();
}

/** Everybody of a domain is in one such list: 16 bytes each instead of a text. */
class AnchorList {
  #guids = Buffer.alloc(initialGuids * guidBytes);
  #count = 0;
  readonly #texts: string[] = [];

  push(anchor: string): void {
    if (!guidPattern.test(anchor)) {
      this.#texts.push(anchor);
      return;
    }
    const at = this.#count * guidBytes;
    if (at === this.#guids.length) this.#guids = Buffer.concat([this.#guids, Buffer.alloc(this.#guids.length)]);
    this.#guids.write(anchor.replaceAll('-', ''), at, guidBytes, 'hex');
    this.#count += 1;
  }

  *values(): Generator<string> {
    for (let index = 0; index < this.#count; index += 1) {
      const hex = this.#guids.toString('hex', index * guidBytes, (index + 1) * guidBytes);
      yield `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    }
    yield* this.#texts;
  }
}
