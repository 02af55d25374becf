/** Rule 1: who may be somebody the portal has already waits for a person, and everybody is told. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId, type UserId } from '../../src/core/ids.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createLogger } from '../../src/platform/logger.ts';
import { createScimAdmin } from '../../src/scim/scim.ts';
import { useDatabase } from '../setup/database.ts';
import { principalOf } from '../setup/people.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createUser } from './steps.ts';

const portalUrn = 'urn:rollcall:scim:schemas:extension:portal:1.0:User';

const database = useDatabase();
let server: ScimServer;
beforeAll(async () => {
  server = await startPortalServer(database.db);
});
afterAll(() => server.close());

/** A user of the portal whom no directory may touch. */
async function addProtected({ tenant }: Client, name: string): Promise<string> {
  const username = `${name}@${tenant.builtInDomain}`;
  await database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql`
      insert into users (tenant_id, id, username, username_key, email, email_key, display_name, display_name_key, is_protected)
      values (${tenant.tenantId}, ${newId<UserId>()}, ${username}, ${username}, ${username}, ${username}, ${name}, ${name}, true)`,
  );
  return username;
}

async function openCases({ tenant }: Client) {
  return database.db.tenant(
    tenant.tenantId,
    ({ sql }) =>
      sql<{ id: string; anchor: string; kind: string }[]>`select id, anchor, kind from cases where status = 'open'`,
  );
}

async function requestsOf(client: Client) {
  await server.requestLog.flush();
  const admin = createScimAdmin({
    db: database.db,
    pushes: server.pushes,
    pepper: Buffer.alloc(32, 9),
    clock: systemClock,
    reach: { requireConnection: () => Promise.resolve() },
    log: createLogger({ level: 'silent', fileDescriptor: 2 }),
  });
  const principal = principalOf(client.tenant.tenantId, 'admin');
  return admin.listRequests(principal, { connectionId: client.connectionId }, { limit: 10, cursor: undefined });
}

describe('rule 1: a user who may be somebody the portal has already', () => {
  it('is taken with 201, linked to nobody, with a case, an alert and a line in the request log', async () => {
    const client = await server.connect();
    const username = await addProtected(client, 'boss');
    await createUser(client, `other@${client.tenant.builtInDomain}`);
    const id = await createUser(client, username);
    const { body } = await client.send('GET', `/Users/${id}`, { query: { attributes: portalUrn } });
    const [found, ...others] = await openCases(client);
    expect(others).toEqual([]);
    expect(found).toMatchObject({ anchor: id });
    expect(body[portalUrn]).toMatchObject({ state: 'disputed', caseId: found?.id, effectiveActive: false });
    expect(body[portalUrn]).not.toHaveProperty('effectiveRoles');

    const told = await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql<{ payload: unknown }[]>`select payload from outbox_messages where type = 'cases.opened'`,
    );
    expect(told.map(({ payload }) => payload)).toMatchObject([
      { connectionId: client.connectionId, count: 1, cases: [{ caseId: found?.id, subject: username }] },
    ]);
    const { items } = await requestsOf(client);
    const disputes = items.filter(({ method }) => method === 'POST').map((item) => item.disputes);
    expect(disputes).toEqual([[{ caseId: found?.id, reason: expect.stringMatching(/boss/) as unknown }], []]);

    // the same again opens no second case and tells nobody twice
    await client.send('PUT', `/Users/${id}`, { body: { userName: username, title: 'Boss' } });
    expect(await openCases(client)).toHaveLength(1);
  });

  it('is refused with 409 that names the case, where the connection says so, and can be decided all the same', async () => {
    const client = await server.connect();
    server.setCaller(client, { settings: { disputedMatch: 'refuse' } });
    const username = await addProtected(client, 'boss');
    const refused = await client.send('POST', '/Users', { body: { userName: username } });
    const [found] = await openCases(client);
    expect(refused.body).toMatchObject({ status: '409', scimType: 'uniqueness' });
    expect(refused.body['detail']).toContain(`case ${String(found?.id)}`);
    expect((await client.send('GET', `/Users/${String(found?.anchor)}`)).status).toBe(200);
    const again = await client.send('POST', '/Users', { body: { userName: username } });
    expect(again.body['detail']).toMatch(new RegExp(`already: ${String(found?.anchor)}.*case ${String(found?.id)}`));
    expect(await openCases(client)).toHaveLength(1);
    expect((await client.send('POST', '/Users', { body: { userName: 'nobody else' } })).status).toBe(201);
  });
});
