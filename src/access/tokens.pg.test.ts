import { beforeAll, describe, expect, it } from 'vitest';
import { addSubOrganization, principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { newId, type ConnectionId } from '../core/ids.ts';
import { systemClock } from '../platform/clock.ts';
import { createAccess, revokeTokensCreatedBy, type Access, type Authenticated } from './access.ts';
import { makeToken } from './token-format.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });
const pepper = Buffer.alloc(32, 7);

let access: Access;
let tenant: TestTenant;

beforeAll(async () => {
  access = createAccess({ db: database.db, pepper, clock: systemClock });
  tenant = await createTenant(database.db);
});

const admin = () => principalOf(tenant.tenantId, 'admin');
const apiToken = (name: string, more: { expiresAt?: string } = {}) =>
  access.createToken(admin(), { kind: 'api', organizationId: tenant.organizationId, role: 'admin', name, ...more });

/** Who the text speaks for; null also for a token of ours that may not be used. */
async function callerOf(text: string, address?: string): Promise<Authenticated | null> {
  const caller = await access.authenticate(text, address);
  return caller?.kind === 'refused' ? null : caller;
}
const reasonOf = async (text: string, address?: string) => {
  const caller = await access.authenticate(text, address);
  return caller?.kind === 'refused' ? caller.refused.reason : null;
};

async function addConnection(kind: 'scim' | 'ldap'): Promise<ConnectionId> {
  const id = newId<ConnectionId>();
  await database.db.tenant(tenant.tenantId, async ({ sql }) => {
    await sql`insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, created_by)
      values (${tenant.tenantId}, ${id}, ${tenant.organizationId}, ${kind}, ${id}, ${id}, '{}', '{}', 'system')`;
  });
  return id;
}

describe('a bearer token', () => {
  it('speaks for its organization and role, or for its SCIM connection', async () => {
    const { text, token } = await apiToken('one');
    expect(await callerOf(text)).toEqual({
      kind: 'api',
      principal: {
        actor: `token:${token.id}`,
        tenantId: tenant.tenantId,
        organizationId: tenant.organizationId,
        userId: null,
        role: 'admin',
      },
    });
    const connectionId = await addConnection('scim');
    const scim = await access.createToken(admin(), { kind: 'scim', connectionId, name: 'okta' });
    expect(await access.authenticate(scim.text)).toEqual({
      kind: 'scim',
      principal: {
        actor: `token:${scim.token.id}`,
        tokenId: scim.token.id,
        tenantId: tenant.tenantId,
        connectionId,
        scopes: [],
        settings: {},
      },
    });
    const wrong = access.createToken(admin(), { kind: 'scim', connectionId: await addConnection('ldap'), name: 'x' });
    await expect(wrong).rejects.toEqual(refused('conflict'));
  });

  it('is refused when unknown, when only its id is right, and when the pepper is another', async () => {
    const { text, token } = await apiToken('two');
    expect(await access.authenticate(makeToken('api').text)).toBeNull();
    const forged = await findTextWithId(token.id);
    expect(await access.authenticate(forged)).toBeNull();
    const other = createAccess({ db: database.db, pepper: Buffer.alloc(32, 8), clock: systemClock });
    expect(await other.authenticate(text)).toBeNull();
  });

  it('is not stored: the table holds neither the text nor its secret part', async () => {
    const { text } = await apiToken('three');
    const rows = await database.db.tenant(tenant.tenantId, ({ sql }) => sql`select t::text as row from tokens t`);
    expect(JSON.stringify(rows)).not.toContain(text.slice(-49, -6));
  });

  it('is refused from the moment it is revoked', async () => {
    const { text, token } = await apiToken('four');
    expect(await callerOf(text)).not.toBeNull();
    const revoked = await access.revokeToken(admin(), token.id);
    expect(revoked.revokedAt).not.toBeNull();
    expect(await callerOf(text)).toBeNull();
    await apiToken('four');
  });

  it('is refused once it has expired, and can not be made expired', async () => {
    const { text, token } = await apiToken('five', { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    expect(await callerOf(text)).not.toBeNull();
    await database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`update tokens set expires_at = now() - interval '1 second' where id = ${token.id}`;
    });
    expect(await callerOf(text)).toBeNull();
    await expect(apiToken('six', { expiresAt: '2020-01-01T00:00:00Z' })).rejects.toEqual(refused('invalid_input'));
  });

  it('goes with the user who made it', async () => {
    const userId = newId();
    const by = { ...admin(), actor: `user:${userId}` };
    const input = { kind: 'api', organizationId: tenant.organizationId, role: 'user', name: 'mine' } as const;
    const { text } = await access.createToken(by, input);
    await database.db.tenant(tenant.tenantId, (tx) => revokeTokensCreatedBy(tx, [userId]));
    expect(await callerOf(text)).toBeNull();
  });

  it('notes its last use at most once a minute', async () => {
    const { text, token } = await apiToken('seven');
    const lastUse = async () =>
      (await access.listTokens(admin(), { limit: 200 })).items.find((item) => item.id === token.id)?.lastUsedAt;
    expect(await lastUse()).toBeNull();
    await Promise.all(Array.from({ length: 5 }, () => access.authenticate(text)));
    const first = await lastUse();
    expect(first).not.toBeNull();
    await access.authenticate(text);
    expect(await lastUse()).toBe(first);
  });

  it('is rotated with an overlap in which both texts work', async () => {
    const { text, token } = await apiToken('eight');
    const next = await access.rotateToken(admin(), token.id, 10);
    expect(next.token.name).toBe('eight');
    expect(await callerOf(text)).not.toBeNull();
    expect(await callerOf(next.text)).not.toBeNull();
    const last = await access.rotateToken(admin(), next.token.id, 0);
    expect(await callerOf(next.text)).toBeNull();
    expect(await callerOf(last.text)).not.toBeNull();
  });
});

describe('rule 12: tokens of a SCIM connection', () => {
  const scim = async (more: object = {}, kind: 'scim' | 'key' = 'scim') => {
    const connectionId = await addConnection('scim');
    const made = await access.createToken(admin(), { kind, connectionId, name: connectionId, ...more });
    return { connectionId, ...made };
  };

  it('there may be several, each ends by itself', async () => {
    const { connectionId, text } = await scim();
    const second = await access.createToken(admin(), { kind: 'scim', connectionId, name: 'second' });
    await access.revokeToken(admin(), second.token.id);
    expect(await callerOf(second.text)).toBeNull();
    expect(await reasonOf(second.text)).toBe('The token was revoked.');
    expect(await callerOf(text)).not.toBeNull();
  });

  it('one with ranges is refused from anywhere else, also where an IPv4 peer comes over IPv6', async () => {
    const { text, token } = await scim({ allowedRanges: ['203.0.113.0/24', '2001:DB8::/32', '198.51.100.7'] });
    expect(token.allowedRanges).toEqual(['203.0.113.0/24', '2001:db8::/32', '198.51.100.7/32']);
    for (const address of ['203.0.113.9', '::ffff:203.0.113.9', '2001:db8::1', '198.51.100.7']) {
      expect(await callerOf(text, address), address).not.toBeNull();
    }
    for (const address of ['203.0.114.9', '::ffff:203.0.114.9', '2001:db9::1', '198.51.100.8', undefined, 'nonsense']) {
      expect(await callerOf(text, address), address).toBeNull();
    }
    expect(await reasonOf(text, '192.0.2.1')).toBe('The token may not be used from 192.0.2.1.');
  });

  it.each(['203.0.113.0/33', '203.0.113/24', '::/129', 'example.com', '', '1.2.3.4/', '1.2.3.4/8/8', 'fe80::1%eth0'])(
    '"%s" is no range',
    async (range) => {
      await expect(scim({ allowedRanges: [range] })).rejects.toEqual(refused('invalid_input'));
    },
  );

  it('keeps its scopes and ranges when it is rotated', async () => {
    const { token } = await scim({ allowedRanges: ['203.0.113.0/24'], scopes: ['users:read'] });
    const next = await access.rotateToken(admin(), token.id, 0);
    expect(next.token).toMatchObject({ allowedRanges: ['203.0.113.0/24'], scopes: ['users:read'] });
    const caller = await callerOf(next.text, '203.0.113.1');
    expect(caller).toMatchObject({ principal: { scopes: ['users:read'] } });
  });

  it('is told of 60, 30 and 7 days before it expires, once each, however many processes look', async () => {
    const days = (count: number) => new Date(Date.now() + count * 86_400_000).toISOString();
    const { token } = await scim({ expiresAt: days(61) });
    await scim({ expiresAt: days(20) });
    const move = (to: string) =>
      database.db.tenant(
        tenant.tenantId,
        ({ sql }) => sql`update tokens set expires_at = ${to} where id = ${token.id}`,
      );
    const told = async () => {
      await Promise.all(Array.from({ length: 4 }, () => access.remindOfExpiry()));
      const rows = await database.db.tenant(
        tenant.tenantId,
        ({ sql }) => sql<{ payload: { tokenId: string; withinDays: number; name: string } }[]>`
          select payload from outbox_messages where type = 'token.expiring' order by id`,
      );
      return rows.map(({ payload }) => [payload.tokenId, payload.withinDays]);
    };
    expect(await told()).toEqual([]);
    const expected: unknown[] = [];
    for (const [left, days_] of [
      [59, 60],
      [31, 60],
      [29, 30],
      [8, 30],
      [6, 7],
      [1, 7],
    ] as const) {
      await move(days(left));
      if (expected.length < [60, 30, 7].indexOf(days_) + 1) expected.push([token.id, days_]);
      expect(await told()).toEqual(expected);
    }
    await access.revokeToken(admin(), token.id);
  });
});

describe('rule 12: OAuth 2 client credentials', () => {
  const makeKey = async (more: object = {}) => {
    const connectionId = await addConnection('scim');
    const made = await access.createToken(admin(), { kind: 'key', connectionId, name: connectionId, ...more });
    const ask = (change: object = {}) =>
      access.issueAccessToken({
        connectionId,
        clientId: made.token.id,
        clientSecret: made.text,
        scopes: [],
        address: '203.0.113.1',
        ...change,
      });
    return { ...made, connectionId, ask };
  };

  it('buy a token of the connection that lives for an hour; the key itself opens nothing', async () => {
    const { ask, connectionId, text, token } = await makeKey();
    const answer = await ask();
    if (answer.kind !== 'issued') throw new Error(answer.kind);
    expect(answer).toMatchObject({ seconds: 3_600, scopes: [] });
    expect(await callerOf(answer.text)).toMatchObject({ kind: 'scim', principal: { connectionId } });
    expect(await access.authenticate(text)).toBeNull();
    const listed = (await access.listTokens(admin(), { limit: 200 })).items.filter(
      (item) => item.connectionId === connectionId,
    );
    expect(listed.map(({ id }) => id)).toEqual([token.id]);
    expect(listed[0]?.lastUsedAt).not.toBeNull();
    await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`update tokens set expires_at = now() where key_id = ${token.id}`,
    );
    expect(await callerOf(answer.text)).toBeNull();
  });

  it('are refused with another id, secret, connection or address, and once the key is revoked', async () => {
    const { ask, token, connectionId } = await makeKey({ allowedRanges: ['203.0.113.0/24'] });
    const other = await makeKey();
    const bearer = await access.createToken(admin(), { kind: 'scim', connectionId, name: 'bearer' });
    for (const change of [
      { clientId: other.token.id },
      { clientSecret: other.text },
      { clientId: other.token.id, clientSecret: other.text },
      { clientSecret: makeToken('key').text },
      { clientId: bearer.token.id, clientSecret: bearer.text },
      { connectionId: other.connectionId },
      { address: '192.0.2.1' },
    ]) {
      expect(await ask(change), JSON.stringify(change)).toMatchObject({ kind: 'invalid_client' });
    }
    const bought = await ask();
    if (bought.kind !== 'issued') throw new Error(bought.kind);
    expect(await callerOf(bought.text, '203.0.113.1')).not.toBeNull();
    expect(await callerOf(bought.text, '192.0.2.1')).toBeNull();
    await access.revokeToken(admin(), token.id);
    expect(await ask()).toMatchObject({ kind: 'invalid_client', refused: { reason: 'The token was revoked.' } });
    expect(await callerOf(bought.text, '203.0.113.1')).toBeNull();
  });

  it('give no more scopes than the key has', async () => {
    const { ask } = await makeKey({ scopes: ['users:read', 'users:write'] });
    expect(await ask({ scopes: ['users:read'] })).toMatchObject({ kind: 'issued', scopes: ['users:read'] });
    expect(await ask()).toMatchObject({ kind: 'issued', scopes: ['users:read', 'users:write'] });
    expect(await ask({ scopes: ['groups:read'] })).toEqual({ kind: 'invalid_scope' });
    expect(await ask({ scopes: ['everything'] })).toEqual({ kind: 'invalid_scope' });
  });

  it('that were bought are deleted a day after their end, and no others', async () => {
    const { ask, token } = await makeKey();
    await ask();
    await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`
        update tokens set expires_at = now() - interval '2 days'
        where key_id = ${token.id}`,
    );
    const kept = await ask();
    await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`update tokens set expires_at = now() - interval '9 days' where kind = 'api' and name = 'seven'`,
    );
    expect(await access.deleteExpiredAccessTokens()).toBeGreaterThan(0);
    expect(await access.deleteExpiredAccessTokens()).toBe(0);
    if (kept.kind !== 'issued') throw new Error(kept.kind);
    expect(await callerOf(kept.text)).not.toBeNull();
    const [seven] = await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`select 1 from tokens where name = 'seven'`,
    );
    expect(seven).toBeDefined();
  });
});

