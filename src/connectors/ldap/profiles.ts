/**
 * What differs between directory products: the immutable id, how a disabled account looks, which entries are users and
 * groups. The root DSE tells which product answers; every line can be overridden in the settings.
 */
import type { DefaultMapping } from '../contract/contract.ts';
import {
  accountLockAccounts,
  anyAccounts,
  customAccounts,
  freeipaAccounts,
  openldapAccounts,
  windowsAccounts,
} from './account-state.ts';
import type { AccountRule } from './account-state.ts';
import type { LdapEntry } from './entry.ts';
import type { LdapSettings, LdapVendor } from './settings.ts';
import { guidBytes } from './values.ts';

export type VendorProfile = {
  readonly vendor: LdapVendor;
  readonly idAttribute: string;
  readonly userFilter: string;
  readonly groupFilter: string;
  readonly memberAttributes: readonly string[];
  /** Members carry their GUID when asked (extended-DN control). */
  readonly hasExtendedDns: boolean;
  /** Who has the group as `primaryGroupID` is in no member list of it. */
  readonly hasPrimaryGroups: boolean;
  readonly accounts: AccountRule;
};

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
  hasPrimaryGroups: true,
  accounts: windowsAccounts,
};

const openldap: VendorProfile = {
  vendor: 'openldap',
  idAttribute: 'entryUUID',
  userFilter: usualUserFilter,
  groupFilter: groupOfNamesFilter,
  memberAttributes: ['member', 'uniqueMember'],
  hasExtendedDns: false,
  hasPrimaryGroups: false,
  accounts: openldapAccounts,
};

const profiles: Readonly<Record<LdapVendor, VendorProfile>> = {
  active_directory: activeDirectory,
  samba: { ...activeDirectory, vendor: 'samba' },
  openldap,
  '389ds': {
    ...openldap,
    vendor: '389ds',
    idAttribute: 'nsUniqueId',
    accounts: accountLockAccounts,
  },
  freeipa: {
    ...openldap,
    vendor: 'freeipa',
    idAttribute: 'ipaUniqueID',
    userFilter: '(objectClass=posixAccount)',
    groupFilter: '(objectClass=ipaUserGroup)',
    memberAttributes: ['member'],
    accounts: freeipaAccounts,
  },
  generic: {
    ...openldap,
    vendor: 'generic',
    accounts: anyAccounts,
  },
};

export function profileOf(vendor: LdapVendor, settings: LdapSettings): VendorProfile {
  const profile = profiles[vendor];
  const { idAttribute = profile.idAttribute, disabledRule } = settings;
  return {
    ...profile,
    idAttribute,
    // extended DNs carry GUIDs: they name members only while the GUID is the anchor
    hasExtendedDns: profile.hasExtendedDns && idAttribute.toLowerCase() === 'objectguid',
    ...(settings.userFilter === undefined ? {} : { userFilter: settings.userFilter }),
    ...(settings.groupFilter === undefined ? {} : { groupFilter: settings.groupFilter }),
    ...(settings.memberAttribute === undefined ? {} : { memberAttributes: [settings.memberAttribute] }),
    ...(disabledRule === undefined ? {} : { accounts: customAccounts(disabledRule) }),
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
  'dsServiceName',
  'highestCommittedUSN',
  'currentTime',
] as const;

export type RootDse = {
  readonly vendor: LdapVendor;
  readonly vendorText: string | null;
  readonly namingContexts: readonly string[];
  readonly supportedControls: ReadonlySet<string>;
  /** Active Directory: the entry of this very server's directory service, its newest change, its clock. */
  readonly dsServiceName: string | null;
  readonly highestCommittedUsn: string | null;
  readonly currentTime: Date | null;
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
    dsServiceName: entry.text('dsservicename'),
    highestCommittedUsn: entry.text('highestcommittedusn'),
    currentTime: entry.generalizedTime('currenttime'),
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
  { target: 'phone', expression: 'object.telephoneNumber != null ? object.telephoneNumber : object.mobile' },
  { target: 'jobTitle', expression: 'object.title' },
  { target: 'attributes.manager', expression: 'object.manager' },
  { target: 'attributes.mobile', expression: 'object.mobile' },
  { target: 'attributes.office', expression: 'object.physicalDeliveryOfficeName' },
  { target: 'attributes.city', expression: 'object.l' },
];

const windowsMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.userPrincipalName' },
  ...common,
  { target: 'employeeId', expression: 'object.employeeID' },
  { target: 'department', expression: 'object.department' },
  { target: 'attributes.country', expression: 'object.c' },
  { target: 'attributes.company', expression: 'object.company' },
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
