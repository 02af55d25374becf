/** How users and groups look in the throw-away Active Directory, and the accounts that read it. */
import { Attribute, Change, Client } from 'ldapts';
import type { DirectoryDialect } from './directory-handle.ts';
import type { Samba } from './samba.ts';

export const servicePassword = 'Service-secret-canary-1';
const domain = 'ad.example.test';

/** `readAnchor` is the caller's: the room under test knows how a GUID is written. */
export function sambaDialect(server: Samba, readAnchor: (value: Buffer) => string, placeDn?: string): DirectoryDialect {
  return {
    peopleDn: placeDn ?? server.usersDn,
    groupsDn: placeDn ?? server.usersDn,
    idAttribute: 'objectGUID',
    readAnchor,
    userAttributes: (number, name) => ({
      objectClass: 'user',
      sAMAccountName: `u${number}`,
      displayName: name,
      userAccountControl: '544', // normal account, no password needed
    }),
    groupAttributes: (number, name) => ({ objectClass: 'group', sAMAccountName: `g${number}`, displayName: name }),
    disabled: { attribute: 'userAccountControl', value: '546' },
    noMember: null,
  };
}

export async function bindAdmin(server: Samba): Promise<Client> {
  const client = new Client({ url: server.tlsUrl, tlsOptions: { ca: server.caPem }, timeout: 20_000 });
  await client.bind(server.adminDn, server.adminPassword);
  return client;
}

export async function replaceValues(
  client: Client,
  dn: string,
  type: string,
  values: readonly (string | Buffer)[],
): Promise<void> {
  const modification = new Attribute({ type, values: [...values] as string[] });
  await client.modify(dn, new Change({ operation: 'replace', modification }));
}

/** An ordinary user: no rights beyond those everybody in the domain has. Returns its DN. */
export async function addServiceAccount(server: Samba, name = 'svc-sync'): Promise<string> {
  const dn = `CN=${name},${server.usersDn}`;
  const client = await bindAdmin(server);
  await client.add(dn, { objectClass: 'user', sAMAccountName: name, userPrincipalName: `${name}@${domain}` });
  await replaceValues(client, dn, 'unicodePwd', [Buffer.from(`"${servicePassword}"`, 'utf16le')]);
  await replaceValues(client, dn, 'userAccountControl', ['512']);
  await client.unbind();
  return dn;
}
