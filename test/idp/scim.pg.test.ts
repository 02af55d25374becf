/** The service provider over HTTP and Postgres: races, tenants, versions, errors, discovery. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { RollcallError } from '../../src/core/errors.ts';
import type { Db } from '../../src/db/db.ts';
import { useDatabase } from '../setup/database.ts';
import { scale } from '../setup/full.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Answer, type ScimServer } from './scim-server.ts';
import { createGroup, createUser, idsOf, memberIds, patchOf } from './steps.ts';

vi.setConfig({ testTimeout: scale(30_000, 300_000) });

const errorUrn = 'urn:ietf:params:scim:api:messages:2.0:Error';
const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';

const database = useDatabase();
let server: ScimServer;
const pristine = Object.getOwnPropertyNames(Object.prototype).toSorted();
beforeAll(async () => {
  server = await startScimServer(database.db, fakePushes);
});
afterAll(() => server.close());
afterEach(() => {
  expect(Object.getOwnPropertyNames(Object.prototype).toSorted()).toEqual(pristine);
});

describe('rule 2: races', () => {
  it('gives one of many identical creates a 201 and the others a 409', async () => {
    const count = scale(100, 1_000);
    const client = await server.connect();
    const body = { userName: 'One@Example.com', externalId: 'one' };
    const answers = await Promise.all(Array.from({ length: count }, () => client.send('POST', '/Users', { body })));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(count - 1);
    expect(answers.find(({ status }) => status === 409)?.body['scimType']).toBe('uniqueness');
  });

  it('loses none of the members that are added at once', async () => {
    const count = scale(50, 1_000);
    const client = await server.connect();
    const users = await Promise.all(Array.from({ length: count }, (_, index) => createUser(client, `u${index}`)));
    const group = await createGroup(client, 'All');
    const add = (value: string) => patchOf({ op: 'add', path: 'members', value: [{ value }] });
    const answers = await Promise.all(users.map((id) => client.send('PATCH', `/Groups/${group}`, add(id))));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    expect(new Set(await memberIds(client, group))).toEqual(new Set(users));
  });

  it('keeps every one of 20 different attributes patched at once', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'busy');
    const add = (index: number) => patchOf({ op: 'add', path: 'roles', value: [{ value: `r${index}` }] });
    await Promise.all(Array.from({ length: 20 }, (_, index) => client.send('PATCH', `/Users/${id}`, add(index))));
    const { body } = await client.send('GET', `/Users/${id}`);
    expect(body['roles']).toHaveLength(20);
  });
});

describe('rule 1: tenants', () => {
  it('answers ids of another tenant, another connection and nobody with the same 404', async () => {
    const [mine, other] = [await server.connect(), await server.connect()];
    const sibling = await server.connect(mine.tenant);
    const foreign = await createUser(other, 'foreign');
    const beside = await createUser(sibling, 'beside');
    const body = { userName: 'x' };
    for (const id of [foreign, beside, '0190a000-0000-7000-8000-000000000000', 'no-uuid', '%00', 'x'.repeat(5_000)]) {
      const answers = await Promise.all([
        mine.send('GET', `/Users/${id}`),
        mine.send('PUT', `/Users/${id}`, { body }),
        mine.send('PATCH', `/Users/${id}`, patchOf({ op: 'add', path: 'title', value: 't' })),
        mine.send('DELETE', `/Users/${id}`),
      ]);
      for (const answer of answers) {
        expect(answer.status).toBe(404);
        expect(answer.body).toEqual({
          schemas: [errorUrn],
          status: '404',
          detail: 'There is no such resource in this connection.',
        });
      }
    }
    expect((await other.send('GET', `/Users/${foreign}`)).status).toBe(200);
  });

  it('lists, filters and compares names within one connection only', async () => {
    const [mine, other] = [await server.connect(), await server.connect()];
    await createUser(other, 'same', { externalId: 'same' });
    const id = await createUser(mine, 'same', { externalId: 'same' });
    expect(idsOf(await mine.send('GET', '/Users'))).toEqual([id]);
    expect(idsOf(await mine.send('GET', '/Users', { query: { filter: 'externalId eq "same"' } }))).toEqual([id]);
  });

  it('gives a missing, an unknown and another connection’s token the same 401, on every path', async () => {
    const [mine, other] = [await server.connect(), await server.connect()];
    for (const path of [
      '/Users',
      '/Users/1',
      '/Schemas',
      '/ServiceProviderConfig',
      '/Me',
      '/nothing',
      '//Users',
      '/%55sers',
    ]) {
      const answers = await Promise.all(
        [undefined, 'Bearer nonsense', `Bearer ${other.token}`, `Basic ${mine.token}`].map((authorization) =>
          fetch(`${mine.base}${path}`, authorization === undefined ? {} : { headers: { authorization } }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401]);
      expect(new Set(await Promise.all(answers.map((answer) => answer.text()))).size).toBe(1);
    }
  });
});

describe('rule 1: users', () => {
  it('frees userName and externalId by DELETE, and gives the next one a new id', async () => {
    const client = await server.connect();
    const first = await createUser(client, 'again', { externalId: 'e' });
    expect((await client.send('DELETE', `/Users/${first}`)).status).toBe(204);
    expect((await client.send('GET', `/Users/${first}`)).status).toBe(404);
    expect((await client.send('DELETE', `/Users/${first}`)).status).toBe(404);
    expect(await createUser(client, 'again', { externalId: 'e' })).not.toBe(first);
  });

  it('keeps active and externalId through a PUT that does not name them', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'keeper', { externalId: 'e', active: false, title: 'T' });
    const { body } = await client.send('PUT', `/Users/${id}`, { body: { userName: 'keeper' } });
    expect(body).toMatchObject({ active: false, externalId: 'e' });
    expect(body['title']).toBeUndefined();
    const cleared = await client.send('PUT', `/Users/${id}`, { body: { userName: 'keeper', externalId: null } });
    expect(cleared.body['externalId']).toBeUndefined();
  });

  it('shapes only the answer by attributes: what is not asked for stays stored', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'shaped', { title: 'T', [enterpriseUrn]: { department: 'D' } });
    const patched = await client.send('PATCH', `/Users/${id}`, {
      ...patchOf({ op: 'replace', path: 'nickName', value: 'N' }),
      query: { attributes: `nickName,${enterpriseUrn}:department` },
    });
    expect(Object.keys(patched.body).toSorted()).toEqual(['id', 'nickName', 'schemas', enterpriseUrn].toSorted());
    const { body } = await client.send('GET', `/Users/${id}`, { query: { excludedAttributes: 'nickName,meta,id' } });
    expect(body).toMatchObject({ id, title: 'T', [enterpriseUrn]: { department: 'D' } });
    expect(body['nickName']).toBeUndefined();
  });

  it('shows the groups of a user, computed, and ignores what a client says about them', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'member', { groups: [{ value: 'invented' }] });
    const group = await createGroup(client, 'Team', [id]);
    const { body } = await client.send('GET', `/Users/${id}`);
    expect(body['groups']).toEqual([
      { value: group, $ref: `${client.base}/Groups/${group}`, display: 'Team', type: 'direct' },
    ]);
    const found = await client.send('GET', '/Users', { query: { filter: `groups eq "${group}"` } });
    expect(idsOf(found)).toEqual([id]);
    await client.send('DELETE', `/Groups/${group}`);
    expect((await client.send('GET', `/Users/${id}`)).body['groups']).toBeUndefined();
  });
});

describe('rule 2: versions', () => {
  it('raises the version by a change only, and keeps to If-Match and If-None-Match', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'versioned');
    const read = await client.send('GET', `/Users/${id}`);
    const etag = read.headers.get('etag') ?? '';
    expect(etag).toMatch(/^W\/"\d+"$/);
    expect(read.body['meta']).toMatchObject({ version: etag, location: `${client.base}/Users/${id}` });
    expect((await client.send('GET', `/Users/${id}`, { headers: { 'if-none-match': etag } })).status).toBe(304);

    const title = (value: string) => patchOf({ op: 'replace', path: 'title', value });
    const changed = await client.send('PATCH', `/Users/${id}`, { ...title('A'), headers: { 'if-match': etag } });
    expect(changed.status).toBe(200);
    const same = await client.send('PATCH', `/Users/${id}`, title('A'));
    expect(same.headers.get('etag')).toBe(changed.headers.get('etag'));
    const late = await client.send('PATCH', `/Users/${id}`, { ...title('B'), headers: { 'if-match': etag } });
    expect(late.status).toBe(412);
    expect(late.body).toMatchObject({ schemas: [errorUrn], status: '412' });
    expect((await client.send('DELETE', `/Users/${id}`, { headers: { 'if-match': etag } })).status).toBe(412);
    expect((await client.send('DELETE', `/Users/${id}`, { headers: { 'if-match': '*' } })).status).toBe(204);
  });
});

describe('rule 3: members of groups', () => {
  it('leaves the group as it is when a replacement names nobody known', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'one');
    const group = await createGroup(client, 'Guarded', [id]);
    for (const value of ['someone-elses-id', '0190a000-0000-7000-8000-000000000000']) {
      const answer = await client.send('PUT', `/Groups/${group}`, { body: { displayName: 'X', members: [{ value }] } });
      expect(answer.status, answer.text).toBe(400);
    }
    expect((await client.send('GET', `/Groups/${group}`)).body).toMatchObject({
      displayName: 'Guarded',
      members: [{ value: id }],
    });
  });

  it('keeps its members through a PUT that does not name them, and empties by an empty list', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'one');
    const group = await createGroup(client, 'G', [id]);
    await client.send('PUT', `/Groups/${group}`, { body: { displayName: 'H' } });
    expect(await memberIds(client, group)).toEqual([id]);
    await client.send('PUT', `/Groups/${group}`, { body: { displayName: 'H', members: [] } });
    expect(await memberIds(client, group)).toEqual([]);
  });

  it('hides members that are not (or no longer) there, and says so in the log for ids that can not be ours', async () => {
    const client = await server.connect();
    const [id, gone] = [await createUser(client, 'stays'), await createUser(client, 'goes')];
    const group = await createGroup(client, 'G', [id, gone, '0190a000-0000-7000-8000-000000000000']);
    const before = server.logged.length;
    await client.send(
      'PATCH',
      `/Groups/${group}`,
      patchOf({ op: 'add', path: 'members', value: [{ value: 'okta-1' }] }),
    );
    expect(JSON.stringify(server.logged.slice(before))).toContain('ids that are not of this service');
    await client.send('DELETE', `/Users/${gone}`);
    expect(await memberIds(client, group)).toEqual([id]);
  });

  it('answers a PATCH with a body only where attributes are asked for', async () => {
    const client = await server.connect();
    const group = await createGroup(client, 'G');
    const rename = patchOf({ op: 'replace', path: 'displayName', value: 'H' });
    expect(await client.send('PATCH', `/Groups/${group}`, rename)).toMatchObject({ status: 204, text: '' });
    const answer = await client.send('PATCH', `/Groups/${group}`, { ...rename, query: { attributes: 'displayName' } });
    expect(answer).toMatchObject({ status: 200, body: { displayName: 'H' } });
  });
});

describe('rule 11: errors', () => {
  it('have the body of the RFC for every status', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'e');
    const cases: [number, Answer][] = [
      [400, await client.send('POST', '/Users', { body: '{"userName":' })],
      [400, await client.send('POST', '/Users', { body: '[]' })],
      [400, await client.send('POST', '/Users', { body: '' })],
      [400, await client.send('POST', '/Users', { body: { userName: 'n'.repeat(600) } })],
      [400, await client.send('GET', '/Users/%E0%A4%A')],
      [404, await client.send('GET', '/nothing')],
      [405, await client.send('PUT', '/Users')],
      [405, await client.send('POST', `/Users/${id}`)],
      [405, await client.send('DELETE', '/Schemas')],
      [405, await client.send('POST', '/Schemas', { body: { userName: 'x' } })],
      [413, await client.send('POST', '/Users', { body: { userName: 'x'.repeat(1_100_000) } })],
      [415, await client.send('POST', '/Users', { body: '{}', headers: { 'content-type': 'text/xml' } })],
      [501, await client.send('GET', '/Me')],
      [400, await client.send('POST', '/Bulk', { body: {} })],
      [413, await client.send('POST', '/Bulk', { body: { Operations: Array.from({ length: 1_001 }, () => ({})) } })],
    ];
    for (const [status, answer] of cases) {
      expect(answer.status, answer.text).toBe(status);
      expect(answer.body).toMatchObject({ schemas: [errorUrn], status: String(status) });
      expect(answer.body['detail']).toEqual(expect.any(String));
      expect(answer.headers.get('content-type')).toContain('application/scim+json');
    }
    expect(cases[6]?.[1].headers.get('allow')).toBe('GET, POST');
  });

  it('tell a database that is away by 503 and Retry-After, never by 404, and our own faults by a 500 without details', async () => {
    const failing = (error: Error): Db => ({
      ...database.db,
      tenant: () => Promise.reject(error),
      lookUp: () => Promise.reject(error),
    });
    const away = new RollcallError('database_unavailable', 'The database can not be reached.');
    const cases: [Error, number][] = [
      [away, 503],
      [new RollcallError('too_many_requests', 'Too fast.', { retryAfterSeconds: 2.5 }), 429],
      [new Error('secret detail'), 500],
    ];
    for (const [error, status] of cases) {
      const broken = await startScimServer(failing(error), fakePushes);
      try {
        const client = await server.connect();
        const own = await broken.adopt(client);
        for (const path of ['/Users/0190a000-0000-7000-8000-000000000000', '/Users', '/Groups']) {
          const answer = await own.send('GET', path);
          expect(answer.status).toBe(status);
          expect(answer.body).toMatchObject({ schemas: [errorUrn], status: String(status) });
          expect(answer.text).not.toContain('secret');
          if (status !== 500) expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
        }
      } finally {
        await broken.close();
      }
    }
  });

  it('repeat a write that Postgres gave up for a deadlock, three times at most, then ask to come back', async () => {
    const deadlock = Object.assign(new Error('deadlock detected'), { code: '40P01' });
    const client = await server.connect();
    for (const [failures, status] of [
      [2, 201],
      [3, 503],
    ] as const) {
      let left = failures;
      const tenant: Db['tenant'] = (id, work) =>
        (left -= 1) >= 0 ? Promise.reject(deadlock) : database.db.tenant(id, work);
      const shaky = await startScimServer({ ...database.db, tenant }, fakePushes);
      try {
        const own = await shaky.adopt(client);
        expect((await own.send('POST', '/Users', { body: { userName: `after ${failures}` } })).status).toBe(status);
      } finally {
        await shaky.close();
      }
    }
  });

  it('rule 17: answers in the media type the client asks for', async () => {
    const client = await server.connect();
    const typeOf = async (headers: Record<string, string>) =>
      (await client.send('GET', '/Users', { headers })).headers.get('content-type');
    expect(await typeOf({ accept: 'application/json' })).toBe('application/json; charset=utf-8');
    expect(await typeOf({ accept: 'application/scim+json, application/json' })).toContain('scim+json');
    expect(await typeOf({ accept: '*/*' })).toContain('scim+json');
    const body = JSON.stringify({ userName: 'j' });
    const posted = await client.send('POST', '/Users', { body, headers: { 'content-type': 'application/json' } });
    expect(posted.headers.get('content-type')).toBe('application/json; charset=utf-8');
  });
});

describe('rule 13: discovery', () => {
  it('describes everything it lists, each under its own address', async () => {
    const client = await server.connect();
    for (const path of ['/Schemas', '/ResourceTypes']) {
      const { body } = await client.send('GET', path);
      const items = body['Resources'] as { id: string; meta: { location: string } }[];
      expect(body['totalResults']).toBe(items.length);
      expect(items.length).toBeGreaterThanOrEqual(2);
      for (const item of items) {
        expect(item.meta.location).toBe(`${client.base}${path}/${item.id}`);
        expect((await client.send('GET', `${path}/${item.id}`)).body).toEqual(item);
      }
    }
    expect((await client.send('GET', '/Schemas/nothing')).status).toBe(404);
    expect((await client.send('GET', '/Schemas', { query: { filter: 'id pr' } })).status).toBe(403);
  });

  it('announces what it does and nothing else', async () => {
    const client = await server.connect();
    expect((await client.send('GET', '/serviceproviderconfig')).body).toMatchObject({
      patch: { supported: true },
      bulk: { supported: true, maxOperations: 1000 },
      filter: { supported: true, maxResults: 1000 },
      etag: { supported: true },
      sort: { supported: true },
      changePassword: { supported: false },
    });
  });
});
