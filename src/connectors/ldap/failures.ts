/** Foreign errors become ours here, once: result codes (RFC 4511 appendix A), AD's bind sub-codes, TLS and socket errors. */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { PeerFacts } from '../../platform/dialer.ts';
import type { LdapResult } from './results.ts';

type Meaning = { readonly name: string; readonly code: ErrorCode; readonly says: string; readonly remedy?: string };

const credentials = 'Check the bind DN and its password.';
const rights = 'Give the service account the right to read below the base DN.';

const meanings: Readonly<Record<number, Meaning>> = {
  1: {
    name: 'operationsError',
    code: 'directory_permission',
    says: 'The server refused the operation.',
    remedy: 'AD says this to a connection that is not signed in: check the bind DN.',
  },
  2: { name: 'protocolError', code: 'directory_protocol', says: 'The server did not understand the request.' },
  3: {
    name: 'timeLimitExceeded',
    code: 'directory_incomplete',
    says: "The search took longer than the server's time limit.",
    remedy: 'Index the attributes of the filter, narrow the filter, or raise the limit for the service account.',
  },
  4: {
    name: 'sizeLimitExceeded',
    code: 'directory_incomplete',
    says: 'The server stopped at its size limit before the last entry.',
    remedy: 'Raise the size limit (size and size.prtotal in OpenLDAP) for the service account.',
  },
  7: { name: 'authMethodNotSupported', code: 'directory_auth', says: 'The server does not take simple binds.' },
  8: {
    name: 'strongerAuthRequired',
    code: 'directory_auth',
    says: 'The server asks for TLS before the password.',
    remedy: 'Use ldaps or StartTLS.',
  },
  10: {
    name: 'referral',
    code: 'directory_not_found',
    says: 'This server does not hold the base DN and points to another one.',
    remedy: 'Connect to the server that holds it; referrals are not followed.',
  },
  11: {
    name: 'adminLimitExceeded',
    code: 'directory_limit',
    says: 'A limit of the server was exceeded.',
    remedy: 'Lower the page size, or raise the limits for the service account.',
  },
  12: {
    name: 'unavailableCriticalExtension',
    code: 'directory_protocol',
    says: 'The server does not know a control that the read needs.',
    remedy: 'If it does not support paged results, set the page size to 0.',
  },
  13: {
    name: 'confidentialityRequired',
    code: 'directory_auth',
    says: 'The server asks for TLS.',
    remedy: 'Use ldaps or StartTLS.',
  },
  18: {
    name: 'inappropriateMatching',
    code: 'invalid_input',
    says: 'The filter compares an attribute in a way its type does not allow.',
  },
  32: {
    name: 'noSuchObject',
    code: 'directory_not_found',
    says: 'The base DN does not exist, or the service account may not see it.',
    remedy: 'Check the base DN.',
  },
  34: {
    name: 'invalidDNSyntax',
    code: 'directory_not_found',
    says: 'The base DN or bind DN is not a valid DN.',
    remedy: 'Write it like ou=people,dc=example,dc=org.',
  },
  48: {
    name: 'inappropriateAuthentication',
    code: 'directory_auth',
    says: 'The account can not sign in with a password.',
    remedy: credentials,
  },
  49: {
    name: 'invalidCredentials',
    code: 'directory_auth',
    says: 'The server refused the bind DN or its password.',
    remedy: credentials,
  },
  50: {
    name: 'insufficientAccessRights',
    code: 'directory_permission',
    says: 'The service account may not read this.',
    remedy: rights,
  },
  51: { name: 'busy', code: 'directory_throttled', says: 'The server is too busy.' },
  52: { name: 'unavailable', code: 'directory_unreachable', says: 'The server is shutting down or not available.' },
  53: { name: 'unwillingToPerform', code: 'directory_permission', says: 'The server refused the request.' },
  80: { name: 'other', code: 'directory_protocol', says: 'The server reported an internal error.' },
};

