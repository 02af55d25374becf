/** The session against a scripted server: every way in which a read could look whole without being it. */
import { afterEach, describe, expect, test } from 'vitest';
import { makeServerCertificate } from '../../../test/servers/certificates.ts';
import { entryBytes, startFakeLdap } from '../../../test/servers/fake-ldap.ts';
import type { Answer, FakeLdap, FakeScript, SearchSeen } from '../../../test/servers/fake-ldap.ts';
import { createDialer } from '../../platform/dialer.ts';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPresent } from './filter.ts';
import { pagedWhole } from './ranged.ts';
import { LdapSession } from './session.ts';
import type { Search, SessionOptions } from './session.ts';

const dialer = createDialer({ allowPrivateRanges: ['127.0.0.1'] });
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

type Script = (seen: SearchSeen, answer: Answer) => void;

async function serve(search: Script, more: Omit<FakeScript, 'search'> = {}): Promise<FakeLdap> {
  const fake = await startFakeLdap({ search, ...more });
  cleanups.push(() => fake.stop());
  return fake;
}

async function connect(fake: FakeLdap, options: Partial<SessionOptions> = {}): Promise<LdapSession> {
  const session = await LdapSession.open(dialer, {
    host: '127.0.0.1',
    port: fake.port,
    security: 'plain',
    connectTimeoutMs: 1_000,
    idleTimeoutMs: 1_000,
    maxMessageBytes: 1 << 20,
    signal: AbortSignal.timeout(9_000),
    ...options,
  });
  cleanups.push(() => session.close());
  return session;
}

const search: Search = {
  base: 'dc=example',
  scope: 'sub',
  filter: isPresent('objectClass'),
  attributes: ['cn', 'member'],
  doing: 'testing',
};

async function read(session: LdapSession, pageSize = 2, seen: string[] = []): Promise<string[]> {
  for await (const entries of pagedWhole(session, search, pageSize)) seen.push(...entries.map(({ dn }) => dn));
  return seen;
}

