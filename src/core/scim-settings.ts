/** The settings of a connection of kind `scim`: where identity providers differ in what they expect. */
import { z } from 'zod';

/**
 * What a mapping of a pushed user reads by name; a custom attribute of the same name could not be told apart
 * (scim/attributes.ts makes this view, and a test compares both).
 */
export const standardAttributes = [
  'userName',
  'externalId',
  'displayName',
  'nickName',
  'title',
  'userType',
  'preferredLanguage',
  'locale',
  'timezone',
  'profileUrl',
  'givenName',
  'familyName',
  'middleName',
  'formattedName',
  'employeeNumber',
  'costCenter',
  'organization',
  'division',
  'department',
  'manager',
  'email',
  'phone',
  'mobile',
  'emails',
  'phoneNumbers',
  'roles',
  'entitlements',
] as const;

const mostCustomAttributes = 50;
const taken: ReadonlySet<string> = new Set(standardAttributes.map((name) => name.toLowerCase()));

/** A name that the target `attributes.<name>` of a mapping takes (targets.ts). */
const customAttribute = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/, { error: 'must begin with a letter and have letters, digits and _ only' })
  .refine((name) => !taken.has(name.toLowerCase()), { error: 'is the name of an attribute that SCIM has already' })
  // names that every object has would be found where nobody wrote them
  .refine((name) => !Object.getOwnPropertyNames(Object.prototype).includes(name), { error: 'is a reserved name' });

export const scimSettingsSchema = z.strictObject({
  strictMembers: z
    .boolean()
    .default(false)
    .describe(
      'Refuse a change of members that names an id which is not there, instead of keeping it until the member arrives. For identity providers that show refusals to somebody.',
    ),
  disputedMatch: z
    .enum(['accept', 'refuse'])
    .default('accept')
    .describe(
      'What a POST is answered when a person must decide whom it means: accept takes it (201) and opens a case, refuse takes it too but answers 409 that names the case.',
    ),
  inactiveDuplicate: z
    .enum(['refuse', 'reactivate'])
    .default('refuse')
    .describe(
      'What a POST for a userName does that an inactive user of this connection has: refuse with 409, or take that user back with the new content.',
    ),
  customAttributes: z
    .array(customAttribute)
    .max(mostCustomAttributes)
    .refine((names) => new Set(names.map((name) => name.toLowerCase())).size === names.length, {
      error: 'must not name one twice; SCIM does not tell upper from lower case in names',
    })
    .default([])
    .describe(
      'Custom attributes of users that the identity provider may push, in an extension of their own; each is written to the custom attribute of the same name unless the connection has mappings of its own.',
    ),
});
export type ScimSettings = z.output<typeof scimSettingsSchema>;
