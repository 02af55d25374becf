/** How OpenLDAP spells users and groups, and a client of its administrator. */
import { Client } from 'ldapts';
import type { DirectoryDialect } from './directory-handle.ts';
import type { Openldap } from './openldap.ts';

export function openldapDialect(server: Openldap): DirectoryDialect {
  return {
    peopleDn: server.peopleDn,
    groupsDn: server.groupsDn,
    idAttribute: 'entryUUID',
    readAnchor: (value) => value.toString(),
    userAttributes: (number, name) => ({
      objectClass: 'inetOrgPerson',
      cn: name,
      sn: 'Someone',
      uid: `u${number}`,
      displayName: name,
    }),
    groupAttributes: (_number, name) => ({ objectClass: 'groupOfNames', cn: name }),
    disabled: { attribute: 'pwdAccountLockedTime', value: '000001010000Z' },
    noMember: '',
  };
}

export async function bindOpenldapAdmin(server: Openldap): Promise<Client> {
  const client = new Client({ url: server.url, timeout: 30_000, connectTimeout: 5_000 });
  await client.bind(server.adminDn, server.adminPassword);
  return client;
}
