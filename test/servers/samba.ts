/**
 * A throw-away Active Directory (Samba as domain controller) for tests. Provisioning takes seconds, so it happens once
 * per machine into a cache in the temporary folder; each server is a copy of it on a loopback address of its own, because
 * the ports of AD are fixed (389, 636). Needs root, or the right to bind ports below 1024.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeServerCertificate } from './certificates.ts';
import { isListening, run, startProcess } from './process.ts';

const sambaPath = ['/usr/sbin/samba', '/usr/local/samba/sbin/samba'].find(existsSync);
const toolPath = ['/usr/bin/samba-tool', '/usr/local/samba/bin/samba-tool'].find(existsSync);

export function isSambaInstalled(): boolean {
  return sambaPath !== undefined && toolPath !== undefined;
}

const realm = 'AD.EXAMPLE.TEST';
const hostName = `dc1.${realm.toLowerCase()}`;
const adminPassword = 'Admin-secret-canary-1';
const ports = { ldap: 389, ldaps: 636 } as const;

export type Samba = {
  readonly host: string;
  readonly url: string;
  readonly tlsUrl: string;
  readonly tlsPort: number;
  readonly caPem: string;
  readonly caPath: string;
  readonly baseDn: string;
  readonly usersDn: string;
  readonly adminDn: string;
  readonly adminPassword: string;
  /** Gives an account the right Replicating Directory Changes on the domain, which DirSync needs. */
  allowReplication(accountDn: string): Promise<void>;
  /** Lets everybody who signed in see what was deleted (`dsacls "CN=Deleted Objects,..." /g user:LCRP` on Windows). */
  showDeletedObjects(): Promise<void>;
  stop(): Promise<void>;
};

function toolOf(samba: string): string {
  return samba.replace(/sbin\/samba$/, 'bin/samba-tool');
}

const showDeletedScript = `
import sys, ldb
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack, ndr_pack
folder, dn = sys.argv[1:3]
lp = LoadParm()
lp.load(folder + '/etc/smb.conf')
db = SamDB(url=folder + '/private/sam.ldb', lp=lp, session_info=system_session())
domain = security.dom_sid(db.get_domain_sid())
controls = ['show_deleted:1', 'sd_flags:1:4']
name = 'nTSecurityDescriptor'
[found] = db.search(dn, scope=ldb.SCOPE_BASE, attrs=[name], controls=controls)
text = ndr_unpack(security.descriptor, found[name][0]).as_sddl(domain)
change = ldb.Message(ldb.Dn(db, dn))
after = security.descriptor.from_sddl(text + '(A;;LCRP;;;AU)', domain)
change[name] = ldb.MessageElement(ndr_pack(after), ldb.FLAG_MOD_REPLACE, name)
db.modify(change, controls)
`;

export async function startSamba(): Promise<Samba> {
  if (sambaPath === undefined || toolPath === undefined) throw new Error('samba is not installed.');
  const template = await provisionOnce(toolPath);
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-samba-'));
  try {
    cpSync(template, folder, { recursive: true, verbatimSymlinks: true });
    const host = await freeAddress();
    const configPath = join(folder, 'etc', 'smb.conf');
    // Samba's configuration holds absolute paths; nothing else in the folder does.
    writeFileSync(configPath, readFileSync(configPath, 'utf8').replaceAll(template, folder));
    return await startIn(folder, sambaPath, host);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The first caller provisions; callers at the same time may do it twice, and the first to finish wins. */
async function provisionOnce(tool: string): Promise<string> {
  const cached = join(tmpdir(), `rollcall-samba-template-${process.getuid?.() ?? 0}-1`);
  if (existsSync(cached)) return cached;
  const fresh = mkdtempSync(join(tmpdir(), 'rollcall-samba-provision-'));
  const names = [`--realm=${realm}`, '--domain=ADX', '--server-role=dc', '--dns-backend=NONE', '--host-name=dc1'];
  const network = ['--host-ip=127.0.0.1', '--option=interfaces=lo', '--option=bind interfaces only=yes'];
  await run(tool, [
    'domain',
    'provision',
    `--targetdir=${fresh}`,
    `--adminpass=${adminPassword}`,
    ...names,
    ...network,
  ]);
  const configPath = join(fresh, 'etc', 'smb.conf');
  writeFileSync(configPath, readFileSync(configPath, 'utf8').replaceAll(fresh, cached));
  try {
    renameSync(fresh, cached);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(cached)) throw error;
  }
  return cached;
}

/** 127/8 is all loopback: an address nobody listens on. */
async function freeAddress(): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const address = `127.77.${Math.floor(Math.random() * 256)}.${1 + Math.floor(Math.random() * 250)}`;
    if (!(await isListening(address, ports.ldaps))) return address;
  }
  throw new Error('No free loopback address.');
}

async function startIn(folder: string, samba: string, host: string): Promise<Samba> {
  const certificate = await makeServerCertificate(join(folder, 'tls'), {
    authority: 'Rollcall Test AD CA',
    subject: hostName,
    subjectAltName: `DNS:${hostName},IP:${host}`,
  });
  for (const name of ['run', 'ncalrpc']) mkdirSync(join(folder, name), { recursive: true });
  const options = {
    'server services': 'ldap',
    interfaces: `${host}/8`,
    'bind interfaces only': 'yes',
    'pid directory': join(folder, 'run'),
    'ncalrpc dir': join(folder, 'ncalrpc'),
    'tls keyfile': certificate.keyPath,
    'tls certfile': certificate.certPath,
    'tls cafile': certificate.caPath,
    'log file': join(folder, 'log.%m'),
  };
  const settings = Object.entries(options).map(([name, value]) => `--option=${name}=${value}`);
  const args = ['-s', join(folder, 'etc', 'smb.conf'), '-i', '-M', 'single', '--debug-stdout', ...settings];
  const server = await startProcess(samba, args, {
    logPath: join(folder, 'samba.out'),
    host,
    ports: [ports.ldap, ports.ldaps],
    timeoutMs: 30_000,
  });
  const baseDn = realm
    .toLowerCase()
    .split('.')
    .map((part) => `DC=${part}`)
    .join(',');
  return {
    host,
    url: `ldap://${host}`,
    tlsUrl: `ldaps://${host}`,
    tlsPort: ports.ldaps,
    caPem: certificate.caPem,
    caPath: certificate.caPath,
    baseDn,
    usersDn: `CN=Users,${baseDn}`,
    adminDn: `CN=Administrator,CN=Users,${baseDn}`,
    adminPassword,
    async allowReplication(accountDn) {
      const database = join(folder, 'private', 'sam.ldb');
      const right = ['--car=get-changes', '--action=allow', `--objectdn=${baseDn}`, `--trusteedn=${accountDn}`];
      await run(toolOf(samba), ['dsacl', 'set', '-s', join(folder, 'etc', 'smb.conf'), `--URL=${database}`, ...right]);
    },
    async showDeletedObjects() {
      // samba-tool does not find the container, but the Python it is written in can do it
      const python = /^#!\s*(\S+)/.exec(readFileSync(toolOf(samba), 'utf8'))?.[1] ?? '/usr/bin/python3';
      await run(python, ['-c', showDeletedScript, folder, `CN=Deleted Objects,${baseDn}`]);
    },
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
