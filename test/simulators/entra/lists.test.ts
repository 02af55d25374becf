/** Lists, counts, batches and app roles keep to what is documented (Graph "paging", "advanced queries", "batching"). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Answer, Ask } from './ask.ts';
import { codeOf, createAsk, valueOf } from './ask.ts';
import { defaultAccessRole } from './enterprise-app.ts';
import type { EntraSimulator } from './entra.ts';
import { startEntraSimulator } from './entra.ts';
import { createVirtualClock } from './harness.ts';
import { documentedLimit } from './throttle.ts';

const clock = createVirtualClock();
const eventual = { consistencylevel: 'eventual' };
let simulator: EntraSimulator;
let ask: Ask;
const users: string[] = [];
let outer = '';
let inner = '';

beforeAll(async () => {
  simulator = await startEntraSimulator({ seed: 17, now: () => clock.now() });
  const { tenant, app } = simulator;
  app.permissions = ['User.Read.All', 'GroupMember.Read.All', 'Application.Read.All'];
  for (let index = 0; index < 25; index += 1) users.push(tenant.createUser({ displayName: `User ${index}` }));
  [outer, inner] = [tenant.createGroup({ displayName: 'outer' }), tenant.createGroup({ displayName: 'inner' })];
  tenant.addMember(outer, inner);
  tenant.addMember(inner, outer);
  for (const user of users.slice(0, 5)) tenant.addMember(inner, user);
  tenant.addMember(outer, users[0] ?? '');
  const token = simulator.issueToken(30 * 86_400);
  ask = createAsk(simulator, () => token);
});
afterEach(() => {
  simulator.throttle(null);
  simulator.clearFaults();
  Object.assign(simulator.behavior, { indexLag: 0 });
});
afterAll(async () => {
  ask.close();
  await simulator.stop();
});

async function pagesOf(path: string, headers: Record<string, string> = {}): Promise<Answer[]> {
  const pages: Answer[] = [];
  for (let url: unknown = path; typeof url === 'string'; url = pages.at(-1)?.body['@odata.nextLink']) {
    pages.push(await ask(url, { headers }));
  }
  return pages;
}

const idsIn = (pages: readonly Answer[]): string[] => pages.flatMap(valueOf).map((item) => String(item['id']));

describe('pages of a list', () => {
  test('carry every option on, the count on the first only, and nobody twice', async () => {
    const pages = await pagesOf('/v1.0/users?$select=displayName&$top=10&$count=true', eventual);
    expect(pages.map((page) => valueOf(page).length)).toEqual([10, 10, 5]);
    expect(pages.map((page) => page.body['@odata.count'])).toEqual([25, undefined, undefined]);
    expect(idsIn(pages).toSorted()).toEqual(users.toSorted());
    for (const page of pages) {
      for (const user of valueOf(page)) expect(Object.keys(user).toSorted()).toEqual(['displayName', 'id']);
    }
  });

  test('who goes or comes between two pages moves nobody else', async () => {
    const first = await ask('/v1.0/users?$top=10');
    const [gone] = idsIn([first]);
    simulator.tenant.softDelete(String(gone));
    const rest = await pagesOf(String(first.body['@odata.nextLink']));
    simulator.tenant.restore(String(gone));
    expect([...idsIn([first]), ...idsIn(rest)].toSorted()).toEqual(users.toSorted());
  });

  test('a token lives for minutes, belongs to its list, and is not to be made up', async () => {
    const next = String((await ask('/v1.0/users?$top=10')).body['@odata.nextLink']);
    expect((await ask(next.replace('/users', '/groups'))).status).toBe(400);
    expect((await ask('/v1.0/users?$top=10&$skiptoken=10')).status).toBe(400);
    clock.advance(6 * 60_000);
    expect(codeOf(await ask(next))).toBe('Directory_ExpiredPageToken');
  });

  test.each([
    ['/v1.0/users?$top=1000', {}],
    ["/v1.0/users?$filter=displayName ne 'x'", {}],
    ["/v1.0/users?$filter=endsWith(displayName,'9')&$count=true", {}],
    ["/v1.0/users?$filter=endsWith(displayName,'9')", eventual],
    ['/v1.0/users?$filter=length(displayName) gt 5', {}],
  ])('%s with %j is refused', async (path, headers) => {
    expect((await ask(encodeURI(path), { headers })).status).toBe(400);
  });

  test('filters answer what they say, the advanced ones from the index', async () => {
    const named = await ask(
      encodeURI("/v1.0/users?$filter=startsWith(displayName,'User 1') and accountEnabled eq true"),
    );
    expect(valueOf(named)).toHaveLength(11);
    const ends = await ask(encodeURI("/v1.0/users?$filter=endsWith(displayName,'9')&$count=true"), {
      headers: eventual,
    });
    expect(ends.body['@odata.count']).toBe(2);
  });

  test('the recycle bin is a list too', async () => {
    const user = simulator.tenant.createUser({ displayName: 'Binned' });
    simulator.tenant.softDelete(user);
    expect(idsIn(await pagesOf('/v1.0/directory/deletedItems/microsoft.graph.user'))).toEqual([user]);
    simulator.tenant.hardDelete(user);
    expect(idsIn(await pagesOf('/v1.0/directory/deletedItems/microsoft.graph.user'))).toEqual([]);
  });
});

describe('members', () => {
  test('transitive ones are flat, each once, and a cycle ends', async () => {
    const members = idsIn(await pagesOf(`/v1.0/groups/${outer}/transitiveMembers?$top=3`));
    expect(members.toSorted()).toEqual([inner, ...users.slice(0, 5)].toSorted());
  });

  test('a type, or a count, comes from the index and needs to be asked for as such', async () => {
    const path = `/v1.0/groups/${outer}/transitiveMembers/microsoft.graph.user`;
    expect((await ask(path)).status).toBe(400);
    expect(idsIn(await pagesOf(`${path}?$count=true`, eventual))).toHaveLength(5);
    expect((await ask(`/v1.0/groups/${inner}/members/$count`)).status).toBe(400);
    expect((await ask(`/v1.0/groups/${inner}/members/$count`, { headers: eventual })).body).toEqual({ text: '6' });
  });

  test('the index lags behind: counts and transitive members of yesterday', async () => {
    const before = (await ask('/v1.0/users/$count', { headers: eventual })).body;
    simulator.behavior.indexLag = 2;
    const late = simulator.tenant.createUser({ displayName: 'Late' });
    simulator.tenant.addMember(inner, late);
    expect((await ask('/v1.0/users/$count', { headers: eventual })).body).toEqual(before);
    const path = `/v1.0/groups/${inner}/transitiveMembers?$count=true`;
    expect(idsIn(await pagesOf(path, eventual))).not.toContain(late);
    expect(idsIn(await pagesOf(`/v1.0/groups/${inner}/members`))).toContain(late);
    simulator.tenant.hardDelete(late);
  });
});

describe('app roles', () => {
  test('who is assigned to the application: users and groups, not those in the recycle bin', async () => {
    const { enterpriseApp, tenant } = simulator;
    const role = enterpriseApp.addRole('Portal Admin', 'admin');
    const [user = '', other = ''] = users;
    enterpriseApp.assign(role, user, 'User');
    enterpriseApp.assign(defaultAccessRole, outer, 'Group');
    enterpriseApp.assign(role, other, 'User');
    tenant.softDelete(other);
    const principal = await ask(`/v1.0/servicePrincipals(appId='${enterpriseApp.appId}')`);
    expect(principal.body).toMatchObject({ id: enterpriseApp.id, appRoles: [{ id: role, value: 'admin' }] });
    const pages = await pagesOf(`/v1.0/servicePrincipals/${enterpriseApp.id}/appRoleAssignedTo?$top=1`);
    tenant.restore(other);
    const shown = pages.flatMap(valueOf).map((item) => [item['appRoleId'], item['principalId'], item['principalType']]);
    expect(shown).toHaveLength(2);
    expect(shown).toContainEqual([role, user, 'User']);
    expect(shown).toContainEqual([defaultAccessRole, outer, 'Group']);
    const nobody = '11111111-1111-4111-8111-111111111111';
    expect((await ask(`/v1.0/servicePrincipals(appId='${nobody}')`)).status).toBe(404);
  });

  test('and the end of its secrets are shown to those who may read applications only', async () => {
    const { app } = simulator;
    app.secretExpiresAt = new Date('2026-09-01T00:00:00Z');
    const path = `/v1.0/applications(appId='${app.clientId}')?$select=passwordCredentials`;
    const hint = app.clientSecret.slice(0, 3);
    expect((await ask(path)).body['passwordCredentials']).toEqual([{ hint, endDateTime: '2026-09-01T00:00:00.000Z' }]);
    app.permissions = ['User.Read.All'];
    const narrow = createAsk(
      simulator,
      (
        (token) => () =>
          token
      )(simulator.issueToken(3_600)),
    );
    expect(codeOf(await narrow(path))).toBe('Authorization_RequestDenied');
    expect((await narrow(`/v1.0/servicePrincipals/${simulator.enterpriseApp.id}/appRoleAssignedTo`)).status).toBe(403);
    narrow.close();
    app.secretExpiresAt = null;
  });
});

type PartAnswer = { readonly id: string; readonly status: number; readonly headers: Record<string, string> };

describe('a batch', () => {
  const batch = async (requests: readonly unknown[]) =>
    ask('/v1.0/$batch', { method: 'POST', body: JSON.stringify({ requests }) });
  const get = (id: string, url: string, more: object = {}) => ({ id, method: 'GET', url, ...more });

  test('answers each part on its own, in any order; 200 says nothing about them', async () => {
    const parts = Array.from({ length: 20 }, (_, index) =>
      get(String(index), index % 2 === 0 ? '/organization' : '/me'),
    );
    const answer = await batch(parts);
    const responses = answer.body['responses'] as PartAnswer[];
    expect(answer.status).toBe(200);
    expect(responses.map((part) => part.id)).not.toEqual(parts.map((part) => part.id));
    expect(new Map(responses.map((part) => [part.id, part.status]))).toEqual(
      new Map(parts.map(({ id }, index) => [id, index % 2 === 0 ? 200 : 404])),
    );
  });

  test('a part is throttled without the others, and what depends on it is 424', async () => {
    simulator.throttle({ units: 3, perMs: 10_000 });
    const { body } = await batch([
      get('a', `/groups/${inner}/members`),
      get('b', '/organization'),
      get('c', '/organization', { dependsOn: ['b'] }),
      get('d', '/organization', { dependsOn: ['a'] }),
    ]);
    const responses = new Map((body['responses'] as PartAnswer[]).map((part) => [part.id, part]));
    expect(['a', 'b', 'c', 'd'].map((id) => responses.get(id)?.status)).toEqual([200, 429, 424, 429]);
    expect(responses.get('b')?.headers['retry-after']).toBe('10');
    expect(responses.get('a')?.headers['x-ms-resource-unit']).toBe('3');
  });

  test.each([
    ['more than 20 parts', Array.from({ length: 21 }, (_, index) => get(String(index), '/organization'))],
    ['an id twice', [get('1', '/organization'), get('1', '/organization')]],
  ])('with %s is refused as a whole', async (_what, parts) => {
    expect((await batch(parts)).status).toBe(400);
  });

  test('a whole address instead of a relative one is refused for that part', async () => {
    const { body } = await batch([get('1', `${simulator.url}/v1.0/organization`)]);
    expect((body['responses'] as PartAnswer[])[0]?.status).toBe(400);
  });
});

describe('resource units', () => {
  test.each([
    ['/v1.0/users', '2'],
    ['/v1.0/users?$select=id', '1'],
    ['/v1.0/users?$top=10', '1'],
    ['/v1.0/organization', '1'],
  ])('%s costs %s', async (path, units) => {
    expect((await ask(path)).headers['x-ms-resource-unit']).toBe(units);
  });

  test('above 80 % of the limit every answer says so; the documented limits grow with the tenant', async () => {
    simulator.throttle({ units: 10, perMs: 10_000 });
    const seen: unknown[] = [];
    for (let count = 0; count < 10; count += 1) {
      seen.push((await ask('/v1.0/organization')).headers['x-ms-throttle-limit-percentage']);
    }
    expect(seen).toEqual([...Array.from({ length: 8 }, () => undefined), '0.90', '1.00']);
    expect([10, 300, 5_000].map((count) => documentedLimit(count).units)).toEqual([3_500, 5_000, 8_000]);
  });
});

test('return=minimal says only what changed, and null means cleared', async () => {
  const user = simulator.tenant.createUser({ displayName: 'Minimal', jobTitle: 'Clerk', mail: 'm@contoso.example' });
  const latest = await ask('/v1.0/users/delta?$select=displayName,jobTitle,mail&$deltatoken=latest', {
    headers: { prefer: 'return=minimal' },
  });
  expect(latest.headers['preference-applied']).toBe('return=minimal');
  simulator.tenant.patchUser(user, { jobTitle: null });
  const { body } = await ask(String(latest.body['@odata.deltaLink']));
  expect(body['value']).toEqual([{ id: user, jobTitle: null }]);
});

test('a round of named objects tells of no others', async () => {
  const [first = '', second = ''] = users;
  const filter = encodeURIComponent(`id eq '${first}' or id eq '${second}'`);
  const round = await ask(`/v1.0/users/delta?$filter=${filter}`);
  expect(idsIn([round]).toSorted()).toEqual([first, second].toSorted());
  for (const user of users.slice(0, 3)) simulator.tenant.patchUser(user, { jobTitle: 'Changed' });
  expect(idsIn([await ask(String(round.body['@odata.deltaLink']))]).toSorted()).toEqual([first, second].toSorted());
});
