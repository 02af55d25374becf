/**
 * A small directory that looks like Active Directory and breaks in any place one asks for: what a real server does not
 * do on demand. It pages, cuts unpaged answers after 1,000 entries, answers members in ranges and names its cookies, so
 * that a wrong one is noticed. Faults happen by message or by byte of its answers.
 */
import type { Socket } from 'node:net';
import { BerReader } from 'ldapts';
import { resultBytes, startFakeLdap } from './fake-ldap.ts';
import type { Answer, Attributes, FakeLdap, SearchSeen } from './fake-ldap.ts';

export type HostilePlan = {
  readonly users: number;
  readonly groups: number;
  readonly membersPerGroup: number;
  /** Members in one answer; more come in ranges. */
  readonly range: number;
};

/** What becomes of the answers after the connection was made. */
export type Fault =
  | { readonly kind: 'none' }
  | { readonly kind: 'cut' | 'reset' | 'half_close' | 'stall'; readonly afterBytes: number }
  /** The message of this number is replaced; what follows is sent as usual. */
  | { readonly kind: 'replace'; readonly message: number; readonly by: (original: Buffer, id: number) => Buffer };

export const unpagedCap = 1_000;
export const baseDn = 'DC=hostile,DC=test';
const activeDirectory = '1.2.840.113556.1.4.800';
const pagedOid = '1.2.840.113556.1.4.319';

export type HostileLdap = FakeLdap & {
  /** Bytes of each message that was sent, over all connections. */
  readonly sizes: number[];
};

export async function startHostileLdap(plan: HostilePlan, fault: Fault): Promise<HostileLdap> {
  const sizes: number[] = [];
  const wire = breakingWire(fault, sizes);
  const fake = await startFakeLdap({ search: (seen, answer) => answerSearch(plan, seen, answer), wire });
  return Object.assign(fake, { sizes });
}

function breakingWire(fault: Fault, sizes: number[]): (message: Buffer, socket: Socket) => void {
  let sent = 0;
  let isOver = false;
  return (message, socket) => {
    const number = sizes.length;
    sizes.push(message.length);
    if (isOver || socket.destroyed) return;
    if (fault.kind === 'none') {
      socket.write(message);
    } else if (fault.kind === 'replace') {
      socket.write(number === fault.message ? fault.by(message, idOf(message)) : message);
    } else {
      const part = message.subarray(0, Math.max(0, fault.afterBytes - sent));
      sent += message.length;
      if (part.length > 0) socket.write(part);
      if (sent <= fault.afterBytes) return;
      isOver = true;
      breakOff(fault.kind, socket);
    }
  };
}

function breakOff(kind: 'cut' | 'reset' | 'half_close' | 'stall', socket: Socket): void {
  if (kind === 'cut') socket.destroySoon();
  else if (kind === 'half_close') socket.end();
  // A reset overtakes what was written: it is sent once that has left.
  else if (kind === 'reset') socket.end(() => socket.resetAndDestroy());
}

function idOf(message: Buffer): number {
  const reader = new BerReader(message);
  reader.readSequence();
  return reader.readInt() ?? 0;
}

/** Ready-made replacements; each stands for a server that is at its limit, or no longer itself. */
export const replacements = {
  sizeLimitExceeded: (_original: Buffer, id: number) => resultBytes(id, 4, 'enough'),
  adminLimitExceeded: (_original: Buffer, id: number) => resultBytes(id, 11, 'enough'),
  timeLimitExceeded: (_original: Buffer, id: number) => resultBytes(id, 3, 'enough'),
  busy: (_original: Buffer, id: number) => resultBytes(id, 51, 'later'),
  unwillingToPerform: (_original: Buffer, id: number) => resultBytes(id, 53, 'no'),
  successTooEarly: (_original: Buffer, id: number) => resultBytes(id, 0, ''),
  anotherId: (_original: Buffer, id: number) => resultBytes(id + 100, 0, ''),
  garbage: () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
  tagsOnly: (original: Buffer) => Buffer.concat([original.subarray(0, 2), Buffer.alloc(original.length - 2, 0x30)]),
  indefiniteLength: () => Buffer.from([0x30, 0x80, 0x00, 0x00]),
  hugeLength: () => Buffer.from([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]),
  twice: (original: Buffer) => Buffer.concat([original, original]),
} satisfies Record<string, (original: Buffer, id: number) => Buffer>;

