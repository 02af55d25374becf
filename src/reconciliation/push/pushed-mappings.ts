/** Default mapping of a SCIM connection: over the flat view of a pushed user (`PushedUser.attributes`). */
import type { DefaultMapping } from '../../connectors/contract/contract.ts';
import { scimSettingsSchema } from '../../core/scim-settings.ts';

const pushedMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.userName' },
  { target: 'email', expression: 'object.email != null ? object.email : object.userName' },
  { target: 'displayName', expression: 'object.displayName' },
  { target: 'givenName', expression: 'object.givenName' },
  { target: 'familyName', expression: 'object.familyName' },
  { target: 'phone', expression: 'object.phone' },
  { target: 'employeeId', expression: 'object.employeeNumber' },
  { target: 'department', expression: 'object.department' },
  { target: 'jobTitle', expression: 'object.title' },
];

/** With the custom attributes that the connection's settings name, each to the custom attribute of that name. */
export function mappingsOfPushed(settings: unknown): readonly DefaultMapping[] {
  const parsed = scimSettingsSchema.safeParse(settings);
  if (!parsed.success || parsed.data.customAttributes.length === 0) return pushedMappings;
  const custom = parsed.data.customAttributes.map((name) => ({
    target: `attributes.${name}`,
    expression: `object.${name}`,
  }));
  return [...pushedMappings, ...custom];
}
