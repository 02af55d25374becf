import { describe, expect, test } from 'vitest';
import { entryBytes } from '../../../test/servers/fake-ldap.ts';
import type { Attributes } from '../../../test/servers/fake-ldap.ts';
import { createDialer } from '../../platform/dialer.ts';
import { activityOf } from './account-state.ts';
import { LdapEntry, pieceOf } from './entry.ts';
import { ldapConnector } from './ldap.ts';
import { anchorFormOf, profileOf, readRootDse } from './profiles.ts';
import { readHead } from './results.ts';
import { ldapSettings, ldapVendors } from './settings.ts';
import type { LdapSettings, LdapVendor } from './settings.ts';

function entry(attributes: Attributes): LdapEntry {
  const frame = entryBytes(1, 'cn=a,dc=x', attributes);
  return new LdapEntry(pieceOf(frame), readHead(frame).contentOffset, frame.length);
}

const base = { host: 'ldap.example.org', bindDn: 'cn=svc,dc=x', baseDn: 'dc=x' };
const settings = (more: Record<string, unknown> = {}): LdapSettings => ldapSettings.parse({ ...base, ...more });
const now = new Date('2026-01-01T00:00:00Z');

function activity(vendor: LdapVendor, attributes: Attributes, more: Record<string, unknown> = {}): string | null {
  const { lockedAccounts } = settings(more);
  return activityOf(profileOf(vendor, settings(more)).accounts, lockedAccounts, entry(attributes), now).inactiveReason;
}

const filetime = (iso: string): string => String((BigInt(Date.parse(iso)) + 11_644_473_600_000n) * 10_000n);

describe('disabled accounts', () => {
  test.each<[LdapVendor, Attributes, string | null]>([
    ['active_directory', { userAccountControl: ['512'] }, null],
    ['active_directory', { userAccountControl: ['514'] }, 'disabled'],
    ['active_directory', { userAccountControl: ['66050'] }, 'disabled'],
    // 0x10 lockout and pwdLastSet 0 (must change) are not the word of an administrator
    ['active_directory', { userAccountControl: ['528'], pwdLastSet: ['0'] }, null],
    ['active_directory', { userAccountControl: ['512'], accountExpires: ['0'] }, null],
    ['active_directory', { userAccountControl: ['512'], accountExpires: ['9223372036854775807'] }, null],
    [
      'active_directory',
      { userAccountControl: ['512'], accountExpires: [filetime('2025-12-31T00:00:00Z')] },
      'expired',
    ],
    ['active_directory', { userAccountControl: ['512'], accountExpires: [filetime('2026-01-02T00:00:00Z')] }, null],
    ['samba', { userAccountControl: ['514'] }, 'disabled'],
    ['openldap', { pwdAccountLockedTime: ['000001010000Z'] }, 'locked by an administrator'],
    ['openldap', { pwdAccountLockedTime: ['20251231235959Z'] }, null],
    ['389ds', { nsAccountLock: ['true'] }, 'disabled'],
    ['389ds', { nsAccountLock: ['FALSE'] }, null],
    ['freeipa', { nsAccountLock: ['TRUE'] }, 'disabled'],
    ['freeipa', { krbPrincipalExpiration: ['20250101000000Z'] }, 'expired'],
    ['freeipa', { krbPrincipalExpiration: ['20270101000000Z'] }, null],
    ['generic', { loginDisabled: ['TRUE'] }, 'disabled'],
    ['generic', {}, null],
  ])('%s %j is %s', (vendor, attributes, reason) => {
    expect(activity(vendor, attributes)).toBe(reason);
  });

  test('the rule of the settings replaces that of the vendor', () => {
    const bit = { disabledRule: { kind: 'bit', attribute: 'shadowFlag', bit: 4 } };
    expect(activity('openldap', { shadowFlag: ['5'] }, bit)).toBe('disabled');
    expect(activity('openldap', { shadowFlag: ['1'], pwdAccountLockedTime: ['000001010000Z'] }, bit)).toBeNull();
    const equal = { disabledRule: { kind: 'equals', attribute: 'employeeType', value: 'Left' } };
    expect(activity('generic', { employeeType: ['LEFT'] }, equal)).toBe('disabled');
    const present = { disabledRule: { kind: 'present', attribute: 'leftOn' } };
    expect(activity('generic', { leftOn: ['2025'] }, present)).toBe('disabled');
    expect(
      activity('active_directory', { userAccountControl: ['514'] }, { disabledRule: { kind: 'never' } }),
    ).toBeNull();
  });
});

