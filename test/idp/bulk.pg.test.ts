/** /Bulk and /.search over HTTP and Postgres. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Client, type ScimServer } from './scim-server.ts';
import { createGroup, createUser, idsOf, memberIds } from './steps.ts';

const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const database = useDatabase();
let server: ScimServer;
beforeAll(async () => {
  server = await startScimServer(database.db, fakePushes);
});
afterAll(() => server.close());

type Result = {
  readonly status: string;
  readonly location?: string;
  readonly bulkId?: string;
  readonly response?: unknown;
};

async function bulk(
  client: Client,
  operations: readonly unknown[],
  more: Record<string, unknown> = {},
): Promise<Result[]> {
  const answer = await client.send('POST', '/Bulk', { body: { Operations: operations, ...more } });
  expect(answer.status, answer.text).toBe(200);
  return answer.body['Operations'] as Result[];
}

const post = (bulkId: string, userName: string) => ({ method: 'POST', path: '/Users', bulkId, data: { userName } });

describe('rule 13: bulk', () => {
  it('resolves references to what comes later in the message, in data and in paths', async () => {
    const client = await server.connect();
    const results = await bulk(client, [
      { method: 'PATCH', path: '/Users/bulkId:u', data: { Operations: [{ op: 'add', path: 'title', value: 'T' }] } },
      { method: 'POST', path: '/Groups', bulkId: 'g', data: { displayName: 'G', members: [{ value: 'bulkId:u' }] } },
      post('u', 'later'),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['200', '201', '201']);
    const [group, user] = [results[1], results[2]].map((result) => result?.location?.split('/').at(-1) ?? '');
    expect(await memberIds(client, group ?? '')).toEqual([user]);
    expect((await client.send('GET', `/Users/${user}`)).body['title']).toBe('T');
  });

  it('does what it can: a fault is told where it stands and stops only what refers to it', async () => {
    const client = await server.connect();
    const results = await bulk(client, [
      post('a', 'same'),
      post('b', 'same'),
      { method: 'PUT', path: '/Users/bulkId:b', data: { userName: 'x' } },
      { method: 'DELETE', path: '/Users/bulkId:a' },
      { method: 'GET', path: '/Users/bulkId:a' },
      { method: 'POST', path: '/Nothing', bulkId: 'c', data: {} },
      { method: 'POST', path: '/Groups', bulkId: 'd', data: { displayName: 'D', members: [{ value: 'bulkId:e' }] } },
      { method: 'POST', path: '/Groups', bulkId: 'e', data: { displayName: 'E', members: [{ value: 'bulkId:d' }] } },
    ]);
    expect(results.map(({ status }) => status)).toEqual(['201', '409', '409', '204', '405', '400', '201', '201']);
    expect(results[1]?.response).toMatchObject({ status: '409', scimType: 'uniqueness' });
  });

  it('resolves references that lead in a circle, and takes back what waited for something that failed', async () => {
    const client = await server.connect();
    const group = (bulkId: string, ...refs: string[]) => ({
      method: 'POST',
      path: '/Groups',
      bulkId,
      data: { displayName: bulkId, members: refs.map((ref) => ({ value: `bulkId:${ref}` })) },
    });
    const managed = (bulkId: string, manager: string) => ({
      method: 'POST',
      path: '/Users',
      bulkId,
      data: { userName: bulkId, [enterpriseUrn]: { manager: { value: `bulkId:${manager}` } } },
    });
    const results = await bulk(client, [
      group('a', 'b', 'u'),
      group('b', 'c'),
      group('c', 'a'),
      post('u', 'in-a'),
      managed('x', 'y'),
      managed('y', 'x'),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['201', '201', '201', '201', '201', '201']);
    const ids = results.map((result) => result.location?.split('/').at(-1) ?? '');
    const [a = '', b = '', c = '', u = '', x = '', y = ''] = ids;
    expect(new Set(await memberIds(client, a))).toEqual(new Set([b, u]));
    expect(await memberIds(client, b)).toEqual([c]);
    expect(await memberIds(client, c)).toEqual([a]);
    const managerOf = async (id: string) => (await client.send('GET', `/Users/${id}`)).body[enterpriseUrn];
    expect(await managerOf(x)).toMatchObject({ manager: { value: y } });
    expect(await managerOf(y)).toMatchObject({ manager: { value: x } });

    await createUser(client, 'taken');
    const failing = await bulk(client, [
      { ...managed('p', 'q'), data: { ...managed('p', 'q').data, userName: 'fresh' } },
      { ...managed('q', 'p'), data: { ...managed('q', 'p').data, userName: 'taken' } },
    ]);
    expect(failing.map(({ status }) => status)).toEqual(['409', '409']);
    const fresh = await client.send('GET', '/Users', { query: { filter: 'userName eq "fresh"' } });
    expect(fresh.body['totalResults']).toBe(0);
  });

  it('stops after as many faults as failOnErrors says', async () => {
    const client = await server.connect();
    const results = await bulk(client, [post('a', 'a'), post('b', 'a'), post('c', 'c')], { failOnErrors: 1 });
    expect(results.map(({ status }) => status)).toEqual(['201', '409']);
    expect((await client.send('GET', '/Users')).body['totalResults']).toBe(1);
  });
});

describe('rule 13: search', () => {
  it('pages through users, then groups, and tells both counts together', async () => {
    const client = await server.connect();
    const ids = [await createUser(client, 'x1'), await createUser(client, 'x2'), await createGroup(client, 'x3')];
    const search = (body: Record<string, unknown>) => client.send('POST', '/.search', { body });
    const pages = [1, 2, 3, 4].map((startIndex) =>
      search({ startIndex, count: 1, filter: 'meta.created gt "2020-01-01"' }),
    );
    const answers = await Promise.all(pages);
    expect(answers.map(idsOf)).toEqual([[ids[0]], [ids[1]], [ids[2]], []]);
    for (const [index, { body }] of answers.entries()) {
      expect(body).toMatchObject({ totalResults: 3, startIndex: index + 1 });
    }
    expect(idsOf(await search({ filter: 'userName sw "x"', count: 0 }))).toEqual([]);
    expect((await search({ filter: 'userName sw "x"' })).body['totalResults']).toBe(2);
    expect((await search({ filter: 'nonsense eq "x"' })).body).toMatchObject({ scimType: 'invalidFilter' });
    const users = await client.send('POST', '/Users/.search', {
      body: { attributes: ['userName'], sortBy: 'userName' },
    });
    expect(Object.keys((users.body['Resources'] as object[])[0] ?? {}).toSorted()).toEqual([
      'id',
      'schemas',
      'userName',
    ]);
  });
});
