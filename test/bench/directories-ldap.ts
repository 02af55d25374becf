/**
 * Goals P2 and P3, the part up to the events: a real slapd and a real Samba domain, read whole by the connector in a
 * process of its own, with `ldapsearch -E pr=500` writing the same entries to a file just before and after each read:
 * the machine is noisy, so only figures of the same minute are compared.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { startSamba, isSambaInstalled } from '../servers/samba.ts';
import type { Samba } from '../servers/samba.ts';
import { addServiceAccount, bindAdmin, servicePassword } from '../servers/samba-directory.ts';
import type { Openldap } from '../servers/openldap.ts';
import type { ReaderFigures, ReaderRequest } from './directories-reader.ts';
import { createReport, tell } from './report.ts';
import type { BenchOptions, Report } from './report.ts';
import { accessTo, startDirectory, timeSearch, userAttributes } from './sync-directory.ts';

const rounds = 3;
const manyGroups = 500;
const sambaUsers = 1_000;
const idleIncrements = 15;
const nodeFlags = ['--disable-proto=delete', '--max-semi-space-size=8', '--heap-growing-percent=30'];

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

async function read(request: ReaderRequest): Promise<ReaderFigures> {
  const script = join(import.meta.dirname, 'directories-reader.ts');
  const child = spawn(process.execPath, [...nodeFlags, script], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(request));
  const answer = await text(child.stdout);
  if (answer === '') throw new Error('The reader failed.');
  return JSON.parse(answer) as ReaderFigures;
}

type Shape = {
  readonly name: string;
  readonly users: number;
  readonly groups: number;
  readonly membershipsPerUser: number;
};

const usualUsers = 100_000;

/** Above the usual size only the people, beside the usual number of them: time and memory by size is the question. */
function shapesOf(users: number): Shape[] {
  const people = (count: number): Shape => ({
    name: `${count}_people`,
    users: count,
    groups: 0,
    membershipsPerUser: 0,
  });
  if (users > usualUsers) return [people(usualUsers), people(users)];
  return [
    people(users),
    { name: `${users}_people_${manyGroups}_groups`, users, groups: manyGroups, membershipsPerUser: 5 },
    { name: `one_group_of_${users}`, users, groups: 1, membershipsPerUser: 1 },
  ];
}

export async function benchLdap(options: BenchOptions): Promise<void> {
  const report = createReport('directories');
  let before: Measured | null = null;
  for (const shape of shapesOf(options.users)) {
    tell(`slapd: ${shape.name} ...`);
    const directory = await startDirectory(shape);
    try {
      const measured = await measureOpenldap(report, shape, directory);
      if (before !== null && shape.users > usualUsers) {
        report(`${shape.name}_memory_by_size`, measured.peakMb / before.peakMb, 'times', 1.5);
        report(
          `${shape.name}_time_by_size`,
          measured.cpuSeconds / before.cpuSeconds,
          'times',
          shape.users / usualUsers,
        );
      }
      before = measured;
    } finally {
      await directory.stop();
    }
  }
  if (options.users > usualUsers) return;
  if (!isSambaInstalled()) {
    tell('Samba is not installed: Active Directory is left out.');
    return;
  }
  tell(`Samba: ${sambaUsers} people ...`);
  const samba = await startSamba();
  try {
    await measureSamba(report, samba);
  } finally {
    await samba.stop();
  }
}

type Measured = { readonly peakMb: number; readonly cpuSeconds: number };