describe('a paged search', () => {
  test('goes on after a page with no entries but a cookie', async () => {
    const pages = [
      { dns: ['cn=a'], next: 'one' },
      { dns: [], next: 'two' },
      { dns: [], next: 'three' },
      { dns: ['cn=b'], next: '' },
    ];
    const fake = await serve((seen, answer) => {
      const page = pages[seen.ordinal];
      for (const dn of page?.dns ?? []) answer.entry(dn, { cn: ['x'] });
      answer.done({ cookie: page?.next ?? '' });
    });
    expect(await read(await connect(fake))).toEqual(['cn=a', 'cn=b']);
    expect(fake.searches.map(({ page }) => page?.cookie)).toEqual(['', 'one', 'two', 'three']);
  });

  test('throws when the connection drops, and does not connect again', async () => {
    let connections = 0;
    const fake = await serve((seen, answer) => {
      connections += seen.ordinal === 0 ? 1 : 0;
      answer.entry(`cn=${seen.ordinal}`, {});
      if (seen.ordinal === 0) answer.done({ cookie: 'more' });
      else answer.socket.destroy();
    });
    const session = await connect(fake);
    await session.bind('cn=me', 'secret');
    const seen: string[] = [];
    await expect(read(session, 2, seen)).rejects.toMatchObject({ code: 'directory_incomplete' });
    expect(seen[0]).toBe('cn=0');
    await expect(session.find(search)).rejects.toMatchObject({ code: 'directory_incomplete' });
    expect([connections, fake.binds]).toEqual([1, 1]);
  });

  test('throws wherever the connection is cut, and is whole only after the last message', async () => {
    const pages = 3;
    const messages = pages * 3;
    for (let allowed = 0; allowed <= messages; allowed += 1) {
      let left = allowed;
      const step = (answer: Answer, send: () => void): void => {
        if (left > 0) send();
        else answer.socket.destroy();
        left -= 1;
      };
      const fake = await serve((seen, answer) => {
        step(answer, () => answer.entry(`cn=a${seen.ordinal}`, {}));
        step(answer, () => answer.entry(`cn=b${seen.ordinal}`, {}));
        step(answer, () => answer.done({ cookie: seen.ordinal < pages - 1 ? `c${seen.ordinal}` : '' }));
      });
      const reading = read(await connect(fake));
      if (allowed === messages) expect(await reading).toHaveLength(pages * 2);
      else await expect(reading, `after ${allowed} messages`).rejects.toMatchObject({ code: 'directory_incomplete' });
    }
  });

  test.each([
    { code: 4, as: 'directory_incomplete', raw: 'sizeLimitExceeded (4): enough' },
    { code: 3, as: 'directory_incomplete', raw: 'timeLimitExceeded (3): enough' },
    { code: 11, as: 'directory_limit', raw: 'adminLimitExceeded (11): enough' },
    { code: 51, as: 'directory_throttled', raw: 'busy (51): enough' },
    { code: 80, as: 'directory_protocol', raw: 'other (80): enough' },
    { code: 118, as: 'directory_protocol', raw: 'result code (118): enough' },
  ])('throws on result code $code after partial data, with and without pages', async ({ code, as, raw }) => {
    const script: Script = (seen, answer) => {
      answer.entry(`cn=${seen.ordinal}`, {});
      answer.done({ code, message: 'enough', cookie: '' });
    };
    await expect(read(await connect(await serve(script)))).rejects.toMatchObject({ code: as, raw });
    await expect(read(await connect(await serve(script)), 0)).rejects.toMatchObject({ code: as, raw });
  });

  test('throws on a referral and names where it points', async () => {
    const fake = await serve((_seen, answer) =>
      answer.done({ code: 10, referral: 'ldap://other.example/dc=x', cookie: '' }),
    );
    await expect(read(await connect(fake))).rejects.toMatchObject({
      code: 'directory_not_found',
      raw: 'referral (10) -> ldap://other.example/dc=x',
    });
  });

  test('throws when the paging control is missing, at the start or midway', async () => {
    for (const missingAt of [0, 1]) {
      const fake = await serve((seen, answer) => {
        answer.entry(`cn=${seen.ordinal}`, {});
        answer.done(seen.ordinal === missingAt ? {} : { cookie: 'more' });
      });
      await expect(read(await connect(fake))).rejects.toMatchObject({ raw: 'paging control missing' });
    }
  });

  test('halves the page size while the server refuses it and nothing was handed out', async () => {
    const fake = await serve((seen, answer) => {
      if ((seen.page?.size ?? 0) > 100) answer.done({ code: 11, cookie: '' });
      else {
        answer.entry('cn=a', {});
        answer.done({ cookie: '' });
      }
    });
    expect(await read(await connect(fake), 500)).toEqual(['cn=a']);
    expect(fake.searches.map(({ page }) => page?.size)).toEqual([500, 250, 125, 62]);
  });

  test('does not start again after an entry was handed out', async () => {
    const fake = await serve((seen, answer) => {
      answer.entry('cn=a', {});
      answer.done(seen.ordinal === 0 ? { cookie: 'more' } : { code: 11, cookie: '' });
    });
    await expect(read(await connect(fake))).rejects.toMatchObject({ code: 'directory_limit' });
    expect(fake.searches).toHaveLength(2);
  });

  test('a server that uses one cookie for all pages is read to its end (389 Directory Server does)', async () => {
    const fake = await serve((seen, answer) => {
      answer.entry(`cn=${seen.ordinal}`, {});
      answer.done({ cookie: seen.ordinal < 5 ? '0' : '' });
    });
    expect(await read(await connect(fake))).toHaveLength(6);
  });

  test('a server that repeats a page for ever is stopped', async () => {
    const fake = await serve((_seen, answer) => {
      answer.entry('cn=again', {});
      answer.done({ cookie: 'again' });
    });
    await expect(read(await connect(fake))).rejects.toMatchObject({ code: 'directory_protocol', raw: 'repeated page' });
    expect(fake.searches.length).toBeLessThan(5);
  });

  test('a server that sends empty pages for ever is stopped', { timeout: 30_000 }, async () => {
    const fake = await serve((seen, answer) => answer.done({ cookie: `c${seen.ordinal}` }));
    await expect(read(await connect(fake))).rejects.toMatchObject({ code: 'directory_protocol' });
  });

  test('references to other servers are not followed and lose nothing', async () => {
    const fake = await serve((_seen, answer) => {
      answer.reference('ldap://elsewhere.example/cn=Configuration');
      answer.entry('cn=a', {});
      answer.reference('ldap://elsewhere.example/dc=child');
      answer.done({ cookie: '' });
    });
    expect(await read(await connect(fake))).toEqual(['cn=a']);
  });
});

