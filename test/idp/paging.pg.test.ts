/** Pages of long lists: cursors of RFC 9865, the order of sortBy, positions and totals that nobody has to count. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Client, type ScimServer } from './scim-server.ts';
import { createGroup, createUser, idsOf } from './steps.ts';

const database = useDatabase();
let server: ScimServer;
beforeAll(async () => {
  server = await startScimServer(database.db, fakePushes);
});
afterAll(() => server.close());

type Query = Readonly<Record<string, string>>;

async function walkByCursor(client: Client, path: string, query: Query, onPage?: (ids: string[]) => Promise<void>) {
  const ids: string[] = [];
  const totals = new Set<unknown>();
  for (let cursor: unknown = '', guard = 0; typeof cursor === 'string' && guard < 100; guard += 1) {
    const { status, body, text } = await client.send('GET', path, { query: { ...query, cursor } });
    expect(status, text).toBe(200);
    const found = (body['Resources'] as { id: string }[]).map(({ id }) => id);
    expect(body).toMatchObject({ itemsPerPage: found.length });
    expect(body).not.toHaveProperty('startIndex');
    ids.push(...found);
    totals.add(body['totalResults']);
    await onPage?.(found);
    cursor = body['nextCursor'];
  }
  return { ids, totals: [...totals] };
}

/** Users of the past, by the thousand: one statement, ids in the order of the numbers. */
async function insertUsers(client: Client, count: number): Promise<void> {
  await database.db.tenant(
    client.tenant.tenantId,
    ({ sql }) => sql`
      insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, display_name, display_name_key,
        source, content_hash, is_pushed)
      select ${client.tenant.tenantId}, ${client.connectionId}, 'user',
        '01900000-0000-7000-8000-' || lpad(n::text, 12, '0'), 'u' || n, 'U' || n, 'u' || n,
        jsonb_build_object('userName', 'u' || n), '\\x00', true
      from generate_series(1, ${count}::int) n`,
  );
}
const numbersOf = (ids: readonly string[]) => ids.map((id) => Number(id.slice(24)));