describe('who may handle tokens', () => {
  it('nobody makes, rotates or revokes one above their own level', async () => {
    const low = principalOf(tenant.tenantId, 'view_only_admin');
    const { token } = await apiToken('nine');
    const made = access.createToken(low, {
      kind: 'api',
      organizationId: tenant.organizationId,
      role: 'admin',
      name: 'ten',
    });
    await expect(made).rejects.toEqual(refused('forbidden'));
    await expect(access.rotateToken(low, token.id, 0)).rejects.toEqual(refused('forbidden'));
    await expect(access.revokeToken(low, token.id)).rejects.toEqual(refused('forbidden'));
  });

  it('a token of the parent or of another tenant does not exist', async () => {
    const { token } = await apiToken('eleven');
    const sub = await addSubOrganization(database.db, tenant.tenantId, tenant.organizationId);
    const other = await createTenant(database.db);
    for (const principal of [
      principalOf(tenant.tenantId, 'admin', { organizationId: sub }),
      principalOf(other.tenantId, 'admin'),
    ]) {
      expect((await access.listTokens(principal, { limit: 200 })).items).toEqual([]);
      await expect(access.revokeToken(principal, token.id)).rejects.toEqual(refused('not_found'));
    }
  });
});

/** A well-formed token with this id and another secret: what a guesser who saw the list would send. */
async function findTextWithId(id: string): Promise<string> {
  const { crc32 } = await import('node:zlib');
  const body = `rcl_api_${id}_${'A'.repeat(43)}`;
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let rest = crc32(body);
  let sum = '';
  for (let at = 0; at < 6; at += 1) {
    sum = alphabet.charAt(rest % 62) + sum;
    rest = Math.floor(rest / 62);
  }
  return body + sum;
}
