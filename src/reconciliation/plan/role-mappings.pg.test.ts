import { beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';

const database = useDatabase();
let engine: Engine;

const people = Array.from({ length: 40 }, (_unused, index) => `p${index}`);

const documentOf = (roles: readonly unknown[]) => ({
  name: 'Directory',
  kind: 'ldap',
  organization: engine.tenant.slug,
  ceiling: 'admin',
  roles,
});

beforeEach(async () => {
  engine = await createEngine(database.db, {
    document: {
      roles: [{ everyone: 'user' }, { group: 'Readers', role: 'view_only_admin' }],
      guards: { adminGrants: 1000 },
    },
  });
  for (const id of people) engine.directory.put({ id, name: `Person ${id}` });
  engine.directory.team('inner', 'Inner', people);
  engine.directory.team('readers', 'Readers', ['inner']);
  await engine.sync();
});

const save = (roles: readonly unknown[]) =>
  engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, documentOf(roles));
const holding = async (role: string) =>
  (await engine.users()).filter((user) => user.roles.some((held) => held.startsWith(role))).length;

describe('a changed role mapping', () => {
  it('that takes many roles is seen in the plan, is held by the guard, and takes nothing before a person approves', async () => {
    expect(await holding('view_only_admin')).toBe(people.length);
    await save([{ everyone: 'user' }]);
    const run = await engine.run();
    expect(run.status).toBe('held');
    const changes = await engine.changes(run.id);
    expect(changes).toHaveLength(people.length);
    expect(new Set(changes.map((change) => `${change.op} ${change.state} ${change.reason}`))).toEqual(
      new Set(['revoke held Its role mapping was removed.']),
    );
    expect(await holding('view_only_admin')).toBe(people.length);
    await engine.approve(run);
    expect(await holding('view_only_admin')).toBe(0);
    expect(await holding('user')).toBe(people.length);
  });

  it('that only names another precedence changes no role', async () => {
    await save([{ everyone: 'user' }, { group: 'Readers', role: 'view_only_admin', precedence: 3 }]);
    const run = await engine.run();
    expect(await engine.changes(run.id)).toEqual([]);
  });

  it('by immutable id follows the group through a rename; by name it was pinned and does too', async () => {
    engine.directory.team('readers', 'Renamed', ['inner']);
    engine.directory.team('impostor', 'Readers', []);
    const run = await engine.sync();
    expect((await engine.changes(run.id)).filter((change) => change.op === 'revoke')).toEqual([]);
    await save([{ everyone: 'user' }, { group: { id: 'READERS' }, role: 'view_only_admin' }]);
    await engine.sync();
    expect(await holding('view_only_admin')).toBe(people.length);
  });
});