describe('rule 6: cursors', () => {
  const people = [
    { userName: 'd', title: 'x' },
    { userName: 'A', title: 'y' },
    { userName: 'c' },
    { userName: 'B', title: 'X' },
    { userName: 'e' },
  ];
  let client: Client;
  const ids = new Map<string, string>();
  beforeAll(async () => {
    client = await server.connect();
    for (const { userName, ...more } of people) ids.set(userName, await createUser(client, userName, more));
  });
  const named = (names: string) => names.split('').map((name) => ids.get(name));

  it.each<[string, Query, string]>([
    ['the order of creation', {}, 'dAcBe'],
    ['a name', { sortBy: 'userName' }, 'ABcde'],
    ['a name, descending', { sortBy: 'userName', sortOrder: 'descending' }, 'edcBA'],
    ['a time', { sortBy: 'meta.created' }, 'dAcBe'],
    ['an attribute that some have not: they come last', { sortBy: 'title' }, 'dBAce'],
    ['and first, descending', { sortBy: 'title', sortOrder: 'descending' }, 'ceAdB'],
    ['a filter', { filter: 'title pr', sortBy: 'userName' }, 'ABd'],
  ])('walk each object once by %s, with one total', async (_name, query, expected) => {
    for (const count of ['1', '2', '3', '100']) {
      const walked = await walkByCursor(client, '/Users', { ...query, count });
      expect(walked).toEqual({ ids: named(expected), totals: [expected.length] });
      const byIndex = await client.send('GET', '/Users', { query });
      expect(idsOf(byIndex)).toEqual(named(expected));
    }
  });

  it.each<[string, Query, string]>([
    ['the order of creation', {}, 'dAcBe'],
    ['a name, descending', { sortBy: 'userName', sortOrder: 'descending' }, 'edcBA'],
    ['a time', { sortBy: 'meta.created' }, 'dAcBe'],
    ['an attribute that some have not', { sortBy: 'title' }, 'dBAce'],
    ['the same, descending', { sortBy: 'title', sortOrder: 'descending' }, 'ceAdB'],
    ['a filter', { filter: 'title pr', sortBy: 'userName' }, 'ABd'],
  ])('lead back page by page as they led on, by %s', async (_name, query, expected) => {
    for (const count of ['1', '2', '3']) {
      const read = async (cursor: unknown) => {
        const { body, ...more } = await client.send('GET', '/Users', {
          query: { ...query, count, cursor: String(cursor) },
        });
        return { ids: idsOf({ body, ...more }), next: body['nextCursor'], previous: body['previousCursor'] };
      };
      const pages = [await read('')];
      expect(pages[0]?.previous).toBeUndefined();
      for (let next = pages[0]?.next; next !== undefined; next = pages.at(-1)?.next) pages.push(await read(next));
      expect(pages.flatMap(({ ids: found }) => found)).toEqual(named(expected));
      const back = [];
      for (let cursor = pages.at(-1)?.previous; cursor !== undefined; cursor = back[0]?.previous) {
        back.unshift(await read(cursor));
      }
      expect(back.map(({ ids: found }) => found)).toEqual(pages.slice(0, -1).map(({ ids: found }) => found));
      // and on again from the page that was read backward
      if (back[0] !== undefined) expect((await read(back[0].next)).ids).toEqual(pages[1]?.ids);
    }
  });

  it('lose nobody while the client deletes what it has read', async () => {
    const own = await server.connect();
    const all: string[] = [];
    for (let index = 0; index < 12; index += 1) all.push(await createUser(own, `p${index}`));
    const walked = await walkByCursor(own, '/Users', { count: '3' }, async (found) => {
      for (const id of found) await own.send('DELETE', `/Users/${id}`);
    });
    expect(walked.ids).toEqual(all);
  });

  it('go on at another replica, and nowhere else: another query, type or connection is invalidCursor', async () => {
    const { body } = await client.send('GET', '/Users', { query: { cursor: '', count: '2' } });
    const cursor = String(body['nextCursor']);
    const replica = await startScimServer(database.db, fakePushes);
    try {
      const beside = await replica.adopt(client);
      expect(idsOf(await beside.send('GET', '/Users', { query: { cursor, count: '2' } }))).toEqual(named('cB'));
    } finally {
      await replica.close();
    }
    const other = await server.connect(client.tenant);
    for (const [who, path, query] of [
      [client, '/Users', { cursor, filter: 'title pr' }],
      [client, '/Users', { cursor, sortBy: 'userName' }],
      [client, '/Groups', { cursor }],
      [other, '/Users', { cursor }],
      [client, '/Users', { cursor: `${cursor}A` }],
      [client, '/Users', { cursor: 'made-up' }],
      [client, '/Users', { cursor: ' ' }],
    ] as const) {
      const answer = await who.send('GET', path, { query });
      expect(answer.body, answer.text).toMatchObject({ status: '400', scimType: 'invalidCursor' });
    }
  });

  it('refuse a count that is no positive number, and cap a large one', async () => {
    for (const count of ['0', '-1', 'many', '1.5']) {
      const answer = await client.send('GET', '/Users', { query: { cursor: '', count } });
      expect(answer.body).toMatchObject({ status: '400', scimType: 'invalidCount' });
    }
    const all = await client.send('GET', '/Users', { query: { cursor: '', count: '999999' } });
    expect(all.body).toMatchObject({ itemsPerPage: people.length });
    expect(all.body).not.toHaveProperty('nextCursor');
  });

  it('page a search over users and groups', async () => {
    const own = await server.connect();
    const all = [await createUser(own, 'x1'), await createUser(own, 'x2'), await createGroup(own, 'x3')];
    all.push(await createGroup(own, 'x4'));
    const found: string[] = [];
    for (let cursor: unknown = '', guard = 0; typeof cursor === 'string' && guard < 9; guard += 1) {
      const body = { cursor, count: 1, filter: 'meta.created gt "2020-01-01"' };
      const answer = await own.send('POST', '/.search', { body });
      expect(answer.body['totalResults']).toBe(4);
      found.push(...idsOf(answer));
      cursor = answer.body['nextCursor'];
    }
    expect(found).toEqual(all);
    expect((await own.send('POST', '/.search', { body: { cursor: 'x' } })).body['scimType']).toBe('invalidCursor');
  });

  it('are announced with their time limit', async () => {
    const { body } = await client.send('GET', '/ServiceProviderConfig');
    expect(body['pagination']).toMatchObject({ cursor: true, index: true, cursorTimeout: 3600, maxPageSize: 1000 });
  });
});

describe('rule 6: the order of sortBy', () => {
  it('takes the primary value of a list, else the first, and respects case where the attribute does', async () => {
    const client = await server.connect();
    const emails = (...values: [string, boolean?][]) => ({
      emails: values.map(([value, primary]) => ({ value, ...(primary === true ? { primary } : {}) })),
    });
    const ids = [
      await createUser(client, 'one', { externalId: 'b', ...emails(['a@x'], ['z@x', true]) }),
      await createUser(client, 'two', { externalId: 'B', ...emails(['M@x'], ['b@x']) }),
      await createUser(client, 'three', { externalId: 'a', ...emails(['c@x']) }),
    ];
    const order = async (sortBy: string) =>
      idsOf(await client.send('GET', '/Users', { query: { sortBy } })).map((id) => ids.indexOf(id));
    expect(await order('emails')).toEqual([2, 1, 0]);
    expect(await order('emails.value')).toEqual([2, 1, 0]);
    expect(await order('externalId')).toEqual([1, 2, 0]);
    expect(await order('id')).toEqual([0, 1, 2]);
    for (const sortBy of ['name', 'meta', 'groups', 'password', 'meta.version']) {
      const answer = await client.send('GET', '/Users', { query: { sortBy } });
      expect(answer.body, sortBy).toMatchObject({ status: '400', scimType: 'invalidPath' });
    }
  });
});

