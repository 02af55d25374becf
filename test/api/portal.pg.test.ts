/** The portal's API as a script meets it: real tokens, real HTTP, real Postgres. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccess, operatorPrincipal, type Access } from '../../src/access/access.ts';
import { accessRoutes } from '../../src/access/routes.ts';
import { bearerOf } from '../../src/app/api.ts';
import { createAudit } from '../../src/audit/audit.ts';
import { auditRoutes } from '../../src/audit/routes.ts';
import { newId, type OrganizationId, type TenantId, type UserId } from '../../src/core/ids.ts';
import { createOrganizations, type Organization } from '../../src/organizations/organizations.ts';
import { organizationsRoutes } from '../../src/organizations/routes.ts';
import { createOutbox } from '../../src/outbox/outbox.ts';
import { outboxRoutes } from '../../src/outbox/routes.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createApp, listen, type Listening } from '../../src/platform/http-server.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { mountRoutes } from '../../src/platform/mount-routes.ts';
import { describeRoutes } from '../../src/platform/openapi.ts';
import type { Route } from '../../src/platform/route.ts';
import { SecretBox } from '../../src/platform/secrets.ts';
import { usersRoutes } from '../../src/users/routes.ts';
import { createUsers } from '../../src/users/users.ts';
import { useDatabase } from '../setup/database.ts';
import { addUser, silentLogger } from '../setup/people.ts';

const database = useDatabase();

let server: Listening;
let routes: Route[];
let access: Access;
let ours: Organization;
let theirs: Organization;
let token: string;
let theirUser: UserId;

const tokenOf = async (
  tenantId: TenantId,
  organizationId: OrganizationId,
  role: 'admin' | 'view_only_admin' | 'user',
) => {
  const operator = operatorPrincipal('test', tenantId, organizationId);
  const made = await access.createToken(operator, { kind: 'api', organizationId, role, name: newId() });
  return made.text;
};

beforeAll(async () => {
  const { db } = database;
  const secretBox = new SecretBox(Buffer.alloc(32, 9));
  access = createAccess({ db, pepper: secretBox.pepper(), clock: systemClock });
  const organizations = createOrganizations({ db, baseDomain: 'rollcall.example' });
  const send = async () => ({ status: 204 });
  const outbox = createOutbox({ db, secretBox, clock: systemClock, logger: silentLogger, send });
  routes = [
    ...accessRoutes(access),
    ...organizationsRoutes(organizations),
    ...usersRoutes(createUsers({ db })),
    ...auditRoutes(createAudit({ db })),
    ...outboxRoutes(outbox),
  ];
  const router = mountRoutes({
    routes,
    authenticate: bearerOf(access),
    bodyLimitBytes: 100_000,
    requestTimeoutMs: 10_000,
  });
  const app = createApp({
    config: { maxInFlight: 50, trustProxy: 0 },
    logger: silentLogger,
    metrics: createMetrics('api').http,
    mount: (express) => {
      express.use('/api/v1', router);
    },
  });
  server = await listen(app, {
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    headersTimeoutMs: 5000,
    requestTimeoutMs: 10_000,
  });
  ours = await organizations.createRoot('operator:test', { name: 'Ours' });
  theirs = await organizations.createRoot('operator:test', { name: 'Theirs' });
  token = await tokenOf(ours.tenantId, ours.id, 'admin');
  theirUser = await addUser(db, theirs.tenantId);
});

afterAll(async () => {
  await server.close(0);
});

async function call(method: string, path: string, options: { body?: unknown; token?: string | null } = {}) {
  const bearer = options.token === undefined ? token : options.token;
  const response = await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, {
    method: method.toUpperCase(),
    headers: {
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** A body that each route accepts, so that only the id decides. */
const bodies: Record<string, unknown> = {
  'post /organizations/:organizationId/grants': { userId: newId(), role: 'user' },
  'post /organizations/:organizationId/exclusions': { userId: newId(), role: null, reason: 'x' },
  'post /organizations/:organizationId/super-admin/transfer': { userId: newId() },
  'post /organizations/:organizationId/super-admin/assign': { userId: newId() },
  'post /organizations/:organizationId/sub-organizations': { name: 'X' },
  'post /tokens/:tokenId/rotate': {},
  'patch /organizations/:organizationId': { name: 'X' },
  'patch /users/:userId': { version: 1, email: null },
  'put /users/:userId/quota-home': { automatic: true },
  'post /connections/:connectionId/provision': { object: 'x' },
  'post /cases/:caseId/resolve': { action: 'claim' },
  'patch /webhooks/:webhookId': { isEnabled: false },
};

