/** The command line as an operator uses it: a real directory, one data folder, no daemon beside it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isOpenldapInstalled, startOpenldap, type Openldap } from '../servers/openldap.ts';
import { makeFolder, removeFolder, runRollcall, startRollcall, writeConfig, type Daemon } from './daemon-process.ts';

let folder = '';
let config = '';
let directory: Openldap;
/** Keeps the embedded server up, so that each command joins it instead of starting its own. */
let keeper: Daemon;

function entries(): string {
  const people = Array.from({ length: 5 }, (_none, index) =>
    [
      `dn: uid=p${index},ou=people,${base}`,
      'objectClass: inetOrgPerson',
      `uid: p${index}`,
      `cn: Person ${index}`,
      'sn: Person',
      `mail: p${index}@contoso.example`,
    ].join('\n'),
  );
  const group = `dn: cn=portal-admins,ou=groups,${base}\nobjectClass: groupOfNames\ncn: portal-admins\nmember: uid=p0,ou=people,${base}`;
  const nobody = `dn: ou=nobody,${base}\nobjectClass: organizationalUnit\nou: nobody`;
  return `${[...people, group, nobody].join('\n\n')}\n`;
}
const base = 'dc=example,dc=org';

type Differences = {
  readonly name?: string;
  readonly port?: number;
  readonly baseDn?: string;
  readonly password?: string;
  readonly ca?: 'unknown';
  readonly approvers?: 2;
};

async function writeDocument(differences: Differences = {}): Promise<string> {
  const document = {
    name: differences.name ?? 'Contoso LDAP',
    kind: 'ldap',
    organization: 'contoso',
    settings: {
      host: '127.0.0.1',
      port: differences.port ?? directory.tlsPort,
      baseDn: differences.baseDn ?? base,
      bindDn: directory.bindDn,
      ...(differences.ca === undefined ? { caPem: directory.caPem } : {}),
    },
    secrets: { password: differences.password ?? directory.password },
    roles: [{ everyone: 'user' }, { group: 'portal-admins', role: 'admin' }],
    ceiling: 'admin',
    ...(differences.approvers === undefined ? {} : { approval: { approvers: differences.approvers } }),
  };
  const file = join(folder, `${document.name}.json`);
  await writeFile(file, JSON.stringify(document));
  return file;
}

async function rollcall(...args: readonly string[]): ReturnType<typeof runRollcall> {
  const result = await runRollcall({ args, env: { ROLLCALL_CONFIG: config } });
  expect(result.stderr).not.toMatch(/\n {4}at /);
  expect(result.stdout + result.stderr).not.toContain(directory.password);
  return result;
}

/** Data of a command that is expected to end with this code. */
async function ask<Answer>(code: number, ...args: readonly string[]): Promise<Answer> {
  const result = await rollcall(...args, '-o', 'ndjson');
  expect(result.code, result.stderr).toBe(code);
  return JSON.parse(result.stdout) as Answer;
}

