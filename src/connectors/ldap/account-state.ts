/**
 * What a directory says about an account: active, disabled, expired or locked, each told by other attributes in each
 * product. Disabled and expired are the word of an administrator and end access. A lockout after wrong passwords is the
 * work of whoever typed them: by default it changes nothing here, else a stranger could suspend people.
 */
import type { LdapEntry } from './entry.ts';
import type { LdapSettings } from './settings.ts';

export const accountStates = ['active', 'disabled', 'expired', 'locked'] as const;
export type AccountState = (typeof accountStates)[number];

/** The computed attribute under which mappings, scope and predicates see the state: `object.accountState`. */
export const accountStateAttribute = 'accountState';

export type AccountRule = {
  /** Needed to tell whether the account is disabled or expired. */
  readonly attributes: readonly string[];
  /** Further ones that tell a lockout; asked for only when somebody wants to know. */
  readonly lockAttributes: readonly string[];
  state(entry: LdapEntry, now: Date): AccountState;
  /** When the account ends by itself, without any change in the directory. */
  endsAt(entry: LdapEntry): Date | null;
  /** Finds at least every entry with such an end; null where accounts have none. */
  readonly endFilter: string | null;
  /** A lock that only an administrator takes back disables the account. */
  isLockPermanent(entry: LdapEntry): boolean;
};

const noLock = (): boolean => false;
const noEnd = (): null => null;

/** MS-ADTS section 2.2.16: ADS_UF_ACCOUNT_DISABLE and ADS_UF_LOCKOUT. */
const windowsBits = { disabled: 0x2, lockout: 0x10 } as const;

/**
 * The lockout bit lives in the computed attribute only (MS-ADTS section 3.1.1.4.5.17); `lockoutTime` alone stays set
 * after the lockout has passed. A password that must change or has expired (0x800000) is no deprovisioning.
 */
export const windowsAccounts: AccountRule = {
  attributes: ['userAccountControl', 'accountExpires'],
  lockAttributes: ['msDS-User-Account-Control-Computed'],
  state: (entry, now) => {
    if (((entry.int('useraccountcontrol') ?? 0) & windowsBits.disabled) !== 0) return 'disabled';
    const ends = entry.filetime('accountexpires');
    if (ends !== null && ends <= now) return 'expired';
    const computed = entry.int('msds-user-account-control-computed') ?? 0;
    return (computed & windowsBits.lockout) !== 0 ? 'locked' : 'active';
  },
  endsAt: (entry) => entry.filetime('accountexpires'),
  // 0 and the largest value mean never
  endFilter: '(&(accountExpires>=1)(!(accountExpires=9223372036854775807)))',
  isLockPermanent: noLock,
};

/** slapo-ppolicy(5): this value of pwdAccountLockedTime is an administrator's lock, any other time a lockout. */
const permanentLock = '000001010000Z';

export const openldapAccounts: AccountRule = {
  attributes: ['pwdAccountLockedTime', 'pwdEndTime'],
  lockAttributes: [],
  state: (entry, now) => {
    const locked = entry.text('pwdaccountlockedtime');
    if (locked === permanentLock) return 'locked';
    const ends = entry.generalizedTime('pwdendtime');
    if (ends !== null && ends <= now) return 'expired';
    return locked === null ? 'active' : 'locked';
  },
  endsAt: (entry) => entry.generalizedTime('pwdendtime'),
  endFilter: '(pwdEndTime=*)',
  isLockPermanent: (entry) => entry.text('pwdaccountlockedtime') === permanentLock,
};

/** 389 Directory Server: nsAccountLock is operational; accountUnlockTime is the end of a lockout after wrong passwords. */
export const accountLockAccounts: AccountRule = {
  attributes: ['nsAccountLock'],
  lockAttributes: ['accountUnlockTime'],
  state: (entry, now) => {
    if (entry.bool('nsaccountlock') === true) return 'disabled';
    const until = entry.generalizedTime('accountunlocktime');
    return until !== null && until > now ? 'locked' : 'active';
  },
  endsAt: noEnd,
  endFilter: null,
  isLockPermanent: noLock,
};

