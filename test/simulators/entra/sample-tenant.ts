/**
 * The sample company "Contoso": a directory as real ones are, with nested groups, a cycle, shared addresses, guests
 * and people without an address. The same seed gives the same people.
 */
import type { EntraSimulator } from './entra.ts';
import type { Random } from './random.ts';
import type { Department, Site } from './sample-names.ts';
import { departments, givenNames, sites, surnames } from './sample-names.ts';

export type SamplePerson = {
  readonly id: string;
  readonly givenName: string;
  readonly surname: string;
  readonly displayName: string;
  readonly userPrincipalName: string;
  readonly mail: string | null;
  readonly employeeId: string;
  readonly department: string;
  readonly team: string;
  readonly jobTitle: string;
  readonly site: Site;
};

/** People who stand in the company's LDAP directory too; the demo loads the same ones there. */
export type SharedPerson = {
  readonly name: string;
  readonly givenName: string;
  readonly familyName: string;
  readonly mail: string;
  readonly employeeId: string;
  readonly department: string;
};

export type SampleTenant = {
  readonly domain: string;
  readonly people: readonly SamplePerson[];
  /** Group id by name. */
  readonly groups: ReadonlyMap<string, string>;
  readonly shared: readonly SharedPerson[];
  /** Anchors of the odd ones, by what is odd about them. */
  readonly odd: {
    readonly withoutMail: string;
    readonly sameMail: readonly [string, string];
    readonly guest: string;
    readonly disabled: string;
    readonly cycle: readonly [string, string];
  };
};

export type SampleOptions = { readonly users?: number; readonly domain?: string; readonly sharedCount?: number };

/** Letters of the address: accents dropped, what has no base letter replaced. */
function addressPart(name: string): string {
  const special: Readonly<Record<string, string>> = { ß: 'ss', ø: 'o', ł: 'l', ı: 'i', đ: 'd', æ: 'ae' };
  return name
    .toLowerCase()
    .normalize('NFD')
    .replaceAll(/[\u0300-\u036f]/g, '')
    .replaceAll(/[ßøłıđæ]/g, (letter) => special[letter] ?? '')
    .replaceAll(/[^a-z]+/g, '-')
    .replaceAll(/^-|-$/g, '');
}

type Planned = Omit<SamplePerson, 'id'>;

/** Another person with the same name gets a number: addresses are unique unless a test wants otherwise. */
export function planPerson(random: Random, domain: string, number: number, taken: Set<string>): Planned {
  const givenName = random.pick(givenNames);
  const surname = random.pick(surnames);
  const base = `${addressPart(givenName)}.${addressPart(surname)}`;
  let local = base;
  for (let suffix = 2; taken.has(local); suffix += 1) local = `${base}${suffix}`;
  taken.add(local);
  const department: Department = random.pick(departments);
  return {
    givenName,
    surname,
    displayName: `${givenName} ${surname}`,
    userPrincipalName: `${local}@${domain}`,
    mail: `${local}@${domain}`,
    employeeId: `C${String(10_000 + number)}`,
    department: department.name,
    team: random.pick(department.teams),
    jobTitle: random.pick(department.titles),
    site: random.pick(sites),
  };
}

/** Returns the person with the id the tenant gave. */
export function hire(simulator: EntraSimulator, planned: Planned): SamplePerson {
  const id = simulator.tenant.createUser({
    displayName: planned.displayName,
    givenName: planned.givenName,
    surname: planned.surname,
    userPrincipalName: planned.userPrincipalName,
    ...(planned.mail === null ? {} : { mail: planned.mail }),
    employeeId: planned.employeeId,
    department: planned.department,
    jobTitle: planned.jobTitle,
    officeLocation: planned.site.office,
    usageLocation: planned.site.country,
    mobilePhone: `+1 555 ${String(1_000_000 + simulator.random.integer(8_999_999))}`,
  });
  return { ...planned, id };
}

