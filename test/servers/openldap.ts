/**
 * A throw-away OpenLDAP for tests, benches and the demo: own folder, own high ports, no root needed, about 0.3 s to
 * start. `startOpenldap` loads LDIF offline (slapadd: 100k people in seconds) and always stops what it started.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeServerCertificate } from './certificates.ts';
import { openldapAccounts, openldapBase, openldapBaseDn, openldapConfig } from './openldap-config.ts';
import type { OpenldapShape } from './openldap-config.ts';
import { freePort, run, startProcess } from './process.ts';
import type { ServerProcess } from './process.ts';

const slapdPath = ['/usr/sbin/slapd', '/usr/lib/openldap/slapd', '/usr/local/libexec/slapd'].find(existsSync);
const slapaddPath = ['/usr/sbin/slapadd', '/usr/local/sbin/slapadd'].find(existsSync);

export function isOpenldapInstalled(): boolean {
  return slapdPath !== undefined && slapaddPath !== undefined;
}

export type Openldap = {
  readonly url: string;
  readonly tlsUrl: string;
  readonly ldapiUrl: string;
  readonly host: string;
  readonly port: number;
  readonly tlsPort: number;
  readonly caPem: string;
  readonly baseDn: string;
  readonly peopleDn: string;
  readonly groupsDn: string;
  /** Reads everything, without limits. */
  readonly bindDn: string;
  readonly password: string;
  /** Reads everything, but never more than 500 entries. */
  readonly limitedBindDn: string;
  readonly limitedPassword: string;
  readonly adminDn: string;
  readonly adminPassword: string;
  readonly folder: string;
  readonly pid: number;
  /** LDIF with or without change types (`ldapmodify -a`). */
  modify(ldif: string): Promise<void>;
  /** The same for cn=config. */
  configure(ldif: string): Promise<void>;
  /** Stops and starts the same directory on the same ports. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

export type OpenldapOptions = OpenldapShape & {
  /** LDIF text of further entries below the base. */
  readonly entries?: string;
  /** LDIF file of further entries, for big directories (see ldif.ts). */
  readonly ldifPath?: string;
  readonly port?: number;
};

export async function startOpenldap(options: OpenldapOptions = {}): Promise<Openldap> {
  if (slapdPath === undefined || slapaddPath === undefined) throw new Error('slapd is not installed.');
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-slapd-'));
  try {
    const caPem = await createDirectory(folder, slapaddPath, options);
    return await listenOn(folder, slapdPath, caPem, options.port);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function createDirectory(folder: string, slapadd: string, options: OpenldapOptions): Promise<string> {
  const certificate = await makeServerCertificate(join(folder, 'tls'), {
    authority: 'Rollcall Test CA',
    subject: 'ldap.example.test',
    subjectAltName: 'DNS:localhost,DNS:ldap.example.test,IP:127.0.0.1',
  });
  for (const name of ['db', 'slapd.d']) mkdirSync(join(folder, name));
  const paths = { folder, ca: certificate.caPath, cert: certificate.certPath, key: certificate.keyPath };
  const load = async (database: number, ldifPath: string): Promise<void> => {
    await run(slapadd, ['-q', '-w', '-n', String(database), '-F', join(folder, 'slapd.d'), '-l', ldifPath]);
  };
  const loadText = async (database: number, name: string, text: string): Promise<void> => {
    writeFileSync(join(folder, name), text);
    await load(database, join(folder, name));
  };
  await loadText(0, 'config.ldif', openldapConfig(paths, options));
  await loadText(1, 'base.ldif', openldapBase());
  if (options.entries !== undefined) await loadText(1, 'entries.ldif', options.entries);
  if (options.ldifPath !== undefined) await load(1, options.ldifPath);
  return certificate.caPem;
}

async function listenOn(
  folder: string,
  slapd: string,
  caPem: string,
  wantedPort: number | undefined,
): Promise<Openldap> {
  const host = '127.0.0.1';
  const [port, tlsPort] = [wantedPort ?? (await freePort(host)), await freePort(host)];
  const url = `ldap://${host}:${port}`;
  const tlsUrl = `ldaps://${host}:${tlsPort}`;
  const ldapiUrl = `ldapi://${encodeURIComponent(join(folder, 'ldapi'))}`;
  const start = (): Promise<ServerProcess> =>
    startProcess(slapd, ['-F', join(folder, 'slapd.d'), '-h', `${url} ${tlsUrl} ${ldapiUrl}`, '-d', '0'], {
      logPath: join(folder, 'slapd.log'),
      host,
      ports: [port, tlsPort],
    });
  let server = await start();
  const { admin, sync, limited } = openldapAccounts;
  let changes = 0;
  const modifyAs = async (dn: string, ldif: string): Promise<void> => {
    changes += 1;
    const path = join(folder, `change-${changes}.ldif`);
    writeFileSync(path, ldif);
    await run('ldapmodify', ['-a', '-x', '-H', url, '-D', dn, '-w', admin.password, '-f', path]);
  };
  return {
    url,
    tlsUrl,
    ldapiUrl,
    host,
    port,
    tlsPort,
    caPem,
    baseDn: openldapBaseDn,
    peopleDn: `ou=people,${openldapBaseDn}`,
    groupsDn: `ou=groups,${openldapBaseDn}`,
    bindDn: sync.dn,
    password: sync.password,
    limitedBindDn: limited.dn,
    limitedPassword: limited.password,
    adminDn: admin.dn,
    adminPassword: admin.password,
    folder,
    get pid() {
      return server.pid;
    },
    modify: (ldif) => modifyAs(admin.dn, ldif),
    configure: (ldif) => modifyAs('cn=admin,cn=config', ldif),
    async restart() {
      await server.stop();
      server = await start();
    },
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