describe('rule 6: a long list', () => {
  const many = 6_000;
  let client: Client;
  let replica: ScimServer;
  let beside: Client;
  beforeAll(async () => {
    client = await server.connect();
    await insertUsers(client, many);
    replica = await startScimServer(database.db, fakePushes);
    beside = await replica.adopt(client);
  });
  afterAll(() => replica.close());
  const page = (who: Client, startIndex: number, count: number) =>
    who.send('GET', '/Users', { query: { startIndex: String(startIndex), count: String(count), attributes: 'id' } });

  it('has every page where skipping would find it, and its exact total', async () => {
    for (const startIndex of [1, 2, 499, 500, 501, 502, 1_001, 4_999, 5_901, 5_990, many]) {
      // nothing is remembered for a page that nobody walked to
      const answer = await page(client, startIndex, 7);
      const expected = Array.from({ length: 7 }, (_, index) => startIndex + index).filter((n) => n <= many);
      expect(numbersOf(idsOf(answer))).toEqual(expected);
      expect(answer.body).toMatchObject({ totalResults: many, startIndex, itemsPerPage: expected.length });
    }
    for (const startIndex of [many + 1, many + 5_000]) {
      expect((await page(client, startIndex, 7)).body).toMatchObject({ totalResults: many, Resources: [] });
    }
  });

  it('counts who came and who went since the marks were made, and loses nobody at another replica', async () => {
    const came = await createUser(client, 'late');
    expect((await page(client, 1, 5)).body['totalResults']).toBe(many + 1);
    expect(idsOf(await page(client, many + 1, 5))).toEqual([came]);
    const first = idsOf(await page(client, 1, 1_000));
    for (const id of first.slice(0, 30)) await client.send('DELETE', `/Users/${id}`);
    expect((await page(client, 1, 5)).body['totalResults']).toBe(many + 1 - 30);
    const next = await page(beside, 101, 3);
    expect(numbersOf(idsOf(next))).toEqual([101, 102, 103]);
    // as long as it was when the client began: it shall reach the end
    expect(next.body['totalResults']).toBe(many + 1);
    expect(idsOf(await page(beside, many + 1, 5))).toEqual([came]);
    expect((await client.send('GET', '/Users', { query: { count: '0' } })).body['totalResults']).toBe(many + 1 - 30);
  });

  it('is not read as a whole for a page far down', async () => {
    const [row] = await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`select total, cardinality(anchors) as marks from scim_list_marks where kind = 'user'`,
    );
    expect(row).toEqual({ total: many, marks: many / 500 });
  });
});

describe('rule 13: a list of large groups', () => {
  it('shows fewer groups a page with their members, and each of them once; without members the page is whole', async () => {
    const client = await server.connect();
    const groups: string[] = [];
    for (let index = 0; index < 4; index += 1) groups.push(await createGroup(client, `g${index}`));
    await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`
        insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
        select ${client.tenant.tenantId}, ${client.connectionId}, g, '01900000-0000-7000-8000-' || lpad(n::text, 12, '0')
        from unnest(${groups.slice(0, 3)}::text[]) g, generate_series(1, 30000) n`,
    );
    const pages: string[][] = [];
    for (let startIndex = 1, guard = 0; guard < 9; guard += 1) {
      const page = await client.send('GET', '/Groups', {
        query: { startIndex: String(startIndex), attributes: 'members.value' },
      });
      expect(page.body['totalResults']).toBe(4);
      const found = idsOf(page);
      pages.push(found);
      startIndex += found.length;
      if (startIndex > 4) break;
    }
    // 30,000 memberships in each of the first three, 50,000 at most in a page
    expect(pages).toEqual([groups.slice(0, 1), groups.slice(1, 2), groups.slice(2)]);
    const walked = await walkByCursor(client, '/Groups', { attributes: 'members.value' });
    expect(walked).toEqual({ ids: groups, totals: [4] });
    const bare = await client.send('GET', '/Groups', { query: { excludedAttributes: 'members' } });
    expect(bare.body).toMatchObject({ totalResults: 4, itemsPerPage: 4 });
  });
});
