/** Custom attributes of an organization as an extension of User, from discovery to the portal. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createUser, idsOf, patchOf } from './steps.ts';

const urn = 'urn:rollcall:scim:schemas:extension:custom:1.0:User';
const settings = { customAttributes: ['badgeNumber', 'building'] };

const database = useDatabase();
let server: ScimServer;
beforeAll(async () => {
  server = await startPortalServer(database.db, { settings });
});
afterAll(() => server.close());

async function connect(): Promise<Client> {
  const client = await server.connect();
  server.setCaller(client, { settings });
  return client;
}

async function portalAttributes(client: Client): Promise<unknown[]> {
  const rows = await database.db.tenant(
    client.tenant.tenantId,
    ({ sql }) => sql<{ attributes: unknown }[]>`select attributes from users order by display_name`,
  );
  return rows.map(({ attributes }) => attributes);
}

describe('rule 13: custom attributes', () => {
  it('are described where the connection has them, and nowhere else', async () => {
    const client = await connect();
    const schema = await client.send('GET', `/Schemas/${urn}`);
    expect(schema.body).toMatchObject({ id: urn, meta: { resourceType: 'Schema' } });
    expect(schema.body['attributes']).toMatchObject([
      { name: 'badgeNumber', type: 'string', multiValued: false, mutability: 'readWrite', returned: 'default' },
      { name: 'building' },
    ]);
    const type = await client.send('GET', '/ResourceTypes/User');
    expect(type.body['schemaExtensions']).toContainEqual({ schema: urn, required: false });

    const plain = await server.connect();
    expect((await plain.send('GET', `/Schemas/${urn}`)).status).toBe(404);
    expect((await plain.send('GET', '/ResourceTypes/User')).text).not.toContain(urn);
    const id = await createUser(plain, 'plain', { [urn]: { badgeNumber: '7' } });
    expect((await plain.send('GET', `/Users/${id}`)).text).not.toContain(urn);
    expect((await plain.send('GET', '/Users', { query: { filter: `${urn}:badgeNumber pr` } })).status).toBe(400);
  });

  it('are created, replaced, patched, removed and answered like those of any extension, in any case', async () => {
    const client = await connect();
    const id = await createUser(client, 'ann', { [urn.toUpperCase()]: { BADGENUMBER: '7', unknown: 'x' } });
    const read = async () => (await client.send('GET', `/Users/${id}`)).body;
    expect(await read()).toMatchObject({ [urn]: { badgeNumber: '7' } });
    expect((await read())['schemas']).toContain(urn);
    expect(JSON.stringify(await read())).not.toContain('unknown');

    const patch = (...operations: unknown[]) => client.send('PATCH', `/Users/${id}`, patchOf(...operations));
    await patch({ op: 'Add', path: `${urn}:building`, value: 'North' });
    await patch({ op: 'replace', value: { [`${urn}:badgeNumber`]: 8 } });
    expect((await read())[urn]).toEqual({ badgeNumber: '8', building: 'North' });
    expect((await client.send('GET', `/Users/${id}`, { query: { attributes: `${urn}:building` } })).body[urn]).toEqual({
      building: 'North',
    });
    await patch({ op: 'remove', path: `${urn}:building` });
    expect((await read())[urn]).toEqual({ badgeNumber: '8' });
    const put = await client.send('PUT', `/Users/${id}`, { body: { userName: 'ann' } });
    expect(put.text).not.toContain(urn);
    expect((await patch({ op: 'add', path: `${urn}:other`, value: 'x' })).body).toMatchObject({
      status: '400',
      scimType: 'invalidPath',
    });
  });

  it('are found and sorted by', async () => {
    const client = await connect();
    const [one, two] = [
      await createUser(client, 'one', { [urn]: { badgeNumber: 'B2' } }),
      await createUser(client, 'two', { [urn]: { badgeNumber: 'A1' } }),
    ];
    const find = async (query: Record<string, string>) => idsOf(await client.send('GET', '/Users', { query }));
    expect(await find({ filter: `${urn}:badgeNumber eq "b2"` })).toEqual([one]);
    expect(await find({ filter: `${urn}:badgeNumber sw "A"` })).toEqual([two]);
    expect(await find({ filter: `not (${urn}:badgeNumber eq "A1")` })).toEqual([one]);
    expect(await find({ sortBy: `${urn}:badgeNumber` })).toEqual([two, one]);
  });

  it('reach the custom attributes of the portal', async () => {
    const client = await connect();
    const id = await createUser(client, `ann@${client.tenant.builtInDomain}`, { [urn]: { badgeNumber: '7' } });
    expect(await portalAttributes(client)).toEqual([{ badgeNumber: '7' }]);
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', path: `${urn}:badgeNumber`, value: '8' }));
    expect(await portalAttributes(client)).toEqual([{ badgeNumber: '8' }]);
  });

  it('stand in the request log like every attribute that is known', async () => {
    const client = await connect();
    await createUser(client, 'logged', { [urn]: { badgeNumber: 'seen', password: 'hunter2' } });
    await server.requestLog.flush();
    const rows = await database.db.tenant(
      client.tenant.tenantId,
      ({ sql }) => sql`select body from scim_requests where connection_id = ${client.connectionId}`,
    );
    expect(JSON.stringify(rows)).toContain('seen');
    expect(JSON.stringify(rows)).not.toContain('hunter2');
  });
});
