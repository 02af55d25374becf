/**
 * What differs between directory products: the immutable id, how a disabled account looks, which entries are users and
 * groups. The root DSE tells which product answers; every line can be overridden in the settings.
 */
import type { DefaultMapping } from '../contract/contract.ts';
import type { LdapEntry } from './entry.ts';
import type { LdapSettings, LdapVendor } from './settings.ts';
import { guidBytes } from './values.ts';

export type Activity = { readonly isActive: boolean; readonly inactiveReason: string | null };

const active: Activity = { isActive: true, inactiveReason: null };
const inactive = (inactiveReason: string): Activity => ({ isActive: false, inactiveReason });

export type VendorProfile = {
  readonly vendor: LdapVendor;
  readonly idAttribute: string;
  readonly userFilter: string;
  readonly groupFilter: string;
  readonly memberAttributes: readonly string[];
  /** Members carry their GUID when asked (extended-DN control). */
  readonly hasExtendedDns: boolean;
  readonly disabledAttributes: readonly string[];
  activity(entry: LdapEntry, now: Date): Activity;
};

/** Bit 2 of userAccountControl is ACCOUNTDISABLE. A lockout (0x10) and a password that must change are no deprovisioning. */
const accountDisabledBit = 0x2;

function activeDirectoryActivity(entry: LdapEntry, now: Date): Activity {
  const control = entry.int('useraccountcontrol');
  if (control !== null && (control & accountDisabledBit) !== 0) return inactive('disabled');
  const expires = entry.filetime('accountexpires');
  return expires !== null && expires <= now ? inactive('expired') : active;
}

/** slapo-ppolicy: this value is an administrator's lock; any other time is a lockout after wrong passwords. */
const permanentLock = '000001010000Z';

function openldapActivity(entry: LdapEntry): Activity {
  return entry.text('pwdaccountlockedtime') === permanentLock ? inactive('locked by an administrator') : active;
}

function accountLockActivity(entry: LdapEntry, now: Date): Activity {
  if (entry.bool('nsaccountlock') === true) return inactive('disabled');
  const expires = entry.generalizedTime('krbprincipalexpiration');
  return expires !== null && expires <= now ? inactive('expired') : active;
}

function genericActivity(entry: LdapEntry, now: Date): Activity {
  if (entry.bool('logindisabled') === true) return inactive('disabled');
  const byLock = accountLockActivity(entry, now);
  return byLock.isActive ? openldapActivity(entry) : byLock;
}

const usualUserFilter = '(|(objectClass=inetOrgPerson)(objectClass=person)(objectClass=account))';
const groupOfNamesFilter = '(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))';

const activeDirectory: VendorProfile = {
  vendor: 'active_directory',
  idAttribute: 'objectGUID',
  // 805306368 = SAM_NORMAL_USER_ACCOUNT: users, without computers and trusts; indexed.
  userFilter: '(sAMAccountType=805306368)',
  groupFilter: '(objectCategory=group)',
  memberAttributes: ['member'],
  hasExtendedDns: true,
  disabledAttributes: ['userAccountControl', 'accountExpires'],
  activity: activeDirectoryActivity,
};

const openldap: VendorProfile = {
  vendor: 'openldap',
  idAttribute: 'entryUUID',
  userFilter: usualUserFilter,
  groupFilter: groupOfNamesFilter,
  memberAttributes: ['member', 'uniqueMember'],
  hasExtendedDns: false,
  disabledAttributes: ['pwdAccountLockedTime'],
  activity: openldapActivity,
};

const profiles: Readonly<Record<LdapVendor, VendorProfile>> = {
  active_directory: activeDirectory,
  samba: { ...activeDirectory, vendor: 'samba' },
  openldap,
  '389ds': {
    ...openldap,
    vendor: '389ds',
    idAttribute: 'nsUniqueId',
    disabledAttributes: ['nsAccountLock'],
    activity: accountLockActivity,
  },
  freeipa: {
    ...openldap,
    vendor: 'freeipa',
    idAttribute: 'ipaUniqueID',
    userFilter: '(objectClass=posixAccount)',
    groupFilter: '(objectClass=ipaUserGroup)',
    memberAttributes: ['member'],
    disabledAttributes: ['nsAccountLock', 'krbPrincipalExpiration'],
    activity: accountLockActivity,
  },
  generic: {
    ...openldap,
    vendor: 'generic',
    disabledAttributes: ['loginDisabled', 'nsAccountLock', 'pwdAccountLockedTime', 'krbPrincipalExpiration'],
    activity: genericActivity,
  },
};

export function profileOf(vendor: LdapVendor, settings: LdapSettings): VendorProfile {
  const profile = profiles[vendor];
  return {
    ...profile,
    ...(settings.idAttribute === undefined ? {} : { idAttribute: settings.idAttribute }),
    ...(settings.userFilter === undefined ? {} : { userFilter: settings.userFilter }),
    ...(settings.groupFilter === undefined ? {} : { groupFilter: settings.groupFilter }),
    ...(settings.memberAttribute === undefined ? {} : { memberAttributes: [settings.memberAttribute] }),
    ...disabledOverride(settings.disabledRule),
  };
}

