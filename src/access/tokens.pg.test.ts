import { beforeAll, describe, expect, it } from 'vitest';
import { addSubOrganization, principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { newId, type ConnectionId } from '../core/ids.ts';
import { systemClock } from '../platform/clock.ts';
import { createAccess, revokeTokensCreatedBy, type Access } from './access.ts';
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
    expect(await access.authenticate(text)).toEqual({
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
    expect(await access.authenticate(text)).not.toBeNull();
    const revoked = await access.revokeToken(admin(), token.id);
    expect(revoked.revokedAt).not.toBeNull();
    expect(await access.authenticate(text)).toBeNull();
    await apiToken('four');
  });

  it('is refused once it has expired, and can not be made expired', async () => {
    const { text, token } = await apiToken('five', { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    expect(await access.authenticate(text)).not.toBeNull();
    await database.db.tenant(tenant.tenantId, async ({ sql }) => {
      await sql`update tokens set expires_at = now() - interval '1 second' where id = ${token.id}`;
    });
    expect(await access.authenticate(text)).toBeNull();
    await expect(apiToken('six', { expiresAt: '2020-01-01T00:00:00Z' })).rejects.toEqual(refused('invalid_input'));
  });

  it('goes with the user who made it', async () => {
    const userId = newId();
    const by = { ...admin(), actor: `user:${userId}` };
    const input = { kind: 'api', organizationId: tenant.organizationId, role: 'user', name: 'mine' } as const;
    const { text } = await access.createToken(by, input);
    await database.db.tenant(tenant.tenantId, (tx) => revokeTokensCreatedBy(tx, [userId]));
    expect(await access.authenticate(text)).toBeNull();
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
    expect(await access.authenticate(text)).not.toBeNull();
    expect(await access.authenticate(next.text)).not.toBeNull();
    const last = await access.rotateToken(admin(), next.token.id, 0);
    expect(await access.authenticate(next.text)).toBeNull();
    expect(await access.authenticate(last.text)).not.toBeNull();
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