describe('ranged attributes', () => {
  const all = Array.from({ length: 3_700 }, (_, index) => `cn=m${index}`);
  const rangeOf = (from: number, size: number): Record<string, string[]> => {
    const values = all.slice(from, from + size);
    const last = from + size >= all.length ? '*' : String(from + size - 1);
    return { [`member;range=${from}-${last}`]: values };
  };

  test('a group answered in ranges is folded to its end and never looks empty', async () => {
    const fake = await serve((seen, answer) => {
      const asked = /^member;range=(\d+)-\*$/.exec(seen.attributes[0] ?? '')?.[1];
      if (seen.page !== null) answer.entry('cn=small', { member: ['cn=one'] });
      answer.entry(
        'cn=big',
        asked === undefined ? { member: [], ...rangeOf(0, 1_500) } : rangeOf(Number(asked), 1_500),
      );
      answer.done({ cookie: '' });
    });
    const found = new Map<string, string[]>();
    for await (const entries of pagedWhole(await connect(fake), search, 100)) {
      for (const entry of entries) found.set(entry.dn, entry.texts('member'));
    }
    expect(found.get('cn=small')).toEqual(['cn=one']);
    expect(found.get('cn=big')).toEqual(all);
  });

  test.each([
    ['says nothing', {}],
    ['repeats the first range', { 'member;range=0-1': ['cn=m0', 'cn=m1'] }],
  ])('a server that %s when asked for the rest makes the read incomplete', async (_what, rest) => {
    const fake = await serve((seen, answer) => {
      answer.entry('cn=big', seen.attributes[0]?.includes(';range=') === true ? rest : rangeOf(0, 1_500));
      answer.done({ cookie: '' });
    });
    await expect(read(await connect(fake))).rejects.toMatchObject({ code: 'directory_incomplete' });
  });

  test('a group that goes away while its members are read makes the read incomplete', async () => {
    const fake = await serve((seen, answer) => {
      if (seen.page !== null) answer.entry('cn=big', rangeOf(0, 1_500));
      answer.done({ cookie: '' });
    });
    await expect(read(await connect(fake))).rejects.toMatchObject({ raw: 'entry missing' });
  });
});

describe('a connection', () => {
  test('an empty password or DN is refused here and never sent', async () => {
    const fake = await serve((_seen, answer) => answer.done());
    const session = await connect(fake);
    await expect(session.bind('cn=me', '')).rejects.toMatchObject({ code: 'directory_auth', raw: 'not sent' });
    await expect(session.bind('', 'secret')).rejects.toMatchObject({ code: 'directory_auth' });
    expect(fake.binds).toBe(0);
  });

  test.each([
    ['533', 'The account is disabled.'],
    ['775', 'The account is locked out.'],
    ['532', "The account's password has expired."],
  ])('bind sub-code %s is told in words', async (code, message) => {
    const bindMessage = `80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data ${code}, v3839`;
    const fake = await serve((_seen, answer) => answer.done(), { bindCode: 49, bindMessage });
    await expect((await connect(fake)).bind('cn=me', 'x')).rejects.toMatchObject({ code: 'directory_auth', message });
  });

  test('silence ends the read at the idle limit', async () => {
    const fake = await serve((_seen, answer) => answer.entry('cn=a', {}));
    const reading = read(await connect(fake, { idleTimeoutMs: 60 }));
    await expect(reading).rejects.toMatchObject({ code: 'directory_incomplete', raw: 'ETIMEDOUT' });
  });

  test('a slow consumer is no silence: the limit counts only while an answer is awaited', async () => {
    const fake = await serve((seen, answer) => {
      answer.entry(`cn=${seen.ordinal}`, {});
      answer.done({ cookie: seen.ordinal < 2 ? `c${seen.ordinal}` : '' });
    });
    const session = await connect(fake, { idleTimeoutMs: 60 });
    const seen: string[] = [];
    for await (const entries of session.paged(search, 1)) {
      seen.push(...entries.map(({ dn }) => dn));
      await new Promise((resolve) => {
        setTimeout(resolve, 120);
      });
    }
    expect(seen).toHaveLength(3);
  });

  test('a notice of disconnection makes the read incomplete', async () => {
    const fake = await serve((_seen, answer) => {
      answer.entry('cn=a', {});
      answer.disconnect();
    });
    const raw = expect.stringContaining('notice of disconnection') as string;
    await expect(read(await connect(fake))).rejects.toMatchObject({ code: 'directory_incomplete', raw });
  });

  test('an abort ends the read with its own reason', async () => {
    const aborter = new AbortController();
    const fake = await serve((_seen, answer) => {
      answer.entry('cn=a', {});
      aborter.abort(new Error('stop now'));
    });
    await expect(read(await connect(fake, { signal: aborter.signal }))).rejects.toThrow('stop now');
  });

  test('a message above the cap is refused by its header, before its bytes are kept', async () => {
    const fake = await serve((_seen, answer) => answer.raw(Buffer.from('3084400000000201', 'hex')));
    await expect(read(await connect(fake))).rejects.toMatchObject({
      code: 'directory_limit',
      raw: 'message too large',
    });
  });

  test('garbage, truncated entries and answers nobody asked for are protocol errors', async () => {
    const truncated = entryBytes(1, 'cn=a', { cn: ['x'] });
    truncated[truncated.length - 2] = 0x7f; // the last value claims more bytes than the message has
    for (const bytes of [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), truncated, entryBytes(99, 'cn=a', {})]) {
      const fake = await serve((_seen, answer) => answer.raw(bytes));
      await expect(read(await connect(fake))).rejects.toMatchObject({ code: 'directory_protocol' });
    }
  });

  test('a message that arrives byte by byte is read', async () => {
    const fake = await serve((seen, answer) => {
      for (const byte of entryBytes(seen.id, 'cn=slow', { cn: ['x'] })) answer.raw(Buffer.from([byte]));
      answer.done({ cookie: '' });
    });
    expect(await read(await connect(fake))).toEqual(['cn=slow']);
  });

  test('an early end by the consumer abandons the search and leaves the session usable', async () => {
    const fake = await serve((seen, answer) => {
      answer.entry(`cn=${seen.ordinal}`, {});
      if (seen.ordinal > 0) answer.done({ cookie: '' });
    });
    const session = await connect(fake);
    for await (const entries of session.paged(search, 2)) {
      expect(entries).toHaveLength(1);
      break;
    }
    expect(await read(session)).toEqual(['cn=1']);
  });
});