type BindWords = { readonly says: string; readonly remedy: string };

const askAdministrator =
  'In Active Directory Users and Computers, open the properties of the service account, tab Account';

/** AD bind sub-codes: hexadecimal Win32 errors in the diagnostic text ("..., data 52e, v3839"; winerror.h). */
export const bindSubCodes: Readonly<Record<string, BindWords>> = {
  '525': {
    says: 'There is no such user in Active Directory.',
    remedy: 'Check the bind DN: a full DN, or user@domain.',
  },
  '52e': { says: 'The user name or the password is wrong.', remedy: credentials },
  '52f': {
    says: 'A restriction of the account keeps it from signing in.',
    remedy: `${askAdministrator}: no smart card may be required, and no authentication policy may bar this machine.`,
  },
  '530': {
    says: 'The account may not sign in at this hour (logon hours).',
    remedy: `${askAdministrator}, and allow all hours: synchronization runs at night, too.`,
  },
  '531': {
    says: 'The account may not sign in from this machine (workstation restriction).',
    remedy: `${askAdministrator}, Log On To, and allow all computers.`,
  },
  '532': {
    says: "The account's password has expired.",
    remedy: 'Set a new password, let it never expire for this account, and enter it here.',
  },
  '533': { says: 'The account is disabled.', remedy: 'Enable the service account.' },
  '534': {
    says: 'The account has not been granted this kind of sign-in.',
    remedy: 'Allow it "Access this computer from the network" on the domain controllers.',
  },
  '568': {
    says: 'The account is in too many groups to sign in.',
    remedy: 'Take the service account out of groups it does not need.',
  },
  '701': { says: 'The account has expired.', remedy: `${askAdministrator}, and let the account never expire.` },
  '773': {
    says: "The account's password must be changed first.",
    remedy: 'Set a password without "User must change password at next logon", and enter it here.',
  },
  '775': {
    says: 'The account is locked out.',
    remedy: 'Unlock it, and look for whoever signs in with an old password of it.',
  },
};

/** A server may send megabytes of text; what is stored and shown stays readable. */
const maxRawLength = 1_000;
const maxReferrals = 5;

export function rawResult(result: LdapResult): string {
  const name = meanings[result.code]?.name ?? 'result code';
  const text = result.message === '' ? '' : `: ${result.message}`;
  const referrals = result.referrals.length === 0 ? '' : ` -> ${result.referrals.slice(0, maxReferrals).join(' ')}`;
  return `${name} (${result.code})${text}${referrals}`.slice(0, maxRawLength);
}

/** `doing` completes "while ...", e.g. "reading users". */
export function resultFailure(result: LdapResult, doing: string): RollcallError {
  const meaning = meanings[result.code];
  const says = meaning?.says ?? 'The server reported an error.';
  return new RollcallError(meaning?.code ?? 'directory_protocol', `${says.replace(/\.$/, '')} (while ${doing}).`, {
    ...(meaning?.remedy === undefined ? {} : { remedy: meaning.remedy }),
    raw: rawResult(result),
    details: {
      resultCode: result.code,
      ...(result.matchedDn === '' ? {} : { matchedDn: result.matchedDn.slice(0, maxRawLength) }),
    },
  });
}

/** Every other end of a search leaves the read incomplete. */
export function mustSucceed(result: LdapResult, doing: string): void {
  if (result.code !== 0) throw resultFailure(result, doing);
}

export function bindFailure(result: LdapResult): RollcallError {
  const subCode = /\bdata ([0-9a-f]{1,8})\b/i.exec(result.message)?.[1]?.toLowerCase();
  const words = subCode === undefined ? undefined : bindSubCodes[subCode];
  if (result.code === 49 && words !== undefined) {
    return new RollcallError('directory_auth', words.says, { remedy: words.remedy, raw: rawResult(result) });
  }
  // 389-ds answers 53 "Account inactivated"; whatever the code, a refused bind is a matter of authentication,
  // except when the server says that it can not answer now.
  const meaning = meanings[result.code];
  const code = result.code === 51 || result.code === 52 ? (meaning?.code ?? 'directory_unreachable') : 'directory_auth';
  return new RollcallError(code, meaning?.says ?? 'The server refused the bind.', {
    remedy: meaning?.remedy ?? credentials,
    raw: rawResult(result),
  });
}