function createGroups(simulator: EntraSimulator): Map<string, string> {
  const { tenant } = simulator;
  const groups = new Map<string, string>();
  const create = (name: string, description: string): string => {
    const id = tenant.createGroup({ displayName: name, description });
    groups.set(name, id);
    return id;
  };
  const allStaff = create('All Staff', 'Everybody, through the departments.');
  for (const department of departments) {
    const id = create(department.name, `Department ${department.name}.`);
    tenant.addMember(allStaff, id);
    for (const team of department.teams) tenant.addMember(id, create(`${department.name} - ${team}`, `Team ${team}.`));
  }
  create('Portal Admins', 'May administer the customer portal.');
  create('Portal Users', 'May use the customer portal.');
  for (const region of ['EMEA', 'Americas', 'APAC']) create(region, `Everybody at a site in ${region}.`);
  // A cycle, as careless nesting makes them: each is a member of the other.
  const first = create('Project Aurora', 'Contains Project Borealis, which contains it.');
  const second = create('Project Borealis', 'Contains Project Aurora, which contains it.');
  tenant.addMember(first, second);
  tenant.addMember(second, first);
  return groups;
}

export function groupOf(groups: ReadonlyMap<string, string>, name: string): string {
  const id = groups.get(name);
  if (id === undefined) throw new Error(`The sample has no group ${name}.`);
  return id;
}

function assign(simulator: EntraSimulator, groups: ReadonlyMap<string, string>, people: readonly SamplePerson[]): void {
  const { tenant, random } = simulator;
  for (const [index, person] of people.entries()) {
    tenant.addMember(groupOf(groups, `${person.department} - ${person.team}`), person.id);
    tenant.addMember(groupOf(groups, person.site.region), person.id);
    if (person.department === 'IT' && index % 3 === 0) tenant.addMember(groupOf(groups, 'Portal Admins'), person.id);
    if (random.next() < 0.6) tenant.addMember(groupOf(groups, 'Portal Users'), person.id);
    if (index % 40 === 0) tenant.addMember(groupOf(groups, 'Project Aurora'), person.id);
  }
  // A device in a group: a member that is no person.
  tenant.addMember(groupOf(groups, 'IT - Workplace'), random.guid(), 'device');
}

function addOddOnes(
  simulator: EntraSimulator,
  people: SamplePerson[],
  groups: ReadonlyMap<string, string>,
): SampleTenant['odd'] {
  const { tenant } = simulator;
  const at = (index: number): SamplePerson => {
    const person = people.at(index);
    if (person === undefined) throw new Error('The sample needs at least 20 people.');
    return person;
  };
  const [withoutMail, first, second, disabled] = [at(3), at(7), at(11), at(13)];
  const forget = (person: SamplePerson, mail: string | null): void => {
    tenant.patchUser(person.id, { mail });
    people[people.indexOf(person)] = { ...person, mail };
  };
  forget(withoutMail, null);
  forget(second, first.mail);
  tenant.patchUser(disabled.id, { accountEnabled: false });
  const guest = tenant.createUser({
    displayName: 'Robin Partner',
    givenName: 'Robin',
    surname: 'Partner',
    mail: 'robin@fabrikam.example',
    userPrincipalName: 'robin_fabrikam.example#EXT#@contoso.example',
    userType: 'Guest',
  });
  tenant.addMember(groupOf(groups, 'Portal Users'), guest);
  const cycle: readonly [string, string] = [groupOf(groups, 'Project Aurora'), groupOf(groups, 'Project Borealis')];
  return { withoutMail: withoutMail.id, sameMail: [first.id, second.id], guest, disabled: disabled.id, cycle };
}

/** Fills the simulator's tenant; at least 20 users, 320 unless given. The guest comes on top. */
export function createSampleTenant(simulator: EntraSimulator, options: SampleOptions = {}): SampleTenant {
  const { users = 320, domain = 'contoso.example', sharedCount = 25 } = options;
  const groups = createGroups(simulator);
  const taken = new Set<string>();
  const people: SamplePerson[] = [];
  for (let number = 0; number < users; number += 1) {
    people.push(hire(simulator, planPerson(simulator.random, domain, number, taken)));
  }
  assign(simulator, groups, people);
  const odd = addOddOnes(simulator, people, groups);
  const ordinary = people.filter((person) => person.mail === person.userPrincipalName && person.id !== odd.disabled);
  const shared = ordinary.slice(20, 20 + sharedCount).map((person): SharedPerson => ({
    name: person.displayName,
    givenName: person.givenName,
    familyName: person.surname,
    mail: person.mail ?? '',
    employeeId: person.employeeId,
    department: person.department,
  }));
  return { domain, people, groups, shared, odd };
}
