/** The sandbox as load generators and conformance tools use it. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { runRollcall, startRollcall, type Daemon } from './daemon-process.ts';

const program = 'test/sandbox/main.ts';

type Ready = {
  readonly apiUrl: string;
  readonly scimUrl: string;
  readonly scimToken: string;
  readonly adminToken: string;
  readonly databaseUrl: string;
  readonly managementUrl: string;
  readonly organizationId: string;
};

let sandbox: Daemon;
let ready: Ready;

beforeAll(async () => {
  sandbox = startRollcall({ program, args: ['--users', '50', '--groups', '2', '--big-group'] });
  await vi.waitFor(
    () => {
      if (sandbox.lines.length === 0 && sandbox.process.exitCode === null) throw new Error('It is not ready yet.');
    },
    { timeout: 60_000, interval: 50 },
  );
  expect([sandbox.lines.length, sandbox.process.exitCode]).toEqual([1, null]);
  ready = sandbox.lines[0] as unknown as Ready;
});

afterAll(async () => {
  sandbox.process.kill('SIGTERM');
  await sandbox.exit;
});

/** As any other program would, with the address it printed. */
async function inDatabase<T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres({ ...parseDatabaseUrl(ready.databaseUrl), max: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

async function ask(method: string, url: string, token: string, body?: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/scim+json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Record<string, unknown>;
}

/** Everything the tables know about one user, without ids, times and what tells of the single push. */
async function rowsOf(sql: postgres.Sql, userName: string): Promise<unknown> {
  const [row] = await sql`
    select to_jsonb(m) - '{anchor,content_hash,created_at,updated_at}'::text[] as mirror,
      to_jsonb(l) - '{anchor,user_id,created_at,updated_at}'::text[] as link,
      to_jsonb(u) - '{id,last_run_id,created_at,updated_at}'::text[] as user,
      (select jsonb_agg(to_jsonb(g) - '{user_id,run_id,created_at}'::text[]) from grants g where g.user_id = u.id) as grants,
      (select jsonb_agg(s.organization_id) from memberships s where s.user_id = u.id) as memberships
    from mirror_objects m
    join links l using (tenant_id, connection_id, anchor)
    join users u on u.tenant_id = l.tenant_id and u.id = l.user_id
    where m.user_name_key = ${userName}`;
  return row;
}

describe('npm run sandbox', () => {
  it('prints one line of JSON, and what it names answers', async () => {
    expect(Object.keys(ready).toSorted()).toEqual(
      ['adminToken', 'apiUrl', 'databaseUrl', 'managementUrl', 'organizationId', 'scimToken', 'scimUrl'].toSorted(),
    );
    const users = await ask('GET', `${ready.scimUrl}/Users?count=1`, ready.scimToken);
    expect(users).toMatchObject({ totalResults: 50, itemsPerPage: 1 });
    const groups = await ask('GET', `${ready.scimUrl}/Groups`, ready.scimToken);
    const members = (groups['Resources'] as { displayName: string; members: unknown[] }[]).map(
      (group) => [group.displayName, group.members.length] as const,
    );
    expect(members).toEqual([
      ['Group 1', 50],
      ['Group 2', 25],
    ]);
    const me = await ask('GET', `${ready.apiUrl}/me`, ready.adminToken);
    expect(me).toMatchObject({ organizationId: ready.organizationId, role: 'admin' });
    expect((await fetch(`${ready.managementUrl}/readyz`)).status).toBe(200);
    expect(await inDatabase((sql) => sql`select current_setting('fsync') as fsync`)).toEqual([{ fsync: 'on' }]);
  });

  it('filled users are like pushed ones in every table', async () => {
    const userName = 'user51@sandbox.example';
    await ask('POST', `${ready.scimUrl}/Users`, ready.scimToken, {
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
      userName,
      externalId: 'ext-51',
      displayName: 'User 51',
      name: { givenName: 'User', familyName: '51' },
      emails: [{ value: userName, type: 'work', primary: true }],
      active: true,
    });
    const [pushed, filled] = await inDatabase(async (sql) => [
      await rowsOf(sql, userName),
      await rowsOf(sql, 'user50@sandbox.example'),
    ]);
    expect(filled).toBeDefined();
    expect(JSON.parse(JSON.stringify(pushed).replaceAll(/(?<=user|user |ext-|")51(?=["@])/gi, '50'))).toEqual(
      JSON.parse(JSON.stringify(filled)),
    );
  });

  it('SIGTERM removes everything and ends with 0', async () => {
    const folder = dirname(dirname(new URL(ready.databaseUrl).searchParams.get('host') ?? ''));
    expect(existsSync(folder)).toBe(true);
    sandbox.process.kill('SIGTERM');
    expect(await sandbox.exit).toBe(0);
    expect(sandbox.lines).toHaveLength(1);
    expect(existsSync(folder)).toBe(false);
  });

  it('refuses a count that is none', async () => {
    const { code, stdout, stderr } = await runRollcall({ program, args: ['--users', 'many'] });
    expect([code, stdout, stderr]).toEqual([
      1,
      '',
      'sandbox: --users takes a count from 0 to 1,000,000, not "many".\n',
    ]);
  });
});
