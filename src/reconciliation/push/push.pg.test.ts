/** Pushes that act later or not by themselves: many at once, a paused connection, a privileged role. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { travel } from '../../../test/fakes/travel.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import type { ConnectionId, RunId, UserId } from '../../core/ids.ts';
import { createScheduledRuns, type RunSummary } from '../reconciliation.ts';
import { startingOver } from './whole-way.ts';

const database = useDatabase();
const many = 501;
const quiet = { joiners: { count: 5_000 }, revokes: { count: 5_000 }, groupLoss: { count: 5_000 } };

type Provider = Engine & {
  /** One request: each in a transaction of its own. */
  push(work: (pushes: Engine['reconciliation']['pushes'], say: Say) => Promise<unknown>): Promise<void>;
  queued(): Promise<readonly RunSummary[]>;
  executeQueued(): Promise<RunSummary>;
  roles(role?: string): Promise<number>;
  readonly scimId: ConnectionId;
  document(more: Record<string, unknown>): Record<string, unknown>;
};
type Say = {
  user(id: string): Promise<unknown>;
  group(id: string, name: string): Promise<unknown>;
  members(id: string, change: { add?: string[]; remove?: string[]; replace?: string[] }): Promise<unknown>;
};

async function createProvider(more: Record<string, unknown> = {}): Promise<Provider> {
  const engine = await createEngine(database.db);
  const { reconciliation, tenantId, tenant } = engine;
  const document = (changes: Record<string, unknown>) => ({
    name: 'Okta',
    kind: 'scim',
    organization: tenant.slug,
    ceiling: 'admin',
    roles: [{ group: 'Staff', role: 'user' }],
    guards: quiet,
    ...more,
    ...changes,
  });
  const { id: connectionId } = await reconciliation.createConnection('test', tenantId, document({}));
  const context = { tenantId, connectionId, requestId: '00000000-0000-7000-8000-000000000001' };
  const push: Provider['push'] = (work) =>
    startingOver(
      (once) => database.db.tenant(tenantId, once),
      async (tx) => {
        const { pushes } = reconciliation;
        await work(pushes, {
          user: (anchor) =>
            pushes.writeUser(
              tx,
              context,
              {
                anchor,
                userName: anchor,
                externalId: null,
                displayName: anchor,
                isActive: true,
                attributes: { userName: anchor, displayName: anchor },
                resource: {},
              },
              'new',
            ),
          group: (anchor, displayName) =>
            pushes.writeGroup(tx, context, { anchor, displayName, externalId: null, resource: {} }, 'new'),
          members: (anchor, change) => pushes.changeMembers(tx, context, anchor, change),
        });
      },
    );
  const queued = () => reconciliation.listRuns(tenantId, { connectionId, status: 'queued', limit: 10 });
  return {
    ...engine,
    push,
    queued,
    scimId: connectionId,
    document,
    executeQueued: async () => {
      const [run, ...others] = await queued();
      expect(others).toEqual([]);
      if (run === undefined) throw new Error('no run is queued');
      return reconciliation.executeRun(tenantId, run.id, { signal: new AbortController().signal });
    },
    roles: async (role = 'user') =>
      (await engine.users()).filter((user) => user.roles.includes(`${role}@${tenant.slug}`)).length,
  };
}

