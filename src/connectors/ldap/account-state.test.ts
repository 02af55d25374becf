import { describe, expect, test } from 'vitest';
import { entryBytes } from '../../../test/servers/fake-ldap.ts';
import type { Attributes } from '../../../test/servers/fake-ldap.ts';
import { activityOf } from './account-state.ts';
import { LdapEntry, pieceOf } from './entry.ts';
import { namesInFilter } from './filter.ts';
import { profileOf } from './profiles.ts';
import { readHead } from './results.ts';
import { ldapSettings } from './settings.ts';
import type { LdapVendor } from './settings.ts';
import { domainOfSid, sidBytes, sidText } from './values.ts';

const now = new Date('2026-01-01T00:00:00Z');
const base = { host: 'ldap.example.org', bindDn: 'cn=svc,dc=x', baseDn: 'dc=x' };

function activity(vendor: LdapVendor, attributes: Attributes, more: Record<string, unknown> = {}) {
  const frame = entryBytes(1, 'cn=a,dc=x', attributes);
  const entry = new LdapEntry(pieceOf(frame), readHead(frame).contentOffset, frame.length);
  const settings = ldapSettings.parse({ ...base, ...more });
  return activityOf(profileOf(vendor, settings).accounts, settings.lockedAccounts, entry, now);
}

const lockedOut = { userAccountControl: ['512'], 'msDS-User-Account-Control-Computed': ['16'] };
const past = '20250101000000Z';
const future = '20270101000000Z';

describe('the state of an account', () => {
  test.each<[LdapVendor, Attributes, string]>([
    ['active_directory', lockedOut, 'locked'],
    ['active_directory', { ...lockedOut, userAccountControl: ['514'] }, 'disabled'],
    // the lockout of lockoutTime may have passed long ago: only the computed attribute knows
    ['active_directory', { userAccountControl: ['512'], lockoutTime: ['133000000000000000'] }, 'active'],
    // password expired
    ['active_directory', { userAccountControl: ['512'], 'msDS-User-Account-Control-Computed': ['8388608'] }, 'active'],
    ['openldap', { pwdAccountLockedTime: ['20251231235959Z'] }, 'locked'],
    ['openldap', { pwdAccountLockedTime: ['000001010000Z'] }, 'locked'],
    ['openldap', { pwdEndTime: [past] }, 'expired'],
    ['openldap', { pwdEndTime: [future] }, 'active'],
    ['389ds', { accountUnlockTime: [future] }, 'locked'],
    ['389ds', { accountUnlockTime: [past] }, 'active'],
    ['389ds', { accountUnlockTime: [future], nsAccountLock: ['true'] }, 'disabled'],
    ['freeipa', { nsAccountLock: ['TRUE'], krbPrincipalExpiration: [past] }, 'disabled'],
    ['freeipa', { krbPrincipalExpiration: [past] }, 'expired'],
    ['generic', { 'ds-pwp-account-disabled': ['true'] }, 'disabled'],
    ['generic', { loginExpirationTime: [past] }, 'expired'],
    ['generic', { lockedByIntruder: ['TRUE'] }, 'locked'],
    ['generic', { krbPrincipalExpiration: [past] }, 'expired'],
  ])('%s %j is %s', (vendor, attributes, state) => {
    expect(activity(vendor, attributes).state).toBe(state);
  });

  test("a lockout takes nothing away unless the settings say so; an administrator's lock always does", () => {
    const inactive = { lockedAccounts: 'inactive' };
    expect(activity('samba', lockedOut)).toMatchObject({ isActive: true, inactiveReason: null });
    expect(activity('samba', lockedOut, inactive)).toMatchObject({ isActive: false, inactiveReason: 'locked' });
    const permanent = { pwdAccountLockedTime: ['000001010000Z'] };
    expect(activity('openldap', permanent)).toMatchObject({
      isActive: false,
      inactiveReason: 'locked by an administrator',
    });
  });

  test.each([
    ['days', '20088', 'expired'],
    ['days', '-1', 'active'],
    ['days', '30000', 'active'],
    ['generalized_time', past, 'expired'],
    ['filetime', '0', 'active'],
  ])('a rule of the settings may name a date: %s %s is %s', (format, value, state) => {
    const disabledRule = { kind: 'expires', attribute: 'shadowExpire', format };
    expect(activity('openldap', { shadowExpire: [value] }, { disabledRule }).state).toBe(state);
  });
});

test('GUIDs name members only while the GUID is the anchor', () => {
  const profileWith = (idAttribute?: string) =>
    profileOf('active_directory', ldapSettings.parse({ ...base, idAttribute }));
  expect(profileWith().hasExtendedDns).toBe(true);
  expect(profileWith('sAMAccountName').hasExtendedDns).toBe(false);
});

test('a SID becomes its bytes and back, and tells its domain unless it is built in', () => {
  const sid = 'S-1-5-21-2035470579-3217372667-4166100995-513';
  expect(sidText(sidBytes(sid) ?? Buffer.alloc(0))).toBe(sid);
  expect(domainOfSid(sid)).toBe('S-1-5-21-2035470579-3217372667-4166100995');
  expect(domainOfSid('S-1-5-32-545')).toBeNull();
  expect(['S-1-5-21-4294967296', 'S-1-', 'x'].map(sidBytes)).toEqual([null, null, null]);
});

test.each([
  ['(&(objectClass=user)(!(department=Secret)))', ['objectclass', 'department']],
  ['( memberOf = CN=a,DC=b )', ['memberof']],
  ['(memberOf:1.2.840.113556.1.4.1941:=CN=a=b)', ['memberof', '1.2.840.113556.1.4.1941']],
  ['(|(cn>=a)(sn~=b)(mail=*@x)(cn:dn:=y))', ['cn', 'sn', 'mail', 'dn']],
])('the names a filter mentions: %s', (text, names) => {
  expect([...namesInFilter(text)]).toEqual(names);
});
