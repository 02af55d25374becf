/**
 * The predefined roles and their rank (portal.md "Roles", R11, R12, R84-R88). A source may grant a role only up to
 * its ceiling; a person may act only on lower ranks.
 */
export const roles = ['user', 'view_only_admin', 'billing_admin', 'admin', 'super_admin'] as const;
export type Role = (typeof roles)[number];

/** Roles a grant may carry. Super Admin is not a grant: it is a row of its own (design.md section 6). */
export const grantableRoles = ['user', 'view_only_admin', 'billing_admin', 'admin'] as const;
export type GrantableRole = (typeof grantableRoles)[number];

const ranks: Record<Role, number> = { user: 10, view_only_admin: 20, billing_admin: 30, admin: 40, super_admin: 50 };

export function roleRank(role: Role): number {
  return ranks[role];
}

/** True when a source with this ceiling may grant the role. */
export function isWithinCeiling(role: Role, ceiling: Role): boolean {
  return role !== 'super_admin' && ranks[role] <= ranks[ceiling];
}
