/** Big directories for benches and load tests: the same seed gives the same people, groups and memberships. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { openldapBaseDn } from './openldap-config.ts';

export type LdifPlan = {
  readonly users: number;
  readonly groups: number;
  readonly membershipsPerUser: number;
  readonly seed: number;
  readonly baseDn?: string;
};

const givenNames = ['Ada', 'Bo', 'Chloé', 'Dmitri', 'Elif', 'Femi', 'Grace', 'Hiro', 'Inés', 'Jürgen', 'Kofi', 'Léa'];
const familyNames = ['Adeyemi', 'Brown', 'Chen', 'Díaz', 'Eriksen', 'Fischer', 'García', 'Haddad', 'Ito', 'Jansen'];
const departments = ['Engineering', 'Finance', 'Legal', 'Marketing', 'Operations', 'People', 'Sales', 'Support'];
const flushBytes = 1 << 20;

/** mulberry32: small, fast, seedable; good enough for fixtures. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The entryUUID the generator gives to user or group number `index`. */
export function ldifAnchor(kind: 'user' | 'group', index: number, seed: number): string {
  const tail = index.toString(16).padStart(12, '0');
  return `${(seed >>> 0).toString(16).padStart(8, '0')}-${kind === 'user' ? '0001' : '0002'}-4000-8000-${tail}`;
}

export function ldifUserDn(index: number, baseDn: string = openldapBaseDn): string {
  return `uid=user${index},ou=people,${baseDn}`;
}

/** Non-ASCII values go as base64 (RFC 2849 section 2, SAFE-STRING). */
function line(name: string, value: string): string {
  const isSafe = /^[\x21-\x39\x3b\x3d-\x7e][\x20-\x7e]*$/.test(value);
  return isSafe ? `${name}: ${value}\n` : `${name}:: ${Buffer.from(value).toString('base64')}\n`;
}

function userLdif(index: number, plan: LdifPlan, random: () => number): string {
  const pick = (values: readonly string[]): string => values[Math.floor(random() * values.length)] ?? '';
  const [given, family] = [pick(givenNames), pick(familyNames)];
  return [
    `dn: ${ldifUserDn(index, plan.baseDn)}\nobjectClass: inetOrgPerson\n`,
    `uid: user${index}\n`,
    line('cn', `${given} ${family} ${index}`),
    line('sn', family),
    line('givenName', given),
    line('displayName', `${given} ${family}`),
    `mail: user${index}@example.org\n`,
    `telephoneNumber: +1 555 ${String(index).padStart(7, '0')}\n`,
    `employeeNumber: E${String(index).padStart(7, '0')}\n`,
    line('departmentNumber', pick(departments)),
    line('title', `${pick(['Junior', 'Senior', 'Principal'])} ${pick(['Engineer', 'Analyst', 'Manager'])}`),
    `entryUUID: ${ldifAnchor('user', index, plan.seed)}\n\n`,
  ].join('');
}

/** Writes entries below ou=people and ou=groups; the caller ends the stream. */
export async function writeLdif(stream: Writable, plan: LdifPlan): Promise<void> {
  const random = seededRandom(plan.seed);
  let pending = '';
  const flush = async (): Promise<void> => {
    const text = pending;
    pending = '';
    if (!stream.write(text)) await once(stream, 'drain');
  };
  const members = Array.from({ length: plan.groups }, (): Set<number> => new Set());
  for (let index = 0; index < plan.users; index += 1) {
    pending += userLdif(index, plan, random);
    for (let each = 0; each < plan.membershipsPerUser && plan.groups > 0; each += 1) {
      members[Math.floor(random() * plan.groups)]?.add(index);
    }
    if (pending.length > flushBytes) await flush();
  }
  for (const [index, group] of members.entries()) {
    const head = `dn: cn=group${index},ou=groups,${plan.baseDn ?? openldapBaseDn}\nobjectClass: groupOfNames\n`;
    pending += `${head}cn: group${index}\nentryUUID: ${ldifAnchor('group', index, plan.seed)}\n`;
    // groupOfNames must have a member (RFC 4519 section 3.5).
    const dns = group.size === 0 ? [''] : [...group].map((member) => ldifUserDn(member, plan.baseDn));
    for (const dn of dns) pending += dn === '' ? 'member:\n' : `member: ${dn}\n`;
    pending += '\n';
    if (pending.length > flushBytes) await flush();
  }
  await flush();
}
