/** What an Entra connection document says: the app registration, the cloud, and what to read beyond the usual. */
import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import type { Secret } from '../../platform/secrets.ts';
import { secretText } from '../../platform/secrets.ts';

export const entraClouds = ['global', 'usgov', 'dod', 'china'] as const;
export type EntraCloud = (typeof entraClouds)[number];

/** Microsoft Graph "National cloud deployments": sign-in host and Graph host belong together, tokens do not travel. */
const cloudHosts: Readonly<Record<EntraCloud, { readonly authority: string; readonly graphUrl: string }>> = {
  global: { authority: 'https://login.microsoftonline.com', graphUrl: 'https://graph.microsoft.com' },
  usgov: { authority: 'https://login.microsoftonline.us', graphUrl: 'https://graph.microsoft.us' },
  dod: { authority: 'https://login.microsoftonline.us', graphUrl: 'https://dod-graph.microsoft.us' },
  china: { authority: 'https://login.partner.microsoftonline.cn', graphUrl: 'https://microsoftgraph.chinacloudapi.cn' },
};

const httpsOrigin = z
  .url({ protocol: /^https$/ })
  .refine((text) => new URL(text).origin === text.replace(/\/$/, ''), 'must be scheme, host and port only')
  .transform((text) => new URL(text).origin);

const guid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'must be a GUID such as 8f9e2c1a-0000-4000-8000-000000000000')
  .transform((text) => text.toLowerCase());

const tenantId = z
  .string()
  .regex(
    /^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-z-]+(\.[0-9a-z-]+)+)$/i,
    'must be the directory (tenant) id, or a domain of the tenant; "common" and "organizations" do not work here',
  )
  .transform((text) => text.toLowerCase());

const pemBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Checked here, so that a bad certificate is a fault of the document rather than of the first run. */
function areCertificates(text: string): boolean {
  const blocks = text.match(pemBlock) ?? [];
  try {
    return blocks.map((block) => new X509Certificate(block)).length > 0;
  } catch {
    return false;
  }
}

const certificates = z.string().refine(areCertificates, 'must be one or more certificates in PEM form');

export const entraSettingsSchema = z.strictObject({
  tenantId: tenantId.describe('Directory (tenant) id from the app registration; a domain of the tenant works too.'),
  clientId: guid.describe('Application (client) id from the app registration.'),
  cloud: z.enum(entraClouds).default('global').describe('Microsoft cloud the tenant lives in.'),
  authority: httpsOrigin.optional().describe('Sign-in address, when it is not the usual one of the cloud.'),
  graphUrl: httpsOrigin.optional().describe('Microsoft Graph address, when it is not the usual one of the cloud.'),
  caPem: certificates.optional().describe('PEM of a further certificate authority, e.g. of a TLS-inspecting proxy.'),
  properties: z
    .array(z.string().regex(/^[A-Za-z][A-Za-z0-9_]*$/))
    .max(100)
    .default([])
    .describe('Further user properties to read, by their Graph names, e.g. companyName or extensionAttribute1.'),
});
export type EntraSettings = z.output<typeof entraSettingsSchema>;

/** A union, so that certificates and federated credentials can join without a change of shape. */
export type EntraSecrets = { readonly kind: 'client_secret'; readonly clientSecret: Secret };

/** `kind` may be left out: a document with a `clientSecret` means one. */
export const entraSecretsSchema: z.ZodType<EntraSecrets> = z.preprocess(
  (value) =>
    typeof value === 'object' && value !== null && 'clientSecret' in value && !('kind' in value)
      ? { kind: 'client_secret', ...value }
      : value,
  z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('client_secret'),
      clientSecret: secretText.describe("The client secret's Value (not its Secret ID)."),
    }),
  ]),
);

export type EntraHosts = { readonly authority: string; readonly graphUrl: string };

export function hostsOf(settings: EntraSettings): EntraHosts {
  const usual = cloudHosts[settings.cloud];
  return { authority: settings.authority ?? usual.authority, graphUrl: settings.graphUrl ?? usual.graphUrl };
}
