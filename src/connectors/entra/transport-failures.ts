/** DNS, TCP and TLS failures of Node in an admin's words. A certificate fault never heals by itself; the rest may. */
import { RollcallError } from '../../core/errors.ts';

const tlsCodes: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate was issued by an authority this server does not know',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate was issued by an authority this server does not know',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate was issued by an authority this server does not know',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate was issued by an authority this server does not know',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  HOSTNAME_MISMATCH: 'its certificate is for another name',
};

const networkCodes: Readonly<Record<string, string>> = {
  ENOTFOUND: 'could not be found: the name does not resolve',
  ENODATA: 'could not be found: the name does not resolve',
  EAI_AGAIN: 'could not be found: the name server does not answer',
  ECONNREFUSED: 'refused the connection: nothing listens there, or a firewall rejects it',
  ECONNRESET: 'dropped the connection',
  EPIPE: 'dropped the connection',
  ETIMEDOUT: 'did not answer',
  EHOSTUNREACH: 'can not be reached from this network',
  ENETUNREACH: 'can not be reached from this network',
};

/** Failures that a second attempt moments later does not heal. */
const dnsCodes = new Set(['ENOTFOUND', 'ENODATA']);

function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  const code = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? code : '';
}

/** `host` with its port, as the admin entered it. */
export function describeTransportFailure(error: unknown, host: string): RollcallError {
  const code = codeOf(error);
  const raw = code === '' ? (error instanceof Error ? error.message : String(error)) : code;
  const certificate = tlsCodes[code];
  if (certificate !== undefined) {
    return new RollcallError('directory_tls', `${host} can not be trusted: ${certificate}.`, {
      cause: error,
      raw,
      remedy: 'If a proxy inspects TLS here, add its authority (caPem) to the connection; never switch the check off.',
    });
  }
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO') {
    return new RollcallError('directory_tls', `${host} does not speak TLS in a way this server accepts.`, {
      cause: error,
      raw,
      remedy: 'Check address and port.',
    });
  }
  const network = networkCodes[code] ?? 'broke off the answer';
  return new RollcallError('directory_unreachable', `${host} ${network}.`, {
    cause: error,
    raw,
    remedy: 'Check the address, DNS and the firewall between this server and Microsoft.',
    details: { host, ...(dnsCodes.has(code) ? { step: 'dns' } : {}) },
  });
}
