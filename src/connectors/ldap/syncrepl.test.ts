/** syncrepl against a scripted server: answers that mislead, that never end, or that OpenLDAP gives only now and then. */
import { BerWriter } from 'ldapts';
import { afterEach, describe, expect, test } from 'vitest';
import { entryBytes, intermediateBytes, resultBytes, startFakeLdap } from '../../../test/servers/fake-ldap.ts';
import type { Answer, FakeLdap, SearchSeen } from '../../../test/servers/fake-ldap.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import type { Cursor, DirectoryEvent } from '../contract/contract.ts';
import { ldapConnector } from './ldap.ts';

const baseDn = 'dc=x';
const tree = '11111111-1111-4111-8111-111111111111';
const stateOid = '1.3.6.1.4.1.4203.1.9.1.2';
const doneOid = '1.3.6.1.4.1.4203.1.9.1.3';
const infoOid = '1.3.6.1.4.1.4203.1.9.1.4';
const connector = ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.1'] }), allowPlaintext: true });
const uuid = (number: number): string => `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
const bytesOf = (number: number): Buffer => Buffer.from(uuid(number).replaceAll('-', ''), 'hex');

let server: FakeLdap | undefined;
afterEach(() => server?.stop());

function sequence(body: (writer: BerWriter) => void, tag = 0x30, size = 1 << 12): Buffer {
  const writer = new BerWriter({ size });
  writer.startSequence(tag);
  body(writer);
  writer.endSequence();
  return Buffer.from(writer.buffer);
}

const done = (seen: SearchSeen, cookie: string | null, tellsDeletions = true, code = 0): Buffer => {
  const value = sequence((writer) => {
    if (cookie !== null) writer.writeString(cookie);
    writer.writeBoolean(tellsDeletions);
  });
  return resultBytes(seen.id, code, 'said the server', { oid: doneOid, value });
};

const changed = (seen: SearchSeen, number: number, state = 1): Buffer => {
  const value = sequence((writer) => {
    writer.writeEnumeration(state);
    writer.writeBuffer(bytesOf(number), 0x04);
  });
  return entryBytes(seen.id, `cn=u${number},dc=x`, { hasSubordinates: ['FALSE'] }, { oid: stateOid, value });
};

const idSet = (seen: SearchSeen, numbers: readonly number[], refreshDeletes: boolean): Buffer => {
  const ids = sequence(
    (writer) => numbers.forEach((number) => writer.writeBuffer(bytesOf(number), 0x04)),
    0x31,
    1 << 16,
  );
  const value = sequence(
    (writer) => {
      writer.writeBoolean(refreshDeletes);
      for (const byte of ids) writer.writeByte(byte);
    },
    0xa3,
    1 << 16,
  );
  return intermediateBytes(seen.id, infoOid, value);
};

type Feed = (seen: SearchSeen, answer: Answer) => void;

/** Users 1 and 2 are there; the feed is what the script says. */
function answerRest(seen: SearchSeen, answer: Answer): void {
  if (seen.base === '') {
    answer.entry('', {
      objectClass: ['OpenLDAProotDSE'],
      namingContexts: [baseDn],
      supportedControl: ['1.3.6.1.4.1.4203.1.9.1.1'],
    });
  } else if (seen.attributes.includes('hasSubordinates')) {
    const value = sequence((writer) => {
      writer.writeEnumeration(1);
      writer.writeBuffer(bytesOf(99), 0x04);
    });
    answer.raw(entryBytes(seen.id, baseDn, { entryUUID: [tree], hasSubordinates: ['TRUE'] }, { oid: stateOid, value }));
    answer.raw(done(seen, 'rid=000,csn=20260101000000.000000Z#000000#000#000000'));
    return;
  } else {
    for (const number of [1, 2]) answer.entry(`cn=u${number},dc=x`, { entryUUID: [uuid(number)], cn: [`u${number}`] });
  }
  answer.done(seen.page === null ? {} : { cookie: '' });
}

async function read(feed: Feed): Promise<DirectoryEvent[]> {
  server = await startFakeLdap({
    search: (seen, answer) =>
      seen.attributes.includes('createTimestamp') ? feed(seen, answer) : answerRest(seen, answer),
  });
  const settings = connector.settingsSchema.parse({
    host: '127.0.0.1',
    port: server.port,
    security: 'plain',
    bindDn: 'cn=svc,dc=x',
    baseDn,
    readGroups: false,
    increments: 'syncrepl',
    idleTimeoutSeconds: 1,
  });
  const secrets = { password: new Secret('x') };
  const request = { settings, secrets, attributes: [], signal: AbortSignal.timeout(9_000) };
  let cursor: Cursor | null = null;
  for await (const event of connector.read({ ...request, mode: 'full', cursor })) {
    if (event.type === 'complete') ({ cursor } = event);
  }
  const events: DirectoryEvent[] = [];
  for await (const event of connector.read({ ...request, mode: 'delta', cursor })) events.push(event);
  return events;
}

const cookieOf = (events: readonly DirectoryEvent[]): string => {
  const last = events.at(-1);
  const position = last?.type === 'complete' ? (last.cursor?.['position'] as { cookie: string }) : { cookie: '' };
  return Buffer.from(position.cookie, 'base64').toString();
};

describe('syncrepl', { timeout: 30_000 }, () => {
  test('what is deleted is absent, what is told as deleted but is there is read, and the cookie moves on', async () => {
    const events = await read((seen, answer) => {
      answer.raw(idSet(seen, [2, 7], true));
      answer.raw(changed(seen, 8, 3));
      answer.raw(changed(seen, 1));
      answer.raw(done(seen, 'next'));
    });
    expect(events.map((event) => ('anchor' in event ? `${event.type} ${event.anchor}` : event.type))).toEqual([
      'upsert',
      'upsert',
      `absent ${uuid(7)}`,
      `absent ${uuid(8)}`,
      'complete',
    ]);
    expect(cookieOf(events)).toBe('next');
  });

  test('without a cookie at the end the last one counts: of a message before, else the old one', async () => {
    const still = await read((seen, answer) => answer.raw(done(seen, null)));
    // all that an increment without a change asks: what the server is, which tree, what changed
    const asked = server?.searches.slice(-3).map(({ attributes }) => attributes.at(-1));
    expect(asked).toEqual(['currentTime', 'hasSubordinates', 'createTimestamp']);
    expect(cookieOf(still)).toMatch(/^rid=000,csn=2026/);
    await server?.stop();
    const moved = await read((seen, answer) => {
      const cookie = new BerWriter();
      cookie.writeBuffer(Buffer.from('between'), 0x80);
      answer.raw(intermediateBytes(seen.id, infoOid, cookie.buffer));
      answer.raw(done(seen, null));
    });
    expect(cookieOf(moved)).toBe('between');
  });

  test('present ids, or an end that tells of no deletions, make all ids be compared', async () => {
    const events = await read((seen, answer) => {
      answer.raw(idSet(seen, [1], false));
      answer.raw(changed(seen, 2, 0));
      answer.raw(intermediateBytes(seen.id, infoOid, Buffer.from('a200', 'hex')));
      answer.raw(done(seen, 'next', false));
    });
    expect([...new Set(events.map(({ type }) => type))]).toEqual(['sweep', 'complete']);
    expect(events.flatMap((event) => (event.type === 'sweep' ? event.anchors : []))).toEqual([uuid(1), uuid(2)]);
  });

  test.each([4_096, 53, 12, 4])('result %d to the stored cookie asks for a full read', async (code) => {
    const events = await read((seen, answer) => {
      answer.raw(changed(seen, 1));
      answer.raw(done(seen, 'next', true, code));
    });
    expect(events).toMatchObject([{ type: 'reset', reason: expect.stringContaining(`(${code})`) as string }]);
  });

  test('an entry that does not say whether anybody is below it asks for a full read', async () => {
    const events = await read((seen, answer) => {
      const value = sequence((writer) => {
        writer.writeEnumeration(1);
        writer.writeBuffer(bytesOf(1), 0x04);
      });
      answer.raw(entryBytes(seen.id, 'ou=hidden,dc=x', {}, { oid: stateOid, value }));
      answer.raw(done(seen, 'next'));
    });
    expect(events).toMatchObject([{ type: 'reset', reason: expect.stringContaining('ou=hidden') as string }]);
  });

  test.each([true, false])(
    'more changes than are worth it, deletions %s, are left to a full read',
    async (areDeleted) => {
      const events = await read((seen, answer) => {
        for (let from = 0; from < 1_200; from += 200) {
          const numbers = Array.from({ length: 200 }, (_, at) => 1_000 + from + at);
          if (areDeleted) answer.raw(idSet(seen, numbers, true));
          else answer.raw(Buffer.concat(numbers.map((number) => changed(seen, number))));
        }
        answer.raw(done(seen, 'next'));
      });
      expect(events).toMatchObject([{ type: 'reset', reason: expect.stringContaining('More than 1000') as string }]);
    },
  );

  test.each([true, false])(
    'ids without end, deletions %s, are left to a full read while they come',
    async (areDeleted) => {
      const events = await read((seen, answer) => {
        // the same ids again and again, until the client hangs up
        const many = idSet(
          seen,
          Array.from({ length: 2_000 }, () => 7),
          areDeleted,
        );
        const go = (): void => {
          while (!answer.socket.destroyed && answer.socket.write(many));
          if (!answer.socket.destroyed) answer.socket.once('drain', go);
        };
        go();
      });
      expect(events).toMatchObject([{ type: 'reset', reason: expect.stringContaining('more than 1000000') as string }]);
    },
  );

  test.each<[string, Feed, string]>([
    ['no control at the end', (_seen, answer) => answer.done(), 'directory_protocol'],
    ['an entry without its state', (_seen, answer) => answer.entry('cn=u1,dc=x', { cn: ['x'] }), 'directory_protocol'],
    [
      'another intermediate response',
      (seen, answer) => answer.raw(intermediateBytes(seen.id, '1.2.3', Buffer.alloc(0))),
      'directory_protocol',
    ],
    ['busy', (_seen, answer) => answer.done({ code: 51 }), 'directory_throttled'],
    ['a cut connection', (_seen, answer) => answer.socket.destroy(), 'directory_incomplete'],
    ['silence', () => undefined, 'directory_incomplete'],
  ])('%s fails the read: never complete, never a reset', async (_what, feed, code) => {
    await expect(read(feed)).rejects.toMatchObject({ code });
  });
});
