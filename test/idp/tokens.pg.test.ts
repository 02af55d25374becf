/** Rule 12 over HTTP: OAuth 2 client credentials, scopes, ranges; rule 11: the rate of a token. With the real tokens. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccess, type Access, type NewToken } from '../../src/access/access.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { useDatabase } from '../setup/database.ts';
import { principalOf } from '../setup/people.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Client, type ScimServer } from './scim-server.ts';
import { createGroup, createUser } from './steps.ts';

const database = useDatabase();
let server: ScimServer;
let access: Access;
beforeAll(async () => {
  access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  server = await startScimServer(database.db, fakePushes, undefined, {
    issueAccessToken: (request) => access.issueAccessToken(request),
  });
});
afterAll(() => server.close());

const makeKey = (client: Client, more: Partial<Extract<NewToken, { kind: 'scim' | 'key' }>> = {}) =>
  access.createToken(principalOf(client.tenant.tenantId, 'admin'), {
    kind: 'key',
    connectionId: client.connectionId,
    name: client.connectionId,
    ...more,
  });

async function askToken(client: Client, form: Record<string, string>, headers: Record<string, string> = {}) {
  const answer = await fetch(`${client.base}/oauth/token`, {
    method: 'POST',
    headers,
    body: new URLSearchParams(form),
  });
  const body = (await answer.json()) as Record<string, unknown>;
  return { status: answer.status, headers: answer.headers, body };
}

const grant = { grant_type: 'client_credentials' };

describe('rule 12: the token endpoint', () => {
  it('gives a bearer token for the id and secret of a key, in the form or in the header', async () => {
    const client = await server.connect();
    const { token, text } = await makeKey(client);
    const inForm = await askToken(client, { ...grant, client_id: token.id, client_secret: text });
    const basic = Buffer.from(`${token.id}:${text}`).toString('base64');
    const inHeader = await askToken(client, grant, { authorization: `Basic ${basic}` });
    for (const { status, body, headers } of [inForm, inHeader]) {
      expect(status).toBe(200);
      expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 3600 });
      expect(headers.get('cache-control')).toBe('no-store');
      const caller = await access.authenticate(String(body['access_token']));
      expect(caller).toMatchObject({ kind: 'scim', principal: { connectionId: client.connectionId } });
    }
  });

  it('refuses in the words of RFC 6749, the same for what is wrong and for what is unknown', async () => {
    const [client, other] = [await server.connect(), await server.connect()];
    const { token, text } = await makeKey(client, { scopes: ['users:read'] });
    const right = { ...grant, client_id: token.id, client_secret: text };
    const cases: [number, string, Client, Record<string, string>][] = [
      [401, 'invalid_client', client, { ...right, client_secret: `${text}x` }],
      [401, 'invalid_client', client, { ...right, client_id: 'other' }],
      [401, 'invalid_client', client, grant],
      [401, 'invalid_client', other, right],
      [400, 'unsupported_grant_type', client, { ...right, grant_type: 'password' }],
      [400, 'invalid_request', client, { client_id: token.id, client_secret: text }],
      [400, 'invalid_scope', client, { ...right, scope: 'users:read groups:read' }],
    ];
    for (const [status, error, who, form] of cases) {
      const answer = await askToken(who, form);
      expect([answer.status, answer.body['error']], JSON.stringify(form)).toEqual([status, error]);
    }
    const refusals = await Promise.all([askToken(client, grant), askToken(other, right)]);
    expect(new Set(refusals.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(refusals[0]?.headers.get('www-authenticate')).toContain('Basic');
    const got = await fetch(`${client.base}/oauth/token`);
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST']);
    const json = await fetch(`${client.base}/oauth/token`, { method: 'POST', body: JSON.stringify(right) });
    expect(json.status).toBe(400);
    const large = await askToken(client, { ...right, client_secret: 'x'.repeat(20_000) });
    expect([large.status, large.body['error']]).toEqual([413, 'invalid_request']);
  });
});

describe('rule 12: the rate of the token endpoint', () => {
  it('is bounded per connection, whatever is tried', async () => {
    const client = await server.connect();
    const tries = await Promise.all(Array.from({ length: 60 }, () => askToken(client, grant)));
    const slow = tries.filter(({ status }) => status === 429);
    expect(slow.length).toBeGreaterThan(0);
    expect(slow[0]?.headers.get('retry-after')).toBe('1');
    expect(new Set(tries.map(({ status }) => status))).toEqual(new Set([401, 429]));
  });
});

describe('rule 12: scopes', () => {
  it('bound what a token may do, reading and writing, users and groups; discovery is for everybody', async () => {
    const client = await server.connect();
    const user = await createUser(client, 'u');
    const group = await createGroup(client, 'G', [user]);
    const statuses = async () => {
      const calls: [string, string, unknown?][] = [
        ['GET', `/Users/${user}`],
        ['GET', '/Users'],
        ['POST', '/Users/.search', {}],
        ['PUT', `/Users/${user}`, { userName: 'u' }],
        ['GET', `/Groups/${group}`],
        ['PUT', `/Groups/${group}`, { displayName: 'G' }],
        ['POST', '/.search', {}],
        ['POST', '/Bulk', { Operations: [] }],
        ['GET', '/Schemas'],
      ];
      const found: number[] = [];
      for (const [method, path, body] of calls) found.push((await client.send(method, path, { body })).status);
      return found;
    };
    server.setCaller(client, { scopes: ['users:read'] });
    expect(await statuses()).toEqual([200, 200, 200, 403, 403, 403, 403, 403, 200]);
    server.setCaller(client, { scopes: ['users:read', 'users:write', 'groups:read'] });
    expect(await statuses()).toEqual([200, 200, 200, 200, 200, 403, 200, 403, 200]);
    server.setCaller(client, { scopes: ['users:write', 'groups:write'] });
    expect(await statuses()).toEqual([403, 403, 403, 200, 403, 200, 403, 200, 200]);
    const answer = await client.send('GET', '/Groups');
    expect(answer.body).toMatchObject({ status: '403', detail: 'The token lacks the scope groups:read.' });
    expect(answer.headers.get('www-authenticate')).toContain('error="insufficient_scope", scope="groups:read"');
    server.setCaller(client, { scopes: [] });
    expect(await statuses()).toEqual(Array.from({ length: 9 }, () => 200));
  });
});

describe('rule 11: too fast', () => {
  it('is 429 with whole seconds to wait and the rate in headers, per token', async () => {
    const slow = await startScimServer(database.db, fakePushes, undefined, { requestsPerSecond: 25 });
    try {
      const [mine, other] = [await slow.connect(), await slow.connect()];
      const answers = await Promise.all(Array.from({ length: 80 }, () => mine.send('GET', '/Schemas')));
      const refused = answers.filter(({ status }) => status === 429);
      const taken = answers.filter(({ status }) => status === 200);
      expect(taken.length).toBeGreaterThanOrEqual(50);
      expect(refused.length).toBeGreaterThan(0);
      for (const { headers, body } of refused) {
        expect(headers.get('retry-after')).toBe('1');
        expect(headers.get('x-rate-limit-retry-after-seconds')).toBe('1');
        expect(headers.get('x-rate-limit-limit')).toBe('50');
        expect(headers.get('x-rate-limit-remaining')).toBe('0');
        expect(Number(headers.get('x-rate-limit-reset'))).toBeGreaterThan(Date.now() / 1_000 - 5);
        expect(body).toMatchObject({ schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'], status: '429' });
      }
      expect(taken[0]?.headers.get('x-rate-limit-limit')).toBe('50');
      expect((await other.send('GET', '/Schemas')).status).toBe(200);
    } finally {
      await slow.close();
    }
  });
});
