/** Undo of what an identity provider pushed: the day's run, one request of it, or one user in it. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { newId, type ConnectionId, type RunId, type UserId } from '../../core/ids.ts';
import type { RunSummary } from '../reconciliation.ts';

const database = useDatabase();

type Pushed = { readonly name: string; readonly isActive?: boolean };
type Provider = Engine & {
  readonly scimId: ConnectionId;
  /** One request; answers its id. */
  push(people: Readonly<Record<string, Pushed>>): Promise<string>;
  standing(): Promise<Record<string, [string | null, string]>>;
  pushRun(): Promise<RunId>;
};

async function createProvider(): Promise<Provider> {
  const engine = await createEngine(database.db);
  const { reconciliation, tenantId, tenant } = engine;
  const { id: scimId } = await reconciliation.createConnection('test', tenantId, {
    name: 'Okta',
    kind: 'scim',
    organization: tenant.slug,
    roles: [{ everyone: 'user' }],
  });
  const versions = new Map<string, number>();
  const push: Provider['push'] = async (people) => {
    const requestId = newId();
    await database.db.tenant(tenantId, async (tx) => {
      for (const [anchor, { name, isActive = true }] of Object.entries(people)) {
        const version = versions.get(anchor);
        const user = {
          anchor,
          userName: anchor,
          externalId: null,
          displayName: name,
          isActive,
          attributes: { userName: anchor, displayName: name },
          resource: {},
        };
        const context = { tenantId, connectionId: scimId, requestId };
        const expected = version === undefined ? 'new' : { version };
        const written = await reconciliation.pushes.writeUser(tx, context, user, expected);
        versions.set(anchor, written.version);
      }
    });
    return requestId;
  };
  const standing = async () =>
    Object.fromEntries(
      await database.db.tenant(tenantId, async (tx) => {
        const rows = await tx.sql<{ anchor: string; name: string | null; status: string }[]>`
          select l.anchor, u.display_name as name, u.status from links l join users u on u.id = l.user_id order by 1`;
        return rows.map((row): [string, [string | null, string]] => [row.anchor, [row.name, row.status]]);
      }),
    );
  const pushRun = async () => {
    const [run] = await database.db.tenant(
      tenantId,
      (tx) =>
        tx.sql<
          { id: RunId }[]
        >`select id from runs where connection_id = ${scimId} and kind = 'push' order by created_at desc limit 1`,
    );
    return run?.id ?? ('' as RunId);
  };
  return { ...engine, scimId, push, standing, pushRun };
}

async function undo(
  engine: Provider,
  part: { readonly requestId?: string; readonly userId?: UserId; readonly keepsRunning?: boolean },
): Promise<RunSummary> {
  const { tenantId, reconciliation } = engine;
  const runId = await engine.pushRun();
  const id = await reconciliation.requestUndo({ tenantId, runId, requestedBy: 'test', mode: 'plan', ...part });
  const { signal } = new AbortController();
  const planned = await reconciliation.executeRun(tenantId, id, { signal });
  if (planned.digest === null) return planned;
  await reconciliation.approveRun(tenantId, id, { actor: 'test', digest: planned.digest });
  return reconciliation.executeRun(tenantId, id, { signal });
}

/** The users that exist so far were made on another day. */
async function closeDay(engine: Provider): Promise<void> {
  const runId = newId();
  await database.db.tenant(engine.tenantId, async (tx) => {
    await tx.sql`
      insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by)
      values (${engine.tenantId}, ${runId}, ${engine.scimId}, 1, 'push', 'auto', 'succeeded', 'push')`;
    await tx.sql`update changes set run_id = ${runId} where connection_id = ${engine.scimId}`;
    await tx.sql`update runs set created_at = now() - interval '1 day' where id = ${runId}`;
  });
}

describe('the undo of pushes', () => {
  test('takes back one request of the day, and leaves the others', async () => {
    const engine = await createProvider();
    await engine.push({ ann: { name: 'Ann' }, bob: { name: 'Bob' } });
    const renamed = await engine.push({ ann: { name: 'Anna' } });
    await engine.push({ bob: { name: 'Bob', isActive: false } });
    const done = await undo(engine, { requestId: renamed, keepsRunning: true });
    expect([done.status, done.error]).toEqual(['succeeded', null]);
    expect(await engine.standing()).toEqual({ ann: ['Ann', 'active'], bob: ['Bob', 'suspended'] });
    // the link is held: what the provider says of her waits until it is released
    await engine.push({ ann: { name: 'Anna-Lena' }, bob: { name: 'Bob' } });
    expect(await engine.standing()).toEqual({ ann: ['Ann', 'active'], bob: ['Bob', 'active'] });
    await engine.reconciliation.releaseLinks('test', engine.tenantId, { runId: done.id });
    const [queued] = await engine.reconciliation.listRuns(engine.tenantId, {
      connectionId: engine.scimId,
      status: 'queued',
      limit: 5,
    });
    if (queued === undefined) throw new Error('no run was queued');
    await engine.reconciliation.executeRun(engine.tenantId, queued.id, { signal: new AbortController().signal });
    expect((await engine.standing())['ann']).toEqual(['Anna-Lena', 'active']);
  });

  test('gives back what stood before the first of several changes of a day', async () => {
    const engine = await createProvider();
    await engine.push({ ann: { name: 'Ann' }, bob: { name: 'Bob' } });
    await closeDay(engine);
    await engine.push({ ann: { name: 'Anna' } });
    await engine.push({ ann: { name: 'Anna', isActive: false } });
    await engine.push({ ann: { name: 'Annabel' } });
    await engine.push({ ann: { name: 'Annabel', isActive: false }, bob: { name: 'Rob' } });
    const done = await undo(engine, {});
    expect([done.status, done.error]).toEqual(['succeeded', null]);
    expect(await engine.standing()).toEqual({ ann: ['Ann', 'active'], bob: ['Bob', 'active'] });
    const connection = await engine.reconciliation.findConnection(engine.tenantId, engine.scimId);
    expect(connection.status).toBe('paused');
  });

  test('keeps what a later request changed when an earlier one is taken back', async () => {
    const engine = await createProvider();
    await engine.push({ ann: { name: 'Ann' } });
    const first = await engine.push({ ann: { name: 'Anna' } });
    await engine.push({ ann: { name: 'Annabel' } });
    const done = await undo(engine, { requestId: first });
    expect((await engine.changes(done.id)).map((row) => [row.op, row.state])).toEqual([['keep', 'conflict']]);
    expect(await engine.standing()).toEqual({ ann: ['Annabel', 'active'] });
  });
});