describe.skipIf(!isOpenldapInstalled())('the command line', () => {
  beforeAll(async () => {
    folder = await makeFolder('rollcall-cli-');
    directory = await startOpenldap({ entries: entries() });
    config = await writeConfig(
      folder,
      [
        `dataFolder: ${folder}/data`,
        'http: { host: 127.0.0.1, port: 0 }',
        'management: { port: 0 }',
        'outbound: { allowPrivateRanges: [127.0.0.0/8] }',
        '',
      ].join('\n'),
    );
    keeper = startRollcall({ args: ['worker', '--config', config] });
    await keeper.line('ready');
  });

  afterAll(async () => {
    keeper.process.kill('SIGTERM');
    expect(await keeper.exit).toBe(0);
    await directory.stop();
    await removeFolder(folder);
  });

  it('leads from an empty database to explained users, each printed step working when copied', async () => {
    expect((await rollcall('connections', 'list')).stderr).toContain('rollcall orgs create SLUG --name NAME');
    expect((await rollcall('orgs', 'create', 'contoso', '--name', 'Contoso')).code).toBe(0);
    const made = await rollcall('connections', 'create', '-f', await writeDocument(), '--org', 'contoso');
    expect(made.stdout).toContain("rollcall plan 'Contoso LDAP' --org contoso");
    const test = await rollcall('connections', 'test', 'Contoso LDAP');
    expect([test.code, test.stdout]).toEqual([0, expect.stringMatching(/bind .*Signed in as/)]);

    const plan = await rollcall('plan', 'Contoso LDAP', '--org', 'contoso');
    expect(plan.code).toBe(4);
    expect(plan.stdout).toMatch(/Person 0 +grant admin +held +In the group portal-admins/);
    const run = /Next: rollcall approve (\S+) --org contoso && rollcall apply \1 --org contoso/.exec(plan.stdout)?.[1];
    expect(run).toBeDefined();

    const early = await rollcall('apply', String(run));
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('is not approved yet')]);
    const other = await rollcall('approve', String(run), '--digest', 'f'.repeat(64));
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('its digest differs')]);
    expect((await rollcall('approve', String(run))).code).toBe(0);
    const applied = await rollcall('apply', String(run));
    expect([applied.code, applied.stdout]).toEqual([0, expect.stringMatching(/succeeded[^]*A guard had held:/)]);

    const explained = await rollcall('users', 'explain', 'Person 0');
    expect(explained.stdout).toMatch(/admin +Contoso LDAP: group portal-admins/);
    const audit = await rollcall('audit', 'tail', '-n', '100', '-o', 'ndjson');
    expect(audit.stdout).toContain('"action":"operator.entered"');
    expect(audit.stdout).toContain('"command":"approve"');
    expect(audit.stdout).not.toContain('"command":"connections list"');
  });

  it('a second look finds nothing to do, and a hire is a change only where it is asked', async () => {
    const same = await rollcall('plan', 'Contoso LDAP', '--exit-code');
    expect([same.code, same.stdout]).toEqual([0, expect.stringContaining('No changes')]);
    await directory.modify(
      `dn: uid=p9,ou=people,${base}\nobjectClass: inetOrgPerson\nuid: p9\ncn: Person 4\nsn: Nine\nmail: p9@contoso.example\n`,
    );
    const hire = await rollcall('plan', 'Contoso LDAP', '--exit-code');
    expect([hire.code, hire.stdout]).toEqual([3, expect.stringContaining('Person 4')]);
    const run = await rollcall('run', 'Contoso LDAP');
    expect([run.code, run.stdout]).toEqual([0, expect.stringContaining('succeeded')]);
    const two = await rollcall('users', 'explain', 'Person 4');
    expect([two.code, two.stderr]).toEqual([2, expect.stringMatching(/Several users match Person 4.*Give the id/)]);

    // what the undo of that hire must leave alone makes it end partly applied
    expect((await rollcall('users', 'protect', 'p9@contoso.example', '--reason', 'a guest of honor')).code).toBe(0);
    const hired = /^Run (\S+) of/m.exec(run.stdout)?.[1];
    const undo = await rollcall('runs', 'undo', String(hired), '--apply');
    expect([undo.code, undo.stdout]).toEqual([5, expect.stringMatching(/partly applied\nundo of [^]*protected now/)]);
    expect(undo.stdout).toContain('Nothing was left to take back, so the connection was not paused');
  });

  it('takes a run back, whole or for one person, as a plan first or at once, and says 4 while it waits', async () => {
    await directory.modify(
      `dn: uid=p2,ou=people,${base}\nchangetype: modify\nreplace: cn\ncn: Person Two\n\ndn: uid=p3,ou=people,${base}\nchangetype: modify\nreplace: cn\ncn: Person Three\n`,
    );
    const run = await rollcall('run', 'Contoso LDAP');
    const renamed = String(/^Run (\S+) of/m.exec(run.stdout)?.[1]);
    const one = await rollcall('runs', 'undo', renamed, '--user', 'Person Two', '--apply', '--keep-running');
    expect([one.code, one.stdout]).toEqual([0, expect.stringMatching(/succeeded\nundo of [^]*Person 2/)]);
    expect(one.stdout).not.toContain('Person 3');
    const plan = await rollcall('runs', 'undo', renamed);
    expect([plan.code, plan.stdout]).toEqual([0, expect.stringContaining('nothing is changed yet')]);
    const again = await rollcall('runs', 'undo', renamed);
    const waiting = String(/This undo waits already, as run (\S+)\./.exec(again.stderr)?.[1]);
    expect([again.code, again.stdout]).toEqual([0, expect.stringContaining(`Next: rollcall approve ${waiting}`)]);

    const update = async (differences: Differences): Promise<void> => {
      const changed = await rollcall('connections', 'update', 'Contoso LDAP', '-f', await writeDocument(differences));
      expect(changed.code).toBe(0);
    };
    await update({ approvers: 2 });
    const two = await rollcall('runs', 'undo', renamed, '--apply');
    expect([two.code, two.stderr]).toEqual([4, expect.stringContaining('this connection asks for two persons')]);
    await update({});
    const whole = await rollcall('runs', 'undo', renamed, '--apply');
    expect([whole.code, whole.stdout]).toEqual([0, expect.stringMatching(/succeeded\nundo of [^]*Person 3/)]);
    const resumed = await rollcall('connections', 'resume', 'Contoso LDAP');
    expect([resumed.code, resumed.stdout]).toEqual([0, expect.stringContaining('2 ')]);
  });

  it('makes organizations by their path, each below one that exists', async () => {
    expect((await rollcall('orgs', 'create', 'contoso/emea', '--name', 'EMEA')).stdout).toContain('contoso/emea');
    expect((await rollcall('orgs', 'list', '--org', 'contoso')).stdout).toMatch(/^ {2}emea +EMEA /m);
    const lost = await rollcall('orgs', 'create', 'contoso/apac/japan', '--name', 'Japan');
    expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining('There is no organization "contoso/apac"')]);
  });

  it('answers 6 to who may not be the second person, and 7 while another run is under way', async () => {
    const two = await writeDocument({ name: 'Two', approvers: 2 });
    expect((await rollcall('connections', 'create', '-f', two)).code).toBe(0);
    const plan = await rollcall('plan', 'Two');
    const waiting = String(/^Run (\S+) of/m.exec(plan.stdout)?.[1]);
    expect((await rollcall('approve', waiting)).stdout).toContain('asks for two persons');
    const same = await rollcall('approve', waiting);
    expect([same.code, same.stderr]).toEqual([6, expect.stringContaining('from another person')]);
    expect((await rollcall('discard', waiting)).code).toBe(0);

    // a directory that stands still, and a run of it that does: neither can end before it is looked at
    process.kill(directory.pid, 'SIGSTOP');
    const fetching = Promise.withResolvers<void>();
    const stuck = startRollcall({
      args: ['plan', 'Two'],
      env: { ROLLCALL_CONFIG: config },
      onOutput: (text) => {
        if (text.includes('fetch')) fetching.resolve();
      },
    });
    await fetching.promise;
    stuck.process.kill('SIGSTOP');
    process.kill(directory.pid, 'SIGCONT');
    const locked = await rollcall('plan', 'Two');
    const [, live] = /rollcall runs cancel (\S+)/.exec(locked.stderr) ?? [];
    expect([locked.code, live], locked.stderr).toEqual([7, expect.any(String)]);
    expect((await rollcall('runs', 'cancel', String(live))).code).toBe(0);
    stuck.process.kill('SIGCONT');
    expect(await stuck.exit).not.toBe(0);
    const over = await rollcall('runs', 'cancel', String(live));
    expect([over.code, over.stderr]).toEqual([1, expect.stringContaining('it is canceled')]);
    const none = await rollcall('runs', 'cancel', '01900000-0000-7000-8000-000000000000');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('There is no run')]);
  });

  it('says in one sentence what is wrong with a directory, and ends with 1', async () => {
    const wrong: readonly (readonly [Differences, RegExp])[] = [
      [{ name: 'a', password: 'wrong' }, /FAILED +bind .*refused the bind DN or its password.*\(49\)/],
      [{ name: 'b', ca: 'unknown' }, /FAILED +tls .*not trusted.*CA of this connection/],
      [{ name: 'c', port: 1 }, /FAILED +tcp .*Nothing answers.*ECONNREFUSED/],
      [{ name: 'd', baseDn: 'dc=wrong,dc=org' }, /FAILED +read_users .*base DN does not exist.*\(32\)/],
    ];
    const results = await Promise.all(
      wrong.map(async ([what]) => rollcall('connections', 'test', '-f', await writeDocument(what))),
    );
    for (const [index, [, words]] of wrong.entries()) {
      expect([results[index]?.code, results[index]?.stdout]).toEqual([1, expect.stringMatching(words)]);
    }
  });

  it('an empty directory is held and says why; nobody leaves', async () => {
    const file = await writeDocument({ baseDn: `ou=nobody,${base}` });
    const updated = await rollcall('connections', 'update', 'Contoso LDAP', '-f', file);
    expect([updated.code, updated.stdout]).toEqual([
      0,
      expect.stringContaining("rollcall connections test 'Contoso LDAP'"),
    ]);
    const run = await rollcall('run', 'Contoso LDAP');
    expect([run.code, run.stdout]).toEqual([4, expect.stringMatching(/Held:\n {2}- .*/)]);
    const users = await rollcall('users', 'list', '-o', 'ndjson');
    expect(users.stdout.split('\n').filter((line) => line.includes('"status":"active"'))).toHaveLength(6);
  });

  it('answers wrong use with 2 and what is not there with 1, with what to do instead', async () => {
    const wrong: readonly (readonly [number, string, readonly string[]])[] = [
      [2, 'is not the id of a run', ['apply', '12']],
      [2, 'is not the id of a case', ['cases', 'resolve', '12', '--create']],
      [1, 'There is no connection Nowhere', ['plan', 'Nowhere']],
      [2, 'Did you mean plan?', ['plna', 'x']],
      [2, 'whole number between 1', ['runs', 'list', '--limit', 'none']],
      [2, 'Say what the token is for', ['tokens', 'create']],
      [1, 'is active; suspend or remove them first', ['users', 'erase', 'p1@contoso.example', '--reason', 'asked for']],
    ];
    const results = await Promise.all(wrong.map(([, , args]) => rollcall(...args)));
    for (const [index, [code, words]] of wrong.entries()) {
      expect([results[index]?.code, results[index]?.stderr]).toEqual([code, expect.stringContaining(words)]);
      expect(results[index]?.stderr).toMatch(/^rollcall: /);
    }
  });

  it('takes the name of a connection in place of its id, and names every fault of a document at once', async () => {
    const file = join(folder, 'scim.json');
    await writeFile(file, JSON.stringify({ name: 'Okta', kind: 'scim', organization: 'contoso' }));
    expect((await rollcall('connections', 'create', '-f', file)).stdout).toContain('tokens create --connection Okta');
    const made = await ask<{ token: { name: string }; text: string }>(0, 'tokens', 'create', '--connection', 'Okta');
    expect([made.token.name, made.text]).toEqual(['Okta', expect.stringMatching(/^rcl_scim_/)]);

    await writeFile(file, JSON.stringify({ kind: 'ldapp', organization: 'contoso', role: [{ everyone: 'king' }] }));
    const faulty = await rollcall('connections', 'create', '-f', file);
    expect(faulty.code).toBe(2);
    expect(faulty.stderr).toMatch(/3 faults; nothing was saved:\n {2}name: is missing/);
    expect(faulty.stderr).toContain('role: There is no such setting. Did you mean roles?');
  });
});
