/** Role objects x level (portal.md "Roles"): what a route asks for and what a predefined role gives. */
import type { Role } from './roles.ts';

export const permissionObjects = [
  'organization',
  'users',
  'roles',
  'security',
  'sub_organizations',
  'quotas',
  'api_keys',
  'directories',
  'imports',
  'event_history',
] as const;
export type PermissionObject = (typeof permissionObjects)[number];

export const permissionLevels = ['none', 'view', 'full'] as const;
export type PermissionLevel = (typeof permissionLevels)[number];

export type Permission = { readonly object: PermissionObject; readonly level: 'view' | 'full' };

/** Level a predefined role has on every object, unless `exceptions` says otherwise (R84-R87, C3). */
const everywhere: Record<Role, PermissionLevel> = {
  super_admin: 'full',
  admin: 'full',
  view_only_admin: 'view',
  billing_admin: 'none',
  user: 'none',
};

export function levelOf(role: Role, _object: PermissionObject): PermissionLevel {
  return everywhere[role];
}

export function allows(role: Role, permission: Permission): boolean {
  return permissionLevels.indexOf(levelOf(role, permission.object)) >= permissionLevels.indexOf(permission.level);
}
