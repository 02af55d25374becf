/** platform/config: the configuration of the HTTP servers, of outbound connections and of the log. */
import { z } from 'zod';
import { createAddressPolicy } from './address-policy.ts';
import { logLevels } from './logger.ts';

const port = z.int().min(0).max(65535);
const host = z.string().min(1);

export const httpConfigSchema = z.strictObject({
  host: host.default('0.0.0.0').describe('Address the API, SCIM and the console listen on.'),
  port: port.default(8080).describe('Port of the API, SCIM and the console; 0 takes a free one.'),
  publicUrl: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'How the outside reaches this port, e.g. https://rollcall.example.com; used in SCIM locations and links.',
    ),
  trustProxy: z
    .int()
    .min(0)
    .max(5)
    .default(0)
    .describe('Number of reverse proxies in front whose X-Forwarded-For is believed.'),
  bodyLimitBytes: z
    .int()
    .min(1024)
    .max(64 * 1024 * 1024)
    .default(1024 * 1024)
    .describe('Largest request body of the API. SCIM groups have their own limit.'),
  maxInFlight: z
    .int()
    .min(1)
    .max(10_000)
    .default(256)
    .describe('Requests handled at once; more are answered 429 with Retry-After.'),
  headersTimeoutMs: z.int().min(1000).max(120_000).default(15_000).describe('Time a client has to send its headers.'),
  requestTimeoutMs: z.int().min(1000).max(600_000).default(60_000).describe('Time a whole request may take.'),
});
export type HttpConfig = z.infer<typeof httpConfigSchema>;

export const managementConfigSchema = z.strictObject({
  host: host
    .default('127.0.0.1')
    .describe('Address of /livez, /readyz, /healthz and /metrics; they carry no credentials, so keep it private.'),
  port: port.default(8081).describe('Port of /livez, /readyz, /healthz and /metrics; 0 takes a free one.'),
});
export type ManagementConfig = z.infer<typeof managementConfigSchema>;

export const loggingConfigSchema = z.strictObject({
  level: z.enum(logLevels).default('info').describe('Lowest level that is written.'),
});
export type LoggingConfig = z.infer<typeof loggingConfigSchema>;

export const outboundConfigSchema = z.strictObject({
  allowPrivateRanges: z
    .array(
      z.string().min(1).refine(isRangeOrHost, { error: 'must be an address range like 10.1.0.0/16 or a host name' }),
    )
    .max(1000)
    .default([])
    .describe(
      'Private address ranges and host names that connections and webhooks may reach. Without them only public addresses are dialed.',
    ),
  allowPlainLdap: z
    .boolean()
    .default(false)
    .describe('Permits LDAP without TLS. Passwords and personal data then cross the network readable.'),
});
export type OutboundConfig = z.infer<typeof outboundConfigSchema>;

function isRangeOrHost(text: string): boolean {
  if (!text.includes('/')) return /^[0-9A-Za-z._:-]+$/.test(text);
  try {
    createAddressPolicy([text]);
    return true;
  } catch {
    // the refinement turns false into a fault with its path
    return false;
  }
}
