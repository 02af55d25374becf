/**
 * Client assertions, verified for real (Microsoft identity platform, "certificate credentials" and "workload identity
 * federation"): the signature against the registered certificate that `x5t#S256` names, or against the key of a
 * trusted issuer; audience, time, issuer and subject. Answers with the AADSTS number of what is wrong.
 */
import { X509Certificate, constants, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export type FederatedCredential = {
  readonly issuer: string;
  readonly subject: string;
  readonly audience: string;
  /** PEM of the public key with which the issuer signs (RS256). */
  readonly publicKey: string;
};

export type AssertionRules = {
  readonly clientId: string;
  readonly tokenEndpoint: string;
  readonly certificates: readonly string[];
  readonly federatedCredentials: readonly FederatedCredential[];
  readonly now: Date;
};

type Claims = Readonly<Record<string, unknown>>;
type Jwt = { readonly header: Claims; readonly claims: Claims; readonly signed: string; readonly signature: Buffer };

const wrongSignature = 700_027;
const wrongAudience = 700_023;
const wrongTime = 700_024;
const noFederatedCredential = 70_021;
const malformed = 50_027;
/** Clocks may differ by five minutes. */
const skewSeconds = 300;

function parseJwt(text: string): Jwt | null {
  const [header = '', claims = '', signature = '', more] = text.split('.');
  if (signature === '' || more !== undefined) return null;
  try {
    const read = (part: string): Claims => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Claims;
    const signed = `${header}.${claims}`;
    return { header: read(header), claims: read(claims), signed, signature: Buffer.from(signature, 'base64url') };
  } catch {
    return null;
  }
}

function isSigned(jwt: Jwt, key: KeyObject): boolean {
  const padding =
    jwt.header['alg'] === 'PS256'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {};
  return verify('sha256', Buffer.from(jwt.signed), { key, ...padding }, jwt.signature);
}

function checkTime(claims: Claims, now: Date): number | null {
  const seconds = now.getTime() / 1_000;
  const isLate = typeof claims['exp'] !== 'number' || claims['exp'] + skewSeconds < seconds;
  const isEarly = typeof claims['nbf'] === 'number' && claims['nbf'] - skewSeconds > seconds;
  return isLate || isEarly ? wrongTime : null;
}

function checkCertificate(jwt: Jwt, thumbprint: string, rules: AssertionRules): number | null {
  const certificate = rules.certificates
    .map((pem) => new X509Certificate(pem))
    .find((one) => Buffer.from(one.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url') === thumbprint);
  const { claims } = jwt;
  if (certificate === undefined || jwt.header['alg'] !== 'PS256') return wrongSignature;
  if (!isSigned(jwt, certificate.publicKey)) return wrongSignature;
  if (Date.parse(certificate.validTo) <= rules.now.getTime()) return wrongSignature;
  if (claims['aud'] !== rules.tokenEndpoint) return wrongAudience;
  if (claims['iss'] !== rules.clientId || claims['sub'] !== rules.clientId) return wrongSignature;
  return typeof claims['jti'] === 'string' ? checkTime(claims, rules.now) : malformed;
}

function checkFederated(jwt: Jwt, rules: AssertionRules): number | null {
  const { claims } = jwt;
  const credential = rules.federatedCredentials.find(
    (one) => one.issuer === claims['iss'] && one.subject === claims['sub'] && one.audience === claims['aud'],
  );
  if (credential === undefined) return noFederatedCredential;
  if (jwt.header['alg'] !== 'RS256' || !isSigned(jwt, createPublicKey(credential.publicKey))) return wrongSignature;
  return checkTime(claims, rules.now);
}

/** Null when the assertion is good. The same one may come again: MSAL uses it until it ends. */
export function refuseAssertion(text: string, rules: AssertionRules): number | null {
  const jwt = parseJwt(text);
  if (jwt === null) return malformed;
  const thumbprint = jwt.header['x5t#S256'];
  return typeof thumbprint === 'string' ? checkCertificate(jwt, thumbprint, rules) : checkFederated(jwt, rules);
}
