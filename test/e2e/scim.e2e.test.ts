/** A SCIM connection as its operator and its identity provider have it: the real daemon, the real commands. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from '../../src/cli/cli.ts';
import { scale } from '../setup/full.ts';
import { makeFolder, removeFolder, startRollcall, writeConfig, type Daemon } from './daemon-process.ts';

vi.setConfig({ testTimeout: scale(60_000, 300_000), hookTimeout: 60_000 });

let folder = '';
let config = '';
let daemon: Daemon;
let origin = '';

beforeAll(async () => {
  folder = await makeFolder('rollcall-scim-');
  config = await writeConfig(
    folder,
    [
      `dataFolder: ${folder}/data`,
      'http: { host: 127.0.0.1, port: 0, maxInFlight: 2000 }',
      'management: { port: 0 }',
      '',
    ].join('\n'),
  );
  daemon = startRollcall({ args: ['serve', '-c', config] });
  origin = `http://127.0.0.1:${String((await daemon.line('API listening'))['port'])}`;
  await daemon.line('worker ready');
  expect((await rollcall('orgs', 'create', 'contoso', '--name', 'Contoso')).code).toBe(0);
});

afterAll(async () => {
  daemon.process.kill('SIGTERM');
  expect(await daemon.exit).toBe(0);
  await removeFolder(folder);
});

/** In this process, joined to the daemon's database: what a command costs is mostly the start of its process. */
async function rollcall(...argv: readonly string[]) {
  const written = { stdout: '', stderr: '' };
  const outputTo = (name: keyof typeof written) => ({
    write: (text: string) => {
      written[name] += text;
    },
    isTty: false,
    columns: undefined,
  });
  const code = await runCommandLine({
    argv,
    home: folder,
    osUser: 'tester',
    isRoot: process.getuid?.() === 0,
    userHome: folder,
    configFile: config,
    databaseUrl: undefined,
    masterKey: undefined,
    stdout: outputTo('stdout'),
    stderr: outputTo('stderr'),
    stop: new AbortController().signal,
  });
  expect(written.stderr).not.toMatch(/\n {4}at /);
  return { code, ...written };
}

/** A connection with a token; its base path and the token's text. */
async function connect(name: string, ...tokenOptions: readonly string[]) {
  const file = join(folder, `${name}.json`);
  const document = { name, kind: 'scim', organization: 'contoso', roles: [{ everyone: 'user' }] };
  await writeFile(file, JSON.stringify(document));
  const made = await rollcall('connections', 'create', '-f', file, '--org', 'contoso');
  expect(made.stdout).toContain(`rollcall tokens create --connection ${name} --org contoso`);
  const token = await rollcall('tokens', 'create', '--connection', name, ...tokenOptions);
  expect(token.code, token.stderr).toBe(0);
  const path = /\/scim\/v2\/\S+/.exec(token.stderr)?.[0] ?? '';
  const tokenId = /Token (\S+) is shown this once/.exec(token.stderr)?.[1] ?? '';
  return { base: `${origin}${path}`, text: token.stdout.trim(), tokenId };
}

type Sent = { readonly status: number; readonly body: Record<string, unknown> };

