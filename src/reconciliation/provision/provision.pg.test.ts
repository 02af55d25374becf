import { beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();
let engine: Engine;

beforeEach(async () => {
  engine = await createEngine(database.db, {
    document: {
      roles: [
        { group: 'All Staff', role: 'user' },
        { group: 'Admins', role: 'admin' },
      ],
      guards: { joiners: { count: 1000 } },
    },
  });
  engine.directory.put({ id: 'ann', username: `ann@${engine.tenant.builtInDomain}`, name: 'Ann Arbor' });
  engine.directory.team('staff', 'All Staff', ['ann']);
  engine.directory.team('admins', 'Admins', []);
});

const provision = (reference: string) =>
  engine.reconciliation.provisionObject({
    tenantId: engine.tenantId,
    connectionId: engine.connectionId,
    reference,
    actor: 'test',
    signal: new AbortController().signal,
  });

describe('provisioning one user on demand', () => {
  it('does for that one what a run would do, and the next run has nothing left to do for it', async () => {
    await engine.sync();
    engine.directory.put({ id: 'new', username: `new@${engine.tenant.builtInDomain}`, name: 'New Comer' });
    engine.directory.put({ id: 'ann', name: 'Ann Changed' });
    engine.directory.team('staff', 'All Staff', ['ann', 'new']);
    const done = await provision('New Comer');
    expect(done).toMatchObject({ status: 'succeeded', isChanged: true });
    expect(done.changes.map((change) => [change.op, change.state, change.runId])).toEqual([
      ['create', 'applied', done.runId],
      ['grant', 'applied', done.runId],
    ]);
    expect(done.explanation.steps.find((step) => step.step === 'act')?.lines.map((line) => line.what)).toEqual([
      'create',
      'grant user in Contoso',
    ]);
    // nobody else was touched
    expect((await engine.users()).map((user) => [user.name, user.roles.length])).toEqual([
      ['Ann Arbor', 1],
      ['New Comer', 1],
    ]);
    expect(await engine.reconciliation.getRun(engine.tenantId, done.runId)).toMatchObject({
      kind: 'object',
      status: 'succeeded',
    });
    const next = await engine.sync();
    expect(new Set((await engine.changes(next.id)).map((change) => change.anchor))).toEqual(new Set(['ann']));
    expect(await engine.users()).toHaveLength(2);
  });

  it('a second time changes nothing', async () => {
    await engine.sync();
    await provision('ann');
    const again = await provision('ann');
    expect(again).toMatchObject({ isChanged: false, changes: [], status: 'succeeded' });
  });

  it('is not done again by a plan that was made before and is approved after', async () => {
    const plan = await engine.run();
    expect(plan.status).toBe('planned');
    await provision('ann');
    const approved = await engine.approve(plan);
    expect((await engine.changes(approved.id)).map((change) => change.state)).toEqual(['stale', 'stale']);
    expect(await engine.users()).toHaveLength(1);
  });

  it('gives a privileged role to nobody without a person: it becomes a case', async () => {
    await engine.sync();
    engine.directory.team('admins', 'Admins', ['ann']);
    const done = await provision('ann');
    expect(done.changes.map((change) => change.op)).toEqual(['dispute']);
    expect((await engine.users())[0]?.roles).toEqual([`user@${engine.tenant.slug}`]);
    const cases = await engine.reconciliation.listCases(engine.tenantId, 'open');
    expect(cases.map((found) => found.kind)).toContain('privileged_grant');
  });

  it('never takes a role because the lookup did not name the group: absence means nothing', async () => {
    await engine.sync();
    engine.directory.team('staff', 'All Staff', []);
    const done = await provision('ann');
    expect(done.changes).toEqual([]);
    expect((await engine.users())[0]?.roles).toEqual([`user@${engine.tenant.slug}`]);
  });

  it('of a member that is gone again by the next read takes the role back', async () => {
    await engine.sync();
    engine.directory.put({ id: 'bob', name: 'Bob' });
    engine.directory.team('staff', 'All Staff', ['ann', 'bob']);
    await provision('bob');
    engine.directory.team('staff', 'All Staff', ['ann']);
    await engine.sync();
    expect((await engine.users()).find((user) => user.name === 'Bob')?.roles).toEqual([]);
  });

  it('is refused while the connection is paused, while a run is under way, and for a name nobody has', async () => {
    await engine.sync();
    await expect(provision('nobody')).rejects.toMatchObject({ code: 'not_found' });
    const { tenantId, connectionId, reconciliation } = engine;
    const runId = await reconciliation.requestRun({
      tenantId,
      connectionId,
      read: 'full',
      mode: 'auto',
      requestedBy: 'test',
    });
    await expect(provision('ann')).rejects.toMatchObject({ code: 'run_live' });
    await reconciliation.cancelRun(tenantId, runId, 'test');
    await reconciliation.pauseConnection('test', tenantId, connectionId, 'holiday');
    await expect(provision('ann')).rejects.toMatchObject({ code: 'connection_state' });
  });

  it('suspends whom the directory has disabled, and keeps a protected user as it is', async () => {
    await engine.sync();
    engine.directory.put({ id: 'ann', isActive: false });
    await database.db.tenant(engine.tenantId, ({ sql }) => sql`update users set is_protected = true`);
    expect((await provision('ann')).changes).toEqual([]);
    await database.db.tenant(
      engine.tenantId,
      ({ sql }) => sql`update users set is_protected = false, version = version + 1`,
    );
    expect((await provision('ann')).changes.map((change) => change.op)).toEqual(['suspend']);
  });
});
