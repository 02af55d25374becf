/** Values as directories store them: GUIDs, SIDs, FILETIME, generalized time, flags. Pure; `null` where the bytes do not fit. */

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Byte order of an AD GUID's text form: the first three fields are little-endian (MS-DTYP section 2.3.4). */
const guidOrder = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
const dashBefore = new Set([4, 6, 8, 10]);

/** 16 bytes -> `xxxxxxxx-xxxx-...`, lower case. */
export function guidText(bytes: Buffer): string | null {
  if (bytes.length !== 16) return null;
  let text = '';
  for (let index = 0; index < 16; index += 1) {
    if (dashBefore.has(index)) text += '-';
    text += hexPairs[bytes[guidOrder[index] ?? 0] ?? 0];
  }
  return text;
}

const guidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The inverse of `guidText`. */
export function guidBytes(text: string): Buffer | null {
  if (!guidPattern.test(text)) return null;
  const inOrder = Buffer.from(text.replaceAll('-', ''), 'hex');
  const bytes = Buffer.alloc(16);
  for (const [index, at] of guidOrder.entries()) bytes[at] = inOrder[index] ?? 0;
  return bytes;
}

/** MS-DTYP section 2.4.2.2: revision, count, 48-bit authority (big-endian), 32-bit sub-authorities (little-endian). */
export function sidText(bytes: Buffer): string | null {
  if (bytes.length < 8) return null;
  const count = bytes.readUInt8(1);
  if (bytes.length !== 8 + 4 * count) return null;
  const parts = Array.from({ length: count }, (_, index) => bytes.readUInt32LE(8 + 4 * index));
  return ['S', bytes.readUInt8(0), bytes.readUIntBE(2, 6), ...parts].join('-');
}

const filetimeEpochMs = -11_644_473_600_000n; // 1601-01-01
const filetimeNever = 9_223_372_036_854_775_807n;

/** 100-ns ticks since 1601 as decimal text; null for 0 and for the largest value, which both mean "never". */
export function filetimeDate(text: string): Date | null {
  if (!/^\d{1,19}$/.test(text)) return null;
  const ticks = BigInt(text);
  if (ticks === 0n || ticks >= filetimeNever) return null;
  const date = new Date(Number(ticks / 10_000n + filetimeEpochMs));
  return Number.isNaN(date.getTime()) ? null : date;
}

const generalizedTime = /^(\d{4})(\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)?)?(?:[.,](\d+))?(Z|[+-]\d\d(?:\d\d)?)$/;

/** RFC 4517 section 3.3.13. A fraction counts of the smallest unit given. */
export function generalizedDate(text: string): Date | null {
  const match = generalizedTime.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction, zone = 'Z'] = match;
  const start = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute ?? 0),
    Number(second ?? 0),
  );
  const unitMs = second !== undefined ? 1_000 : minute !== undefined ? 60_000 : 3_600_000;
  const fractionMs = fraction === undefined ? 0 : Math.floor(Number(`0.${fraction}`) * unitMs);
  const date = new Date(start + fractionMs - zoneOffsetMs(zone));
  const isReal = Number(month) >= 1 && Number(month) <= 12 && new Date(start).getUTCDate() === Number(day);
  return isReal && !Number.isNaN(date.getTime()) ? date : null;
}

function zoneOffsetMs(zone: string): number {
  if (zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3, 5) || 0);
  return (zone.startsWith('-') ? -1 : 1) * minutes * 60_000;
}

/** LDAP booleans are TRUE and FALSE (RFC 4517 section 3.3.3); servers also store `true`. */
export function booleanValue(text: string): boolean | null {
  const upper = text.toUpperCase();
  return upper === 'TRUE' ? true : upper === 'FALSE' ? false : null;
}

/** Whole numbers that fit a double exactly; larger ones stay text. */
export function integerValue(text: string): number | null {
  if (!/^-?\d{1,16}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

/** The domain's part of a user's or group's SID; null for well-known and built-in ones, which belong to no domain. */
export function domainOfSid(sid: string): string | null {
  return /^(S-1-5-21(?:-\d+){3})-\d+$/.exec(sid)?.[1] ?? null;
}

/** The inverse of `sidText`. */
export function sidBytes(text: string): Buffer | null {
  if (!/^S-\d+-\d+(?:-\d+){1,15}$/.test(text)) return null;
  const [revision = 0, authority = 0, ...parts] = text.slice(2).split('-').map(Number);
  if (revision > 0xff || authority > 0xffff_ffff_ffff || parts.some((part) => part > 0xffff_ffff)) return null;
  const bytes = Buffer.alloc(8 + 4 * parts.length);
  bytes.writeUInt8(revision, 0);
  bytes.writeUInt8(parts.length, 1);
  bytes.writeUIntBE(authority, 2, 6);
  for (const [index, part] of parts.entries()) bytes.writeUInt32LE(part, 8 + 4 * index);
  return bytes;
}
