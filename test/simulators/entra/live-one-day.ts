/** A day in the sample company: one of each kind of change, so that a plan after it shows one of each. */
import type { EntraSimulator } from './entra.ts';
import type { SamplePerson, SampleTenant } from './sample-tenant.ts';
import { groupOf, hire, planPerson } from './sample-tenant.ts';

export type DayEvent = {
  readonly kind: 'hire' | 'move' | 'rename' | 'leave' | 'handover';
  /** Anchors of the people it is about. */
  readonly anchors: readonly string[];
  /** One sentence, for the demo's narration. */
  readonly description: string;
};

function principalOf(simulator: EntraSimulator, id: string): string {
  const value = simulator.tenant.entries.get(id)?.properties.get('userPrincipalName')?.value;
  return typeof value === 'string' ? value : '';
}

/** People whom nothing odd has happened to; each may be picked once. */
function pickers(simulator: EntraSimulator, sample: SampleTenant): (avoid?: string) => SamplePerson {
  const { odd } = sample;
  const special = new Set([odd.withoutMail, odd.disabled, ...odd.sameMail]);
  const shared = new Set(sample.shared.map((person) => person.employeeId));
  const isUntouched = (person: SamplePerson): boolean =>
    simulator.tenant.isLive(person.id) && principalOf(simulator, person.id) === person.userPrincipalName;
  const pool = sample.people.filter(
    (person) => !special.has(person.id) && !shared.has(person.employeeId) && isUntouched(person),
  );
  return (avoid) => {
    const index = pool.findIndex((person) => person.department !== avoid);
    const [person] = pool.splice(index === -1 ? 0 : index, 1);
    if (person === undefined) throw new Error('The sample has run out of people.');
    return person;
  };
}

function move(simulator: EntraSimulator, sample: SampleTenant, person: SamplePerson): DayEvent {
  const { tenant } = simulator;
  tenant.removeMember(groupOf(sample.groups, `${person.department} - ${person.team}`), person.id);
  tenant.addMember(groupOf(sample.groups, 'IT - Security'), person.id);
  tenant.addMember(groupOf(sample.groups, 'Portal Users'), person.id);
  tenant.patchUser(person.id, { department: 'IT', jobTitle: 'Security Analyst' });
  const description = `${person.displayName} moves from ${person.department} to IT - Security.`;
  return { kind: 'move', anchors: [person.id], description };
}

function rename(simulator: EntraSimulator, sample: SampleTenant, person: SamplePerson): DayEvent {
  const surname = 'Newman-Ñandú';
  const address = `renamed.${person.employeeId.toLowerCase()}@${sample.domain}`;
  simulator.tenant.patchUser(person.id, {
    surname,
    displayName: `${person.givenName} ${surname}`,
    userPrincipalName: address,
    mail: address,
  });
  const description = `${person.displayName} is now ${person.givenName} ${surname}, with a new address.`;
  return { kind: 'rename', anchors: [person.id], description };
}

/** One person gives the user name up and another gets it within the same day: a chain of key changes. */
function handOver(simulator: EntraSimulator, sample: SampleTenant, from: SamplePerson, to: SamplePerson): DayEvent {
  const { tenant } = simulator;
  const freed = `formerly.${from.employeeId.toLowerCase()}@${sample.domain}`;
  tenant.patchUser(from.id, { userPrincipalName: freed, mail: freed });
  tenant.patchUser(to.id, { userPrincipalName: from.userPrincipalName, mail: from.userPrincipalName });
  const description = `${from.userPrincipalName} is handed over from ${from.displayName} to ${to.displayName}.`;
  return { kind: 'handover', anchors: [from.id, to.id], description };
}

export function liveOneDay(simulator: EntraSimulator, sample: SampleTenant): readonly DayEvent[] {
  const { tenant, random } = simulator;
  const pick = pickers(simulator, sample);
  const taken = new Set([...tenant.entries.keys()].map((id) => principalOf(simulator, id).split('@')[0] ?? ''));
  const newcomer = hire(simulator, planPerson(random, sample.domain, 10_000 + random.integer(80_000), taken));
  tenant.addMember(groupOf(sample.groups, `${newcomer.department} - ${newcomer.team}`), newcomer.id);
  tenant.addMember(groupOf(sample.groups, 'Portal Users'), newcomer.id);
  const hired: DayEvent = {
    kind: 'hire',
    anchors: [newcomer.id],
    description: `${newcomer.displayName} joins ${newcomer.department} - ${newcomer.team}.`,
  };
  const moved = move(simulator, sample, pick('IT'));
  const renamed = rename(simulator, sample, pick());
  const leaver = pick();
  tenant.softDelete(leaver.id);
  const left: DayEvent = {
    kind: 'leave',
    anchors: [leaver.id],
    description: `${leaver.displayName} leaves; the account goes to the recycle bin.`,
  };
  return [hired, moved, renamed, left, handOver(simulator, sample, pick(), pick())];
}