const trustCodes = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
]);

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? code : String(error);
}

/** What the dialer could see of the certificate before it was refused. */
function peerOf(error: unknown): Partial<PeerFacts> {
  const peer: unknown = error instanceof Error ? Reflect.get(error, 'peer') : undefined;
  return typeof peer === 'object' && peer !== null ? peer : {};
}

export function tlsFailure(cause: unknown, host: string): RollcallError {
  const raw = codeOf(cause);
  const certificate = peerOf(cause);
  const details = { certificate };
  const issuer = certificate.issuer === undefined ? '' : ` It was issued by "${certificate.issuer}".`;
  if (trustCodes.has(raw)) {
    return new RollcallError('directory_tls', `The certificate of ${host} is not trusted.${issuer}`, {
      cause,
      details,
      remedy: 'Give the certificate of that authority (PEM) as CA of this connection.',
      raw,
    });
  }
  if (raw === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new RollcallError('directory_tls', `The certificate of ${host} is for another name.`, {
      cause,
      details,
      remedy: `Use a host name that stands in the certificate${certificate.alternativeNames === undefined ? '' : ` (${certificate.alternativeNames})`}, or set the TLS server name.`,
      raw: cause instanceof Error ? `${raw}: ${cause.message}` : raw,
    });
  }
  if (raw === 'CERT_HAS_EXPIRED' || raw === 'CERT_NOT_YET_VALID') {
    const says = raw === 'CERT_HAS_EXPIRED' ? 'has expired' : 'is not valid yet';
    return new RollcallError('directory_tls', `The certificate of ${host} ${says}.`, {
      cause,
      details,
      remedy: 'Renew it on the directory server, or correct the clock.',
      raw,
    });
  }
  return new RollcallError('directory_tls', `No TLS connection to ${host} could be made.`, {
    cause,
    details,
    remedy: 'Check that the port speaks TLS: ldaps is usually 636, StartTLS 389.',
    raw: cause instanceof Error ? `${raw}: ${cause.message}` : raw,
  });
}

export function startTlsFailure(raw: string, cause?: unknown): RollcallError {
  return new RollcallError('directory_tls', 'The server did not agree to StartTLS.', {
    cause,
    remedy: 'If the port is for ldaps (usually 636), choose ldaps; else enable TLS on the server.',
    raw,
  });
}

export function lostConnection(cause: unknown): RollcallError {
  if (isRollcallError(cause)) return cause;
  return new RollcallError('directory_incomplete', 'The connection to the directory was lost.', {
    cause,
    remedy: 'Nothing of this read is used; the next run reads again.',
    raw: cause === undefined ? 'closed by the server' : codeOf(cause),
  });
}

/** Nothing came although an answer was awaited. */
export function silence(idleTimeoutMs: number): RollcallError {
  const seconds = Math.round(idleTimeoutMs / 1_000);
  return new RollcallError('directory_incomplete', `The directory sent nothing for ${seconds} s.`, {
    remedy:
      'Nothing of this read is used. If its searches are slow, index the attributes of the filter or raise idleTimeoutSeconds.',
    raw: 'ETIMEDOUT',
  });
}

/** RFC 4511 section 4.4.1. */
export function noticeOfDisconnection(result: LdapResult): RollcallError {
  return new RollcallError('directory_incomplete', 'The server ended the connection.', {
    remedy: 'Nothing of this read is used; the next run reads again.',
    raw: `notice of disconnection, code ${result.code}: ${result.message}`,
  });
}
