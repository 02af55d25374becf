/** Whatever a client sends ends in an answer of ours, never in a fault, on the real reconciliation. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { scale } from '../setup/full.ts';
import { startPortalServer } from './portal-server.ts';
import type { Client, ScimServer } from './scim-server.ts';
import { createGroup, createUser } from './steps.ts';

vi.setConfig({ testTimeout: scale(60_000, 600_000) });

const pristine = Object.getOwnPropertyNames(Object.prototype).toSorted();
afterEach(() => {
  expect(Object.getOwnPropertyNames(Object.prototype).toSorted()).toEqual(pristine);
});

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
      { numRuns: scale(200, 3_000) },
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
      { numRuns: scale(200, 3_000) },
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1 }), async (id) => {
        const answer = await client.send('GET', `/Users/x${encodeURIComponent(id.toWellFormed())}`);
        expect([404], answer.text).toContain(answer.status);
      }),
      { numRuns: scale(60, 1_000) },
    );
  });

  it('in headers is taken or refused, and never costs more than the request', async () => {
    const value = fc.oneof(
      fc.string({ maxLength: 40 }),
      fc.constantFrom('W/"1"', '*', '"', 'W/', '1, 2, "3"', ','.repeat(4_000), 'application/json;charset=utf-8', '0'),
    );
    const names = ['if-match', 'if-none-match', 'accept', 'content-type', 'x-request-id', 'user-agent', 'prefer'];
    const user = await createUser(client, 'headed');
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), value), async (headers) => {
        const plain = Object.fromEntries(
          Object.entries(headers).map(([name, text]) => [name, text.replace(/[^\x20-\x7e]/g, '')]),
        );
        const answer = await client.send('PATCH', `/Users/${user}`, {
          body: { Operations: [{ op: 'add', path: 'title', value: 't' }] },
          headers: plain,
        });
        expect([200, 400, 412, 415], answer.text).toContain(answer.status);
        const read = await client.send('GET', `/Users/${user}`, { headers: plain });
        expect([200, 304], read.text).toContain(read.status);
      }),
      { numRuns: scale(60, 1_000) },
    );
  });

  it('of texts too long for an index is refused or stored, never a fault', async () => {
    // random: what repeats itself is compressed and would fit after all
    const long = Array.from({ length: 600 }, () => Math.random().toString(36).slice(2)).join('');
    for (const body of [
      { userName: long },
      { userName: 'a1', externalId: long },
      { userName: 'a2', displayName: long },
      { userName: 'a3', emails: [{ value: long }, { value: `x${long}` }] },
      { userName: 'a4', [enterpriseUrn]: { employeeNumber: long } },
    ]) {
      const answer = await client.send('POST', '/Users', { body });
      expect([201, 400], answer.text).toContain(answer.status);
    }
    const found = await client.send('GET', '/Users', {
      query: { filter: `emails.value eq "${long.slice(0, 1_900)}"` },
    });
    expect(found.status).toBe(200);
  });
});
