/**
 * A bound session together with what one connection's settings make of the server: product, searches, anchors. Reads,
 * proofs and tests all begin here and always say goodbye.
 */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { Dialer } from '../../platform/dialer.ts';
import { isPresent, parseFilter } from './filter.ts';
import type { LdapFilter } from './filter.ts';
import { anchorFormOf, profileOf, readRootDse, rootDseAttributes } from './profiles.ts';
import type { AnchorForm, RootDse, VendorProfile } from './profiles.ts';
import { LdapSession } from './session.ts';
import { portOf } from './settings.ts';
import type { LdapSecrets, LdapSettings } from './settings.ts';

export type LdapDeps = {
  readonly dialer: Dialer;
  /** Operator's word: plain ldap (passwords in the clear) is allowed. */
  readonly allowPlaintext?: boolean;
  /** For TCP and again for TLS; 5 s unless given. */
  readonly connectTimeoutMs?: number;
  readonly now?: () => Date;
};

export type Access = { readonly settings: LdapSettings; readonly secrets: LdapSecrets; readonly signal: AbortSignal };

/** Where one kind of object is found. */
export type Place = { readonly base: string; readonly filter: LdapFilter };

export type Directory = {
  readonly session: LdapSession;
  readonly rootDse: RootDse;
  readonly profile: VendorProfile;
  readonly anchors: AnchorForm;
  readonly users: Place;
  readonly groups: Place;
};

const defaultConnectTimeoutMs = 5_000;

export async function openSession(deps: LdapDeps, { settings, signal }: Omit<Access, 'secrets'>): Promise<LdapSession> {
  if (settings.security === 'plain' && deps.allowPlaintext !== true) {
    throw new RollcallError(
      'directory_tls',
      'Plain LDAP would send the password in the clear and is not allowed here.',
      {
        remedy: 'Use ldaps or starttls; or the operator allows plain LDAP for a directory on a trusted wire.',
        raw: 'plain',
      },
    );
  }
  return LdapSession.open(deps.dialer, {
    host: settings.host,
    port: portOf(settings),
    security: settings.security,
    caPem: settings.caPem,
    servername: settings.tlsServerName,
    connectTimeoutMs: deps.connectTimeoutMs ?? defaultConnectTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutSeconds * 1_000,
    maxMessageBytes: settings.maxMessageBytes,
    signal,
  });
}

export async function bindSession(session: LdapSession, { settings, secrets }: Access): Promise<void> {
  await session.bind(settings.bindDn, secrets.password.reveal());
}

/** RFC 4512 section 5.1: the entry with the empty name. Unreadable is fine where the settings name the vendor. */
export async function fetchRootDse(session: LdapSession, { vendor }: LdapSettings): Promise<RootDse> {
  const [entry] = await session.find({
    base: '',
    scope: 'base',
    filter: isPresent('objectClass'),
    attributes: rootDseAttributes,
    doing: 'asking the server what it is',
  });
  if (entry !== undefined) return readRootDse(entry);
  if (vendor === 'auto') {
    throw new RollcallError('directory_permission', 'The service account may not read the root DSE of the server.', {
      remedy: 'Allow it to read the entry with the empty DN, or name the vendor in the settings.',
      raw: 'no root DSE',
    });
  }
  return {
    vendor,
    vendorText: null,
    namingContexts: [],
    supportedControls: new Set(),
    dsServiceName: null,
    highestCommittedUsn: null,
    currentTime: null,
  };
}

export function describeDirectory(session: LdapSession, rootDse: RootDse, settings: LdapSettings): Directory {
  const profile = profileOf(settings.vendor === 'auto' ? rootDse.vendor : settings.vendor, settings);
  return {
    session,
    rootDse,
    profile,
    anchors: anchorFormOf(profile.idAttribute),
    users: { base: settings.baseDn, filter: parseFilter(profile.userFilter) },
    groups: { base: settings.groupBaseDn ?? settings.baseDn, filter: parseFilter(profile.groupFilter) },
  };
}

/** Connects, binds, asks what the server is; the caller closes `session`. */
export async function openDirectory(deps: LdapDeps, access: Access): Promise<Directory> {
  if (access.settings.baseDn === '') throw baseMissing([]);
  const session = await openSession(deps, access);
  try {
    await bindSession(session, access);
    return describeDirectory(session, await fetchRootDse(session, access.settings), access.settings);
  } catch (error) {
    session.close();
    throw error;
  }
}

/** Names the trees the server does hold, when it does not hold the base. */
export function withNamingContexts(error: unknown, { namingContexts }: RootDse): unknown {
  if (!isRollcallError(error, 'directory_not_found') || namingContexts.length === 0) return error;
  return new RollcallError('directory_not_found', error.message, {
    cause: error,
    remedy: `Check the base DN; this server holds: ${namingContexts.join('; ')}.`,
    ...(error.raw === undefined ? {} : { raw: error.raw }),
    details: { ...error.details, namingContexts },
  });
}

/** An empty base would be the root of the server, which on some means everything they hold. */
export function baseMissing(suggested: readonly string[]): RollcallError {
  const where = suggested.length === 0 ? 'Run the connection test: it names them' : `Here: ${suggested.join('; ')}`;
  return new RollcallError('directory_not_found', 'The connection does not say yet below which entry its users are.', {
    remedy: `Set baseDn to one of the base DNs of the server, or to an entry below it. ${where}.`,
    raw: 'baseDn is empty',
  });
}
