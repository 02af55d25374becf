/** The messages of RFC 4533: as slapd 2.5 sent them, as the RFC allows them, and as nobody may send them. */
import { BerWriter } from 'ldapts';
import { describe, expect, test } from 'vitest';
import { intermediateBytes } from '../../../test/servers/fake-ldap.ts';
import { seededRandom } from '../../../test/servers/ldif.ts';
import { isRollcallError } from '../../core/errors.ts';
import { readResult } from './results.ts';
import { countIds, eachId, readSyncDone, readSyncInfo, readSyncState } from './sync-messages.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const syncInfoOid = '1.3.6.1.4.1.4203.1.9.1.4';
const info = (value: Buffer): Buffer => intermediateBytes(2, syncInfoOid, value);
const id = 'ddcd9264-7aba-1041-8366-1babb6d2b536';
const bareId = `0410${id.replaceAll('-', '')}`;

/** Captured: one entry deleted since the cookie, told from the session log. */
const deletes = hex(`3081a102010279819b8018312e332e362e312e342e312e343230332e312e392e312e34817fa37d
  04647269643d3030302c63736e3d32303236313132323132323033362e3439333536345a2330303030303023303030233030303030302c
  64656c63736e3d32303236313132323132323033362e3538333232395a2330303030303023303030233030303030300101ff3112${bareId}`);
/** Captured: the entry of a changed user, whose state is "add" in a refresh. */
const added = hex(
  `3081fb0201026481be04227569643d70312c6f753d70656f706c652c64633d6578616d706c652c64633d6f7267308197
  301e040b6f626a656374436c617373310f040d696e65744f7267506572736f6e30330409656e7472795555494431260424646463643931
  61362d376162612d313034312d383336352d31626162623664326235333630240f`.replace('30240f', '3024040f') +
    `63726561746554696d657374616d703111040f32303236313132323132323033365a301a040f6861735375626f7264696e617465733107
  040546414c5345a03530330418312e332e362e312e342e312e343230332e312e392e312e32041730150a01010410ddcd91a67aba104183651babb6d2b536`,
);

describe('sync messages', () => {
  test('ids that slapd tells as deleted, with the cookie so far', () => {
    const found = readSyncInfo(deletes);
    if (found.kind !== 'idSet') throw new Error(found.kind);
    expect([...eachId(found.ids)]).toEqual([id]);
    expect(found.refreshDeletes).toBe(true);
    expect(found.cookie?.toString()).toMatch(/^rid=000,csn=20261122122036\.493564Z#000000#000#000000,delcsn=/);
  });

  test('ids that are present: refreshDeletes left out means false', () => {
    const found = readSyncInfo(info(hex(`a3263124${bareId}${bareId}`)));
    expect(found).toMatchObject({ kind: 'idSet', refreshDeletes: false, cookie: null });
    expect(found.kind === 'idSet' && countIds(found.ids)).toBe(2);
  });

  test('the end of the two phases, and a cookie alone', () => {
    expect(readSyncInfo(info(hex('a200')))).toEqual({ kind: 'refreshPresent', cookie: null, refreshDone: true });
    expect(readSyncInfo(info(hex('a203010100')))).toEqual({ kind: 'refreshPresent', cookie: null, refreshDone: false });
    expect(readSyncInfo(info(hex('a1040402abcd')))).toEqual({
      kind: 'refreshDelete',
      cookie: hex('abcd'),
      refreshDone: true,
    });
    expect(readSyncInfo(info(hex('8002abcd')))).toEqual({ kind: 'newCookie', cookie: hex('abcd') });
  });

  test('the state of an entry, from the control beside it', () => {
    expect(readSyncState(added)).toEqual({ state: 'add', id: 'ddcd91a6-7aba-1041-8365-1babb6d2b536' });
  });

  test('the end: with a cookie, without one, with an empty one as slapd answers garbage', () => {
    const end = (value: string) =>
      readSyncDone({ ...readResult(hex('300c02010265070a010004000400')), controls: new Map([[doneOid, hex(value)]]) });
    const doneOid = '1.3.6.1.4.1.4203.1.9.1.3';
    expect(end('30030101ff')).toEqual({ cookie: null, refreshDeletes: true });
    expect(end('30040402abcd')).toEqual({ cookie: hex('abcd'), refreshDeletes: false });
    expect(end('300504000101ff')).toEqual({ cookie: Buffer.alloc(0), refreshDeletes: true });
  });

  test.each([
    ['an id of 15 bytes', 'a3133111040f000102030405060708090a0b0c0d0e'],
    ['no ids', 'a30404 02abcd'],
    ['an unknown kind of information', 'a400'],
    ['something behind the information', 'a2000400'],
    ['something behind the ids', `a3163112${bareId}0500`],
    ['a length beyond the message', 'a2847fffffff'],
    ['an indefinite length', 'a2800000'],
    ['a boolean of two bytes', 'a20401020000'],
    ['nothing', ''],
  ])('%s is refused', (_what, value) => {
    expect(() => readSyncInfo(info(hex(value)))).toThrow(expect.objectContaining({ code: 'directory_protocol' }));
  });

  test('another intermediate response, an entry without its state, an unknown state, a huge cookie are refused', () => {
    const writer = new BerWriter({ size: 1 << 18 });
    writer.writeBuffer(Buffer.alloc(70_000), 0x80);
    const state = added.indexOf(hex('0a0101'));
    const unknown = Buffer.from(added);
    unknown[state + 2] = 9;
    const bare = Buffer.from(added);
    bare[added.lastIndexOf(hex('2e32')) + 1] = 0x39;
    for (const read of [
      () => readSyncInfo(intermediateBytes(2, '1.2.3', hex('a200'))),
      () => readSyncInfo(info(writer.buffer)),
      () => readSyncState(unknown),
      () => readSyncState(bare),
    ]) {
      expect(read).toThrow(expect.objectContaining({ code: 'directory_protocol' }));
    }
  });

  test('whatever bytes are broken or missing: an answer or a refusal, nothing else', () => {
    const random = seededRandom(4_533);
    const readers = [readSyncInfo, readSyncState] as const;
    for (let round = 0; round < 4_000; round += 1) {
      const reader = readers[round % 2] ?? readSyncInfo;
      const bytes = Buffer.from(round % 2 === 0 ? deletes : added);
      for (let each = 0; each <= round % 3; each += 1) {
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      }
      const cut = round % 5 === 0 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
      try {
        reader(cut);
      } catch (error) {
        if (!isRollcallError(error, 'directory_protocol')) throw error;
      }
    }
  });
});
