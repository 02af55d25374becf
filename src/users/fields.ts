/** users/fields: what a person may type into a user's record, and what of it is a change. Pure. */
import { z } from 'zod';
import { userAttributes, type UserAttribute } from '../core/targets.ts';
import { domainOf, textKey } from '../core/text-keys.ts';

/** Empty text means no value, as in every directory. */
const text = (maxLength: number) =>
  z
    .string()
    .trim()
    .max(maxLength)
    .transform((value) => (value === '' ? null : value))
    .nullable()
    .optional();

const email = text(320).refine((value) => value === null || value === undefined || /^[^\s@]+@[^\s@]+$/.test(value), {
  error: 'must look like name@domain',
});

const phone = text(20).refine((value) => value === null || value === undefined || /^\+[1-9]\d{6,14}$/.test(value), {
  error: 'must be in E.164 form, e.g. +4930123456',
});

const username = text(320).refine((value) => value === null || value === undefined || domainOf(value) !== null, {
  error: 'must be name@domain, the domain being one of the tenant',
});

/** Spread into a strict object: the fields a person may write, and custom attributes by name (null removes one). */
export const userFields = {
  username,
  email,
  displayName: text(256),
  givenName: text(128),
  familyName: text(128),
  phone,
  employeeId: text(128),
  department: text(256),
  jobTitle: text(256),
  attributes: z
    .record(z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/), text(1000))
    .optional()
    .describe('Custom attributes by name; null removes one.'),
};

const fieldsSchema = z.strictObject(userFields);
export type UserFields = z.output<typeof fieldsSchema>;

export type StoredFields = Readonly<Record<UserAttribute, string | null>> & {
  readonly attributes: Readonly<Record<string, unknown>>;
};

/** Same targets as a mapping's: a field, or `attributes.<name>`. */
export type FieldChange = { readonly target: string; readonly before: unknown; readonly after: string | null };

/** Differences only, so that saving an unchanged form writes nothing. */
export function changesOf(stored: StoredFields, wanted: UserFields): FieldChange[] {
  const found: FieldChange[] = [];
  for (const target of userAttributes) {
    const after = wanted[target];
    if (after !== undefined && after !== stored[target]) found.push({ target, before: stored[target], after });
  }
  for (const [name, after] of Object.entries(wanted.attributes ?? {})) {
    const before = Object.hasOwn(stored.attributes, name) ? stored.attributes[name] : null;
    if (after !== undefined && after !== before) found.push({ target: `attributes.${name}`, before, after });
  }
  return found;
}

const keyed = {
  username: 'usernameKey',
  email: 'emailKey',
  displayName: 'displayNameKey',
  employeeId: 'employeeIdKey',
};

/** The columns the changes write: fields, their keys, custom attributes, and `manual` as the provenance of each. */
export function columnsOf(
  stored: StoredFields & { readonly provenance: Record<string, string> },
  changes: readonly FieldChange[],
) {
  const fields: Record<string, string | null> = {};
  const attributes = new Map(Object.entries(stored.attributes));
  const provenance: Record<string, string> = { ...stored.provenance };
  for (const { target, after } of changes) {
    provenance[target] = 'manual';
    if (target.startsWith('attributes.')) {
      const name = target.slice('attributes.'.length);
      if (after === null) attributes.delete(name);
      else attributes.set(name, after);
      continue;
    }
    fields[target] = after;
    const key = Object.entries(keyed).find(([field]) => field === target)?.[1];
    if (key !== undefined) fields[key] = textKey(after);
  }
  return { ...fields, attributes: Object.fromEntries(attributes), provenance };
}
