/** The short way of a push, alone: where the world is not as it was decided, it gives up and says so. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { newId, type ConnectionId, type RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { openConnection } from '../connections/connections.ts';
import { decisionContext } from '../plan/decision-context.ts';
import { applyAtOnce } from './apply-at-once.ts';
import { decideNow } from './decide-now.ts';
import { StartOver } from './whole-way.ts';

const database = useDatabase();
const requestId = '00000000-0000-7000-8000-000000000001';

type Provider = Engine & { readonly scimId: ConnectionId; readonly username: string };

/** A connection that is pushed to, and what it says of ann: first in effect, then only in the mirror. */
async function createProvider(said: { readonly isThere: boolean }): Promise<Provider> {
  const engine = await createEngine(database.db);
  const { reconciliation, tenantId, tenant } = engine;
  const { id: scimId } = await reconciliation.createConnection('test', tenantId, {
    name: 'Okta',
    kind: 'scim',
    organization: tenant.slug,
    roles: [{ everyone: 'user' }],
  });
  const userName = `ann@${tenant.builtInDomain}`;
  const say = (displayName: string, expect: 'new' | { readonly version: number }) =>
    database.db.tenant(tenantId, (tx) =>
      reconciliation.pushes.writeUser(
        tx,
        { tenantId, connectionId: scimId, requestId },
        {
          anchor: 'ann',
          userName,
          externalId: null,
          displayName,
          isActive: true,
          attributes: { userName, displayName },
          resource: {},
        },
        expect,
      ),
    );
  const first = said.isThere ? await say('Ann', 'new') : null;
  await reconciliation.pauseConnection('test', tenantId, scimId, 'for a test');
  await say('Ann B', first === null ? 'new' : { version: first.version });
  return { ...engine, scimId, username: userName };
}

/** Decides, lets `meanwhile` happen in a transaction of its own, and goes the short way. */
function pushAfter(provider: Provider, meanwhile: (tx: TenantTx) => Promise<unknown>): Promise<boolean> {
  const { tenantId, scimId: connectionId } = provider;
  return database.db.tenant(tenantId, async (tx) => {
    const connection = await openConnection(tx, new Map(), connectionId);
    const context = await decisionContext(tx, connection, { connectors: new Map() });
    const { decided } = await decideNow(tx, connection, context, ['ann']);
    expect(decided).toHaveLength(1);
    await database.db.tenant(tenantId, meanwhile);
    const runId = newId<RunId>();
    const scope = { runId, connectionId, requestIdOf: () => requestId, areNew: false };
    return applyAtOnce(tx, scope, decided, ['ann'], async () => {
      await tx.sql`
        insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by)
        values (${tenantId}, ${runId}, ${connectionId}, 1, 'push', 'auto', 'succeeded', 'push')`;
    });
  });
}

const rowsOfPushes = (provider: Provider) =>
  database.db.tenant(
    provider.tenantId,
    (tx) => tx.sql`select op from changes where tenant_id = ${tx.tenantId} and after ->> 'displayName' = 'Ann B'`,
  );
const names = async (provider: Provider) => (await provider.users()).map((user) => user.name);

describe('a push on its short way', () => {
  test('is done at once where all is as it was decided', async () => {
    const provider = await createProvider({ isThere: true });
    expect(await pushAfter(provider, async () => undefined)).toBe(true);
    expect(await names(provider)).toEqual(['Ann B']);
  });

  test('starts over where the user was changed meanwhile, and nothing is saved', async () => {
    const provider = await createProvider({ isThere: true });
    const pushing = pushAfter(
      provider,
      (tx) => tx.sql`update users set version = version + 1, last_run_id = null where tenant_id = ${tx.tenantId}`,
    );
    await expect(pushing).rejects.toThrow(StartOver);
    expect(await names(provider)).toEqual(['Ann']);
    expect(await rowsOfPushes(provider)).toEqual([]);
  });

  test('starts over where the user was excluded from the role meanwhile, and nothing is saved', async () => {
    const provider = await createProvider({ isThere: true });
    await database.db.tenant(provider.tenantId, async ({ sql, tenantId }) => {
      await sql`delete from memberships where tenant_id = ${tenantId}`;
      await sql`delete from grants where tenant_id = ${tenantId}`;
    });
    const pushing = pushAfter(
      provider,
      ({ sql, tenantId }) => sql`
        insert into exclusions (tenant_id, id, organization_id, user_id, reason, created_by)
        select tenant_id, ${newId()}::uuid, tenant_id, id, 'left the team', 'test' from users where tenant_id = ${tenantId}`,
    );
    await expect(pushing).rejects.toThrow(StartOver);
    expect(await names(provider)).toEqual(['Ann']);
    expect(await rowsOfPushes(provider)).toEqual([]);
  });

  test('starts over where the username was taken meanwhile, and nothing is saved', async () => {
    const provider = await createProvider({ isThere: false });
    const { tenantId, username } = provider;
    const pushing = pushAfter(
      provider,
      (tx) => tx.sql`
        insert into users (tenant_id, id, username, username_key, display_name)
        values (${tenantId}, ${newId()}, ${username}, ${username}, 'Other')`,
    );
    await expect(pushing).rejects.toThrow(StartOver);
    expect(await names(provider)).toEqual(['Other']);
    expect(await rowsOfPushes(provider)).toEqual([]);
  });
});
