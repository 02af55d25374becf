/** DirSync against a scripted server: what Windows does and Samba does not (several rounds), and answers that mislead. */
import { afterEach, describe, expect, test } from 'vitest';
import { entryBytes, startFakeLdap } from '../../../test/servers/fake-ldap.ts';
import type { Answer, FakeLdap, SearchSeen } from '../../../test/servers/fake-ldap.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import { ldapConnector } from './ldap.ts';
import { guidBytes } from './values.ts';

const baseDn = 'DC=x';
const invocation = '11111111-1111-4111-8111-111111111111';
const guid = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
const bytesOf = (text: string): Buffer => guidBytes(text) ?? Buffer.alloc(16);
const connector = ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.1'] }), allowPlaintext: true });

let server: FakeLdap | undefined;
afterEach(() => server?.stop());

type Rounds = (seen: SearchSeen, answer: Answer) => void;

/** Everything but DirSync: root DSE, the server's identity, every user that is looked up by GUID. */
function answerRest(seen: SearchSeen, answer: Answer): void {
  if (seen.base === '') {
    answer.entry('', {
      supportedCapabilities: ['1.2.840.113556.1.4.800'],
      defaultNamingContext: [baseDn],
      namingContexts: [baseDn],
      dsServiceName: ['CN=NTDS Settings,DC=x'],
      highestCommittedUSN: ['10'],
    });
  } else if (seen.attributes.includes('invocationId')) answer.entry(seen.base, { invocationId: [bytesOf(invocation)] });
  else if (seen.attributes.includes('isDeleted')) answer.entry(seen.base, { isDeleted: ['TRUE'] });
  else if (seen.attributes.includes('userAccountControl')) {
    for (const number of [1, 2, 3]) {
      answer.entry(`CN=u${number},DC=x`, { objectGUID: [bytesOf(guid(number))], cn: [`u${number}`] });
    }
  }
  answer.done(seen.page === null ? {} : { cookie: '' });
}

async function read(rounds: Rounds, mode: 'full' | 'delta' = 'delta'): Promise<DirectoryEvent[]> {
  server = await startFakeLdap({
    search: (seen, answer) => (seen.dirSync === null ? answerRest(seen, answer) : rounds(seen, answer)),
  });
  const settings = connector.settingsSchema.parse({
    host: '127.0.0.1',
    port: server.port,
    security: 'plain',
    bindDn: 'svc@x',
    baseDn,
    readGroups: false,
    increments: 'dirsync',
    idleTimeoutSeconds: 1,
  });
  const request = {
    settings,
    secrets: { password: new Secret('x') },
    attributes: [],
    signal: AbortSignal.timeout(9_000),
  };
  const events: DirectoryEvent[] = [];
  const full = mode === 'full' ? null : await positionOf(request);
  for await (const event of connector.read({ ...request, mode, cursor: full })) events.push(event);
  return events;
}

/** A cursor of the same query: that of a full read whose position is replaced. */
async function positionOf(request: Omit<Parameters<typeof connector.read>[0], 'mode' | 'cursor'>) {
  for await (const event of connector.read({ ...request, mode: 'full', cursor: null })) {
    if (event.type !== 'complete' || event.cursor === null) continue;
    return { ...event.cursor, position: { by: 'dirsync', cookie: Buffer.from('from').toString('base64') } };
  }
  throw new Error('no cursor');
}

const isForUsers = (seen: SearchSeen): boolean => seen.attributes.includes('userAccountControl');
const changed = (answer: Answer, number: number): void => {
  answer.entry(`CN=u${number},DC=x`, { objectGUID: [bytesOf(guid(number))], instanceType: ['4'] });
};
/** The server's own searches end at once; those for users as the script says. */
const script =
  (users: Rounds): Rounds =>
  (seen, answer) => {
    if (isForUsers(seen)) users(seen, answer);
    else answer.done({ dirSync: { hasMore: false, cookie: 'end' } });
  };
const names = (events: readonly DirectoryEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'upsert' ? [event.object.name] : []));

describe('DirSync', { timeout: 30_000 }, () => {
  test('goes on round by round until the server has no more, and begins the next read where the first search ended', async () => {
    const cookies: string[] = [];
    const events = await read(
      script((seen, answer) => {
        cookies.push(seen.dirSync ?? '');
        changed(answer, cookies.length);
        answer.done({ dirSync: { hasMore: cookies.length < 3, cookie: `round-${cookies.length}` } });
      }),
    );
    expect(cookies).toEqual(['from', 'round-1', 'round-2']);
    expect(names(events)).toEqual(['u1', 'u2', 'u3']);
    expect(events.at(-1)).toMatchObject({
      type: 'complete',
      mode: 'delta',
      cursor: { position: { by: 'dirsync', cookie: Buffer.from('end').toString('base64') } },
    });
  });

  test('a round without changes is no end while the server has more', async () => {
    let round = 0;
    const events = await read(
      script((_seen, answer) => {
        round += 1;
        if (round === 3) changed(answer, 2);
        answer.done({ dirSync: { hasMore: round < 3, cookie: `round-${round}` } });
      }),
    );
    expect(names(events)).toEqual(['u2']);
  });

  test.each<[string, (answer: Answer) => void, string]>([
    ['no control in the answer', (answer) => answer.done(), 'directory_protocol'],
    ['an empty cookie', (answer) => answer.done({ dirSync: { hasMore: false, cookie: '' } }), 'directory_protocol'],
    [
      'more, with the same cookie',
      (answer) => answer.done({ dirSync: { hasMore: true, cookie: 'from' } }),
      'directory_protocol',
    ],
    ['busy', (answer) => answer.done({ code: 51 }), 'directory_throttled'],
    ['a size limit', (answer) => answer.done({ code: 4 }), 'directory_incomplete'],
    ['a cut connection', (answer) => answer.socket.destroy(), 'directory_incomplete'],
    ['silence', () => undefined, 'directory_incomplete'],
    ['a change of nobody', (answer) => answer.entry('CN=?,DC=x', { cn: ['?'] }), 'directory_protocol'],
  ])('%s fails the read: never complete, never a reset', async (_what, say, code) => {
    const attempt = read(script((_seen, answer) => say(answer)));
    await expect(attempt).rejects.toMatchObject({ code });
  });

  test.each([12, 50, 53])('result %d to the stored cookie asks for a full read', async (code) => {
    const events = await read(script((_seen, answer) => answer.done({ code, message: 'no' })));
    expect(events).toMatchObject([{ type: 'reset', reason: expect.stringContaining(`(${code})`) as string }]);
  });

  test('more changes than can be held are left to a full read', async () => {
    const events = await read(
      script((seen, answer) => {
        const entries = Array.from({ length: 10_000 }, (_, number) =>
          entryBytes(seen.id, 'CN=u,DC=x', { objectGUID: [bytesOf(guid(number))] }),
        );
        for (let time = 0; time < 21; time += 1) answer.raw(Buffer.concat(entries));
        answer.done({ dirSync: { hasMore: false, cookie: `${seen.ordinal}` } });
      }),
    );
    expect(events).toMatchObject([{ type: 'reset', reason: 'More than 200000 changes.' }]);
  });
});