/** The claim of the run waits for the transaction of the push. */
async function someoneWaits(): Promise<boolean> {
  const waiting = await database.db.stage.sql`
    select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return waiting.length > 0;
}

const ids = (count: number) => Array.from({ length: count }, (_, n) => `u${n}`);

/** Pushed while paused and made by one run: without the cost of so many requests. */
async function withUsers(provider: Provider, count: number): Promise<void> {
  const { reconciliation, tenantId, scimId } = provider;
  await reconciliation.pauseConnection('test', tenantId, scimId, 'for a test');
  await provider.push(async (_pushes, say) => {
    for (const id of ids(count)) await say.user(id);
  });
  await reconciliation.resumeConnection('test', tenantId, scimId);
  expect((await provider.executeQueued()).status).toBe('succeeded');
}

describe('a push that concerns more than 500 users', () => {
  test('answers, and becomes one queued run over those objects, which gives and takes their roles', async () => {
    const provider = await createProvider();
    await withUsers(provider, many);
    await provider.push((_pushes, say) => say.group('g', 'Staff'));
    expect(await provider.queued()).toEqual([]);
    await provider.push((_pushes, say) => say.members('g', { add: ids(many) }));
    await provider.push((_pushes, say) => say.members('g', { replace: [] }));
    await provider.push((_pushes, say) => say.members('g', { add: ids(many) }));
    expect(await provider.queued()).toMatchObject([{ kind: 'object', status: 'queued' }]);
    expect(await provider.roles()).toBe(0);
    expect((await provider.executeQueued()).status).toBe('succeeded');
    expect(await provider.roles()).toBe(many);
    await provider.push((_pushes, say) => say.members('g', { replace: [] }));
    expect((await provider.executeQueued()).status).toBe('succeeded');
    expect(await provider.roles()).toBe(0);
  });

  test('while a worker takes up the run that waits is not lost', async () => {
    const provider = await createProvider();
    await withUsers(provider, many);
    await provider.push((_pushes, say) => say.group('g', 'Staff'));
    await provider.push((_pushes, say) => say.members('g', { add: ids(many) }));
    let executing: Promise<RunSummary> | undefined;
    await provider.push(async (_pushes, say) => {
      await say.members('g', { replace: [] });
      executing = provider.executeQueued();
      await expect.poll(() => someoneWaits(), { timeout: 5_000 }).toBe(true);
    });
    await executing;
    expect(await provider.roles()).toBe(0);
  });
});

describe('a paused connection', () => {
  test('takes pushes into its mirror, changes nobody, and does it when it is resumed', async () => {
    const provider = await createProvider({ roles: [{ everyone: 'user' }] });
    await provider.reconciliation.pauseConnection('test', provider.tenantId, provider.scimId, 'for a test');
    await provider.push((_pushes, say) => say.user('u1'));
    expect(await provider.users()).toEqual([]);
    expect(await provider.queued()).toEqual([]);
    await provider.reconciliation.resumeConnection('test', provider.tenantId, provider.scimId);
    expect((await provider.executeQueued()).status).toBe('succeeded');
    expect(await provider.roles()).toBe(1);
  });
});

describe('a quarantined connection', () => {
  test('takes pushes into its mirror, changes nobody, and does it by the retry that ends the quarantine', async () => {
    const provider = await createProvider({ roles: [{ everyone: 'user' }] });
    const { reconciliation, tenantId, scimId } = provider;
    await database.db.tenant(
      tenantId,
      (tx) => tx.sql`
        update connections set status = 'quarantined', quarantined_at = now(), failed_runs = 5
        where tenant_id = ${tenantId} and id = ${scimId}`,
    );
    await provider.push((_pushes, say) => say.user('u1'));
    expect(await provider.users()).toEqual([]);
    const retry = await reconciliation.retryConnection({ tenantId, connectionId: scimId, requestedBy: 'test' });
    const run = await reconciliation.executeRun(tenantId, retry, { signal: new AbortController().signal });
    expect([run.kind, run.status]).toEqual(['object', 'succeeded']);
    expect(await provider.roles()).toBe(1);
    expect((await reconciliation.findConnection(tenantId, scimId)).status).toBe('active');
    await provider.push((_pushes, say) => say.user('u2'));
    expect(await provider.roles()).toBe(2);
  });
});

describe('a changed role mapping of a pushed connection', () => {
  test('reaches the users it has without another push', async () => {
    const provider = await createProvider({ roles: [{ everyone: 'user' }] });
    await provider.push((_pushes, say) => say.user('u1'));
    expect(await provider.roles()).toBe(1);
    const changed = provider.document({ roles: [] });
    await provider.reconciliation.updateConnection('test', provider.tenantId, provider.scimId, changed);
    expect((await provider.executeQueued()).status).toBe('succeeded');
    expect(await provider.roles()).toBe(0);
  });
});

describe('a push that would give a privileged role', () => {
  test('given by a person it is a change like any other: in the history, explained, and taken back by an undo', async () => {
    const provider = await createProvider({
      roles: [{ everyone: 'user' }, { group: 'Admins', role: 'billing_admin' }],
    });
    await provider.push((_pushes, say) => say.user('u1'));
    await provider.push((_pushes, say) => say.group('g', 'Admins'));
    await provider.push((_pushes, say) => say.members('g', { add: ['u1'] }));
    const { reconciliation, tenantId } = provider;
    const [asked] = await reconciliation.listCases(tenantId, 'open');
    await reconciliation.resolveCase('user:chief', tenantId, asked?.id ?? '', { action: 'grant' });
    const [user] = await provider.users();
    const userId = (user?.id ?? '') as UserId;
    const [given] = await reconciliation.listHistory(tenantId, { userId, limit: 1 });
    expect(given).toMatchObject({ op: 'grant', role: 'billing_admin', state: 'applied', kind: 'mover' });
    expect(given?.reason).toBe('Given by user:chief, who decided the case.');
    const { grants } = await reconciliation.explainUser(tenantId, userId);
    expect(grants.map((grant) => [grant.role, grant.runId])).toContainEqual(['billing_admin', given?.runId]);
    const undone = await reconciliation.requestUndo({
      tenantId,
      runId: given?.runId ?? ('' as RunId),
      requestedBy: 'test',
      mode: 'auto',
      userId,
      keepsRunning: true,
    });
    await reconciliation.executeRun(tenantId, undone, { signal: new AbortController().signal });
    expect(await provider.roles('billing_admin')).toBe(0);
  });

  test('gives every other role and leaves that one to a person', async () => {
    const provider = await createProvider({ roles: [{ everyone: 'user' }, { group: 'Admins', role: 'admin' }] });
    await provider.push((_pushes, say) => say.user('u1'));
    await provider.push((_pushes, say) => say.group('g', 'Admins'));
    await provider.push((_pushes, say) => say.members('g', { add: ['u1'] }));
    expect([await provider.roles('admin'), await provider.roles()]).toEqual([0, 1]);
    const cases = await provider.reconciliation.listCases(provider.tenantId, 'open');
    expect(cases.map((found) => [found.kind, found.subject])).toEqual([['privileged_grant', 'u1']]);
  });

  test('is given by the person who decides the case, unless the directory asks for it no longer', async () => {
    const provider = await createProvider({ roles: [{ everyone: 'user' }, { group: 'Admins', role: 'admin' }] });
    await provider.push((_pushes, say) => say.user('u1'));
    for (const id of ['u2', 'u3']) await provider.push((_pushes, say) => say.user(id));
    await provider.push((_pushes, say) => say.group('g', 'Admins'));
    await provider.push((_pushes, say) => say.members('g', { add: ['u1', 'u2', 'u3'] }));
    await provider.push((_pushes, say) => say.members('g', { remove: ['u2'] }));
    const { reconciliation, tenantId } = provider;
    const cases = new Map((await reconciliation.listCases(tenantId, 'open')).map((found) => [found.subject, found.id]));
    const decide = (subject: string, action: 'grant' | 'create') =>
      reconciliation.resolveCase('test', tenantId, cases.get(subject) ?? '', { action });
    await expect(decide('u1', 'create')).rejects.toThrow(/can not be decided by "create"/);
    await decide('u1', 'grant');
    await decide('u3', 'grant');
    await expect(decide('u2', 'grant')).rejects.toThrow(/asks for it no longer/);
    expect(await provider.roles('admin')).toBe(2);
    await provider.push((_pushes, say) => say.members('g', { remove: ['u1'] }));
    expect(await provider.roles('admin')).toBe(1);
  });
});

test('who was deleted by a push waits out the days of grace, and the daily run over the mirror acts', async () => {
  const provider = await createProvider({ roles: [{ everyone: 'user' }], leaver: { graceDays: 7 } });
  const { tenantId, scimId, reconciliation } = provider;
  expect(await reconciliation.findConnection(tenantId, 'Okta')).toMatchObject({ cron: '0 3 * * *' });
  await provider.push((_pushes, say) => say.user('ann'));
  await provider.push((pushes) =>
    database.db.tenant(tenantId, (tx) =>
      pushes.remove(
        tx,
        { tenantId, connectionId: scimId, requestId: '00000000-0000-7000-8000-000000000002' },
        'user',
        'ann',
      ),
    ),
  );
  const daily = async () => {
    const scheduledFor = new Date().toISOString();
    await database.db.engine((tx) => createScheduledRuns(tx, [{ tenantId, connectionId: scimId, scheduledFor }]));
    return (await provider.changes((await provider.executeQueued()).id)).map((change) => change.op);
  };
  expect(await daily()).toEqual([]);
  expect(await provider.users()).toMatchObject([{ status: 'active' }]);
  await travel(database.db, tenantId, 7);
  expect(await daily()).toEqual(['suspend']);
  expect(await provider.users()).toMatchObject([{ status: 'suspended' }]);
});
