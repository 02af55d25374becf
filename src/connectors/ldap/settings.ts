/** The document of an LDAP connection. Descriptions become the documentation. */
import { z } from 'zod';
import { secretText } from '../../platform/secrets.ts';
import { isRollcallError } from '../../core/errors.ts';
import { parseFilter } from './filter.ts';

export const ldapVendors = ['active_directory', 'samba', 'openldap', '389ds', 'freeipa', 'generic'] as const;
export type LdapVendor = (typeof ldapVendors)[number];

const attributeName = z
  .string()
  .regex(/^(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)(?:;[A-Za-z0-9-]+)*$/, 'An attribute name like mail or entryUUID.');

const filterText = z
  .string()
  .min(1)
  .max(8_192)
  .superRefine((text, context) => {
    try {
      parseFilter(text);
    } catch (error) {
      if (!isRollcallError(error)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  });

const distinguishedName = z.string().trim().min(1).max(4_096);

const disabledRule = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('bit'),
      attribute: attributeName,
      bit: z.int().min(1).describe('Mask: the account is disabled when one of these bits is set, e.g. 2.'),
    }),
    z.strictObject({
      kind: z.literal('equals'),
      attribute: attributeName,
      value: z.string().describe('Compared without regard to case.'),
    }),
    z.strictObject({ kind: z.literal('present'), attribute: attributeName }),
    z.strictObject({
      kind: z.literal('expires'),
      attribute: attributeName,
      format: z.enum(['filetime', 'generalized_time', 'days']).describe('days counts from 1970, like shadowExpire.'),
    }),
    z.strictObject({ kind: z.literal('never') }),
  ])
  .describe('When an entry counts as disabled. The rule of the vendor unless given.');

export const ldapSettings = z.strictObject({
  host: z.string().trim().min(1).max(253).describe('Host name or address of one directory server.'),
  port: z.int().min(1).max(65_535).optional().describe('636 for ldaps, 389 otherwise, unless given.'),
  security: z
    .enum(['ldaps', 'starttls', 'plain'])
    .default('ldaps')
    .describe('plain sends the password in the clear and works only where the operator allows it.'),
  caPem: z
    .string()
    .includes('-----BEGIN CERTIFICATE-----')
    .optional()
    .describe(
      "Certificates (PEM) of the authorities that may sign the server's certificate; the system's unless given.",
    ),
  tlsServerName: z.string().min(1).optional().describe('Name the certificate must carry, if it is not the host.'),
  bindDn: z.string().trim().min(1).describe('Who signs in: a DN, or in Active Directory also user@domain.'),
  baseDn: z
    .string()
    .trim()
    .max(4_096)
    .describe(
      'Users are read at and below this entry. Left empty, the connection test names the ones the server holds.',
    ),
  groupBaseDn: distinguishedName
    .optional()
    .describe('Groups are read at and below this entry; the base DN unless given.'),
  userFilter: filterText.optional().describe("Which entries are users. The vendor's default unless given."),
  groupFilter: filterText.optional().describe("Which entries are groups. The vendor's default unless given."),
  readGroups: z.boolean().default(true).describe('False reads users only.'),
  vendor: z
    .enum(['auto', ...ldapVendors])
    .default('auto')
    .describe('auto asks the server at the start of each read.'),
  idAttribute: attributeName.optional().describe('Immutable id. Changing it makes every object a new one.'),
  userNameAttribute: attributeName.optional().describe('Name people recognize; displayName, then cn, unless given.'),
  memberAttribute: attributeName.optional().describe('Where groups list their members as DNs; member unless given.'),
  disabledRule: disabledRule.optional(),
  lockedAccounts: z
    .enum(['active', 'inactive'])
    .default('active')
    .describe(
      'What a lockout after wrong passwords makes of a user; a disabled or expired account is always inactive.',
    ),
  increments: z
    .enum(['off', 'auto', 'dirsync', 'usn', 'syncrepl'])
    .default('off')
    .describe(
      'Between full reads, read changes only: auto takes DirSync, else uSNChanged, in Active Directory, and syncrepl in OpenLDAP. Elsewhere there are none.',
    ),
  pageSize: z.int().min(0).max(10_000).default(500).describe('Entries per page; 0 for servers without paged results.'),
  idleTimeoutSeconds: z.int().min(1).max(600).default(30).describe('Longest silence while an answer is awaited.'),
  maxMessageBytes: z
    .int()
    .min(65_536)
    .max(1_073_741_824)
    .default(16_777_216)
    .describe('Largest single message; a group with 100,000 members is about 4 MB.'),
});

export type LdapSettings = z.output<typeof ldapSettings>;

export const ldapSecrets = z.strictObject({ password: secretText.describe('Password of the bind DN.') });

export type LdapSecrets = z.output<typeof ldapSecrets>;

export function portOf(settings: Pick<LdapSettings, 'port' | 'security'>): number {
  return settings.port ?? (settings.security === 'ldaps' ? 636 : 389);
}
