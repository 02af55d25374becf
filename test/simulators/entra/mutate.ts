/** Small random changes of a directory, of the kinds that delta queries do report. */
import fc from 'fast-check';
import type { EntraSimulator } from './entra.ts';

export type Mutation = { readonly kind: number; readonly first: number; readonly second: number };

export const anyMutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.nat({ max: 10 }),
  first: fc.nat({ max: 40 }),
  second: fc.nat({ max: 40 }),
});

function pickLive(simulator: EntraSimulator, type: 'user' | 'group', index: number): string | null {
  const live = [...simulator.tenant.entries.values()].filter((entry) => entry.type === type && entry.deletion === null);
  return live.length === 0 ? null : (live[index % live.length]?.id ?? null);
}

export function mutate(simulator: EntraSimulator, { kind, first, second }: Mutation): void {
  const { tenant } = simulator;
  const user = pickLive(simulator, 'user', first);
  const group = pickLive(simulator, 'group', second);
  if (kind === 0 || user === null) tenant.createUser({ displayName: `N${first}`, mail: `n${first}@contoso.example` });
  else if (kind === 1 || group === null) tenant.createGroup({ displayName: `G${first}` });
  else if (kind === 2) tenant.patchUser(user, { displayName: `R${second}`, accountEnabled: second % 2 === 0 });
  else if (kind === 3) tenant.softDelete(user);
  else if (kind === 4) tenant.deleteGroup(group);
  else if (kind === 5) removeSomebody(simulator, group, first);
  else if (kind === 9) tenant.setManager(user, first % 3 === 0 ? null : pickLive(simulator, 'user', second));
  else if (kind === 6 || kind === 7) assignSomebody(simulator, kind === 6 ? user : group, second);
  else tenant.addMember(group, first % 4 === 0 ? (pickLive(simulator, 'group', first) ?? user) : user);
}

function removeSomebody({ tenant }: EntraSimulator, group: string, index: number): void {
  const members = [...(tenant.entries.get(group)?.edges.values() ?? [])].filter((edge) => edge.isPresent);
  const member = members[index % Math.max(1, members.length)];
  if (member !== undefined) tenant.removeMember(group, member.memberId);
}

/** A role for somebody; now and then one is taken away instead. */
function assignSomebody({ enterpriseApp, tenant }: EntraSimulator, principal: string, index: number): void {
  const [role = enterpriseApp.addRole('Administrator')] = enterpriseApp.roles.keys();
  const [assignment] = enterpriseApp.assignments.keys();
  if (index % 3 === 0 && assignment !== undefined) enterpriseApp.unassign(assignment);
  else enterpriseApp.assign(role, principal, tenant.entries.get(principal)?.type === 'group' ? 'Group' : 'User');
}
