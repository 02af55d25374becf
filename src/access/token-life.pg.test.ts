/** How long tokens live, and what is told of their end. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { principalOf } from '../../test/setup/people.ts';
import { newId, type ConnectionId } from '../core/ids.ts';
import { systemClock } from '../platform/clock.ts';
import { createAccess, type Access } from './access.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });

let access: Access;
let tenant: TestTenant;

beforeAll(async () => {
  access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  tenant = await createTenant(database.db);
});

const admin = () => principalOf(tenant.tenantId, 'admin');
const days = (count: number) => new Date(Date.now() + count * 86_400_000).toISOString();

async function addConnection(): Promise<ConnectionId> {
  const id = newId<ConnectionId>();
  await database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql`
      insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, created_by)
      values (${tenant.tenantId}, ${id}, ${tenant.organizationId}, 'scim', ${id}, ${id}, '{}', '{}', 'system')`,
  );
  return id;
}

async function scim(expiresAt: string) {
  const connectionId = await addConnection();
  return access.createToken(admin(), { kind: 'scim', connectionId, name: connectionId, expiresAt });
}

describe('rule 12: the life of a token', () => {
  it('that is rotated lives as long as it was made for, from now, or as long as it is told', async () => {
    const { token } = await scim(days(365));
    await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`
        update tokens set created_at = now() - interval '360 days', expires_at = now() + interval '5 days'
        where id = ${token.id}`,
    );
    const next = await access.rotateToken(admin(), token.id, 60);
    expect(Date.parse(next.token.expiresAt ?? '') - Date.now()).toBeGreaterThan(364 * 86_400_000);
    const chosen = await access.rotateToken(admin(), next.token.id, 60, days(30));
    expect(Date.parse(chosen.token.expiresAt ?? '') - Date.now()).toBeLessThan(31 * 86_400_000);
    await expect(access.rotateToken(admin(), chosen.token.id, 60, '2020-01-01T00:00:00Z')).rejects.toEqual(
      refused('invalid_input'),
    );
    expect((await access.rotateToken(admin(), chosen.token.id, 60, null)).token.expiresAt).toBeNull();
  });

  it('ends at a point in time that everybody reads alike, and that lies ahead', async () => {
    for (const text of ['tomorrow', '12/10/2099', '2099', '', '2099-13-01', '2020-01-01']) {
      await expect(scim(text), text).rejects.toEqual(refused('invalid_input'));
    }
    expect((await scim('2099-01-01')).token.expiresAt).toBe('2099-01-01T00:00:00.000Z');
    expect((await scim('2099-01-01T02:00:00+02:00')).token.expiresAt).toBe('2099-01-01T00:00:00.000Z');
  });
});

describe('rule 12: until when somebody can push', () => {
  const standingOf = async (connectionId: ConnectionId) => {
    const found = (await access.tokenStandings(tenant.tenantId)).find((one) => one.connectionId === connectionId);
    return found === undefined ? undefined : [found.name, found.expiresAt?.slice(0, 10) ?? null, found.works];
  };
  const expire = (tokenId: string) =>
    database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql`update tokens set expires_at = now() - interval '1 day' where id = ${tokenId}`,
    );

  it('is told by the token that ends next, by the last one where none works, and of a connection without any', async () => {
    const connectionId = await addConnection();
    const make = (name: string, expiresAt: string | null) =>
      access.createToken(admin(), { kind: 'scim', connectionId, name, expiresAt });
    expect(await standingOf(connectionId)).toEqual([null, null, false]);
    const forever = await make('forever', null);
    expect(await standingOf(connectionId)).toEqual(['forever', null, true]);
    const late = await make('late', days(90));
    const soon = await make('soon', days(9));
    expect(await standingOf(connectionId)).toEqual(['soon', days(9).slice(0, 10), true]);
    // what was rotated out ends on purpose
    const renewed = await access.rotateToken(admin(), soon.token.id, 60, days(200));
    expect(await standingOf(connectionId)).toEqual(['late', days(90).slice(0, 10), true]);
    await expire(late.token.id);
    expect(await standingOf(connectionId)).toEqual(['soon', days(200).slice(0, 10), true]);
    for (const { token } of [forever, renewed]) await access.revokeToken(admin(), token.id);
    await expire(soon.token.id);
    expect(await standingOf(connectionId)).toEqual(['late', days(-1).slice(0, 10), false]);
  });
});
