/** Rule 15: events of RFC 9967 leave through the outbox as signed webhooks, exactly when the write commits. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Webhook } from 'standardwebhooks';
import { createOutbox, type WebhookRequest } from '../../src/outbox/outbox.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { SecretBox } from '../../src/platform/secrets.ts';
import { useDatabase } from '../setup/database.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Client, type ScimServer } from './scim-server.ts';
import { createGroup, createUser, patchOf } from './steps.ts';

const database = useDatabase();
const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
let server: ScimServer;
beforeAll(async () => {
  server = await startScimServer(database.db, fakePushes);
});
afterAll(() => server.close());

function listen() {
  const sent: WebhookRequest[] = [];
  const outbox = createOutbox({
    db: database.db,
    secretBox: new SecretBox(Buffer.alloc(32, 3)),
    clock: systemClock,
    logger: { warn: () => undefined },
    send: (request) => {
      sent.push(request);
      return Promise.resolve({ status: 204 });
    },
  });
  return { sent, outbox, by: (client: Client) => ({ actor: 'test', tenantId: client.tenant.tenantId }) };
}

type Claims = {
  events: Record<string, unknown>;
  sub_id: Record<string, unknown>;
  iss: string;
  txn: string;
  jti: string;
};

describe('rule 15: events', () => {
  it('tell each write with what changed and none of the values, signed', async () => {
    const { sent, outbox, by } = listen();
    const client = await server.connect();
    const { secret } = await outbox.webhooks.create(by(client), {
      url: 'https://hook.example/',
      eventTypes: ['scim.event'],
    });
    const id = await createUser(client, 'personal-name', { externalId: 'E1', active: true });
    const patch = (value: unknown) => client.send('PATCH', `/Users/${id}`, patchOf({ op: 'replace', value }));
    await patch({ active: false, title: 'Boss', [`${enterpriseUrn}:department`]: 'Sales' });
    await patch({ title: 'Boss' });
    await client.send('PUT', `/Users/${id}`, { body: { userName: 'personal-name', active: true } });
    const group = await createGroup(client, 'G', [id]);
    const members = (op: string) => patchOf({ op, path: 'members', value: [{ value: id }] });
    await client.send('PATCH', `/Groups/${group}`, members('add'));
    await client.send('PATCH', `/Groups/${group}`, members('remove'));
    await client.send('DELETE', `/Users/${id}`);
    await outbox.deliverDue({ signal: new AbortController().signal });
    const claims = sent.map(({ body, headers }) => {
      const verified = new Webhook(secret).verify(body, { ...headers }) as { type: string; data: Claims };
      expect(verified.type).toBe('scim.event');
      return verified.data;
    });
    const prov = 'urn:ietf:params:scim:event:prov:';
    expect(claims.map(({ events }) => events)).toEqual([
      { [`${prov}create:notice`]: { attributes: ['active', 'externalId', 'userName'] } },
      {
        [`${prov}patch:notice`]: { attributes: ['active', 'title', `${enterpriseUrn}:department`] },
        [`${prov}deactivate`]: {},
      },
      {
        [`${prov}put:notice`]: { attributes: ['active', 'title', `${enterpriseUrn}:department`] },
        [`${prov}activate`]: {},
      },
      { [`${prov}create:notice`]: { attributes: ['displayName', 'members'] } },
      { [`${prov}patch:notice`]: { attributes: ['members'] } },
      { [`${prov}delete`]: {} },
    ]);
    expect(claims[0]).toMatchObject({
      iss: client.base,
      sub_id: { format: 'scim', uri: `/Users/${id}`, externalId: 'E1' },
    });
    expect(new Set(claims.map(({ jti }) => jti)).size).toBe(claims.length);
    expect(sent.map(({ body }) => body).join()).not.toContain('personal-name');
    const announced = (await client.send('GET', '/ServiceProviderConfig')).body['securityEvents'];
    const uris = (announced as { eventUris: string[] }).eventUris;
    for (const { events } of claims) for (const uri of Object.keys(events)) expect(uris).toContain(uri);
  });

  it('are not written for a write that failed, nor where nobody wants them', async () => {
    const { outbox, by } = listen();
    const [wanting, other, deaf] = [await server.connect(), await server.connect(), await server.connect()];
    await outbox.webhooks.create(by(wanting), { url: 'https://hook.example/' });
    await outbox.webhooks.create(by(other), { url: 'https://hook.example/', eventTypes: ['run.applied'] });
    const count = async (client: Client) => {
      const [row] = await database.db.tenant(
        client.tenant.tenantId,
        ({ sql }) => sql`select count(*)::int as n from outbox_messages where type = 'scim.event'`,
      );
      return row?.['n'];
    };
    for (const client of [wanting, other, deaf]) {
      await createUser(client, 'one');
      expect((await client.send('POST', '/Users', { body: { userName: 'one' } })).status).toBe(409);
    }
    expect(await Promise.all([wanting, other, deaf].map(count))).toEqual([1, 0, 0]);
  });
});
