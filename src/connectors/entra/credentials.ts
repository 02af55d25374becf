/** How an Entra connection signs in: a client secret, a certificate, or an identity that the operator lends it. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { Secret, secretText } from '../../platform/secrets.ts';

export type EntraSecrets =
  | { readonly kind: 'client_secret'; readonly clientSecret: Secret; readonly endsAt?: string | undefined }
  | {
      readonly kind: 'certificate';
      /** PEM of the certificate that stands in the app registration. */
      readonly certificate: string;
      readonly privateKey: Secret;
      readonly passphrase?: Secret | undefined;
    }
  /** Federated credential: the token file of this machine, lent by the operator (host-identity.ts). */
  | { readonly kind: 'workload_identity' }
  /** The identity of the Azure machine we run on, lent by the operator. */
  | { readonly kind: 'managed_identity'; readonly assigned: 'system' | 'user' };

export type CertificateSecrets = Extract<EntraSecrets, { kind: 'certificate' }>;

const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The blocks of a PEM text; null when there is none, or one of them is no certificate. */
export function readCertificates(text: string): readonly X509Certificate[] | null {
  try {
    const blocks = (text.match(pemCertificate) ?? []).map((block) => new X509Certificate(block));
    return blocks.length > 0 ? blocks : null;
  } catch {
    // the caller turns null into a fault of the document
    return null;
  }
}

export type ClientCertificate = {
  /** SHA-256 of the certificate, hexadecimal without colons, as MSAL takes it. */
  readonly thumbprintSha256: string;
  /** PKCS#8, decrypted. */
  readonly privateKey: Secret;
  readonly endsAt: Date;
};

const smallestKeyBits = 2_048;

function readPrivateKey({ privateKey, passphrase }: CertificateSecrets): KeyObject | string {
  try {
    const key = createPrivateKey({
      key: privateKey.reveal(),
      format: 'pem',
      ...(passphrase === undefined ? {} : { passphrase: passphrase.reveal() }),
    });
    // Entra verifies client assertions with RSA only ("certificate credentials")
    if (key.asymmetricKeyType !== 'rsa') return 'must be an RSA key: Entra takes no other kind';
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return bits < smallestKeyBits ? `must have at least ${smallestKeyBits} bits, not ${bits}` : key;
  } catch {
    return passphrase === undefined
      ? 'must be a private key in PEM form; an encrypted one needs its passphrase too'
      : 'can not be opened: it is no private key in PEM form, or the passphrase is wrong';
  }
}

type Fault = { readonly path: 'certificate' | 'privateKey'; readonly message: string };

/** Checked when the document is saved, so that a wrong pair is not the fault of the first run. */
function checkPair(secrets: CertificateSecrets): { readonly pair: ClientCertificate } | { readonly fault: Fault } {
  const [certificate] = readCertificates(secrets.certificate) ?? [];
  if (certificate === undefined)
    return { fault: { path: 'certificate', message: 'must be a certificate in PEM form' } };
  const key = readPrivateKey(secrets);
  if (typeof key === 'string') return { fault: { path: 'privateKey', message: key } };
  if (!certificate.checkPrivateKey(key)) {
    return { fault: { path: 'privateKey', message: 'does not belong to the certificate' } };
  }
  const pair: ClientCertificate = {
    thumbprintSha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    privateKey: new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString()),
    endsAt: new Date(certificate.validTo),
  };
  return { pair };
}

/** The schema has let only good pairs pass. */
export function openCertificate(secrets: CertificateSecrets): ClientCertificate {
  const checked = checkPair(secrets);
  if ('pair' in checked) return checked.pair;
  throw new Error(`The ${checked.fault.path} of the connection ${checked.fault.message}.`);
}

/** What must not stand in any message. */
export function secretTexts(secrets: EntraSecrets): readonly string[] {
  if (secrets.kind === 'client_secret') return [secrets.clientSecret.reveal()];
  if (secrets.kind !== 'certificate') return [];
  return [secrets.privateKey.reveal(), ...(secrets.passphrase === undefined ? [] : [secrets.passphrase.reveal()])];
}

const endDate = z.union([z.iso.date(), z.iso.datetime({ offset: true })]);

const kinds = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('client_secret'),
    clientSecret: secretText.describe("The client secret's Value (not its Secret ID)."),
    endsAt: endDate
      .optional()
      .describe('When the secret ends, as the portal shows it; for reminders where the directory does not tell.'),
  }),
  z.strictObject({
    kind: z.literal('certificate'),
    certificate: z.string().describe('PEM of the certificate that was uploaded to the app registration.'),
    privateKey: secretText.describe('PEM of its private key (RSA, at least 2,048 bits).'),
    passphrase: secretText.optional().describe('Passphrase of the private key, when it is encrypted.'),
  }),
  z.strictObject({ kind: z.literal('workload_identity') }),
  z.strictObject({
    kind: z.literal('managed_identity'),
    assigned: z
      .enum(['system', 'user'])
      .default('system')
      .describe('Whether the machine has the identity by itself, or was given the one that clientId names.'),
  }),
]);

/** `kind` may be left out where the rest says it. */
function withKind(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || 'kind' in value) return value;
  if ('clientSecret' in value) return { kind: 'client_secret', ...value };
  return 'privateKey' in value || 'certificate' in value ? { kind: 'certificate', ...value } : value;
}

export const entraSecretsSchema: z.ZodType<EntraSecrets> = z.preprocess(
  withKind,
  kinds.superRefine((secrets, context) => {
    if (secrets.kind !== 'certificate') return;
    const checked = checkPair(secrets);
    if ('pair' in checked) return;
    context.addIssue({ code: 'custom', path: [checked.fault.path], message: checked.fault.message });
  }),
);
