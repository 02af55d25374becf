/** Pushes that arrive together share transactions; nobody may notice, but by the clock. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase, type TestTenant } from '../setup/database.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createUser, patchOf } from './steps.ts';

const database = useDatabase();
let server: ScimServer;
beforeAll(async () => {
  server = await startPortalServer(database.db);
});
afterAll(() => server.close());

type Row = { readonly name: string; readonly requests: number; readonly changes: number; readonly roles: number };

/** Each portal user with the requests on whose change rows it stands. */
function portal(tenant: TestTenant): Promise<Row[]> {
  return database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql<Row[]>`
      select u.display_name as name, count(distinct c.request_id)::int as requests, count(*)::int as changes,
        (select count(*)::int from grants g where g.tenant_id = u.tenant_id and g.user_id = u.id) as roles
      from users u join changes c on c.tenant_id = u.tenant_id and c.user_id = u.id and c.state = 'applied'
      group by u.tenant_id, u.id, u.display_name order by u.display_name`,
  );
}

async function requestIds(tenant: TestTenant): Promise<number> {
  const [row] = await database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql<{ count: number }[]>`
      select count(distinct request_id)::int as count from changes where tenant_id = ${tenant.tenantId}`,
  );
  return row?.count ?? 0;
}

const count = 24;
const numbers = Array.from({ length: count }, (_, index) => index);
const userOf = (client: Client, index: number, more: object = {}) => ({
  userName: `u${index}@${client.tenant.builtInDomain}`,
  externalId: `x${index}`,
  displayName: `User ${String(index).padStart(2, '0')}`,
  emails: [{ value: `u${index}@x.example`, type: 'work', primary: true }],
  ...more,
});
const create = (client: Client, body: object) => client.send('POST', '/Users', { body: body as never });

async function createAll(client: Client): Promise<string[]> {
  const answers = await Promise.all(numbers.map((index) => create(client, userOf(client, index))));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
  return answers.map(({ body }) => String(body['id']));
}

describe('creates that come together', () => {
  it('make each user once, with its role, and with change rows that name its own request', async () => {
    const client = await server.connect();
    const ids = await createAll(client);
    expect(new Set(ids).size).toBe(count);
    const rows = await portal(client.tenant);
    expect(rows).toEqual(
      numbers.map((index) => ({ name: userOf(client, index).displayName, requests: 1, changes: 2, roles: 1 })),
    );
    expect(await requestIds(client.tenant)).toBe(count);
  });

  it('a name that is taken is refused to the one who asks for it, and the others are there', async () => {
    const client = await server.connect();
    await createUser(client, `u3@${client.tenant.builtInDomain}`);
    const answers = await Promise.all(numbers.map((index) => create(client, userOf(client, index))));
    expect(answers.map(({ status }) => status)).toEqual(numbers.map((index) => (index === 3 ? 409 : 201)));
    expect(await portal(client.tenant)).toHaveLength(count);
  });
});

describe('changes that come together', () => {
  it('are each made, and answered with the version they made', async () => {
    const client = await server.connect();
    const ids = await createAll(client);
    const answers = await Promise.all(
      ids.map((id, index) =>
        client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'displayName', value: `New ${index}` })),
      ),
    );
    expect(answers.map(({ body }) => body['displayName'])).toEqual(numbers.map((index) => `New ${index}`));
    expect(new Set(answers.map(({ body }) => (body['meta'] as { version: string }).version))).toEqual(
      new Set(['W/"2"']),
    );
    expect(new Set((await portal(client.tenant)).map(({ name }) => name))).toEqual(
      new Set(numbers.map((index) => `New ${index}`)),
    );
    expect(await requestIds(client.tenant)).toBe(2 * count);
  });

  it('whoever is refused is refused alone: 404, 412 and 400 among changes that are made', async () => {
    const client = await server.connect();
    const ids = await createAll(client);
    const rename = (id: string, headers = {}) =>
      client.send('PATCH', `/Users/${id}`, {
        ...patchOf({ op: 'replace', path: 'displayName', value: `Renamed ${id}` }),
        headers,
      });
    const [first = '', second = '', ...others] = ids;
    const answers = await Promise.all([
      rename('00000000-0000-7000-8000-000000000000'),
      rename(first, { 'if-match': 'W/"7"' }),
      client.send('PATCH', `/Users/${second}`, patchOf({ op: 'replace', path: 'nothing.of.it', value: 1 })),
      ...others.map((id) => rename(id)),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([404, 412, 400, ...others.map(() => 200)]);
  });

  it('of one user are all made, one after the other', async () => {
    const client = await server.connect();
    const id = await createUser(client, `ann@${client.tenant.builtInDomain}`);
    const values = ['title', 'nickName', 'displayName', 'userType', 'locale', 'preferredLanguage'];
    await Promise.all(
      values.map((path) => client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path, value: 'en' }))),
    );
    const { body } = await client.send('GET', `/Users/${id}`);
    expect(values.map((name) => body[name])).toEqual(values.map(() => 'en'));
  });

  it('a suspension among them is made, too', async () => {
    const client = await server.connect();
    const ids = await createAll(client);
    const patch = (id: string, path: string, value: unknown) =>
      client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path, value: value as never }));
    await Promise.all(ids.map((id, index) => (index === 5 ? patch(id, 'active', false) : patch(id, 'title', 'x'))));
    const rows = await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql<{ name: string }[]>`select display_name as name from users where status = 'suspended'`,
    );
    expect(rows).toEqual([{ name: 'User 05' }]);
  });
});
