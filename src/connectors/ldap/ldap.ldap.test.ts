/** The connector against a real OpenLDAP: the conformance suite over ldaps and StartTLS, and what is OpenLDAP's own. */
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'ldapts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDirectoryHandle } from '../../../test/servers/directory-handle.ts';
import { startByteCutter } from '../../../test/servers/byte-cutter.ts';
import { ldifAnchor, writeLdif } from '../../../test/servers/ldif.ts';
import { openldapDialect } from '../../../test/servers/openldap-directory.ts';
import { isOpenldapInstalled, startOpenldap } from '../../../test/servers/openldap.ts';
import type { Openldap } from '../../../test/servers/openldap.ts';
import { freePort } from '../../../test/servers/process.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import { describeConnectorConformance, readAll } from '../contract/conformance.ts';
import type { BrokenRead, ConformanceFixture } from '../contract/conformance.ts';
import type { TestStep } from '../contract/contract.ts';
import { ldapConnector } from './ldap.ts';
import type { LdapSecrets, LdapSettings } from './ldap.ts';

const dialer = createDialer({ allowPrivateRanges: ['127.0.0.0/8'] });
const connector = ldapConnector({ dialer });
type Fixture = ConformanceFixture<LdapSettings, LdapSecrets>;

const people = 600;
const entries = Array.from(
  { length: people },
  (_, index) =>
    `dn: uid=p${index},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: p${index}\ncn: P ${index}\nsn: P\n`,
).join('\n');

function settingsOf(server: Openldap, overrides: Record<string, unknown> = {}): LdapSettings {
  return connector.settingsSchema.parse({
    host: server.host,
    port: server.tlsPort,
    caPem: server.caPem,
    bindDn: server.bindDn,
    baseDn: server.baseDn,
    pageSize: 100,
    ...overrides,
  });
}

function secret(password: string): LdapSecrets {
  return { password: new Secret(password) };
}

function brokenReads(server: Openldap, settings: LdapSettings): BrokenRead<LdapSettings, LdapSecrets>[] {
  const cutAfter = (afterBytes: number, fault: 'cut' | 'reset' | 'silence'): BrokenRead<LdapSettings, LdapSecrets> => ({
    name: `${fault} after ${afterBytes} bytes`,
    code: 'directory_incomplete',
    prepare: async () => {
      const target = { host: server.host, port: settings.port ?? 0 };
      const cutter = await startByteCutter(target, { afterBytes, fault });
      return { settings: { ...settings, port: cutter.port, idleTimeoutSeconds: 1 }, restore: () => cutter.stop() };
    },
  });
  const limited: BrokenRead<LdapSettings, LdapSecrets> = {
    name: 'the size limit of the account stops the read after 500 entries',
    code: 'directory_incomplete',
    prepare: async () => ({
      settings: { ...settings, bindDn: server.limitedBindDn },
      secrets: secret(server.limitedPassword),
      restore: async () => undefined,
    }),
  };
  return [limited, cutAfter(20_000, 'cut'), cutAfter(30_000, 'reset'), cutAfter(40_000, 'silence')];
}

async function makeFixture(security: 'ldaps' | 'starttls'): Promise<Fixture> {
  const server = await startOpenldap({ entries });
  const port = security === 'ldaps' ? server.tlsPort : server.port;
  const settings = settingsOf(server, { security, port });
  const admin = { url: server.url, dn: server.adminDn, password: server.adminPassword };
  const directory = await openDirectoryHandle(admin, openldapDialect(server));
  return {
    connector,
    settings,
    secrets: secret(server.password),
    directory,
    emailAttribute: 'mail',
    wrongSecrets: secret('wrong-secret-canary'),
    unreachableSettings: { ...settings, port: await freePort() },
    canaries: [server.password, server.limitedPassword, 'wrong-secret-canary'],
    unknownAnchor: '00000000-0000-4000-8000-000000000000',
    brokenReads: brokenReads(server, settings),
    async stop() {
      await directory.close();
      await server.stop();
    },
  };
}

if (!isOpenldapInstalled()) throw new Error('These tests need slapd (Debian: slapd, ldap-utils).');

describeConnectorConformance('OpenLDAP over ldaps', () => makeFixture('ldaps'));
describeConnectorConformance('OpenLDAP over StartTLS', () => makeFixture('starttls'));

