/** Which properties are asked for, and under which names the mapping sees them. */
import { createHash } from 'node:crypto';
import type { EntraSettings } from './settings.ts';

/** `accountEnabled`, `userType` and `employeeId` come only when selected (Graph "user resource type"). */
const userProperties = [
  'id',
  'userPrincipalName',
  'mail',
  'displayName',
  'givenName',
  'surname',
  'accountEnabled',
  'userType',
  'employeeId',
  'department',
  'jobTitle',
  'mobilePhone',
  'businessPhones',
  'officeLocation',
  'usageLocation',
] as const;

const groupProperties = [
  'id',
  'displayName',
  'description',
  'mail',
  'securityEnabled',
  'groupTypes',
  'visibility',
  'members',
] as const;

/** `extensionAttribute1`..`15` live in one complex property; mappings read them as if they did not. */
const extensionAttribute = /^extensionAttribute([1-9]|1[0-5])$/;
export const extensionHolder = 'onPremisesExtensionAttributes';

export type Selection = {
  readonly user: readonly string[];
  readonly group: readonly string[];
  /** Changes whenever the set does: a delta link is bound to the selection it was made with. */
  readonly hash: string;
};

export function selectProperties(settings: EntraSettings, attributes: readonly string[]): Selection {
  const wanted = [...settings.properties, ...attributes].map((name) =>
    extensionAttribute.test(name) ? extensionHolder : name,
  );
  const user = [...new Set<string>([...userProperties, ...wanted])].toSorted();
  const group = [...groupProperties].toSorted();
  const hash = createHash('sha256')
    .update(JSON.stringify([user, group, ...(settings.appRolesOf === undefined ? [] : [settings.appRolesOf])]))
    .digest('hex')
    .slice(0, 32);
  return { user, group, hash };
}

export function deltaUrl(graphUrl: string, resource: 'users' | 'groups', select: readonly string[]): string {
  return `${graphUrl}/v1.0/${resource}/delta?$select=${select.map(encodeURIComponent).join(',')}`;
}
