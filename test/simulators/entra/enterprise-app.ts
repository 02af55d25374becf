/** The enterprise application (service principal) whose app roles are assigned to users and groups. */
import type { Random } from './random.ts';

export type AppRole = { readonly id: string; displayName: string; value: string | null; isEnabled: boolean };

export type AppRoleAssignment = {
  readonly id: string;
  readonly appRoleId: string;
  readonly principalId: string;
  readonly principalType: 'User' | 'Group' | 'ServicePrincipal';
};

/** Assigned to the application without a role of its own (Graph "appRoleAssignment"). */
export const defaultAccessRole = '00000000-0000-0000-0000-000000000000';

export type EnterpriseApp = {
  /** Object id of the service principal. */
  readonly id: string;
  /** Client id of the application. */
  readonly appId: string;
  readonly displayName: string;
  readonly roles: Map<string, AppRole>;
  readonly assignments: Map<string, AppRoleAssignment>;
  addRole(displayName: string, value?: string | null): string;
  removeRole(id: string): void;
  /** Returns the id of the assignment. */
  assign(appRoleId: string, principalId: string, principalType: AppRoleAssignment['principalType']): string;
  unassign(id: string): void;
};

export function createEnterpriseApp(random: Random, displayName = 'Contoso Portal'): EnterpriseApp {
  const roles = new Map<string, AppRole>();
  const assignments = new Map<string, AppRoleAssignment>();
  return {
    id: random.guid(),
    appId: random.guid(),
    displayName,
    roles,
    assignments,
    addRole: (name, value = null) => {
      const id = random.guid();
      roles.set(id, { id, displayName: name, value, isEnabled: true });
      return id;
    },
    removeRole: (id) => {
      roles.delete(id);
      for (const [key, assignment] of assignments) if (assignment.appRoleId === id) assignments.delete(key);
    },
    assign: (appRoleId, principalId, principalType) => {
      const id = random.guid();
      assignments.set(id, { id, appRoleId, principalId, principalType });
      return id;
    },
    unassign: (id) => void assignments.delete(id),
  };
}