/** As identity providers do: an answer that asks to come back later is obeyed. A busy machine gives some. */
async function send(base: string, token: string, method: string, path: string, body?: unknown): Promise<Sent> {
  const response = await fetch(`${base}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/scim+json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status === 503) {
    await delay(Number(response.headers.get('retry-after')) * 1_000);
    return send(base, token, method, path, body);
  }
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
}

const findingOf = async (name: string): Promise<string> => {
  const { stdout } = await rollcall('doctor');
  return stdout.split('\n').find((line) => line.startsWith(`contoso: ${name} `)) ?? '';
};

describe('a SCIM connection', () => {
  it('keeps its promises in a race: one of many identical creates is a 201, and no member of a group is lost', async () => {
    const count = scale(100, 1_000);
    const { base, text } = await connect('Races');
    const same = { userName: 'One@Example.com', externalId: 'one' };
    const statuses = await Promise.all(
      Array.from({ length: count }, async () => (await send(base, text, 'POST', '/Users', same)).status),
    );
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(count - 1);

    const users = await Promise.all(
      Array.from({ length: count }, async (_none, index) => {
        const { status, body } = await send(base, text, 'POST', '/Users', { userName: `u${index}@example.com` });
        expect(status).toBe(201);
        return String(body['id']);
      }),
    );
    const group = String((await send(base, text, 'POST', '/Groups', { displayName: 'All' })).body['id']);
    const answers = await Promise.all(
      users.map((value) =>
        send(base, text, 'PATCH', `/Groups/${group}`, {
          Operations: [{ op: 'add', path: 'members', value: [{ value }] }],
        }),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    const { body } = await send(base, text, 'GET', `/Groups/${group}`);
    const members = (body['members'] as { value: string }[]).map(({ value }) => value);
    expect(members.toSorted()).toEqual(users.toSorted());
  });

  it('shows the operator what was sent and refused, and what it would do now', async () => {
    const { base, text } = await connect('Log');
    const created = await send(base, text, 'POST', '/Users', { userName: 'ann@example.com', password: 'Hunter2' });
    expect(created.status).toBe(201);
    expect((await send(base, text, 'GET', `/Users?filter=${encodeURIComponent('nothing eq "x"')}`)).status).toBe(400);
    const refused = await vi.waitFor(
      async () => {
        const { stdout } = await rollcall('scim', 'requests', 'list', 'Log', '--refused', '--method', 'get');
        expect(stdout).toMatch(/GET \/Users\?filter=nothing eq .* 400 +invalidFilter/);
        return stdout;
      },
      { timeout: 20_000 },
    );
    expect(refused).not.toContain('POST');
    const list = await rollcall('scim', 'requests', 'list', 'Log', '-o', 'ndjson');
    expect(list.stdout).not.toContain('Hunter2');
    const id = /"id":"([^"]+)"[^\n]*"method":"POST"/.exec(list.stdout)?.[1] ?? '';
    const replayed = await rollcall('scim', 'requests', 'replay', id);
    expect([replayed.code, replayed.stdout]).toEqual([
      0,
      expect.stringMatching(
        /answered 201 then[^]*would be answered 409 now: A user with this userName[^]*Nobody would/,
      ),
    ]);
  });

  it('takes back what was pushed since a point in time, and nothing of before', async () => {
    const { base, text } = await connect('Undo');
    const ids: string[] = [];
    for (const name of ['ann', 'bob', 'cem', 'dot']) {
      const made = await send(base, text, 'POST', '/Users', { userName: `${name}@undo.example`, displayName: name });
      ids.push(String(made.body['id']));
    }
    const change = (id: string | undefined, path: string, value: unknown) =>
      send(base, text, 'PATCH', `/Users/${id ?? ''}`, { Operations: [{ op: 'replace', path, value }] });
    await change(ids[0], 'displayName', 'Ann Before');
    const [since] = [new Date().toISOString(), await delay(5)];
    for (const id of ids.slice(0, 3)) expect((await change(id, 'active', false)).status).toBe(200);
    const portal = 'urn:rollcall:scim:schemas:extension:portal:1.0:User';
    const areActive = async (): Promise<unknown[]> => {
      const read = ids.map((id) => send(base, text, 'GET', `/Users/${id}?attributes=${portal}`));
      return (await Promise.all(read)).map(({ body }) => (body[portal] as Record<string, unknown>)['effectiveActive']);
    };
    expect(await areActive()).toEqual([false, false, false, true]);

    const undone = await rollcall('runs', 'undo', '--connection', 'Undo', '--since', since, '--apply');
    expect(undone.stdout, undone.stderr).toMatch(/succeeded/);
    expect(undone.stdout).toMatch(/Movers +3 +3/);
    expect(await areActive()).toEqual([true, true, true, true]);
    const list = await rollcall('users', 'list', '-o', 'ndjson');
    expect(list.stdout).toContain('Ann Before');
    const again = await rollcall('runs', 'undo', '--connection', 'Undo', '--since', since);
    expect([again.code, again.stderr]).toEqual([
      1,
      expect.stringMatching(/Nothing that could be undone was pushed over Undo/),
    ]);
    const neither = await rollcall('runs', 'undo', '--since', since);
    expect([neither.code, neither.stderr]).toEqual([2, expect.stringMatching(/Say which run is undone/)]);
    const when = await rollcall('runs', 'undo', '--connection', 'Undo', '--since', 'noon');
    expect([when.code, when.stderr]).toEqual([2, expect.stringMatching(/"noon" is no point in time/)]);
  });

  it('takes the client secret of OAuth 2 for a token that works', async () => {
    const { base, text, tokenId } = await connect('OAuth', '--oauth', '--scope', 'users:read');
    const answer = await fetch(`${base}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id: tokenId, client_secret: text }),
    });
    const { access_token: bearer } = (await answer.json()) as { access_token: string };
    expect((await send(base, bearer, 'GET', '/Users')).status).toBe(200);
    expect((await send(base, bearer, 'GET', '/Groups')).status).toBe(403);
    expect((await send(base, text, 'GET', '/Users')).status).toBe(401);
  });

  it('has tokens that are rotated with an overlap, revoked, and told of before and after they end', async () => {
    const soon = new Date(Date.now() + 10 * 86_400_000).toISOString();
    const { base, text, tokenId } = await connect('Tokens', '--name', 'first', '--expires', soon);
    expect(await findingOf('Tokens')).toMatch(
      new RegExp(`warning .*"first" ends at .*rollcall tokens rotate ${tokenId} --org contoso`),
    );
    const rotated = await rollcall('tokens', 'rotate', tokenId, '--overlap', '60', '--expires', '2099-01-01T00:00:00Z');
    const next = rotated.stdout.trim();
    expect(rotated.stderr).toContain('The old text ends in 60 minutes.');
    expect((await send(base, text, 'GET', '/Users')).status).toBe(200);
    expect((await send(base, next, 'GET', '/Users')).status).toBe(200);
    expect(await findingOf('Tokens')).toMatch(/ ok .*until 2099-01-01/);
    expect((await rollcall('tokens', 'revoke', tokenId)).code).toBe(0);
    expect((await send(base, text, 'GET', '/Users')).status).toBe(401);
    const list = await rollcall('tokens', 'list');
    expect(list.stdout).toMatch(new RegExp(`${tokenId} +scim +first \\(rotated out`));

    const nextId = /Token (\S+) is shown/.exec(rotated.stderr)?.[1] ?? '';
    expect((await rollcall('tokens', 'revoke', nextId)).code).toBe(0);
    expect(await findingOf('Tokens')).toMatch(/warning .*no token.*tokens create --connection Tokens --org contoso/);
    const short = new Date(Date.now() + 5_000).toISOString();
    await rollcall('tokens', 'create', '--connection', 'Tokens', '--name', 'short', '--expires', short);
    await vi.waitFor(async () => expect(await findingOf('Tokens')).toMatch(/failed .*"short" ended at/), {
      timeout: 30_000,
    });
    expect((await rollcall('doctor')).code).toBe(1);
  });

  it('says what is wrong with a command, and does nothing', async () => {
    await connect('Wrong');
    const refusals: readonly (readonly [readonly string[], number, RegExp])[] = [
      [
        ['tokens', 'create', '--connection', 'Nobody'],
        1,
        /no connection Nobody\. List them with: rollcall connections list/,
      ],
      [
        ['tokens', 'create', '--connection', 'Wrong', '--name', 'a', '--expires', 'tomorrow'],
        2,
        /"tomorrow" is no point/,
      ],
      [
        ['tokens', 'create', '--connection', 'Wrong', '--name', 'a', '--expires', '12/10/2099'],
        2,
        /is no point in time/,
      ],
      [['tokens', 'create', '--connection', 'Wrong', '--name', 'a', '--expires', '2020-01-01'], 2, /lies in the past/],
      [['tokens', 'create', '--connection', 'Wrong', '--name', 'a', '--allow-from', 'x'], 2, /"x" is no address range/],
      [['tokens', 'create', '--connection', 'Wrong', '--name', 'a', '--role', 'user'], 2, /--role is for API tokens/],
      [
        ['tokens', 'create', '--connection', 'Wrong', '--name', 'a', '--scope', 'all'],
        2,
        /Allowed choices are users:read/,
      ],
      [['tokens', 'create', '--name', 'a', '--oauth'], 2, /Add --connection NAME/],
      [['tokens', 'create', '--connection', 'Wrong'], 1, /already is a scim token named "Wrong"/],
      [['tokens', 'rotate', 'nobody'], 1, /no such token/],
      [['scim', 'requests', 'list', 'Wrong', '--method', 'FETCH'], 2, /must be one of GET, POST, PUT, PATCH, DELETE/],
      [['scim', 'requests', 'list', 'Wrong', '--limit', '0'], 2, /whole number between 1 and/],
      [['scim', 'requests', 'replay', 'nobody'], 1, /no such request/],
    ];
    const before = (await rollcall('tokens', 'list')).stdout;
    for (const [args, code, sentence] of refusals) {
      const result = await rollcall(...args);
      expect([result.code, result.stderr], args.join(' ')).toEqual([code, expect.stringMatching(sentence)]);
    }
    expect((await rollcall('tokens', 'list')).stdout).toBe(before);
  });
});
