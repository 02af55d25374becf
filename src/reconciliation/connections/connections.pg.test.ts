import { describe, expect, test } from 'vitest';
import { createEngine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

function documentOf(slug: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    name: 'Directory',
    kind: 'ldap',
    organization: slug,
    ceiling: 'admin',
    roles: [{ everyone: 'user' }],
    ...more,
  };
}

describe('connections', () => {
  test('a document with faults is refused naming each of them, and nothing is saved', async () => {
    const engine = await createEngine(database.db);
    const bad = engine.reconciliation.createConnection('test', engine.tenantId, {
      ...documentOf(engine.tenant.slug),
      name: '',
      ceiling: 'emperor',
      surprise: true,
      settings: { surprise: true },
    });
    await expect(bad).rejects.toThrow(/name:.*ceiling:.*surprise.*settings/s);
    expect(await engine.reconciliation.listConnections(engine.tenantId)).toHaveLength(1);
  });

  test('a role mapping above the ceiling, an unknown organization and a broken expression are refused', async () => {
    const engine = await createEngine(database.db);
    const create = (more: Record<string, unknown>) =>
      engine.reconciliation.createConnection(
        'test',
        engine.tenantId,
        documentOf(engine.tenant.slug, { name: 'Other', ...more }),
      );
    await expect(create({ ceiling: 'user', roles: [{ everyone: 'admin' }] })).rejects.toThrow(/above the ceiling user/);
    await expect(
      create({ roles: [{ everyone: 'user', organization: `${engine.tenant.slug}/nowhere` }] }),
    ).rejects.toThrow(/stopped at "nowhere"/);
    await expect(create({ scope: 'object.mail ==' })).rejects.toThrow(/scope: .*not valid CEL/);
  });

  test('a changed schedule keeps the approval; changed roles make the next run stop at its plan again', async () => {
    const engine = await createEngine(database.db);
    for (let n = 0; n < 5; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
    await engine.sync();
    const update = (more: Record<string, unknown>) =>
      engine.reconciliation.updateConnection(
        'test',
        engine.tenantId,
        engine.connectionId,
        documentOf(engine.tenant.slug, more),
      );
    await update({ schedule: { cron: '0 * * * *' } });
    engine.directory.put({ id: 'p1', department: 'Sales' });
    expect((await engine.run()).status).toBe('succeeded');
    await update({ roles: [] });
    const run = await engine.run();
    expect(run.status).toBe('planned');
    expect((await engine.changes(run.id)).map((row) => row.op)).toEqual(Array.from({ length: 5 }, () => 'revoke'));
  });

  test('a stored secret goes on to the same server, defaults spelled out or not, and never to another one', async () => {
    const engine = await createEngine(database.db, { document: { secrets: { password: 'x' } } });
    const { reconciliation, tenantId, connectionId } = engine;
    const update = (settings: Record<string, unknown>) =>
      reconciliation.updateConnection('test', tenantId, connectionId, documentOf(engine.tenant.slug, { settings }));
    await update({});
    await update({ port: 636 });
    await expect(update({ port: 637 })).rejects.toThrow(/its secret must be entered again/);
  });

  test('an exported document begins with name, kind and organization, as a person writes it', async () => {
    const engine = await createEngine(database.db, { document: { guards: { leaversMax: 7 } } });
    const { reconciliation, tenantId, connectionId } = engine;
    const exported = await reconciliation.exportConnection(tenantId, connectionId);
    expect(Object.keys(exported).slice(0, 3)).toEqual(['name', 'kind', 'organization']);
    expect(exported).toMatchObject({ guards: { leaversMax: 7 } });
    await reconciliation.updateConnection('test', tenantId, connectionId, exported);
  });

  test("mappings that extend the connector's are a change of the rules, and a run goes by both", async () => {
    const engine = await createEngine(database.db);
    const { reconciliation, tenantId, connectionId } = engine;
    engine.directory.put({ id: 'p1', name: 'Ann', department: 'Sales', more: { title: 'Clerk' } });
    await engine.sync();
    const mappings = [{ target: 'jobTitle', expression: 'object.title' }];
    await reconciliation.updateConnection('test', tenantId, connectionId, {
      ...documentOf(engine.tenant.slug, { mappings, extendMappings: true }),
    });
    const run = await engine.run();
    expect(run.status).toBe('planned');
    expect((await engine.changes(run.id)).map((row) => row.after)).toEqual([{ jobTitle: 'Clerk' }]);
    await engine.approve(run);
    engine.directory.put({ id: 'p1', department: 'Lab' });
    expect((await engine.changes((await engine.run()).id)).map((row) => row.after)).toEqual([{ department: 'Lab' }]);
  });
});

test('a plan says how many newcomers would get no username, and is silent where all have one', async () => {
  const engine = await createEngine(database.db);
  engine.directory.put(
    { id: 'p1', name: 'In', username: `in@${engine.tenant.builtInDomain}` },
    { id: 'p2', name: 'Out', username: 'out@elsewhere.example' },
    { id: 'p3', name: 'None' },
  );
  const plan = await engine.run('plan');
  expect(plan.counts['withoutUsername']).toBe(2);
  await engine.approve(plan);
  expect((await engine.run('plan')).counts['withoutUsername']).toBeUndefined();
});
