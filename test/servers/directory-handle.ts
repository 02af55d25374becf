/**
 * Changes a throw-away directory the way an administrator would, through ldapts' own client: the connector under test
 * must not be the one that prepares what it is tested against.
 */
import { Attribute, Change, Client } from 'ldapts';
import type { DirectoryHandle } from '../../src/connectors/contract/conformance.ts';

export type AdminConnection = {
  readonly url: string;
  readonly dn: string;
  readonly password: string;
  readonly caPem?: string;
};

/** How one product spells users, groups and their ids. */
export type DirectoryDialect = {
  readonly peopleDn: string;
  readonly groupsDn: string;
  readonly idAttribute: string;
  readAnchor(value: Buffer): string;
  userAttributes(number: number, name: string): Record<string, string | string[]>;
  groupAttributes(number: number, name: string): Record<string, string | string[]>;
  /** The change that disables an account. */
  readonly disabled: { readonly attribute: string; readonly value: string };
  /** groupOfNames must have a member: what stands for "none" (null where none is needed). */
  readonly noMember: string | null;
};

const valuesPerModify = 500;

export type OpenHandle = DirectoryHandle & {
  dnOf(anchor: string): string;
  /** After a restart of the server: the client would go on without signing in. */
  reconnect(): Promise<void>;
  close(): Promise<void>;
};

/** RFC 4514 section 2.4. */
function rdn(name: string): string {
  return `CN=${name.replace(/[",+;<>\\=#]/g, (sign) => `\\${sign}`)}`;
}

export async function openDirectoryHandle(admin: AdminConnection, dialect: DirectoryDialect): Promise<OpenHandle> {
  const client = new Client({
    url: admin.url,
    timeout: 30_000,
    connectTimeout: 5_000,
    ...(admin.caPem === undefined ? {} : { tlsOptions: { ca: admin.caPem } }),
  });
  await client.bind(admin.dn, admin.password);
  const dns = new Map<string, string>();
  let number = 0;

  const dnOf = (anchor: string): string => {
    const dn = dns.get(anchor);
    if (dn === undefined) throw new Error(`No object with anchor ${anchor} was made here.`);
    return dn;
  };
  const add = async (dn: string, attributes: Record<string, string | string[]>): Promise<string> => {
    await client.add(dn, attributes);
    const { idAttribute } = dialect;
    const { searchEntries } = await client.search(dn, {
      scope: 'base',
      attributes: [idAttribute],
      explicitBufferAttributes: [idAttribute],
    });
    const value = searchEntries[0]?.[idAttribute];
    if (!Buffer.isBuffer(value)) throw new Error(`${dn} has no ${idAttribute}`);
    const anchor = dialect.readAnchor(value);
    dns.set(anchor, dn);
    return anchor;
  };
  const modify = async (dn: string, operation: 'add' | 'delete' | 'replace', type: string, values: string[]) => {
    await client.modify(dn, new Change({ operation, modification: new Attribute({ type, values }) }));
  };
  const remove = async (anchor: string): Promise<void> => {
    await client.del(dnOf(anchor));
    dns.delete(anchor);
  };
  const addUser: DirectoryHandle['addUser'] = ({ name, email }) => {
    number += 1;
    const mail = email === undefined ? {} : { mail: email };
    return add(`${rdn(name)},${dialect.peopleDn}`, { ...dialect.userAttributes(number, name), ...mail });
  };

  return {
    dnOf,
    addUser,
    async addUsers(prefix, count) {
      const anchors: string[] = [];
      for (let index = 0; index < count; index += 1) anchors.push(await addUser({ name: `${prefix}${index}` }));
      return anchors;
    },
    async renameUser(anchor, name) {
      const dn = `${rdn(name)},${dialect.peopleDn}`;
      await client.modifyDN(dnOf(anchor), dn);
      dns.set(anchor, dn);
      await modify(dn, 'replace', 'displayName', [name]);
    },
    setEmail: (anchor, email) => modify(dnOf(anchor), 'replace', 'mail', email === null ? [] : [email]),
    disableUser: (anchor) => modify(dnOf(anchor), 'replace', dialect.disabled.attribute, [dialect.disabled.value]),
    deleteUser: remove,
    addGroup(name) {
      number += 1;
      const none = dialect.noMember === null ? {} : { member: dialect.noMember };
      return add(`${rdn(name)},${dialect.groupsDn}`, { ...dialect.groupAttributes(number, name), ...none });
    },
    deleteGroup: remove,
    async addMembers(groupAnchor, memberAnchors) {
      for (let at = 0; at < memberAnchors.length; at += valuesPerModify) {
        const part = memberAnchors.slice(at, at + valuesPerModify).map(dnOf);
        await modify(dnOf(groupAnchor), 'add', 'member', part);
      }
    },
    removeMembers: (groupAnchor, memberAnchors) =>
      modify(dnOf(groupAnchor), 'delete', 'member', memberAnchors.map(dnOf)),
    async reconnect() {
      await client.unbind();
      await client.bind(admin.dn, admin.password);
    },
    close: () => client.unbind(),
  };
}
