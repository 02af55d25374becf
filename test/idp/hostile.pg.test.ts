/** Whatever a client sends ends in an answer of ours, never in a fault, on the real reconciliation. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createGroup, createUser } from './steps.ts';

const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const database = useDatabase();
let server: ScimServer;
let client: Client;
beforeAll(async () => {
  server = await startPortalServer(database.db);
  client = await server.connect();
});
afterAll(() => server.close());

const names = [
  'userName',
  'displayName',
  'externalId',
  'active',
  'name',
  'emails',
  'roles',
  'members',
  'manager',
  'groups',
  'id',
];
const odd = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\u0000', '\ud800', "'; drop table users; --", '%s', '{"a":1}', 'x'.repeat(3_000), '\\u0000', ' '),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 3 },
    odd,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.constantFrom('value', 'type', 'primary', 'display', '$ref', 'givenName', 'op', '__proto__'),
      tie('value'),
    ),
  ),
}));
const resource = fc.dictionary(fc.constantFrom(...names, enterpriseUrn, 'schemas', 'meta', 'constructor'), value, {
  maxKeys: 6,
});
const path = fc.oneof(
  fc.constantFrom(
    ...names,
    `${enterpriseUrn}:department`,
    'emails[type eq "work"].value',
    'members[value eq "x"]',
    'name.givenName',
  ),
  fc.string(),
);
const operation = fc.record({ op: fc.constantFrom('add', 'remove', 'replace'), path, value }, { requiredKeys: ['op'] });
const patch = fc.record({ Operations: fc.array(operation, { minLength: 1, maxLength: 4 }) });

const allowed = [200, 201, 204, 400, 409, 413];

describe('hostile input', () => {
  it('in resources and patches is taken or refused', async () => {
    const user = await createUser(client, 'victim');
    const group = await createGroup(client, 'Victims', [user]);
    const requests = fc.oneof(
      fc.record({ method: fc.constant('POST'), path: fc.constantFrom('/Users', '/Groups'), body: resource }),
      fc.record({
        method: fc.constant('PUT'),
        path: fc.constantFrom(`/Users/${user}`, `/Groups/${group}`),
        body: resource,
      }),
      fc.record({
        method: fc.constant('PATCH'),
        path: fc.constantFrom(`/Users/${user}`, `/Groups/${group}`),
        body: patch,
      }),
      fc.record({
        method: fc.constant('POST'),
        path: fc.constantFrom('/Bulk', '/.search', '/Users/.search'),
        body: patch,
      }),
    );
    await fc.assert(
      fc.asyncProperty(requests, async (request) => {
        const answer = await client.send(request.method, request.path, { body: request.body });
        expect(allowed, answer.text).toContain(answer.status);
      }),
      { numRuns: 300 },
    );
    expect((await client.send('GET', `/Users/${user}`)).status).toBe(200);
    expect((await client.send('GET', '/Groups')).status).toBe(200);
  });

  it('in parameters and paths is taken or refused', async () => {
    const parameter = fc.constantFrom(
      'filter',
      'sortBy',
      'sortOrder',
      'startIndex',
      'count',
      'attributes',
      'excludedAttributes',
      'cursor',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        ...names,
        '0',
        '-1',
        '1e9',
        '999999999',
        'NaN',
        'descending',
        'userName eq "\u0000"',
        'userName eq a\u0000b',
        'emails[',
        '\ud800',
      ),
      fc
        .tuple(fc.constantFrom(...names), fc.constantFrom('eq', 'co', 'gt', 'pr'), fc.string())
        .map((parts) => parts.join(' ')),
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(parameter, text), fc.constantFrom('/Users', '/Groups'), async (query, list) => {
        const answer = await client.send('GET', list, { query });
        expect([200, 400], answer.text).toContain(answer.status);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1 }), async (id) => {
        const answer = await client.send('GET', `/Users/x${encodeURIComponent(id.toWellFormed())}`);
        expect([404], answer.text).toContain(answer.status);
      }),
      { numRuns: 100 },
    );
  });
});
