/** The connector against a real Active Directory domain (Samba): the conformance suite, and what is AD's own. */
import { Attribute, Change, Client } from 'ldapts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDirectoryHandle } from '../../../test/servers/directory-handle.ts';
import type { OpenHandle } from '../../../test/servers/directory-handle.ts';
import { startByteCutter } from '../../../test/servers/byte-cutter.ts';
import { freePort } from '../../../test/servers/process.ts';
import { isSambaInstalled, startSamba } from '../../../test/servers/samba.ts';
import type { Samba } from '../../../test/servers/samba.ts';
import {
  addServiceAccount,
  bindAdmin,
  replaceValues,
  sambaDialect,
  servicePassword,
} from '../../../test/servers/samba-directory.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import { describeConnectorConformance, readAll } from '../contract/conformance.ts';
import type { ConformanceFixture } from '../contract/conformance.ts';
import { ldapConnector } from './ldap.ts';
import type { LdapSecrets, LdapSettings } from './ldap.ts';
import { guidText } from './values.ts';

if (!isSambaInstalled())
  throw new Error('These tests need Samba as AD (Debian: samba, samba-ad-dc, samba-ad-provision).');

const connector = ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.0/8'] }) });
type Fixture = ConformanceFixture<LdapSettings, LdapSecrets>;