// ---------------------------------------------------------------- the directory

/** The anchor of a user. */
export function hostileAnchor(number: number): string {
  return dashed(guidOf(1, number));
}

/** Dashed GUID in AD's byte order: number in the last six bytes, kind in the byte before. */
function guidOf(kind: number, number: number): Buffer {
  const guid = Buffer.alloc(16);
  guid.writeUInt8(kind, 8);
  guid.writeUIntBE(number, 10, 6);
  return guid;
}

function dashed(guid: Buffer): string {
  const hex = guid.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function answerSearch(plan: HostilePlan, seen: SearchSeen, answer: Answer): void {
  if (seen.base === '') answerRoot(answer);
  else if (seen.attributes.includes('1.1')) {
    answer.entry(seen.base, {});
    answer.done();
  } else if (seen.attributes.some((name) => name.startsWith('member'))) answerGroups(plan, seen, answer);
  else answerPage(plan.users, seen, answer, (number) => sendUser(number, answer));
}

function answerRoot(answer: Answer): void {
  answer.entry('', {
    supportedCapabilities: [activeDirectory],
    supportedControl: [pagedOid],
    defaultNamingContext: [baseDn],
    namingContexts: [baseDn],
  });
  answer.done();
}

function answerPage(count: number, seen: SearchSeen, answer: Answer, send: (number: number) => void): void {
  const { page } = seen;
  if (page === null) {
    for (let number = 0; number < Math.min(count, unpagedCap); number += 1) send(number);
    answer.done(count > unpagedCap ? { code: 4, message: 'MaxPageSize' } : {});
    return;
  }
  const start = page.cookie === '' ? 0 : Number(/^at-(\d+)$/.exec(page.cookie)?.[1] ?? Number.NaN);
  if (!Number.isSafeInteger(start)) {
    answer.done({ code: 53, message: '00000057: the cookie is not valid' });
    return;
  }
  const end = Math.min(count, start + Math.min(page.size, unpagedCap));
  for (let number = start; number < end; number += 1) send(number);
  answer.done({ cookie: end < count ? `at-${end}` : '' });
}

function sendUser(number: number, answer: Answer): void {
  answer.entry(`CN=User ${number},${baseDn}`, {
    objectGUID: [guidOf(1, number)],
    cn: [`User ${number}`],
    displayName: [`User ${number}`],
    mail: [`user${number}@hostile.test`],
    userAccountControl: ['512'],
  });
}

function answerGroups(plan: HostilePlan, seen: SearchSeen, answer: Answer): void {
  const byId = /^<GUID=([0-9a-f-]+)>/i.exec(seen.base)?.[1];
  if (byId === undefined) {
    answerPage(plan.groups, seen, answer, (number) => sendGroup(plan, number, 0, answer));
    return;
  }
  const from = Number(/;range=(\d+)-/.exec(seen.attributes.join())?.[1] ?? 0);
  sendGroup(plan, Number.parseInt(byId.slice(24), 16), from, answer);
  answer.done();
}

function sendGroup(plan: HostilePlan, number: number, from: number, answer: Answer): void {
  const guid = guidOf(2, number);
  const end = Math.min(plan.membersPerGroup, from + plan.range);
  const members = Array.from({ length: end - from }, (_, index) => {
    const member = (from + index) % plan.users;
    return `<GUID=${dashed(guidOf(1, member))}>;CN=User ${member},${baseDn}`;
  });
  const isAll = from === 0 && end === plan.membersPerGroup;
  const name = isAll ? 'member' : `member;range=${from}-${end === plan.membersPerGroup ? '*' : end - 1}`;
  answer.entry(`<GUID=${dashed(guid)}>;CN=Group ${number},${baseDn}`, {
    objectGUID: [guid],
    cn: [`Group ${number}`],
    ...(isAll ? {} : { member: [] }),
    [name]: members,
  });
}

// ---------------------------------------------------------------- floods

const floodBytes = 15_000_000;

function userWith(number: number, more: Attributes): Attributes {
  return { objectGUID: [guidOf(1, number)], cn: [`User ${number}`], userAccountControl: ['512'], ...more };
}

/** Tag, length of four bytes, content. */
function element(tag: number, content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const head = Buffer.from([tag, 0x84, 0, 0, 0, 0]);
  head.writeUInt32BE(content.length, 2);
  return Buffer.concat([head, content]);
}

/** What becomes of the read: a flood that ends for another reason proves nothing. */
export const floodOutcomes: Readonly<Record<keyof typeof floods, string>> = {
  endlessPage: 'enough',
  oneHugeValue: 'complete',
  veryManyValues: 'The directory sent an entry that can not be decoded.',
  veryManyAttributes: 'The directory sent an entry that can not be decoded.',
  announcedGigabytes: 'The directory announced a message of 2147483653 bytes.',
  hugeCookies: 'The directory sent a message that can not be decoded.',
  hugeErrorText: 'The server reported an internal error (while reading users).',
  endlessReferences: 'complete',
};

/** Servers that send more than anybody could keep; each begins like a directory. */
export const floods = {
  /** One page that never ends; waits for the reader, as TCP does. */
  endlessPage: (_seen, answer) => {
    let number = 0;
    const more = (): void => {
      while (!answer.socket.destroyed) {
        number += 1;
        answer.entry(`CN=User ${number},${baseDn}`, userWith(number, { mail: ['m'.repeat(500)] }));
        if (answer.socket.writableNeedDrain) break;
      }
      answer.socket.once('drain', more);
    };
    more();
  },
  oneHugeValue: (_seen, answer) => {
    answer.entry(`CN=User,${baseDn}`, userWith(1, { mail: ['m'.repeat(floodBytes)] }));
    answer.done({ cookie: '' });
  },
  veryManyValues: (seen, answer) => {
    // by hand: five million small buffers would take the server longer than the reader waits
    const values = Buffer.alloc(floodBytes, element(0x04, Buffer.from('m')));
    const attribute = element(0x30, Buffer.concat([element(0x04, Buffer.from('mail')), element(0x31, values)]));
    const entry = Buffer.concat([element(0x04, Buffer.from(`CN=User,${baseDn}`)), element(0x30, attribute)]);
    answer.raw(element(0x30, Buffer.concat([element(0x02, Buffer.from([seen.id])), element(0x64, entry)])));
    answer.done({ cookie: '' });
  },
  veryManyAttributes: (_seen, answer) => {
    const many = Array.from({ length: 400_000 }, (_, index) => [`attribute-${index}`, ['x']] as const);
    answer.entry(`CN=User,${baseDn}`, userWith(1, Object.fromEntries(many)));
    answer.done({ cookie: '' });
  },
  /** The header of a message of 2 GB, and then bytes without end. */
  announcedGigabytes: (_seen, answer) => {
    answer.raw(Buffer.from([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]));
    answer.raw(Buffer.alloc(floodBytes));
  },
  hugeCookies: (seen, answer) => {
    answer.entry(`CN=User ${seen.ordinal},${baseDn}`, userWith(seen.ordinal, {}));
    answer.done({ cookie: seen.ordinal < 100 ? `${seen.ordinal}`.padStart(2_000_000, 'c') : '' });
  },
  hugeErrorText: (_seen, answer) => answer.done({ code: 80, message: 'e'.repeat(floodBytes) }),
  endlessReferences: (_seen, answer) => {
    for (let number = 0; number < 200_000; number += 1) answer.reference(`ldap://other.test/${number}`);
    answer.done({ cookie: '' });
  },
} satisfies Record<string, (seen: SearchSeen, answer: Answer) => void>;

export function startFloodingLdap(flood: keyof typeof floods): Promise<FakeLdap> {
  return startFakeLdap({
    search: (seen, answer) => {
      if (seen.base === '') answerRoot(answer);
      else floods[flood](seen, answer);
    },
  });
}