describe('an id that is not ours', () => {
  it('answers 404 on every route, be it nonsense, unknown or of another tenant', async () => {
    const addressed = routes.filter((route) => route.path.includes(':'));
    expect(addressed.length).toBeGreaterThan(15);
    for (const route of addressed) {
      const name = `${route.method} ${route.path}`;
      const body = bodies[name];
      for (const id of ['nonsense', newId(), theirs.id, theirUser]) {
        const path = route.path.replace(':role', 'user').replaceAll(/:\w+/g, id);
        const answer = await call(route.method, path, body === undefined ? {} : { body });
        expect([name, id, answer.status]).toEqual([name, id, 404]);
        expect(answer.body).toMatchObject({ code: 'not_found' });
      }
    }
  });
});

describe('a credential', () => {
  it('is asked for everywhere, and a revoked one is none', async () => {
    const short = await tokenOf(ours.tenantId, ours.id, 'admin');
    const me = await call('get', '/me', { token: short });
    expect(me.body).toMatchObject({ organizationId: ours.id, role: 'admin', permissions: { users: 'full' } });
    const id = short.split('_')[2] ?? '';
    expect((await call('delete', `/tokens/${id}`)).status).toBe(200);
    for (const bearer of [null, short, 'x', `${token}x`]) {
      for (const route of routes) {
        const path = route.path.replaceAll(/:\w+/g, ours.id);
        expect((await call(route.method, path, { token: bearer })).status).toBe(401);
      }
    }
  });

  it('of a viewer changes nothing, and of a plain user sees nothing but itself', async () => {
    const viewer = await tokenOf(ours.tenantId, ours.id, 'view_only_admin');
    const plain = await tokenOf(ours.tenantId, ours.id, 'user');
    for (const route of routes) {
      const path = route.path.replaceAll(/:\w+/g, ours.id);
      if (route.method !== 'get') expect((await call(route.method, path, { token: viewer })).status).toBe(403);
      if (route.path !== '/me') expect((await call(route.method, path, { token: plain })).status).toBe(403);
    }
    expect((await call('get', '/me', { token: plain })).status).toBe(200);
    expect((await call('get', '/users', { token: viewer })).status).toBe(200);
  });
});

describe('a day of an admin', () => {
  it('creates, edits, grants, suspends, and finds all of it in the event history', async () => {
    const made = await call('post', '/users', { body: { displayName: 'Ada', email: 'ada@x.example' } });
    expect(made.status).toBe(201);
    const id = String(made.body['id']);
    const edited = await call('patch', `/users/${id}`, { body: { version: 1, department: 'R&D' } });
    expect(edited.body).toMatchObject({ department: 'R&D', version: 2, provenance: { department: 'manual' } });
    expect((await call('patch', `/users/${id}`, { body: { version: 1, department: 'X' } })).status).toBe(412);
    const grant = await call('post', `/organizations/${ours.id}/grants`, {
      body: { email: 'ADA@x.example', role: 'billing_admin' },
    });
    expect(grant).toMatchObject({ status: 201, body: { userId: id, isNew: true } });
    expect((await call('post', `/users/${id}/suspend`)).body).toMatchObject({ status: 'suspended' });
    const detail = await call('get', `/users/${id}`);
    expect(detail.body['memberships']).toEqual([{ organizationId: ours.id, roles: ['billing_admin', 'user'] }]);
    expect((await call('delete', `/organizations/${ours.id}/members/${id}`)).status).toBe(200);
    const history = await call('get', `/audit?target=user:${id}&limit=50`);
    const events = history.body['items'] as { action: string; actor: string }[];
    expect(events.map((event) => event.action).toReversed()).toEqual([
      'user.created',
      'grant.added',
      'user.updated',
      'grant.added',
      'user.suspended',
      'grant.removed',
      'grant.removed',
    ]);
    expect(new Set(events.map((event) => event.actor))).toEqual(new Set([`token:${token.split('_')[2]}`]));
  });

  it('sends only names that exist: a field too many is refused, wherever it stands', async () => {
    for (const [method, path, body] of [
      ['post', '/users', { displayName: 'X', tenantId: theirs.tenantId }],
      ['post', '/users', { displayName: 'X', status: 'removed' }],
      ['post', '/webhooks', { url: 'https://x.example/', secret: 'mine' }],
      ['post', '/tokens', { kind: 'api', role: 'super_admin', name: 'x' }],
    ] as const) {
      expect((await call(method, path, { body })).status).toBe(400);
    }
    expect((await call('get', '/users?limit=0')).status).toBe(400);
    expect((await call('get', '/users?cursor=x')).status).toBe(400);
  });
});

describe('the document', () => {
  it('can be made of every route', () => {
    const document = describeRoutes(routes, { version: '0.0.0', basePath: '/api/v1' });
    expect(JSON.stringify(document)).toContain('/organizations/{organizationId}/super-admin/claim');
  });
});
