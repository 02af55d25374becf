/** Rules of scim.md that no other file of this folder is about, on the real reconciliation: rules 1, 4, 9, 10, 13, 16. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createGroup, createUser, idsOf, memberIds, patchOf } from './steps.ts';

const database = useDatabase();
const portalUrn = 'urn:rollcall:scim:schemas:extension:portal:1.0:User';
let server: ScimServer;
beforeAll(async () => {
  server = await startPortalServer(database.db);
});
afterAll(() => server.close());

const inTenant = <T>(client: Client, work: Parameters<typeof database.db.tenant<T>>[1]) =>
  database.db.tenant(client.tenant.tenantId, work);
const nobody = '0190a000-0000-7000-8000-000000000000';

async function portalOf(client: Client, id: string): Promise<Record<string, unknown>> {
  const { body } = await client.send('GET', `/Users/${id}`, { query: { attributes: portalUrn } });
  return body[portalUrn] as Record<string, unknown>;
}

describe('rule 1: the resource is the mirror object of the connection', () => {
  it('two connections may push the same person: each has its own resource, ids and uniqueness', async () => {
    const okta = await server.connect();
    const entra = await server.connect(okta.tenant);
    const body = { userName: `ann@${okta.tenant.builtInDomain}`, externalId: 'same' };
    const [one, two] = [await okta.send('POST', '/Users', { body }), await entra.send('POST', '/Users', { body })];
    expect([one.status, two.status]).toEqual([201, 201]);
    expect(one.body['id']).not.toBe(two.body['id']);
    expect((await entra.send('GET', `/Users/${String(one.body['id'])}`)).status).toBe(404);
    expect(idsOf(await okta.send('GET', '/Users'))).toEqual([one.body['id']]);
    // both are linked to one user of the portal
    const users = await inTenant(okta, ({ sql }) => sql`select id from users`);
    expect(users).toHaveLength(1);
    expect((await portalOf(okta, String(one.body['id'])))['userId']).toBe(users[0]?.['id']);
    expect((await portalOf(entra, String(two.body['id'])))['userId']).toBe(users[0]?.['id']);
  });

  it('the portal answers in a read-only extension, on request only', async () => {
    const client = await server.connect();
    const id = await createUser(client, `ann@${client.tenant.builtInDomain}`);
    expect((await client.send('GET', `/Users/${id}`)).text).not.toContain(portalUrn);
    expect((await client.send('GET', '/Users')).text).not.toContain(portalUrn);
    const content = await portalOf(client, id);
    const organization = { value: client.tenant.organizationId, display: client.tenant.name };
    expect(content).toMatchObject({
      state: 'linked',
      effectiveActive: true,
      effectiveRoles: [{ value: 'user', organization: client.tenant.organizationId, display: client.tenant.name }],
      organizations: [organization],
      quotaHome: organization,
    });
    const list = await client.send('GET', '/Users', { query: { attributes: `userName,${portalUrn}:state` } });
    expect((list.body['Resources'] as Record<string, unknown>[])[0]).toMatchObject({
      [portalUrn]: { state: 'linked' },
    });
    const asked = { query: { attributes: portalUrn } };
    const off = await client.send('PATCH', `/Users/${id}`, {
      ...patchOf({ op: 'replace', path: 'active', value: false }),
      ...asked,
    });
    expect(off.body[portalUrn]).toMatchObject({ effectiveActive: false });
    const forged = patchOf({ op: 'replace', path: `${portalUrn}:state`, value: 'x' });
    expect((await client.send('PATCH', `/Users/${id}`, forged)).body['scimType']).toBe('mutability');
    await client.send('PUT', `/Users/${id}`, {
      body: { userName: 'ann', [portalUrn]: { state: 'x', userId: nobody } },
    });
    expect(await portalOf(client, id)).toMatchObject({ userId: content['userId'] });
    for (const query of [{ filter: `${portalUrn}:state eq "linked"` }, { sortBy: `${portalUrn}:state` }]) {
      expect((await client.send('GET', '/Users', { query })).status).toBe(400);
    }
  });
});

describe('rule 4: members that are not there', () => {
  it('join the group when they arrive, with what the group gives, and the log says that they are awaited', async () => {
    const client = await server.connect();
    const late = await createUser(client, 'late');
    const group = await createGroup(client, 'Team', [late]);
    await client.send('DELETE', `/Users/${late}`);
    const add = patchOf({ op: 'add', path: 'members', value: [{ value: nobody }, { value: 'okta-1' }] });
    expect((await client.send('PATCH', `/Groups/${group}`, add)).status).toBe(204);
    expect(await memberIds(client, group)).toEqual([]);
    await server.requestLog.flush();
    const [row] = await inTenant(
      client,
      ({ sql }) => sql`select reason from scim_requests where method = 'PATCH' order by at desc limit 1`,
    );
    expect(row?.['reason']).toMatch(/1 members were left out.*okta-1.*1 members are not there yet/);
    // ids are given here, so nobody can know one before: stands for an edge that was there before its member
    const id = await createUser(client, 'arrives');
    await inTenant(
      client,
      ({ sql }) => sql`update mirror_edges set member_anchor = ${id} where member_anchor = ${nobody}`,
    );
    expect(await memberIds(client, group)).toEqual([id]);
  });

  it('are refused by a strict connection, and nothing of the request is done', async () => {
    const client = await server.connect();
    server.setCaller(client, { settings: { strictMembers: true } });
    const id = await createUser(client, 'known');
    const group = await createGroup(client, 'Team');
    for (const value of [nobody, 'okta-1']) {
      const operations = [
        { op: 'replace', path: 'displayName', value: 'X' },
        { op: 'add', path: 'members', value: [{ value: id }, { value }] },
      ];
      const answer = await client.send('PATCH', `/Groups/${group}`, patchOf(...operations));
      expect(answer.body).toMatchObject({ status: '400', scimType: 'invalidValue' });
      expect(answer.text).toContain(value);
    }
    expect(
      (await client.send('POST', '/Groups', { body: { displayName: 'Y', members: [{ value: nobody }] } })).status,
    ).toBe(400);
    expect((await client.send('GET', '/Groups')).body['Resources']).toMatchObject([{ displayName: 'Team' }]);
    expect(await memberIds(client, group)).toEqual([]);
    expect(
      (await client.send('PATCH', `/Groups/${group}`, patchOf({ op: 'add', path: 'members', value: [{ value: id }] })))
        .status,
    ).toBe(204);
    const gone = patchOf({ op: 'remove', path: `members[value eq "${nobody}"]` });
    expect((await client.send('PATCH', `/Groups/${group}`, gone)).status).toBe(204);
  });
});

describe('rule 1: a user who was deleted', () => {
  it('is 404 at once, and comes back under a new id as the same user of the portal, by externalId, then by userName', async () => {
    const client = await server.connect();
    const at = (name: string) => `${name}@${client.tenant.builtInDomain}`;
    const first = await createUser(client, at('ann'), { externalId: 'E1' });
    const before = await portalOf(client, first);
    expect((await client.send('DELETE', `/Users/${first}`)).status).toBe(204);
    expect((await client.send('GET', `/Users/${first}`)).status).toBe(404);
    expect((await client.send('DELETE', `/Users/${first}`)).status).toBe(404);
    const second = await createUser(client, at('ann.married'), { externalId: 'E1' });
    expect(second).not.toBe(first);
    expect(await portalOf(client, second)).toMatchObject({
      userId: before['userId'],
      state: 'linked',
      effectiveActive: true,
    });
    await client.send('DELETE', `/Users/${second}`);
    const third = await createUser(client, at('ann.married'), { externalId: 'E2' });
    expect(await portalOf(client, third)).toMatchObject({ userId: before['userId'], state: 'linked' });
    const other = await createUser(client, at('bob'), { externalId: 'E3' });
    expect((await portalOf(client, other))['userId']).not.toBe(before['userId']);
  });
});

describe('rule 1: a userName or externalId that is taken', () => {
  it('is a 409 that says which of both it is, who has it, and that case does not tell names apart', async () => {
    const client = await server.connect();
    const ann = await createUser(client, 'Ann@Example.com', { externalId: 'E1' });
    const bob = await createUser(client, 'bob@example.com', { externalId: 'E2' });
    const detailOf = async (method: string, path: string, body: unknown) => {
      const answer = await client.send(method, path, { body });
      expect(answer.body).toMatchObject({ status: '409', scimType: 'uniqueness' });
      return answer.body['detail'];
    };
    const same = await detailOf('POST', '/Users', { userName: 'Ann@Example.com' });
    expect(same).toBe(`A user with this userName is there already: ${ann}.`);
    const other = await detailOf('POST', '/Users', { userName: 'ann@EXAMPLE.com', externalId: 'E9' });
    expect(other).toMatch(/already as "Ann@Example\.com" \(upper and lower case do not tell userNames apart\)/);
    expect(await detailOf('POST', '/Users', { userName: 'new', externalId: 'E2' })).toMatch(
      new RegExp(`^This externalId .*${bob}`),
    );
    const rename = { Operations: [{ op: 'replace', path: 'userName', value: 'ANN@example.com' }] };
    expect(await detailOf('PATCH', `/Users/${bob}`, rename)).toMatch(new RegExp(`as "Ann@Example\\.com".*${ann}`));
    expect(await detailOf('PUT', `/Users/${bob}`, { userName: 'bob@example.com', externalId: 'E1' })).toMatch(
      new RegExp(`^This externalId .*${ann}`),
    );
  });
});

describe('rule 9: a POST for an inactive user', () => {
  it('is refused with a sentence that names the user, or takes the user back, as the connection is set', async () => {
    const client = await server.connect();
    const id = await createUser(client, 'Back', { title: 'Old', externalId: 'E' });
    const body = { userName: 'BACK', title: 'New' };
    const active = await client.send('POST', '/Users', { body });
    expect(active.body).toMatchObject({ status: '409', scimType: 'uniqueness' });
    expect(active.body['detail']).not.toContain('inactive');
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: 'active', value: false }));
    const refused = await client.send('POST', '/Users', { body });
    expect(refused.body).toMatchObject({ status: '409', scimType: 'uniqueness' });
    expect(refused.body['detail']).toMatch(new RegExp(`inactive: ${id}`));
    expect((await client.send('GET', `/Users/${id}`)).body).toMatchObject({ active: false, title: 'Old' });
    server.setCaller(client, { settings: { inactiveDuplicate: 'reactivate' } });
    const taken = await client.send('POST', '/Users', { body });
    expect(taken).toMatchObject({ status: 200, body: { id, active: true, title: 'New', externalId: 'E' } });
    expect(await portalOf(client, id)).toMatchObject({ effectiveActive: true });
  });
});

describe('rule 10: roles', () => {
  it('of the portal up to the ceiling are listed in Okta’s shape, and each is found', async () => {
    const client = await server.connect();
    const roles = await client.send('GET', '/Roles', { query: { startIndex: '1', count: '100' } });
    expect(roles.body).toMatchObject({
      totalResults: 1,
      Resources: [{ schemas: ['urn:okta:scim:schemas:core:1.0:Role'], id: 'user', displayName: 'User' }],
    });
    const entitlements = await client.send('GET', '/Entitlements');
    const [first] = entitlements.body['Resources'] as { id: string; displayName: string }[];
    expect(first).toMatchObject({ displayName: `User in ${client.tenant.name}` });
    expect((await client.send('GET', `/Entitlements/${first?.id ?? ''}`)).body).toEqual(first);
    expect((await client.send('GET', '/Roles/user')).status).toBe(200);
    expect((await client.send('GET', '/Roles/admin')).status).toBe(404);
    const types = (await client.send('GET', '/ResourceTypes')).body['Resources'] as {
      endpoint: string;
      schema: string;
    }[];
    expect(types.map(({ endpoint }) => endpoint)).toEqual(['/Users', '/Groups', '/Roles', '/Entitlements']);
    for (const { schema } of types) expect((await client.send('GET', `/Schemas/${schema}`)).status).toBe(200);
  });

  it('that a client names give nothing by themselves', async () => {
    const client = await server.connect();
    const id = await createUser(client, `eve@${client.tenant.builtInDomain}`, {
      roles: [{ value: 'admin', primary: true }, { value: 'super_admin' }],
      entitlements: [{ value: `admin@${client.tenant.organizationId}` }],
    });
    expect((await portalOf(client, id))['effectiveRoles']).toMatchObject([{ value: 'user' }]);
  });
});
