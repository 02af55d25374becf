/** What a push does in the portal: the service provider on the real reconciliation. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { newId } from '../../src/core/ids.ts';
import { analyzeGrownTables } from '../../src/db/db.ts';
import { watchPushedLeavers } from '../../src/reconciliation/push/leaver-watch.ts';
import { useDatabase, type TestTenant } from '../setup/database.ts';
import { scale } from '../setup/full.ts';
import { startPortalServer } from './portal-server.ts';
import type { Answer, Client, ScimServer } from './scim-server.ts';
import { createGroup, createUser, memberIds, patchOf } from './steps.ts';

vi.setConfig({ testTimeout: scale(30_000, 300_000) });

const database = useDatabase();
let server: ScimServer;
/** A role comes from the group "All" alone. */
let withGroups: ScimServer;
beforeAll(async () => {
  server = await startPortalServer(database.db);
  withGroups = await startPortalServer(database.db, { roles: [{ group: 'All', role: 'user' }] });
});
afterAll(() => Promise.all([server.close(), withGroups.close()]));

type PortalUser = {
  readonly email: string | null;
  readonly display_name: string | null;
  readonly status: string;
  readonly roles: number;
};

async function portalUsers(tenant: TestTenant): Promise<PortalUser[]> {
  return database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql<PortalUser[]>`
      select u.email, u.display_name, u.status,
        (select count(*)::int from grants g where g.tenant_id = u.tenant_id and g.user_id = u.id) as roles
      from users u order by u.display_name`,
  );
}

