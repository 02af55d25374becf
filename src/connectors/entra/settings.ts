/** What an Entra connection document says: the app registration, the cloud, and what to read beyond the usual. */
import { z } from 'zod';
import { readCertificates } from './credentials.ts';

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

const certificates = z
  .string()
  .refine((text) => readCertificates(text) !== null, 'must be one or more certificates in PEM form');

export const entraSettingsSchema = z.strictObject({
  tenantId: tenantId.describe('Directory (tenant) id from the app registration; a domain of the tenant works too.'),
  clientId: guid.describe('Application (client) id from the app registration.'),
  cloud: z.enum(entraClouds).default('global').describe('Microsoft cloud the tenant lives in.'),
  authority: httpsOrigin.optional().describe('Sign-in address, when it is not the usual one of the cloud.'),
  graphUrl: httpsOrigin.optional().describe('Microsoft Graph address, when it is not the usual one of the cloud.'),
  caPem: certificates.optional().describe('PEM of a further certificate authority, e.g. of a TLS-inspecting proxy.'),
  appRolesOf: guid
    .optional()
    .describe('Client id of an enterprise application whose app roles are read as groups, to be mapped to roles.'),
  properties: z
    .array(z.string().regex(/^[A-Za-z][A-Za-z0-9_]*$/))
    .max(100)
    .default([])
    .describe('Further user properties to read, by their Graph names, e.g. companyName or extensionAttribute1.'),
});
export type EntraSettings = z.output<typeof entraSettingsSchema>;

export type EntraHosts = { readonly authority: string; readonly graphUrl: string };

export function hostsOf(settings: EntraSettings): EntraHosts {
  const usual = cloudHosts[settings.cloud];
  return { authority: settings.authority ?? usual.authority, graphUrl: settings.graphUrl ?? usual.graphUrl };
}
