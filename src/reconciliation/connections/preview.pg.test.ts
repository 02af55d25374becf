/** Trying rules on an object that was read: what the run would make of it, and nothing written. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();

async function createSynced(): Promise<Engine> {
  const engine = await createEngine(database.db);
  engine.directory.put(
    { id: 'ann', name: 'Ann', username: `ann@${engine.tenant.builtInDomain}`, department: 'Sales' },
    { id: 'ben', name: 'Ben', department: 'Service' },
  );
  await engine.sync();
  return engine;
}

const tables = [
  'connections',
  'connection_versions',
  'role_mappings',
  'mirror_objects',
  'links',
  'users',
  'changes',
  'runs',
  'cases',
  'correlation_specs',
  'correlation_keys',
];

async function everything(engine: Engine): Promise<string> {
  return database.db.tenant(engine.tenantId, async (tx) => {
    const found: unknown[] = [];
    for (const table of tables)
      found.push(
        await tx.sql`select to_jsonb(t) as row from ${tx.sql(table)} t where tenant_id = ${tx.tenantId} order by 1`,
      );
    return JSON.stringify(found);
  });
}

const documentOf = (engine: Engine) => engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId);

describe('a preview', () => {
  test('shows what was read, scope, values, predicates and decision of a document that is not saved, and writes nothing', async () => {
    const engine = await createSynced();
    const before = await everything(engine);
    const preview = await engine.reconciliation.previewObject(engine.tenantId, {
      connectionId: engine.connectionId,
      object: 'Ann',
      document: {
        ...(await documentOf(engine)),
        scope: 'object.department != "Service"',
        mappings: [
          { target: 'displayName', expression: 'object.displayName + " (" + object.department + ")"' },
          { target: 'phone', expression: 'object.mobile' },
        ],
        correlation: [{ by: 'expression', expression: 'object.department', attribute: 'attributes.badge' }],
        roles: [{ predicate: 'object.department == "Sales"', role: 'admin' }],
      },
    });
    expect(preview).toMatchObject({
      anchor: 'ann',
      source: { department: 'Sales' },
      mapped: { displayName: 'Ann (Sales)', phone: null },
      isInScope: true,
      problem: null,
      predicates: ['object.department == "Sales"'],
      unread: ['mobile'],
    });
    expect(preview.steps.map((step) => step.step)).toEqual(['import', 'scope', 'match', 'map', 'decide', 'act']);
    expect(JSON.stringify(preview.steps)).toContain('Ann (Sales)');
    expect(await everything(engine)).toBe(before);
  });

  test('says of an object that a new scope would leave out, or a mapping would fail on, just that', async () => {
    const engine = await createSynced();
    const document = await documentOf(engine);
    const preview = (more: Record<string, unknown>) =>
      engine.reconciliation.previewObject(engine.tenantId, {
        connectionId: engine.connectionId,
        object: 'ben',
        document: { ...document, ...more },
      });
    expect(await preview({ scope: 'object.department == "Sales"' })).toMatchObject({ isInScope: false });
    const failing = await preview({ mappings: [{ target: 'displayName', expression: 'object.displayName + 1' }] });
    expect(failing.problem).toContain('mapping to displayName');
  });

  test('is what the run then does', async () => {
    const engine = await createSynced();
    const document = {
      ...(await documentOf(engine)),
      mappings: [{ target: 'displayName', expression: 'object.displayName + "!"' }],
    };
    const preview = await engine.reconciliation.previewObject(engine.tenantId, {
      connectionId: engine.connectionId,
      object: 'ann',
      document,
    });
    await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, document);
    await engine.sync();
    expect((await engine.users()).map((user) => user.name)).toContain(preview.mapped['displayName']);
  });

  test('refuses a document with a fault, and an object nobody read', async () => {
    const engine = await createSynced();
    const ask = (object: string, document?: unknown) =>
      engine.reconciliation.previewObject(engine.tenantId, { connectionId: engine.connectionId, object, document });
    await expect(ask('ann', { name: 'x' })).rejects.toMatchObject({ code: 'invalid_input' });
    await expect(ask('nobody')).rejects.toMatchObject({ code: 'not_found' });
    await expect(ask('ann', { ...(await documentOf(engine)), scope: 'object.' })).rejects.toMatchObject({
      code: 'invalid_input',
      details: { line: 1, column: 8 },
    });
  });
});