function disabledOverride(
  rule: LdapSettings['disabledRule'],
): Partial<Pick<VendorProfile, 'disabledAttributes' | 'activity'>> {
  if (rule === undefined) return {};
  if (rule.kind === 'never') return { disabledAttributes: [], activity: () => active };
  const key = rule.attribute.toLowerCase();
  const isDisabled = (entry: LdapEntry): boolean => {
    if (rule.kind === 'present') return entry.has(key);
    if (rule.kind === 'equals') return entry.text(key)?.toLowerCase() === rule.value.toLowerCase();
    return ((entry.int(key) ?? 0) & rule.bit) !== 0;
  };
  return {
    disabledAttributes: [rule.attribute],
    activity: (entry) => (isDisabled(entry) ? inactive('disabled') : active),
  };
}

// ------------------------------------------------------------ root DSE

/** Attributes that say which product answers, what it can do and where its trees begin. */
export const rootDseAttributes = [
  'objectClass',
  'structuralObjectClass',
  'vendorName',
  'vendorVersion',
  'namingContexts',
  'defaultNamingContext',
  'supportedControl',
  'supportedCapabilities',
  'dnsHostName',
] as const;

export type RootDse = {
  readonly vendor: LdapVendor;
  readonly vendorText: string | null;
  readonly namingContexts: readonly string[];
  readonly supportedControls: ReadonlySet<string>;
};

/** MS-ADTS section 3.1.1.3.4.3.1: LDAP_CAP_ACTIVE_DIRECTORY_OID. */
const activeDirectoryCapability = '1.2.840.113556.1.4.800';

export function readRootDse(entry: LdapEntry): RootDse {
  const vendorText = [entry.text('vendorname'), entry.text('vendorversion')].filter((text) => text !== null).join(' ');
  const contexts = entry.texts('namingcontexts');
  const main = entry.text('defaultnamingcontext');
  return {
    vendor: vendorOf(entry, vendorText.toLowerCase(), contexts),
    vendorText: vendorText === '' ? null : vendorText,
    // AD lists its configuration partitions as well; the domain comes first.
    namingContexts: main === null ? contexts : [main, ...contexts.filter((context) => context !== main)],
    supportedControls: new Set(entry.texts('supportedcontrol')),
  };
}

function vendorOf(entry: LdapEntry, vendorText: string, contexts: readonly string[]): LdapVendor {
  if (entry.texts('supportedcapabilities').includes(activeDirectoryCapability)) {
    return vendorText.includes('samba') ? 'samba' : 'active_directory';
  }
  const classes = [...entry.texts('objectclass'), ...entry.texts('structuralobjectclass')];
  if (classes.includes('OpenLDAProotDSE')) return 'openldap';
  if (vendorText.includes('389') || vendorText.includes('red hat')) {
    return contexts.some((context) => context.toLowerCase() === 'o=ipaca') ? 'freeipa' : '389ds';
  }
  return 'generic';
}

// ------------------------------------------------------------ anchors

/** How the id attribute becomes an anchor, and an anchor the value to search for. */
export type AnchorForm = {
  read(entry: LdapEntry): string | null;
  /** Null when the text can not be such an id. */
  toValue(anchor: string): string | Buffer | null;
  /** An equality search finds the entry whatever the case of the stored id. */
  readonly isSearchable: boolean;
};

/** Ids whose matching rule ignores case (or that have one case only). */
const caselessIds = new Set(['entryuuid', 'nsuniqueid', 'ipauniqueid']);

export function anchorFormOf(idAttribute: string): AnchorForm {
  const key = idAttribute.toLowerCase();
  if (key === 'objectguid') {
    return { read: (entry) => entry.guid(key), toValue: guidBytes, isSearchable: true };
  }
  return {
    read: (entry) => entry.text(key)?.toLowerCase() ?? null,
    toValue: (anchor) => anchor,
    isSearchable: caselessIds.has(key),
  };
}

// ------------------------------------------------------------ mappings

const common: readonly DefaultMapping[] = [
  { target: 'email', expression: 'object.mail' },
  // inetOrgPerson need not have a displayName, but has a cn (RFC 4519 section 2.3)
  { target: 'displayName', expression: 'object.displayName != null ? object.displayName : object.cn' },
  { target: 'givenName', expression: 'object.givenName' },
  { target: 'familyName', expression: 'object.sn' },
  { target: 'phone', expression: 'object.telephoneNumber' },
  { target: 'jobTitle', expression: 'object.title' },
];

const windowsMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.userPrincipalName' },
  ...common,
  { target: 'employeeId', expression: 'object.employeeID' },
  { target: 'department', expression: 'object.department' },
];

const standardMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.uid' },
  ...common,
  { target: 'employeeId', expression: 'object.employeeNumber' },
  { target: 'department', expression: 'object.departmentNumber' },
];

/** With vendor `auto` the product is not known before the first connection: either spelling serves (absent is null). */
const eitherMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.userPrincipalName != null ? object.userPrincipalName : object.uid' },
  ...common,
  { target: 'employeeId', expression: 'object.employeeID != null ? object.employeeID : object.employeeNumber' },
  { target: 'department', expression: 'object.department != null ? object.department : object.departmentNumber' },
];

export function mappingsOf(vendor: LdapVendor | 'auto'): readonly DefaultMapping[] {
  if (vendor === 'auto') return eitherMappings;
  return vendor === 'active_directory' || vendor === 'samba' ? windowsMappings : standardMappings;
}