describe('the root DSE', () => {
  test.each<[Attributes, LdapVendor]>([
    [{ supportedCapabilities: ['1.2.840.113556.1.4.800'], defaultNamingContext: ['DC=x'] }, 'active_directory'],
    [{ supportedCapabilities: ['1.2.840.113556.1.4.800'], vendorName: ['Samba Team (https://samba.org)'] }, 'samba'],
    [{ objectClass: ['top', 'OpenLDAProotDSE'] }, 'openldap'],
    [{ vendorName: ['389 Project'], vendorVersion: ['389-Directory/2.3.1'], namingContexts: ['dc=x'] }, '389ds'],
    [{ vendorName: ['389 Project'], namingContexts: ['dc=x', 'o=ipaca'] }, 'freeipa'],
    [{ vendorName: ['Somebody'] }, 'generic'],
  ])('%j is %s', (attributes, vendor) => {
    expect(readRootDse(entry(attributes)).vendor).toBe(vendor);
  });

  test('the domain comes before the configuration partitions', () => {
    const attributes = { namingContexts: ['CN=Configuration,DC=x', 'DC=x'], defaultNamingContext: ['DC=x'] };
    expect(readRootDse(entry(attributes)).namingContexts).toEqual(['DC=x', 'CN=Configuration,DC=x']);
  });
});

describe('anchors', () => {
  test('each product names its own immutable id, overridable, always lower case', () => {
    expect(
      Object.fromEntries(ldapVendors.map((vendor) => [vendor, profileOf(vendor, settings()).idAttribute])),
    ).toEqual({
      active_directory: 'objectGUID',
      samba: 'objectGUID',
      openldap: 'entryUUID',
      '389ds': 'nsUniqueId',
      freeipa: 'ipaUniqueID',
      generic: 'entryUUID',
    });
    expect(profileOf('openldap', settings({ idAttribute: 'uidNumber' })).idAttribute).toBe('uidNumber');
    expect(anchorFormOf('nsUniqueId').read(entry({ nsUniqueId: ['C0E002C7-e60f11f1'] }))).toBe('c0e002c7-e60f11f1');
    expect(anchorFormOf('entryUUID').read(entry({}))).toBeNull();
  });

  test('an objectGUID of a wrong length is no anchor, and a foreign text can not be searched for', () => {
    expect(anchorFormOf('objectGUID').read(entry({ objectGUID: [Buffer.alloc(15)] }))).toBeNull();
    expect(anchorFormOf('objectGUID').toValue('not-a-guid')).toBeNull();
  });
});

describe('settings', () => {
  test('a faulty filter is refused with its column when the document is read', () => {
    const parsed = ldapSettings.safeParse({ ...base, userFilter: '(cn=a' });
    expect(parsed.error?.issues[0]?.message).toContain('column 6');
  });

  test('unknown keys are refused', () => {
    expect(ldapSettings.safeParse({ ...base, rejectUnauthorized: false }).success).toBe(false);
  });

  test('the password is tied to where it goes: host, port, TLS, CA and account', () => {
    const connector = ldapConnector({ dialer: createDialer() });
    const target = (of: LdapSettings): string => connector.target(of);
    const before = target(settings());
    expect(target(settings({ userFilter: '(cn=*)', pageSize: 10, port: 636 }))).toBe(before);
    const pem = '-----BEGIN CERTIFICATE-----';
    const changes = [{ host: 'other' }, { port: 637 }, { security: 'starttls' }, { bindDn: 'cn=b' }, { caPem: pem }];
    for (const change of changes) expect(target(settings(change)), JSON.stringify(change)).not.toBe(before);
  });
});