describe('StartTLS', () => {
  async function certificate() {
    const folder = mkdtempSync(join(tmpdir(), 'rollcall-tls-'));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    const made = await makeServerCertificate(folder, { authority: 'CA', subject: 's', subjectAltName: 'IP:127.0.0.1' });
    return { caPem: made.caPem, key: readFileSync(made.keyPath, 'utf8'), cert: readFileSync(made.certPath, 'utf8') };
  }

  test('a server that refuses it is never spoken to in the clear', async () => {
    const fake = await serve((_seen, answer) => answer.done());
    await expect(connect(fake, { security: 'starttls' })).rejects.toMatchObject({
      code: 'directory_tls',
      raw: 'protocolError (2)',
    });
    expect(fake.binds).toBe(0);
  });

  test('the certificate is checked against the host, and reads go on inside', async () => {
    const { caPem, ...tls } = await certificate();
    const fake = await serve(
      (_seen, answer) => {
        answer.entry('cn=a', {});
        answer.done({ cookie: '' });
      },
      { tls },
    );
    await expect(connect(fake, { security: 'starttls' })).rejects.toMatchObject({ code: 'directory_tls' });
    expect(await read(await connect(fake, { security: 'starttls', caPem }))).toEqual(['cn=a']);
    const wrongName = connect(fake, { security: 'starttls', caPem, servername: 'other.example' });
    await expect(wrongName).rejects.toMatchObject({ code: 'directory_tls' });
  });

  test('answers slipped in before the handshake are refused', async () => {
    const { caPem, ...tls } = await certificate();
    const injected = entryBytes(2, 'cn=mallory', {});
    const fake = await serve((_seen, answer) => answer.done(), { tls, injected });
    await expect(connect(fake, { security: 'starttls', caPem })).rejects.toMatchObject({
      raw: 'data before the TLS handshake',
    });
  });

  test('a handshake that never ends fails at the time limit', async () => {
    const fake = await serve((_seen, answer) => answer.done(), { tls: 'silent' });
    await expect(connect(fake, { security: 'starttls', connectTimeoutMs: 150 })).rejects.toMatchObject({
      code: 'directory_unreachable',
      raw: 'ETIMEDOUT',
    });
  });
});
