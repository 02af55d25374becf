/**
 * The directories of the demo: the Entra simulator with its sample company and, where slapd is installed, a real
 * OpenLDAP in which some of the same people stand, beside a few who stand nowhere else.
 */
import { Attribute, Change, Client } from 'ldapts';
import { isOpenldapInstalled, startOpenldap, type Openldap } from '../servers/openldap.ts';
import { startEntraSimulator, type EntraSimulator } from '../simulators/entra/entra.ts';
import { createSampleTenant, groupOf, type SampleTenant } from '../simulators/entra/sample-tenant.ts';

export type Directories = {
  readonly entra: EntraSimulator;
  readonly sample: SampleTenant;
  /** Null where slapd is not installed. */
  readonly ldap: Ldap | null;
  [Symbol.asyncDispose](): Promise<void>;
};

export type Ldap = {
  readonly server: Openldap;
  readonly peopleCount: number;
  /** Each makes one change and says what it did. */
  hire(): Promise<string>;
  move(): Promise<string>;
  leave(): Promise<string>;
};

type Person = {
  /** The mail address unless given. */
  readonly userName?: string;
  readonly givenName: string;
  readonly familyName: string;
  readonly mail: string;
  readonly employeeId: string;
  readonly department: string;
};

/** Made Admin by hand before any directory is read, and found in Entra later. */
export const firstAdmin = {
  givenName: 'Dana',
  surname: 'Whitfield',
  displayName: 'Dana Whitfield',
  userPrincipalName: 'dana.whitfield@contoso.example',
  mail: 'dana.whitfield@contoso.example',
  employeeId: 'C09999',
  department: 'IT',
  jobTitle: 'Head of IT',
} as const;

/** Workers of the plants: they have no Microsoft account. */
const plantWorkers: readonly (readonly [string, string])[] = [
  ['Ottilie', 'Brandt'],
  ['Kwabena', 'Asante'],
  ['Ragnhild', 'Lien'],
  ['Tomáš', 'Procházka'],
  ['Marisol', 'Quintero'],
  ['Deniz', 'Aksoy'],
  ['Pirjo', 'Salonen'],
  ['Yusuf', 'Danjuma'],
  ['Sorcha', 'Keane'],
  ['Ludovic', 'Marchand'],
  ['Hoshiko', 'Arai'],
  ['Zofia', 'Wrona'],
  ['Emeka', 'Uche'],
  ['Liv', 'Halvorsen'],
  ['Rosario', 'Ibáñez'],
];
const newcomers: readonly (readonly [string, string])[] = [
  ['Ines', 'Vogt'],
  ['Abeba', 'Tadesse'],
  ['Callum', 'Reid'],
  ['Noor', 'Rahimi'],
];

export async function startDirectories(): Promise<Directories> {
  const entra = await startEntraSimulator();
  try {
    const sample = createSampleTenant(entra);
    entra.tenant.addMember(groupOf(sample.groups, 'Portal Admins'), entra.tenant.createUser(firstAdmin));
    const ldap = isOpenldapInstalled() ? await startLdap(sample) : null;
    return {
      entra,
      sample,
      ldap,
      [Symbol.asyncDispose]: async () => {
        await ldap?.server.stop();
        await entra.stop();
      },
    };
  } catch (error) {
    await entra.stop();
    throw error;
  }
}

async function startLdap(sample: SampleTenant): Promise<Ldap> {
  const workers = plantWorkers.map((names, index) => plantWorker(names, index, sample.domain));
  const people = [...sample.shared, ...workers, receptionDesk(sample)];
  const server = await startOpenldap({ entries: people.map((person) => entryOf(person)).join('\n') });
  const hired = newcomers.map((names, index) => plantWorker(names, plantWorkers.length + index, sample.domain));
  let [hires, moves, leavers] = [0, 0, 0];
  const nextOf = <T>(list: readonly T[], index: number): T => {
    const item = list[index % list.length];
    if (item === undefined) throw new Error('The list of the demo is empty.');
    return item;
  };
  return {
    server,
    peopleCount: people.length,
    hire: async () => {
      const round = Math.floor(hires / hired.length);
      const named = nextOf(hired, hires);
      hires += 1;
      // after the last one the names come again, as other people
      const person =
        round === 0
          ? named
          : {
              ...named,
              mail: named.mail.replace('@', `.${round + 1}@`),
              employeeId: `${named.employeeId}-${round + 1}`,
            };
      await asAdmin(server, (client) => client.add(dnOf(person), attributesOf(person)));
      return `${nameOf(person)} joins ${person.department}.`;
    },
    move: async () => {
      const person = nextOf(workers, moves);
      const title = ['Shift Lead', 'Safety Officer', 'Line Mechanic'][Math.floor(moves / workers.length) % 3] ?? '';
      moves += 1;
      await replace(server, dnOf(person), 'title', title);
      return `${nameOf(person)} becomes ${title}.`;
    },
    leave: async () => {
      // from the end, so that nobody who was moved just now leaves
      const person = workers[workers.length - 1 - leavers];
      if (person === undefined || leavers >= 3) return 'Nobody leaves.';
      leavers += 1;
      await asAdmin(server, (client) => client.del(dnOf(person)));
      return `${nameOf(person)} leaves; the entry is deleted.`;
    },
  };
}

function plantWorker([givenName, familyName]: readonly [string, string], index: number, domain: string): Person {
  const plain = (text: string): string =>
    text
      .normalize('NFD')
      .replaceAll(/[\u0300-\u036f]/g, '')
      .toLowerCase();
  return {
    givenName,
    familyName,
    mail: `${plain(givenName)}.${plain(familyName)}@${domain}`,
    employeeId: `P${String(50_000 + index)}`,
    department: 'Plant Berlin',
  };
}

/** An account that carries an address which two people of Entra share: whose is it? */
function receptionDesk(sample: SampleTenant): Person {
  const [sharing] = sample.odd.sameMail;
  const mail = sample.people.find((person) => person.id === sharing)?.mail ?? '';
  return {
    userName: `reception@${sample.domain}`,
    givenName: 'Reception',
    familyName: 'Desk',
    mail,
    employeeId: 'P59999',
    department: 'Plant Berlin',
  };
}

function nameOf(person: Person): string {
  return `${person.givenName} ${person.familyName}`;
}

function dnOf(person: Person): string {
  return `uid=${person.userName ?? person.mail},ou=people,dc=example,dc=org`;
}

function attributesOf(person: Person): Record<string, string> {
  return {
    objectClass: 'inetOrgPerson',
    uid: person.userName ?? person.mail,
    cn: nameOf(person),
    displayName: nameOf(person),
    givenName: person.givenName,
    sn: person.familyName,
    mail: person.mail,
    employeeNumber: person.employeeId,
    departmentNumber: person.department,
  };
}

/** Everything as base64: names are not ASCII (RFC 2849 section 2). */
function entryOf(person: Person): string {
  const lines = Object.entries(attributesOf(person)).map(
    ([name, value]) => `${name}:: ${Buffer.from(value).toString('base64')}`,
  );
  return `dn: ${dnOf(person)}\n${lines.join('\n')}\n`;
}

async function replace(server: Openldap, dn: string, type: string, value: string): Promise<void> {
  const modification = new Attribute({ type, values: [value] });
  await asAdmin(server, (client) => client.modify(dn, new Change({ operation: 'replace', modification })));
}

async function asAdmin(server: Openldap, work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ url: server.url, timeout: 10_000, connectTimeout: 5_000 });
  try {
    await client.bind(server.adminDn, server.adminPassword);
    await work(client);
  } finally {
    await client.unbind();
  }
}