async function waitingForLocks(): Promise<number> {
  const rows = await database.db.stage.sql`
    select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return rows.length;
}

const ann = { displayName: 'Ann', emails: [{ value: 'ann@x.example', type: 'work', primary: true }] };

async function makeAnn(client: Client): Promise<string> {
  return createUser(client, `ann@${client.tenant.builtInDomain}`, ann);
}

describe('rule 16: effects of pushes', () => {
  it('make a user of the tenant with the mapped role at once, and rename her', async () => {
    const client = await server.connect();
    const id = await makeAnn(client);
    expect(await portalUsers(client.tenant)).toEqual([
      { email: 'ann@x.example', display_name: 'Ann', status: 'active', roles: 1 },
    ]);
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'displayName', value: 'Ann B' }));
    expect(await portalUsers(client.tenant)).toMatchObject([{ display_name: 'Ann B' }]);
  });

  it('suspend by active=false and bring back by active=true', async () => {
    const client = await server.connect();
    const id = await makeAnn(client);
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'Replace', path: 'active', value: 'False' }));
    expect(await portalUsers(client.tenant)).toMatchObject([{ status: 'suspended' }]);
    expect((await client.send('GET', `/Users/${id}`)).body['active']).toBe(false);
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'Replace', value: { active: true } }));
    expect(await portalUsers(client.tenant)).toMatchObject([{ status: 'active' }]);
  });

  it('that take many users within an hour are told of once, with the undo, and few are not', async () => {
    const told = async (tenant: TestTenant) => {
      await Promise.all([watchPushedLeavers(database.db), watchPushedLeavers(database.db)]);
      const rows = await database.db.tenant(
        tenant.tenantId,
        ({ sql }) => sql<{ payload: Record<string, unknown> }[]>`
          select payload from outbox_messages where type = 'connection.many_leavers'`,
      );
      return rows.map(({ payload }) => payload);
    };
    const client = await server.connect();
    const users: string[] = [];
    for (let n = 0; n < 9; n += 1) users.push(await createUser(client, `u${n}@${client.tenant.builtInDomain}`));
    const leave = async (id: string | undefined) => {
      const operation = { op: 'replace', path: 'active', value: false };
      expect((await client.send('PATCH', `/Users/${String(id)}`, patchOf(operation))).status).toBe(200);
    };
    await leave(users[0]);
    await leave(users[1]);
    expect(await told(client.tenant)).toEqual([]);
    await client.send('DELETE', `/Users/${String(users[2])}`);
    const [alert, ...others] = await told(client.tenant);
    expect(others).toEqual([]);
    expect(alert).toMatchObject({ severity: 'critical', connectionId: client.connectionId, leavers: 3, linked: 9 });
    expect(alert?.['undo']).toBe(
      `rollcall runs undo --connection ${client.connectionId} --since ${String(alert?.['since'])}`,
    );
    await leave(users[3]);
    expect(await told(client.tenant)).toHaveLength(1);
    await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`update changes set applied_at = applied_at - interval '2 hours'`,
    );
    await leave(users[4]);
    expect(await told(client.tenant)).toHaveLength(1);
  });

  it('give one 201 among identical creates and make one user', async () => {
    const client = await server.connect();
    const body = { userName: `ann@${client.tenant.builtInDomain}`, ...ann };
    const count = scale(20, 1_000);
    const answers = await Promise.all(Array.from({ length: count }, () => client.send('POST', '/Users', { body })));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(count - 1);
    expect(await portalUsers(client.tenant)).toHaveLength(1);
  });

  it('begin anew where somebody takes the username while they are written, and find that user', async () => {
    const client = await server.connect();
    const username = `ann@${client.tenant.builtInDomain}`;
    const { tenantId } = client.tenant;
    let pushing: Promise<Answer> | undefined;
    await database.db.tenant(tenantId, async ({ sql }) => {
      await sql`
        insert into users (tenant_id, id, username, username_key, display_name)
        values (${tenantId}, ${newId()}, ${username}, ${username}, 'By hand')`;
      pushing = client.send('POST', '/Users', { body: { userName: username, ...ann } });
      await vi.waitFor(async () => expect(await waitingForLocks()).toBe(1));
    });
    expect((await pushing)?.status).toBe(201);
    expect(await portalUsers(client.tenant)).toMatchObject([{ display_name: 'Ann', roles: 1 }]);
  });

  it('are decided by the rules that stand when the lock on their object is theirs', async () => {
    const client = await server.connect();
    const id = await makeAnn(client);
    const rename = patchOf({ op: 'replace', path: 'displayName', value: 'Ann B' });
    let pushing: Promise<Answer> | undefined;
    await database.db.tenant(client.tenant.tenantId, async ({ sql }) => {
      await sql`select 1 from mirror_objects where anchor = ${id} for update`;
      pushing = client.send('PATCH', `/Users/${id}`, rename);
      await vi.waitFor(async () => expect(await waitingForLocks()).toBe(1));
      await sql`update role_mappings set ended_at = now() where connection_id = ${client.connectionId}`;
      await sql`delete from grants`;
    });
    expect((await pushing)?.status).toBe(200);
    expect(await portalUsers(client.tenant)).toMatchObject([{ display_name: 'Ann B', roles: 0 }]);
  });

  it('give the members of a group their role when it gets the name that a mapping waits for', async () => {
    const client = await withGroups.connect();
    const id = await createUser(client, 'ann', ann);
    const group = await createGroup(client, 'Some', [id]);
    expect((await portalUsers(client.tenant)).map(({ roles }) => roles)).toEqual([0]);
    const rename = { op: 'replace', path: 'displayName', value: 'All' };
    expect((await client.send('PATCH', `/Groups/${group}`, patchOf(rename))).status).toBe(204);
    expect((await portalUsers(client.tenant)).map(({ roles }) => roles)).toEqual([1]);
  });

  it('keep every member of a group changed at once, and give each the role of the group', async () => {
    const client = await withGroups.connect();
    const users: string[] = [];
    while (users.length < scale(10, 1_000)) {
      const names = Array.from({ length: scale(10, 100) }, (_, index) => `u${users.length + index}`);
      users.push(...(await Promise.all(names.map((name) => createUser(client, name)))));
      await analyzeGrownTables(database.db.stage);
    }
    const group = await createGroup(client, 'All');
    const add = (value: string) => patchOf({ op: 'add', path: 'members', value: [{ value }] });
    const answers = await Promise.all(users.map((id) => client.send('PATCH', `/Groups/${group}`, add(id))));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    expect(new Set(await memberIds(client, group))).toEqual(new Set(users));
    expect((await portalUsers(client.tenant)).map(({ roles }) => roles)).toEqual(users.map(() => 1));
  });
});