async function measureOpenldap(report: Report, shape: Shape, directory: Openldap): Promise<Measured> {
  const { name, users, groups } = shape;
  const hasGroups = groups > 0;
  const request: ReaderRequest = {
    settings: {
      host: directory.host,
      port: directory.tlsPort,
      caPem: directory.caPem,
      bindDn: directory.bindDn,
      baseDn: directory.peopleDn,
      groupBaseDn: directory.groupsDn,
      readGroups: hasGroups,
      // one group with everybody is one message
      maxMessageBytes: 16_777_216 + users * 64,
    },
    password: directory.password,
    attributes: userAttributes.filter((attribute) => attribute !== 'entryUUID'),
  };
  const [ours, theirs, peaks, cpu]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let round = 0; round < rounds; round += 1) {
    theirs.push(await searchSeconds(directory, hasGroups));
    const figures = await read(request);
    if (figures.users !== users) throw new Error(`${figures.users} of ${users} users were read.`);
    ours.push(figures.seconds);
    peaks.push(figures.peakMb);
    cpu.push(figures.cpuSeconds);
    if (round === 0) report(`${name}_memberships`, figures.members, 'memberships');
    report(`${name}_cpu`, figures.cpuSeconds, 's');
  }
  report(`${name}_read`, median(ours), 's');
  report(`${name}_read_best`, Math.min(...ours), 's');
  report(`${name}_ldapsearch`, median(theirs), 's');
  report(`${name}_ldapsearch_best`, Math.min(...theirs), 's');
  report(`${name}_times_ldapsearch`, median(ours) / median(theirs), 'times', 1.1);
  report(`${name}_best_times_best`, Math.min(...ours) / Math.min(...theirs), 'times', 1.1);
  report(`${name}_people_a_second`, users / median(ours), '1/s');
  report(`${name}_peak_memory`, median(peaks), 'MB', users > usualUsers ? 400 : 150);
  const { settings } = request;
  const figures = await read({ ...request, settings: { ...settings, increments: 'auto' }, increments: idleIncrements });
  if (figures.incrementBy !== 'syncrepl') throw new Error(`The position is by ${figures.incrementBy ?? 'nothing'}.`);
  report(`${name}_idle_increment_syncrepl`, median(figures.incrementMs), 'ms');
  report(`${name}_idle_increment_syncrepl_best`, Math.min(...figures.incrementMs), 'ms');
  return { peakMb: median(peaks), cpuSeconds: median(cpu) };
}

/** What the connector reads, by the C client. */
async function searchSeconds(directory: Openldap, hasGroups: boolean): Promise<number> {
  const access = accessTo(directory);
  const people = await timeSearch(access, directory.peopleDn, '(objectClass=inetOrgPerson)', userAttributes);
  if (!hasGroups) return people.seconds;
  const names = ['cn', 'member', 'entryUUID'];
  return people.seconds + (await timeSearch(access, directory.groupsDn, '(objectClass=groupOfNames)', names)).seconds;
}

async function measureSamba(report: Report, samba: Samba): Promise<void> {
  const replicator = await addServiceAccount(samba, 'svc-replicate');
  await samba.allowReplication(replicator);
  await samba.showDeletedObjects();
  await addServiceAccount(samba, 'svc-ordinary');
  const client = await bindAdmin(samba);
  for (let index = 0; index < sambaUsers; index += 1) {
    const dn = `CN=bench ${index},${samba.usersDn}`;
    await client.add(dn, { objectClass: 'user', sAMAccountName: `bench${index}`, mail: `bench${index}@example.org` });
  }
  await client.unbind();
  const settings = { host: samba.host, caPem: samba.caPem, baseDn: samba.baseDn, increments: 'auto' };
  const attributes = ['mail', 'department', 'title', 'givenName', 'sn'];
  for (const [name, account] of [
    ['dirsync', 'svc-replicate'],
    ['usn', 'svc-ordinary'],
  ] as const) {
    const bindDn = `${account}@ad.example.test`;
    const request = {
      settings: { ...settings, bindDn },
      password: servicePassword,
      attributes,
      increments: idleIncrements,
    };
    const figures = await read(request);
    if (figures.incrementBy !== name) throw new Error(`The position is by ${figures.incrementBy ?? 'nothing'}.`);
    const access = { tlsUrl: samba.tlsUrl, bindDn, password: servicePassword, caPath: samba.caPath };
    const names = [
      'objectGUID',
      'displayName',
      'cn',
      'userAccountControl',
      'accountExpires',
      'primaryGroupID',
      ...attributes,
    ];
    const search = await timeSearch(access, samba.baseDn, '(sAMAccountType=805306368)', names);
    if (name === 'dirsync') {
      report('samba_full_read', figures.seconds, 's');
      report('samba_full_read_people', figures.users, 'people');
      report('samba_ldapsearch_people_only', search.seconds, 's');
    }
    report(`samba_idle_increment_${name}`, median(figures.incrementMs), 'ms');
    report(`samba_idle_increment_${name}_best`, Math.min(...figures.incrementMs), 'ms');
  }
}
