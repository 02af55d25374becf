import { describe, expect, it } from 'vitest';
import { createEngine } from '../../test/fakes/engine.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { silentLogger } from '../../test/setup/people.ts';
import { createAccess, operatorPrincipal } from '../access/access.ts';
import { RollcallError } from '../core/errors.ts';
import { newId, type ConnectionId } from '../core/ids.ts';
import { systemClock } from '../platform/clock.ts';
import { createMetrics, renderMetrics, snapshotMetrics } from '../platform/metrics.ts';
import { addConnectionMetrics } from './connection-metrics.ts';

const database = useDatabase();

describe('the metrics of connections', () => {
  it('say per connection how old the last full read and the oldest unapplied change are, and who is in quarantine', async () => {
    const metrics = createMetrics('api');
    addConnectionMetrics(metrics, database.db, silentLogger);
    const engine = await createEngine(database.db);
    const { tenantId, connectionId } = engine;
    const valueOf = async (name: string): Promise<number> => {
      const page = await renderMetrics([await snapshotMetrics(metrics)]);
      const line = page.split('\n').find((text) => text.startsWith(`${name}{`) && text.includes(connectionId));
      return Number(line?.split(' ').at(-1));
    };
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const waiting = await engine.run();
    await database.db.tenant(tenantId, async (tx) => {
      await tx.sql`update runs set created_at = now() - interval '2 hours' where tenant_id = ${tenantId} and id = ${waiting.id}`;
      await tx.sql`
        update connections set last_full_at = now() - interval '1 hour' where tenant_id = ${tenantId} and id = ${connectionId}`;
    });
    expect(await valueOf('rollcall_connection_last_full_read_age_seconds')).toBeCloseTo(3600, -2);
    expect(await valueOf('rollcall_connection_oldest_unapplied_change_age_seconds')).toBeCloseTo(7200, -2);
    expect(await valueOf('rollcall_connection_quarantined')).toBe(0);
    await engine.approve(waiting);
    expect(await valueOf('rollcall_connection_oldest_unapplied_change_age_seconds')).toBe(0);
    engine.directory.beforeEvent = () => Promise.reject(new RollcallError('directory_auth', 'Wrong password.'));
    await engine.run();
    expect(await valueOf('rollcall_connection_quarantined')).toBe(1);
    expect(await valueOf('rollcall_connection_failed_runs')).toBe(1);
    // what is not read any more grows older and stays to be seen
    expect(await valueOf('rollcall_connection_last_full_read_age_seconds')).toBeGreaterThanOrEqual(0);
  });

  it('say per SCIM connection how long its tokens last, and since when none does', async () => {
    const metrics = createMetrics('api');
    addConnectionMetrics(metrics, database.db, silentLogger);
    const { tenantId, organizationId } = await createTenant(database.db);
    const connectionId = newId<ConnectionId>();
    await database.db.tenant(
      tenantId,
      ({ sql }) => sql`
        insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, created_by)
        values (${tenantId}, ${connectionId}, ${organizationId}, 'scim', 'Okta', 'okta', '{}', '{}', 'system')`,
    );
    const access = createAccess({ db: database.db, pepper: Buffer.alloc(32), clock: systemClock });
    const admin = operatorPrincipal('test', tenantId, organizationId);
    const expire = (tokenId: string, at: string) =>
      database.db.tenant(tenantId, ({ sql }) => sql`update tokens set expires_at = ${at} where id = ${tokenId}`);
    const inDays = (count: number) => new Date(Date.now() + count * 86_400_000).toISOString();
    const daysLeft = async (): Promise<number | null> => {
      const page = await renderMetrics([await snapshotMetrics(metrics)]);
      const name = 'rollcall_connection_token_expires_in_seconds';
      const line = page.split('\n').find((text) => text.startsWith(`${name}{`) && text.includes(connectionId));
      return line === undefined ? null : Math.round(Number(line.split(' ').at(-1)) / 86_400);
    };
    expect(await daysLeft()).toBeNull();
    const make = (name: string) => access.createToken(admin, { kind: 'scim', connectionId, name });
    const [one, two] = [await make('one'), await make('two')];
    expect(await daysLeft()).toBeNull();
    await expire(one.token.id, inDays(20));
    expect(await daysLeft()).toBe(20);
    await expire(one.token.id, inDays(-2));
    expect(await daysLeft()).toBeNull();
    await expire(two.token.id, inDays(-1));
    expect(await daysLeft()).toBe(-1);
  });
});
