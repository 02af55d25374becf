/** Attributes of a user, as mappings write and correlation rules read them. */
import { z } from 'zod';

/** `attributes.<name>` is a custom one. */
export const userAttributes = [
  'username',
  'email',
  'displayName',
  'givenName',
  'familyName',
  'phone',
  'employeeId',
  'department',
  'jobTitle',
] as const;
export type UserAttribute = (typeof userAttributes)[number];

const customTarget = /^attributes\.[A-Za-z][A-Za-z0-9_]{0,63}$/;

export const attributeTarget = z
  .string()
  .refine((text) => (userAttributes as readonly string[]).includes(text) || customTarget.test(text), {
    error: `must be one of ${userAttributes.join(', ')}, or attributes.<name>`,
  });
