/** Lists over HTTP and Postgres: filters as SQL, sorting, paging. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Client, type ScimServer } from './scim-server.ts';
import { createGroup, createUser, idsOf } from './steps.ts';

const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';

const database = useDatabase();
let server: ScimServer;
beforeAll(async () => {
  server = await startScimServer(database.db, fakePushes);
});
afterAll(() => server.close());

describe('rule 5: filters', () => {
  const people = [
    { userName: 'ann', title: 'Boss', emails: [{ value: 'ann@a.example', type: 'work', primary: true }], active: true },
    {
      userName: 'Bob',
      name: { familyName: 'Ärmel' },
      emails: [{ value: 'x@b.example' }, { value: 'bob@a.example', type: 'home' }],
    },
    { userName: 'cy%_', active: false, [enterpriseUrn]: { department: 'Sales', manager: { value: '7' } } },
  ];
  let client: Client;
  beforeAll(async () => {
    client = await server.connect();
    for (const [index, { userName, ...more }] of people.entries()) {
      await createUser(client, userName, { externalId: `E${index}`, ...more });
    }
  });
  const find = async (filter: string) => {
    const answer = await client.send('GET', '/Users', { query: { filter } });
    expect(answer.status, answer.text).toBe(200);
    return (answer.body['Resources'] as { userName: string }[]).map(({ userName }) => userName);
  };

  it.each<[string, string[]]>([
    ['userName eq "BOB"', ['Bob']],
    ['userName co "%_"', ['cy%_']],
    ['userName sw "A"', ['ann']],
    ['userName ne "ann"', ['Bob', 'cy%_']],
    ['userName gt "ann"', ['Bob', 'cy%_']],
    ['externalId eq "e1"', []],
    ['externalId eq "E1"', ['Bob']],
    ['active eq true', ['ann', 'Bob']],
    ['active ne true', ['cy%_']],
    ['title pr', ['ann']],
    ['displayName eq "ann"', []],
    ['displayName ne "ann"', ['ann', 'Bob', 'cy%_']],
    ['displayName sw "b"', []],
    ['not (title pr)', ['Bob', 'cy%_']],
    ['title ne "boss"', ['Bob', 'cy%_']],
    ['title eq null', ['Bob', 'cy%_']],
    ['name.familyName eq "ÄRMEL"', ['Bob']],
    ['name pr', ['Bob']],
    ['emails.value ew "a.example"', ['ann', 'Bob']],
    ['emails.value eq "BOB@a.example"', ['Bob']],
    ['emails eq "ann@a.example"', ['ann']],
    ['emails[type eq "work"]', ['ann']],
    ['emails[not (type pr)]', ['Bob']],
    ['emails[type eq "home" and value sw "x"]', []],
    ['emails.primary eq true', ['ann']],
    ['emails pr', ['ann', 'Bob']],
    ['emails.type ne "work"', ['Bob', 'cy%_']],
    [`${enterpriseUrn}:department eq "sales"`, ['cy%_']],
    ['department eq sales and manager.value eq 7', ['cy%_']],
    ['manager[value eq "7"]', ['cy%_']],
    [
      'meta.resourceType eq "User" and schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"',
      ['cy%_'],
    ],
    ['meta.created gt "2020-01-01" and meta.lastModified lt "2999-01-01T00:00:00+02:00"', ['ann', 'Bob', 'cy%_']],
    ['(userName eq "ann" or userName eq "bob") and not (active eq false or title eq "boss")', ['Bob']],
    ['groups pr', []],
    ['userName eq "\' or 1=1 --"', []],
    ['userName eq ""', []],
  ])('%s finds %j', async (filter, expected) => {
    expect(await find(filter)).toEqual(expected);
  });

  it('runs or refuses every operator on every attribute; the database never objects', async () => {
    const names = [
      'id',
      'externalId',
      'schemas',
      'meta',
      'meta.created',
      'meta.location',
      'meta.version',
      'name',
      'name.givenName',
    ];
    names.push(
      'active',
      'emails',
      'emails.primary',
      'x509Certificates.value',
      'groups',
      'groups.display',
      'groups.$ref',
      'manager',
      'photos.value',
    );
    const operators = [
      'eq "a"',
      'ne "a"',
      'co "a"',
      'sw "a"',
      'ew "a"',
      'gt "a"',
      'ge "a"',
      'lt "a"',
      'le "a"',
      'pr',
      'eq true',
      'eq null',
      'ge "2026-01-01"',
    ];
    for (const name of names) {
      for (const operator of operators) {
        for (const filter of [`${name} ${operator}`, `not (${name} ${operator})`]) {
          const answer = await client.send('GET', '/Users', { query: { filter } });
          if (answer.status !== 200)
            expect(answer.body, `${filter}: ${answer.text}`).toMatchObject({
              status: '400',
              scimType: 'invalidFilter',
            });
        }
      }
    }
  });

  it('filters groups by members without showing them', async () => {
    const id = await createUser(client, 'in-a-group', { title: 'Boss 2' });
    const group = await createGroup(client, 'Zed', [id]);
    await createGroup(client, 'Empty');
    for (const filter of [
      `members eq "${id}"`,
      `members[value eq "${id}"]`,
      'members pr',
      `members.value eq "${id.toUpperCase()}" and not (members eq "nobody")`,
      `members[not (value eq "nobody")]`,
      `id eq "${group}" and members.type eq "user"`,
    ]) {
      const answer = await client.send('GET', '/Groups', { query: { filter, excludedAttributes: 'members' } });
      expect(idsOf(answer), filter).toEqual([group]);
      expect(answer.text).not.toContain('members');
    }
    await client.send('DELETE', `/Users/${id}`);
  });

  it('sorts by a column and by any attribute, in both directions', async () => {
    const names = async (query: Record<string, string>) =>
      ((await client.send('GET', '/Users', { query })).body['Resources'] as { userName: string }[]).map(
        (one) => one.userName,
      );
    expect(await names({ sortBy: 'userName', sortOrder: 'descending' })).toEqual(['cy%_', 'Bob', 'ann']);
    expect((await names({ sortby: 'title' }))[0]).toBe('ann');
    expect((await names({ SortBy: 'emails' }))[0]).toBe('ann');
    expect((await client.send('GET', '/Users', { query: { sortBy: 'nonsense' } })).status).toBe(400);
  });
});

describe('rule 6: paging by index', () => {
  it('loses nobody while the client deletes what it has read', async () => {
    const client = await server.connect();
    const all: string[] = [];
    for (let index = 0; index < 25; index += 1) all.push(await createUser(client, `p${index}`));
    const seen: string[] = [];
    for (let startIndex = 1, guard = 0; guard < 20; guard += 1) {
      const page = await client.send('GET', '/Users', { query: { startIndex: String(startIndex), count: '5' } });
      const ids = idsOf(page);
      seen.push(...ids);
      for (const id of ids.slice(0, 3)) await client.send('DELETE', `/Users/${id}`);
      startIndex += Number(page.body['itemsPerPage']);
      if (ids.length === 0 || startIndex > Number(page.body['totalResults'])) break;
    }
    expect(seen).toEqual(all);
  });

  it('counts exactly, reads names of parameters in any case, and bounds what it is asked for', async () => {
    const client = await server.connect();
    for (let index = 0; index < 7; index += 1) await createUser(client, `c${index}`);
    const list = async (query: Record<string, string>) => (await client.send('GET', '/Users', { query })).body;
    expect(await list({ STARTINDEX: '3', Count: '2' })).toMatchObject({
      totalResults: 7,
      startIndex: 3,
      itemsPerPage: 2,
    });
    expect(await list({ startIndex: '-5', count: '2' })).toMatchObject({ startIndex: 1, itemsPerPage: 2 });
    expect(await list({ startIndex: '100' })).toMatchObject({
      totalResults: 7,
      startIndex: 100,
      itemsPerPage: 0,
      Resources: [],
    });
    expect(await list({ count: '0' })).toMatchObject({ totalResults: 7, itemsPerPage: 0 });
    expect(await list({ count: '-1' })).toMatchObject({ totalResults: 7, itemsPerPage: 0 });
    expect(await list({ count: '999999' })).toMatchObject({ totalResults: 7, itemsPerPage: 7 });
    expect(await list({ count: 'many' })).toMatchObject({ status: '400', scimType: 'invalidValue' });
  });
});