describe('OpenLDAP', () => {
  let server: Openldap;
  beforeAll(async () => {
    server = await startOpenldap({ entries });
  });
  afterAll(() => server.stop());

  async function steps(overrides: Record<string, unknown>, password = server.password): Promise<TestStep[]> {
    const found: TestStep[] = [];
    const settings = settingsOf(server, overrides);
    const signal = AbortSignal.timeout(20_000);
    for await (const step of connector.test({ settings, secrets: secret(password), attributes: [], signal })) {
      found.push(step);
    }
    return found;
  }

  async function failure(overrides: Record<string, unknown>, password?: string): Promise<TestStep> {
    const last = (await steps(overrides, password)).at(-1);
    if (last?.outcome !== 'failed') throw new Error(`The last step is ${JSON.stringify(last)}`);
    return last;
  }

  const fixture = (overrides: Record<string, unknown> = {}, password = server.password): Fixture =>
    // Only what readAll uses: everything else belongs to the suite above.
    ({
      connector,
      settings: settingsOf(server, overrides),
      secrets: secret(password),
      emailAttribute: 'mail',
    }) as Fixture;

  test('a test of a healthy connection names the product, the certificate and the counts', async () => {
    const found = await steps({});
    expect(found.map(({ step, outcome }) => `${step} ${outcome}`)).toEqual([
      'dns ok',
      'tcp ok',
      'tls ok',
      'bind ok',
      'capabilities ok',
      'read_users ok',
      'read_groups warning',
      'page ok',
      'disabled warning',
      'deletions skipped',
      'increments ok',
      'clock skipped',
    ]);
    expect(found.find(({ step }) => step === 'capabilities')?.facts).toMatchObject({
      vendor: 'openldap',
      hasSyncrepl: true,
      suggestedBaseDns: [server.baseDn],
    });
    expect(found.find(({ step }) => step === 'read_users')?.facts).toMatchObject({ count: people });
    expect(found.find(({ step }) => step === 'tls')?.facts).toMatchObject({
      issuer: 'Rollcall Test CA',
      chain: ['ldap.example.test', 'Rollcall Test CA'],
    });
    const sample = found.find(({ step }) => step === 'read_users')?.sample ?? [];
    expect(sample.map(({ name, isActive }) => [name, isActive])).toContainEqual(['P 0', true]);
  });

  test('an untrusted certificate is named with its issuer and the remedy', async () => {
    const step = await failure({ caPem: undefined });
    expect(step).toMatchObject({ step: 'tls', raw: 'SELF_SIGNED_CERT_IN_CHAIN', facts: { code: 'directory_tls' } });
    expect(step.message).toContain('Rollcall Test CA');
    expect(step.message).toContain('CA of this connection');
    expect(step.facts?.['certificate']).toMatchObject({
      subject: 'ldap.example.test',
      alternativeNames: expect.stringContaining('DNS:localhost') as string,
      fingerprint256: expect.stringMatching(/^[0-9A-F:]{95}$/) as string,
    });
  });

  test('a certificate for another name is refused', async () => {
    expect(await failure({ tlsServerName: 'other.example.org' })).toMatchObject({
      step: 'tls',
      facts: { code: 'directory_tls' },
    });
  });

  test('a wrong base DN says noSuchObject (32) and names the trees the server holds', async () => {
    const step = await failure({ baseDn: 'ou=nobody,dc=example,dc=org' });
    expect(step).toMatchObject({ step: 'read_users', facts: { code: 'directory_not_found' } });
    expect(step.raw).toContain('noSuchObject (32)');
    expect(step.message).toContain('dc=example,dc=org');
    await expect(readAll(fixture({ baseDn: 'ou=nobody,dc=example,dc=org' }))).rejects.toMatchObject({
      code: 'directory_not_found',
      remedy: expect.stringContaining('dc=example,dc=org') as string,
    });
  });

  test('before a base DN is typed, the test names the ones the server holds, and no read begins', async () => {
    const found = await steps({ baseDn: '' });
    expect(found.find(({ step }) => step === 'capabilities')?.facts).toMatchObject({
      vendor: 'openldap',
      suggestedBaseDns: [server.baseDn],
    });
    expect(found.at(-1)).toMatchObject({ step: 'read_users', outcome: 'failed' });
    expect(found.at(-1)?.message).toContain(server.baseDn);
    await expect(readAll(fixture({ baseDn: '' }))).rejects.toMatchObject({
      code: 'directory_not_found',
      raw: 'baseDn is empty',
    });
  });

  test('a base of another server gives a referral-free, plain not-found', async () => {
    expect((await failure({ baseDn: 'dc=other,dc=test' })).facts).toMatchObject({ code: 'directory_not_found' });
  });

  test('a wrong password, a closed port and an unknown host are one sentence each', async () => {
    expect(await failure({}, 'wrong')).toMatchObject({ step: 'bind', raw: 'invalidCredentials (49)' });
    expect(await failure({ port: await freePort() })).toMatchObject({ step: 'tcp', raw: 'ECONNREFUSED' });
    expect(await failure({ host: 'nowhere.invalid' })).toMatchObject({ step: 'dns' });
  });

  test('the size limit of a service account is found by the test, not by losing people', async () => {
    const step = await failure({ bindDn: server.limitedBindDn }, server.limitedPassword);
    expect(step).toMatchObject({ step: 'read_users', facts: { code: 'directory_incomplete' } });
    expect(step.raw).toContain('sizeLimitExceeded (4)');
  });

  test('a page size above what the account may ask for is halved until it fits', async () => {
    const filter = { userFilter: '(uid=p1*)', pageSize: 500 };
    const settings = { ...filter, bindDn: server.limitedBindDn };
    const { objects } = await readAll(fixture(settings, server.limitedPassword));
    expect(objects.size).toBe(111); // p1, p10-p19, p100-p199
  });

  test('the wrong TLS mode for the port is named as such', async () => {
    const startTlsOnLdaps = await failure({ security: 'starttls', port: server.tlsPort, idleTimeoutSeconds: 1 });
    expect(startTlsOnLdaps).toMatchObject({ step: 'tls', facts: { code: 'directory_tls' } });
    expect(startTlsOnLdaps.message).toContain('choose ldaps');
    expect(await failure({ security: 'ldaps', port: server.port })).toMatchObject({ step: 'tls' });
  });

  test('plain LDAP is refused unless the operator allows it', async () => {
    const plain = { security: 'plain', port: server.port };
    expect(await failure(plain)).toMatchObject({ step: 'tls', facts: { code: 'directory_tls' } });
    const allowed = { ...fixture(plain), connector: ldapConnector({ dialer, allowPlaintext: true }) };
    expect((await readAll(allowed)).objects.size).toBe(people);
  });

  test('an unpaged read against a size limit throws as well', async () => {
    const settings = { pageSize: 0, bindDn: server.limitedBindDn };
    await expect(readAll(fixture(settings, server.limitedPassword))).rejects.toMatchObject({
      code: 'directory_incomplete',
    });
  });

  test('a filter with escaped UTF-8 finds who it names', async () => {
    await server.modify(
      `dn: uid=chloe,${server.peopleDn}\nobjectClass: inetOrgPerson\nuid: chloe\ncn:: ${Buffer.from('Chloé Müller').toString('base64')}\nsn: M\n`,
    );
    for (const userFilter of [
      '(cn=Chlo\\c3\\a9 M\\c3\\bcller)',
      '( & (cn=Chloé Müller) (sn=*) )',
      '(cn=Chlo\\C3\\A9*)',
    ]) {
      expect([...(await readAll(fixture({ userFilter }))).objects.values()].map(({ name }) => name)).toEqual([
        'Chloé Müller',
      ]);
    }
    await server.modify(`dn: uid=chloe,${server.peopleDn}\nchangetype: delete\n`);
  });

  test('an empty result is a notice, not an error', async () => {
    const { events } = await readAll(fixture({ userFilter: '(uid=nobody)' }));
    expect(events.map((event) => event.type)).toEqual(['notice', 'complete']);
  });

  test('an entry whose id is not readable stops the read: it would look deleted', async () => {
    await expect(readAll(fixture({ idAttribute: 'employeeNumber' }))).rejects.toMatchObject({
      code: 'directory_permission',
      raw: 'employeeNumber missing',
    });
  });

  test('a custom id attribute works end to end, its absence proven by a sweep', async () => {
    const custom = fixture({ idAttribute: 'uid' });
    const { objects } = await readAll(custom);
    expect(objects.get('p7')?.name).toBe('P 7');
    const verdicts: Record<string, string> = {};
    const request = {
      settings: custom.settings,
      secrets: custom.secrets,
      attributes: [],
      signal: AbortSignal.timeout(9_000),
    };
    for await (const { anchor, verdict } of connector.proveAbsent(request, 'user', ['p7', 'nobody'])) {
      verdicts[anchor] = verdict;
    }
    expect(verdicts).toEqual({ p7: 'present', nobody: 'deleted' });
  });

  test('an object outside of base or filter is out of scope, not deleted', async () => {
    const anchor = [...(await readAll(fixture({ userFilter: '(uid=p1)' }))).objects.keys()][0] ?? '';
    for (const narrow of [{ userFilter: '(uid=p2)' }, { baseDn: server.groupsDn }]) {
      const { settings, secrets } = fixture(narrow);
      const request = { settings, secrets, attributes: [], signal: AbortSignal.timeout(9_000) };
      for await (const { verdict } of connector.proveAbsent(request, 'user', [anchor])) {
        expect(verdict).toBe('out_of_scope');
      }
    }
  });

  test('an account that may not see the base proves nothing', async () => {
    const { settings, secrets } = fixture({ baseDn: 'ou=hidden,dc=example,dc=org' });
    const request = { settings, secrets, attributes: [], signal: AbortSignal.timeout(9_000) };
    const unknown = '00000000-0000-4000-8000-000000000000';
    for await (const { verdict } of connector.proveAbsent(request, 'user', [unknown])) expect(verdict).toBe('unknown');
  });

  test('a lockout by wrong passwords is told from the lock of an administrator', async () => {
    const dns = ['p2', 'p3'].map((uid) => `uid=${uid},${server.peopleDn}`);
    await server.modify(
      dns.map((dn) => `dn: ${dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: right\n`).join('\n'),
    );
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const stranger = new Client({ url: server.url });
      await expect(stranger.bind(dns[0] ?? '', 'wrong')).rejects.toThrow();
      await stranger.unbind();
    }
    await server.modify(
      `dn: ${dns[1]}\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n`,
    );
    const { objects } = await readAll(fixture());
    const [lockedOut, locked] = dns.map((dn) => [...objects.values()].find(({ locator }) => locator === dn));
    expect(lockedOut).toMatchObject({ isActive: true, inactiveReason: null });
    expect(locked).toMatchObject({ isActive: false, inactiveReason: 'locked by an administrator' });
    const strict = { ...settingsOf(server), lockedAccounts: 'inactive' as const };
    const again = [...(await readAll(fixture(), { settings: strict })).objects.values()];
    expect(again.find(({ locator }) => locator === dns[0])?.inactiveReason).toBe('locked');
  });

  test('a member outside of the read is counted in a notice and left out', async () => {
    await server.modify(
      `dn: cn=mixed,${server.groupsDn}\nobjectClass: groupOfNames\ncn: mixed\nmember: uid=p1,${server.peopleDn}\nmember: ${server.bindDn}\n`,
    );
    const { events, members } = await readAll(fixture());
    expect([...members.values()].map((group) => group.size)).toEqual([1]);
    expect(events.filter((event) => event.type === 'notice')).toMatchObject([{ code: 'unresolved_members' }]);
  });
});