export const freeipaAccounts: AccountRule = {
  ...accountLockAccounts,
  attributes: ['nsAccountLock', 'krbPrincipalExpiration'],
  lockAttributes: [],
  state: (entry, now) => {
    if (entry.bool('nsaccountlock') === true) return 'disabled';
    const ends = entry.generalizedTime('krbprincipalexpiration');
    return ends !== null && ends <= now ? 'expired' : 'active';
  },
  endsAt: (entry) => entry.generalizedTime('krbprincipalexpiration'),
  endFilter: '(krbPrincipalExpiration=*)',
};

/** Whatever one of the known products would say; eDirectory and PingDirectory by their documented attributes. */
export const anyAccounts: AccountRule = {
  attributes: [
    'loginDisabled',
    'loginExpirationTime',
    'ds-pwp-account-disabled',
    ...freeipaAccounts.attributes,
    ...openldapAccounts.attributes,
  ],
  lockAttributes: ['lockedByIntruder'],
  state: (entry, now) => {
    if (entry.bool('logindisabled') === true || entry.bool('ds-pwp-account-disabled') === true) return 'disabled';
    const ends = entry.generalizedTime('loginexpirationtime');
    if (ends !== null && ends <= now) return 'expired';
    const byKerberos = freeipaAccounts.state(entry, now);
    if (byKerberos !== 'active') return byKerberos;
    const byPolicy = openldapAccounts.state(entry, now);
    return byPolicy === 'active' && entry.bool('lockedbyintruder') === true ? 'locked' : byPolicy;
  },
  endsAt: noEnd,
  endFilter: null,
  isLockPermanent: (entry) => openldapAccounts.isLockPermanent(entry),
};

type DisabledRule = NonNullable<LdapSettings['disabledRule']>;

/** The rule of the settings in place of the product's. */
export function customAccounts(rule: DisabledRule): AccountRule {
  if (rule.kind === 'never') {
    const state = (): AccountState => 'active';
    return { attributes: [], lockAttributes: [], state, endsAt: noEnd, endFilter: null, isLockPermanent: noLock };
  }
  const key = rule.attribute.toLowerCase();
  const endsAt = (entry: LdapEntry): Date | null => (rule.kind === 'expires' ? endOf(entry, key, rule.format) : null);
  const isDisabled = (entry: LdapEntry): boolean => {
    if (rule.kind === 'present') return entry.has(key);
    if (rule.kind === 'equals') return entry.text(key)?.toLowerCase() === rule.value.toLowerCase();
    return rule.kind === 'bit' && ((entry.int(key) ?? 0) & rule.bit) !== 0;
  };
  return {
    attributes: [rule.attribute],
    lockAttributes: [],
    state: (entry, now) => {
      if (isDisabled(entry)) return 'disabled';
      const ends = endsAt(entry);
      return ends !== null && ends <= now ? 'expired' : 'active';
    },
    endsAt,
    endFilter: rule.kind === 'expires' ? `(${rule.attribute}=*)` : null,
    isLockPermanent: noLock,
  };
}

const dayMs = 86_400_000;

function endOf(entry: LdapEntry, key: string, format: 'filetime' | 'generalized_time' | 'days'): Date | null {
  if (format === 'filetime') return entry.filetime(key);
  if (format === 'generalized_time') return entry.generalizedTime(key);
  // shadow(5): days since 1970; -1 and no value mean never
  const days = entry.int(key);
  return days === null || days < 0 ? null : new Date(days * dayMs);
}

export type Activity = {
  readonly state: AccountState;
  readonly isActive: boolean;
  readonly inactiveReason: string | null;
};

export type LockedAccounts = LdapSettings['lockedAccounts'];

export function activityOf(rule: AccountRule, lockedAccounts: LockedAccounts, entry: LdapEntry, now: Date): Activity {
  const state = rule.state(entry, now);
  if (state === 'active') return { state, isActive: true, inactiveReason: null };
  if (state !== 'locked') return { state, isActive: false, inactiveReason: state };
  if (rule.isLockPermanent(entry)) return { state, isActive: false, inactiveReason: 'locked by an administrator' };
  return lockedAccounts === 'inactive'
    ? { state, isActive: false, inactiveReason: 'locked' }
    : { state, isActive: true, inactiveReason: null };
}
