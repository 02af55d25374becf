/** The directory of the sync bench: a real slapd with generated people and groups, its churn, and ldapsearch beside it. */
import { createWriteStream, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { ldifUserDn, writeLdif } from '../servers/ldif.ts';
import { startOpenldap, type Openldap } from '../servers/openldap.ts';

export type DirectorySize = {
  readonly users: number;
  readonly groups: number;
  /** Five unless given. */
  readonly membershipsPerUser?: number;
};

const usualMemberships = 5;
const seed = 20_261_122;

export async function startDirectory({
  users,
  groups,
  membershipsPerUser = usualMemberships,
}: DirectorySize): Promise<Openldap> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-bench-ldif-'));
  try {
    const ldifPath = join(folder, 'entries.ldif');
    const stream = createWriteStream(ldifPath);
    await writeLdif(stream, { users, groups, membershipsPerUser, seed });
    stream.end();
    await finished(stream);
    return await startOpenldap({ ldifPath });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Search = { readonly seconds: number; readonly entries: number; readonly text: string };

/** Where and as whom `ldapsearch` asks. */
export type SearchAccess = {
  readonly tlsUrl: string;
  readonly bindDn: string;
  readonly password: string;
  readonly caPath: string;
};

/** `ldapsearch -E pr=500` into a file; the clock covers only the command. */
export async function timeSearch(
  access: SearchAccess,
  baseDn: string,
  filter: string,
  attributes: readonly string[],
): Promise<Search> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-bench-search-'));
  const path = join(folder, 'answer.ldif');
  const file = openSync(path, 'w');
  try {
    const bind = ['-x', '-H', access.tlsUrl, '-D', access.bindDn, '-w', access.password];
    const paging = ['-E', 'pr=500/noprompt', '-LLL', '-o', 'ldif-wrap=no'];
    const startedAt = performance.now();
    const child = spawn('ldapsearch', [...bind, ...paging, '-b', baseDn, filter, ...attributes], {
      stdio: ['ignore', file, 'inherit'],
      env: { ...process.env, LDAPTLS_CACERT: access.caPath },
    });
    const [code] = await once(child, 'exit');
    const seconds = (performance.now() - startedAt) / 1000;
    if (code !== 0) throw new Error(`ldapsearch ended with code ${String(code)}.`);
    const text = readFileSync(path, 'utf8');
    return { seconds, entries: text.match(/^dn::? /gm)?.length ?? 0, text };
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true, force: true });
  }
}

export const userAttributes = [
  'uid',
  'cn',
  'sn',
  'givenName',
  'displayName',
  'mail',
  'telephoneNumber',
  'employeeNumber',
  'departmentNumber',
  'title',
  'entryUUID',
];

export function accessTo(directory: Openldap): SearchAccess {
  const { tlsUrl, bindDn, password, folder } = directory;
  return { tlsUrl, bindDn, password, caPath: join(folder, 'tls', 'ca.crt') };
}

/** The yardstick: the same entries, by the C client, in the same bench run. */
export async function timeLdapsearch(directory: Openldap): Promise<{ seconds: number; entries: number }> {
  const people = '(objectClass=inetOrgPerson)';
  const users = await timeSearch(accessTo(directory), directory.peopleDn, people, userAttributes);
  const groups = await searchGroups(directory);
  return { seconds: users.seconds + groups.seconds, entries: users.entries + groups.entries };
}

function searchGroups(directory: Openldap): Promise<Search> {
  const names = ['cn', 'member', 'entryUUID'];
  return timeSearch(accessTo(directory), directory.groupsDn, '(objectClass=groupOfNames)', names);
}

export type Churn = { readonly renamed: number; readonly moved: number; readonly left: number; readonly hired: number };

/** 1.5 % of the people: a third renamed, a third moved between groups, a sixth left, a sixth hired. */
export function churnOf(users: number): Churn {
  const third = Math.max(1, Math.round(users * 0.005));
  const sixth = Math.max(1, Math.round(users * 0.0025));
  return { renamed: third, moved: third, left: sixth, hired: sixth };
}

export async function applyChurn(directory: Openldap, size: DirectorySize, churn: Churn): Promise<void> {
  const parts: string[] = [];
  for (let index = 0; index < churn.renamed; index += 1) {
    parts.push(`dn: ${ldifUserDn(index)}\nchangetype: modify\nreplace: title\ntitle: Renamed ${index}\n`);
  }
  parts.push(...moves(parseGroups((await searchGroups(directory)).text), churn.moved));
  for (let index = 0; index < churn.left; index += 1) {
    parts.push(`dn: ${ldifUserDn(size.users - 1 - index)}\nchangetype: delete\n`);
  }
  for (let index = 0; index < churn.hired; index += 1) parts.push(hire(size.users + index));
  await directory.modify(parts.join('\n'));
}

function hire(index: number): string {
  return [
    `dn: ${ldifUserDn(index)}`,
    'changetype: add',
    'objectClass: inetOrgPerson',
    `uid: user${index}`,
    `cn: New User ${index}`,
    'sn: User',
    'givenName: New',
    `displayName: New User ${index}`,
    `mail: user${index}@example.org`,
    `employeeNumber: E${String(index).padStart(7, '0')}`,
    '',
  ].join('\n');
}

type Group = { readonly dn: string; readonly members: readonly string[] };

function parseGroups(ldif: string): Group[] {
  return ldif
    .split(/\n\n+/)
    .filter((entry) => entry.startsWith('dn: '))
    .map((entry) => ({
      dn: /^dn: (.+)$/m.exec(entry)?.[1] ?? '',
      members: [...entry.matchAll(/^member: (.+)$/gm)].map((match) => match[1] ?? ''),
    }));
}

/** Each move takes a member out of one group and puts it into the next group that does not have it yet. */
function moves(groups: readonly Group[], count: number): string[] {
  const roomy = groups.filter((group) => group.members.length > 2);
  const parts: string[] = [];
  for (let index = 0; index < count && roomy.length > 1; index += 1) {
    const from = roomy[index % roomy.length];
    const to = roomy[(index + 1) % roomy.length];
    const member = from?.members[2 + Math.floor(index / roomy.length)];
    if (from === undefined || to === undefined || member === undefined || to.members.includes(member)) continue;
    parts.push(`dn: ${from.dn}\nchangetype: modify\ndelete: member\nmember: ${member}\n`);
    parts.push(`dn: ${to.dn}\nchangetype: modify\nadd: member\nmember: ${member}\n`);
  }
  return parts;
}