describe('a big OpenLDAP directory', () => {
  test('every user and every member of a group of 12,000 arrives, in events of at most 5,000', async () => {
    const plan = { users: 12_000, groups: 1, membershipsPerUser: 1, seed: 7 };
    const folder = mkdtempSync(join(tmpdir(), 'rollcall-ldif-'));
    const ldifPath = join(folder, 'big.ldif');
    const file = createWriteStream(ldifPath);
    await writeLdif(file, plan);
    await new Promise<void>((resolve) => {
      file.end(resolve);
    });
    const server = await startOpenldap({ ldifPath });
    try {
      const big = { connector, settings: settingsOf(server, { pageSize: 500 }), secrets: secret(server.password) };
      const { objects, members, events } = await readAll({ ...big, emailAttribute: 'mail' } as Fixture);
      const anchors = Array.from({ length: plan.users }, (_, index) => ldifAnchor('user', index, plan.seed));
      expect(
        anchors.every((anchor, index) => objects.get(anchor)?.attributes['mail'] === `user${index}@example.org`),
      ).toBe(true);
      expect(members.get(ldifAnchor('group', 0, plan.seed))).toEqual(new Set(anchors));
      const sizes = events.flatMap((event) => (event.type === 'members' ? [event.memberAnchors.length] : []));
      expect(sizes).toEqual([5_000, 5_000, 2_000]);
    } finally {
      await server.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
