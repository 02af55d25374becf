/** An OpenLDAP read by the connector with increments, and whoever changes it. */
import type { Client } from 'ldapts';
import type { Cursor, DirectoryEvent } from '../../src/connectors/contract/contract.ts';
import { ldapConnector } from '../../src/connectors/ldap/ldap.ts';
import type { LdapSettings } from '../../src/connectors/ldap/ldap.ts';
import { createDialer } from '../../src/platform/dialer.ts';
import { Secret } from '../../src/platform/secrets.ts';
import { openDirectoryHandle } from './directory-handle.ts';
import type { OpenHandle } from './directory-handle.ts';
import { Follower } from './follower.ts';
import { bindOpenldapAdmin, openldapDialect } from './openldap-directory.ts';
import { startOpenldap } from './openldap.ts';
import type { Openldap, OpenldapOptions } from './openldap.ts';

/** By which the connector judges what has ended; tests move it. */
export const clock = { ms: Date.now() };

export const connector = ldapConnector({
  dialer: createDialer({ allowPrivateRanges: ['127.0.0.0/8'] }),
  now: () => new Date(clock.ms),
});
export const attributes = ['mail', 'departmentNumber'];

export type Overrides = Partial<LdapSettings> & { readonly password?: string };

export type IncrementsFixture = {
  readonly server: Openldap;
  readonly directory: OpenHandle;
  readonly admin: () => Client;
  read(mode: 'full' | 'delta', cursor: Cursor | null, overrides: Overrides): Promise<DirectoryEvent[]>;
  follow(overrides?: Overrides): Promise<Follower<Overrides>>;
  restart(): Promise<void>;
  stop(): Promise<void>;
};

export async function startIncrementsFixture(options: OpenldapOptions = {}): Promise<IncrementsFixture> {
  const server = await startOpenldap(options);
  let admin = await bindOpenldapAdmin(server);
  const access = { url: server.url, dn: server.adminDn, password: server.adminPassword };
  const directory = await openDirectoryHandle(access, openldapDialect(server));
  const read: IncrementsFixture['read'] = async (mode, cursor, { password = server.password, ...overrides }) => {
    const events: DirectoryEvent[] = [];
    const secrets = { password: new Secret(password) };
    const settings = { ...incrementSettings(server), ...overrides };
    const signal = AbortSignal.timeout(30_000);
    for await (const event of connector.read({ settings, secrets, mode, cursor, attributes, signal })) {
      events.push(event);
    }
    return events;
  };
  return {
    server,
    directory,
    admin: () => admin,
    read,
    follow: (overrides = {}) => new Follower(read, overrides).full(),
    async restart() {
      await admin.unbind();
      await server.restart();
      await directory.reconnect();
      admin = await bindOpenldapAdmin(server);
    },
    async stop() {
      await directory.close();
      await admin.unbind();
      await server.stop();
    },
  };
}

export function incrementSettings(server: Openldap): LdapSettings {
  return connector.settingsSchema.parse({
    host: server.host,
    port: server.tlsPort,
    caPem: server.caPem,
    bindDn: server.bindDn,
    baseDn: server.peopleDn,
    groupBaseDn: server.groupsDn,
    pageSize: 50,
    increments: 'auto',
  });
}
