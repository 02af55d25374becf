/** Rule 14: what the identity provider sent, what it was answered and why; secrets never; and what it would do now. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createScimAdmin, deleteOldRequests, type ScimAdmin } from '../../src/scim/scim.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createLogger } from '../../src/platform/logger.ts';
import { useDatabase } from '../setup/database.ts';
import { principalOf } from '../setup/people.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createGroup, createUser, patchOf } from './steps.ts';

const database = useDatabase();
let server: ScimServer;
let admin: ScimAdmin;
beforeAll(async () => {
  server = await startPortalServer(database.db);
  admin = createScimAdmin({
    db: database.db,
    pushes: server.pushes,
    pepper: Buffer.alloc(32, 9),
    clock: systemClock,
    log: createLogger({ level: 'silent', fileDescriptor: 2 }),
    reach: { requireConnection: () => Promise.resolve() },
  });
});
afterAll(() => server.close());

const principal = (client: Client) => principalOf(client.tenant.tenantId, 'admin');

async function entries(client: Client, filter: { method?: string; minStatus?: number } = {}) {
  await server.requestLog.flush();
  const { connectionId } = client;
  const { items } = await admin.listRequests(principal(client), { connectionId, ...filter }, { limit: 200 });
  return items.toReversed();
}

describe('rule 14: the request log', () => {
  it('has each request with its answer, the reason of a refusal and what a taken one left out', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'ann');
    const group = await createGroup(client, 'G');
    await client.send('POST', '/Users', { body: { userName: 'ANN' } });
    await client.send('GET', '/Users', { query: { filter: 'nonsense eq "x"', other: 'dropped' } });
    await client.send(
      'PATCH',
      `/Groups/${group}`,
      patchOf({ op: 'add', path: 'members', value: [{ value: 'okta-1' }] }),
    );
    await client.send('DELETE', `/Users/${id}`, { headers: { 'user-agent': 'Okta SCIM Client 1.0.0' } });
    const found = await entries(client);
    expect(found.map(({ method, path, status, scimType }) => [method, path, status, scimType])).toEqual([
      ['POST', '/Users', 201, null],
      ['POST', '/Groups', 201, null],
      ['POST', '/Users', 409, 'uniqueness'],
      ['GET', '/Users?filter=nonsense+eq+%22%E2%80%A6%22', 400, 'invalidFilter'],
      ['PATCH', `/Groups/${group}`, 204, null],
      ['DELETE', `/Users/${id}`, 204, null],
    ]);
    expect(found[0]).toMatchObject({ body: { userName: 'ann' }, tokenId: client.connectionId, reason: null });
    expect(found[2]?.reason).toMatch(/already/);
    expect(found[3]?.reason).toMatch(/no attribute "nonsense"/);
    expect(found[4]?.reason).toMatch(/left out.*okta-1/);
    expect(found[5]).toMatchObject({ userAgent: 'Okta SCIM Client 1.0.0', clientAddress: '127.0.0.1' });
    expect((await entries(client, { minStatus: 400 })).map(({ status }) => status)).toEqual([409, 400]);
    expect(await entries(client, { method: 'PATCH' })).toHaveLength(1);
    const changes = await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`select distinct request_id as id from changes where subject like '%ann%'`,
    );
    // the same id, so that a change leads to the request that made it
    expect(found.map((entry) => entry.id)).toContain(changes[0]?.['id']);
  });

  it('keeps no secret, wherever a client puts it', async () => {
    const client = await server.connect();
    const canaries = ['hunter2', 'S3cr3tPassw0rd', 'rcl_scim_AAAAAAAAAA_x', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig'];
    const [plain = '', word = '', token = '', jwt = ''] = canaries;
    const id = await createUser(client, 'x', { password: plain, apiKey: word, title: `is ${token}`, nickName: jwt });
    const send = (method: string, path: string, body: unknown) => client.send(method, path, { body });
    await send('PATCH', `/Users/${id}`, {
      Operations: [
        { op: 'replace', path: 'password', value: plain },
        {
          op: 'replace',
          value: { password: plain, secretThing: { deep: word }, 'emails[type eq "work"].value': 'a@b' },
        },
        { op: 'add', path: `unknown[value eq "${plain}"]`, value: plain },
        { op: 'add', path: 'urn:example:Custom:secret', value: word },
      ],
    });
    await send('POST', '/Bulk', {
      Operations: [
        { method: 'POST', path: '/Users', bulkId: 'b', data: { userName: 'y', password: plain, pin: word } },
      ],
    });
    await send('POST', '/Users/.search', { filter: `password eq "${plain}"` });
    await client.send('GET', '/Users', { query: { filter: `password eq "${plain}"`, access_token: token } });
    await client.send('GET', `/Users/${jwt}`);
    await client.send('POST', '/Users', { body: `{"userName": "x", "password": "${plain}", ` });
    await client.send('GET', '/Users', { headers: { 'user-agent': `curl ${token}` } });
    const found = await entries(client);
    expect(found).toHaveLength(8);
    const rows = await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`select r::text as row from scim_requests r`,
    );
    const text = JSON.stringify(rows);
    for (const canary of canaries) expect(text).not.toContain(canary);
    expect(found[0]?.body).toMatchObject({ userName: 'x', password: '[not kept]', apiKey: '[not kept]' });
    expect(JSON.stringify(found[1]?.body)).toContain('a@b');
  });

  it('tells the admin of a token that may not be used, and the caller nothing', async () => {
    const client = await server.connect();
    server.refuse(client, 'The token has expired.');
    const answer = await client.send('GET', '/Users');
    expect(answer.status).toBe(401);
    expect(answer.text).not.toContain('expired');
    expect(await entries(client)).toMatchObject([{ status: 401, reason: 'The token has expired.', path: '/Users' }]);
  });

  it('goes after its time', async () => {
    const client = await server.connect();
    await createUser(client, 'old');
    await createUser(client, 'new');
    const [old] = await entries(client);
    await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`update scim_requests set at = now() - interval '31 days' where id = ${old?.id ?? ''}`,
    );
    expect(await deleteOldRequests(database.db, 30)).toBe(1);
    expect(await entries(client)).toMatchObject([{ body: { userName: 'new' } }]);
  });

  it('is not lost while the database is away, and never makes a request wait', async () => {
    const client = await server.connect();
    server.failLog(true);
    const id = await createUser(client, 'while away');
    await expect(server.requestLog.flush()).rejects.toThrow('away');
    expect((await client.send('GET', `/Users/${id}`)).status).toBe(200);
    server.failLog(false);
    expect((await entries(client)).map(({ status }) => status)).toEqual([201, 200]);
  });
});

describe('rule 14: a dry replay', () => {
  it('says what a request would be answered and change now, and changes nothing', async () => {
    const client = await server.connect();
    const id = await createUser(client, `ann@${client.tenant.builtInDomain}`);
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'active', value: false }));
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'active', value: true }));
    const [created, disabled] = await entries(client);
    const before = await state(client);

    const again = await admin.replayRequest(principal(client), created?.id ?? '');
    expect(again).toMatchObject({ status: 409, body: { scimType: 'uniqueness' }, changes: [] });
    const replayed = await admin.replayRequest(principal(client), disabled?.id ?? '');
    expect(replayed).toMatchObject({ status: 200, body: { active: false } });
    expect(replayed.changes.map(({ op }) => op)).toEqual(['suspend']);

    await client.send('DELETE', `/Users/${id}`);
    const gone = await admin.replayRequest(principal(client), disabled?.id ?? '');
    expect(gone).toMatchObject({ status: 404, changes: [] });
    expect(before.user).toMatchObject({ status: 'active' });
  });

  it('leaves no row behind', async () => {
    const client = await server.connect();
    await createUser(client, `bob@${client.tenant.builtInDomain}`);
    const [created] = await entries(client);
    await client.send('DELETE', `/Users/${await firstId(client)}`);
    const before = await state(client);
    const replayed = await admin.replayRequest(principal(client), created?.id ?? '');
    expect(replayed.status).toBe(201);
    expect(replayed.changes.length).toBeGreaterThan(0);
    expect(await state(client)).toEqual(before);
  });

  it('is for the own tenant, and for requests whose body was kept', async () => {
    const [mine, other] = [await server.connect(), await server.connect()];
    await createUser(mine, 'a', { title: 't'.repeat(70_000) });
    const [large] = await entries(mine);
    expect(large).toMatchObject({ body: null });
    const refused = (code: string) => expect.objectContaining({ code });
    await expect(admin.replayRequest(principal(mine), large?.id ?? '')).rejects.toEqual(refused('conflict'));
    await expect(admin.replayRequest(principal(other), large?.id ?? '')).rejects.toEqual(refused('not_found'));
    await expect(admin.replayRequest(principal(mine), 'nonsense')).rejects.toEqual(refused('not_found'));
  });
});

async function firstId(client: Client): Promise<string> {
  const { body } = await client.send('GET', '/Users');
  return (body['Resources'] as { id: string }[])[0]?.id ?? '';
}

async function state(client: Client) {
  return database.db.tenant(client.tenant.tenantId, async ({ sql }) => {
    const [user] = await sql`select status, version from users order by id`;
    const [counts] = await sql`
      select (select count(*) from mirror_objects) as objects, (select count(*) from changes) as changes,
        (select count(*) from outbox_messages) as messages, (select count(*) from links) as links`;
    return { user, counts };
  });
}