async function openFixture(): Promise<Fixture & { readonly server: Samba; readonly directory: OpenHandle }> {
  const server = await startSamba();
  await addServiceAccount(server);
  const settings = connector.settingsSchema.parse({
    host: server.host,
    caPem: server.caPem,
    bindDn: 'svc-sync@ad.example.test',
    baseDn: server.baseDn,
    pageSize: 50,
  });
  const admin = { url: server.tlsUrl, dn: server.adminDn, password: server.adminPassword, caPem: server.caPem };
  const directory = await openDirectoryHandle(
    admin,
    sambaDialect(server, (value) => guidText(value) ?? ''),
  );
  return {
    server,
    connector,
    settings,
    secrets: { password: new Secret(servicePassword) },
    directory,
    emailAttribute: 'mail',
    wrongSecrets: { password: new Secret('wrong-secret-canary') },
    unreachableSettings: { ...settings, port: await freePort() },
    canaries: [servicePassword, 'wrong-secret-canary'],
    unknownAnchor: '00000000-0000-4000-8000-000000000000',
    brokenReads: [
      {
        name: 'the connection is cut in the middle',
        code: 'directory_incomplete',
        prepare: async () => {
          const target = { host: server.host, port: server.tlsPort };
          const cutter = await startByteCutter(target, { afterBytes: 20_000, fault: 'reset' });
          const proxied = { ...settings, host: '127.0.0.1', tlsServerName: 'dc1.ad.example.test', port: cutter.port };
          return { settings: proxied, restore: () => cutter.stop() };
        },
      },
    ],
    // Samba takes about 100 new users a second; ranges, which it never sends unasked, are tested on a fake server.
    bigGroupSize: 300,
    async stop() {
      await directory.close();
      await server.stop();
    },
  };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describeConnectorConformance('Active Directory (Samba) over ldaps', openFixture);

describe('Active Directory', () => {
  let fixture: Awaited<ReturnType<typeof openFixture>>;
  beforeAll(async () => {
    fixture = await openFixture();
  });
  afterAll(() => fixture.stop());

  async function failureWith(settings: Partial<LdapSettings>, password = servicePassword) {
    const secrets = { password: new Secret(password) };
    return readAll(fixture, { settings: { ...fixture.settings, ...settings }, secrets }).then(
      () => new Error('no failure'),
      (error: unknown) => error,
    );
  }

  test('an ordinary user is enough, and built-in disabled accounts are inactive', async () => {
    const { objects } = await readAll(fixture);
    const names = new Map([...objects.values()].map((object) => [object.name, object]));
    expect(names.get('Administrator')?.isActive).toBe(true);
    expect(names.get('Guest')).toMatchObject({ isActive: false, inactiveReason: 'disabled' });
    expect(names.get('krbtgt')).toMatchObject({ isActive: false });
    expect([...names.keys()].some((name) => name.startsWith('DC1'))).toBe(false); // no computers
  });

  test('the product is recognized and paging and DirSync are reported', async () => {
    const steps = [];
    const { settings, secrets } = fixture;
    const signal = AbortSignal.timeout(20_000);
    for await (const step of connector.test({ settings, secrets, attributes: [], signal })) steps.push(step);
    expect(steps.find(({ step }) => step === 'capabilities')?.facts).toMatchObject({
      vendor: 'samba',
      idAttribute: 'objectGUID',
      hasPagedResults: true,
      hasDirSync: true,
    });
    expect(steps.filter(({ outcome }) => outcome !== 'ok').map(({ step }) => step)).toEqual(['deletions']);
    expect(steps.find(({ step }) => step === 'increments')?.facts).toEqual({ setting: 'off', by: 'usn' });
    expect(steps.find(({ step }) => step === 'disabled')?.facts).toMatchObject({ count: 2 }); // Guest, krbtgt
    expect(steps.find(({ step }) => step === 'clock')?.facts).toMatchObject({
      skewSeconds: expect.closeTo(0, -1) as number,
    });
  });

  test('a clock that is off, and an account that may see deleted objects, are told', async () => {
    const account = await addServiceAccount(fixture.server, 'svc-told');
    await fixture.server.allowReplication(account);
    await fixture.server.showDeletedObjects();
    const ahead = ldapConnector({
      dialer: createDialer({ allowPrivateRanges: ['127.0.0.0/8'] }),
      now: () => new Date(Date.now() + 600_000),
    });
    const settings = { ...fixture.settings, bindDn: 'svc-told@ad.example.test', increments: 'auto' as const };
    const request = { settings, secrets: fixture.secrets, attributes: ['sAMAccountName'] };
    const steps = await collect(ahead.test({ ...request, signal: AbortSignal.timeout(20_000) }));
    expect(steps.find(({ step }) => step === 'deletions')?.outcome).toBe('ok');
    expect(steps.find(({ step }) => step === 'increments')?.facts).toEqual({ setting: 'auto', by: 'dirsync' });
    expect(steps.find(({ step }) => step === 'clock')).toMatchObject({
      outcome: 'warning',
      message: expect.stringContaining('10 minutes ahead') as string,
    });
    const names = steps.flatMap(({ sample = [] }) => sample.map(({ attributes }) => attributes['sAMAccountName']));
    expect(names).toContain('Administrator');
  });

  test('the anchor is the GUID as Windows tools print it, and binary values arrive as text', async () => {
    const anchor = await fixture.directory.addUser({ name: 'Guid Owner' });
    const request = { settings: fixture.settings, secrets: fixture.secrets, signal: AbortSignal.timeout(20_000) };
    for await (const event of connector.read({
      ...request,
      mode: 'full',
      cursor: null,
      attributes: ['objectGUID', 'objectSid', 'USERACCOUNTCONTROL'],
    })) {
      if (event.type !== 'upsert' || event.object.anchor !== anchor) continue;
      expect(event.object.attributes['objectGUID']).toBe(anchor);
      expect(event.object.attributes['objectSid']).toMatch(/^S-1-5-21-\d+-\d+-\d+-\d+$/);
      expect(event.object.attributes['USERACCOUNTCONTROL']).toBe('544');
    }
    // The server finds it under the same text: the byte order is right.
    const verdicts = await collect(connector.proveAbsent({ ...request, attributes: [] }, 'user', [anchor]));
    expect(verdicts).toEqual([{ anchor, verdict: 'present' }]);
  });

  test('an account whose expiry has passed is inactive', async () => {
    const anchor = await fixture.directory.addUser({ name: 'Expired Person' });
    const client = new Client({ url: fixture.server.tlsUrl, tlsOptions: { ca: fixture.server.caPem } });
    await client.bind(fixture.server.adminDn, fixture.server.adminPassword);
    const past = new Attribute({ type: 'accountExpires', values: ['132539328000000000'] }); // 2021-01-01
    await client.modify(fixture.directory.dnOf(anchor), new Change({ operation: 'replace', modification: past }));
    await client.unbind();
    expect((await readAll(fixture)).objects.get(anchor)).toMatchObject({ isActive: false, inactiveReason: 'expired' });
  });

  test('a lockout after wrong passwords is seen, and takes access away only where the settings say so', async () => {
    const anchor = await fixture.directory.addUser({ name: 'Locked Person' });
    const dn = fixture.directory.dnOf(anchor);
    const client = await bindAdmin(fixture.server);
    await replaceValues(client, dn, 'unicodePwd', [Buffer.from('"Right-password-1"', 'utf16le')]);
    await replaceValues(client, fixture.server.baseDn, 'lockoutThreshold', ['3']);
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const stranger = new Client({ url: fixture.server.tlsUrl, tlsOptions: { ca: fixture.server.caPem } });
      await expect(stranger.bind(dn, 'wrong')).rejects.toThrow();
      await stranger.unbind();
    }
    const readState = async (lockedAccounts: 'active' | 'inactive') => {
      const settings = { ...fixture.settings, lockedAccounts };
      const request = { settings, secrets: fixture.secrets, mode: 'full' as const, cursor: null };
      const events = connector.read({
        ...request,
        attributes: ['accountState'],
        signal: AbortSignal.timeout(20_000),
      });
      for await (const event of events) {
        if (event.type === 'upsert' && event.object.anchor === anchor) return event.object;
      }
      return null;
    };
    expect(await readState('active')).toMatchObject({ isActive: true, attributes: { accountState: 'locked' } });
    expect(await readState('inactive')).toMatchObject({ isActive: false, inactiveReason: 'locked' });
    await replaceValues(client, fixture.server.baseDn, 'lockoutThreshold', ['0']);
    await client.unbind();
  });

  test('a refused password is told in the words of its sub-code', async () => {
    const error = await failureWith({}, 'wrong');
    expect(error).toMatchObject({ code: 'directory_auth', message: 'The user name or the password is wrong.' });
    expect(error).toMatchObject({ raw: expect.stringContaining('data 52e') as string });
  });

  test('moving a user to another place keeps it, and out of the base it is out of scope', async () => {
    const anchor = await fixture.directory.addUser({ name: 'Scope Mover' });
    const settings = { ...fixture.settings, baseDn: `OU=Domain Controllers,${fixture.server.baseDn}` };
    const request = { settings, secrets: fixture.secrets, attributes: [], signal: AbortSignal.timeout(20_000) };
    const verdicts = await collect(connector.proveAbsent(request, 'user', [anchor]));
    expect(verdicts).toEqual([{ anchor, verdict: 'out_of_scope' }]);
  });
});
