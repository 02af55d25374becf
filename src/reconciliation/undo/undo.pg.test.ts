/** Undo: what a run did is taken back exactly, what somebody changed since is kept, and no next run repeats it. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import { addSubOrganization } from '../../../test/setup/people.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { RunId, UserId } from '../../core/ids.ts';
import type { RunSummary } from '../reconciliation.ts';

const database = useDatabase();
const document = { roles: [{ everyone: 'user' }, { group: 'Ops', role: 'billing_admin' }] };

async function engineWith(count: number, more: Record<string, unknown> = {}): Promise<Engine> {
  const engine = await createEngine(database.db, { document: { ...document, ...more } });
  for (let n = 1; n <= count; n += 1) engine.directory.put(person(engine, n));
  engine.directory.team('ops', 'Ops', ['p1', 'p2']);
  const first = await engine.sync();
  expect([first.status, first.error]).toEqual(['succeeded', null]);
  return engine;
}

function person(engine: Engine, n: number) {
  const username = `p${n}@${engine.tenant.builtInDomain}`;
  return {
    id: `p${n}`,
    name: `Person ${String(n).padStart(2, '0')}`,
    username,
    email: `p${n}@mail.test`,
    department: 'Sales',
  };
}

type Part = { readonly userId?: UserId; readonly keepsRunning?: boolean };

async function undo(engine: Engine, runId: RunId, part: Part = {}): Promise<RunSummary> {
  const { tenantId, reconciliation } = engine;
  const id = await reconciliation.requestUndo({ tenantId, runId, requestedBy: 'test', mode: 'plan', ...part });
  const planned = await reconciliation.executeRun(tenantId, id, { signal: new AbortController().signal });
  return planned.status === 'planned' || planned.status === 'held' ? engine.approve(planned) : planned;
}

async function userOf(engine: Engine, name: string): Promise<UserId> {
  const user = (await engine.users()).find((found) => found.name === name);
  return (user?.id ?? '') as UserId;
}

/** What an undo restores: everything a run may write to users, grants and memberships, versions and times aside. */
async function standing(engine: Engine): Promise<unknown> {
  return database.db.tenant(engine.tenantId, async (tx) => ({
    users: await tx.sql`
      select id, username, username_key, email, email_key, display_name, display_name_key, given_name, family_name, phone, employee_id,
        employee_id_key, department, job_title, attributes, status, suspended_by, status_reason, is_protected, provenance, quota_home_id
      from users where status <> 'removed' or status_reason <> 'Created by a run that was undone.' order by id`,
    grants: await tx.sql`
      select organization_id, user_id, role, source, run_id, created_at::text from grants order by user_id, organization_id, role, source`,
    memberships: await tx.sql`select organization_id, user_id from memberships order by user_id, organization_id`,
  }));
}

describe('the undo of a whole run', () => {
  test('stops at its plan, and applied restores users, provenance, standing, grants and memberships exactly', async () => {
    const engine = await engineWith(30);
    const before = await standing(engine);
    engine.directory.put(
      { id: 'p3', department: 'Finance', email: 'new3@mail.test' },
      { id: 'p4', username: person(engine, 5).username },
      { id: 'p5', username: person(engine, 4).username },
      { id: 'p6', isActive: false },
      { ...person(engine, 31), name: 'Newcomer' },
    );
    engine.directory.people.delete('p7');
    engine.directory.team('ops', 'Ops', ['p1', 'p8']);
    const run = await engine.sync();
    expect(run.status).toBe('succeeded');
    const wrong = await standing(engine);
    const { tenantId, reconciliation } = engine;
    const id = await reconciliation.requestUndo({ tenantId, runId: run.id, requestedBy: 'test', mode: 'plan' });
    const planned = await reconciliation.executeRun(tenantId, id, { signal: new AbortController().signal });
    expect([planned.kind, planned.undoOf]).toEqual(['undo', run.id]);
    expect(['planned', 'held']).toContain(planned.status);
    expect(await standing(engine)).toEqual(wrong);
    const done = await engine.approve(planned);
    expect([done.status, done.error]).toEqual(['succeeded', null]);
    expect(await standing(engine)).toEqual(before);
    expect((await engine.changes(run.id)).filter((row) => row.state !== 'undone')).toEqual([]);
  });

  test('pauses the connection and holds the touched links, so that the next run repeats nothing', async () => {
    const engine = await engineWith(30);
    engine.directory.put({ id: 'p3', department: 'Finance' }, person(engine, 31));
    engine.directory.team('ops', 'Ops', ['p1', 'p8']);
    const run = await engine.sync();
    await undo(engine, run.id);
    const before = await standing(engine);
    engine.directory.put({ id: 'p3', department: 'Legal' });
    const connection = await engine.reconciliation.findConnection(engine.tenantId, engine.connectionId);
    expect([connection.status, connection.statusReason]).toEqual(['paused', expect.stringContaining(run.id)]);
    await engine.reconciliation.resumeConnection('test', engine.tenantId, engine.connectionId);
    const next = await engine.run();
    expect(await engine.changes(next.id)).toEqual([]);
    expect(await standing(engine)).toEqual(before);
  });

  test('gives back the quota home that the run moved, with the source it had', async () => {
    const tenant = await createTenant(database.db);
    const ids = [1, 2].map(() => addSubOrganization(database.db, tenant.tenantId, tenant.organizationId));
    const [emea, apac] = await Promise.all(ids);
    const roles = [
      { everyone: 'user' },
      { group: 'Emea', role: 'user', organization: `${tenant.slug}/${emea}` },
      { group: 'Apac', role: 'user', organization: `${tenant.slug}/${apac}` },
    ];
    const engine = await createEngine(database.db, { tenant, document: { roles } });
    for (let n = 1; n <= 9; n += 1) engine.directory.put(person(engine, n));
    engine.directory.team('emea', 'Emea', ['p1', 'p2', 'p3']);
    engine.directory.team('apac', 'Apac', ['p4']);
    await engine.sync();
    const before = await standing(engine);
    const homes = () =>
      database.db.tenant(
        tenant.tenantId,
        (tx) => tx.sql`
      select quota_home_id as home, provenance ->> 'quotaHome' as source from users where display_name in ('Person 01', 'Person 05') order by display_name`,
      );
    const source = expect.stringMatching(/^rule:/) as unknown;
    expect(await homes()).toEqual([
      { home: emea, source },
      { home: null, source: null },
    ]);
    engine.directory.team('emea', 'Emea', ['p2', 'p3']);
    engine.directory.team('apac', 'Apac', ['p1', 'p4', 'p5']);
    const run = await engine.sync();
    expect((await homes()).map((row) => row['home'])).toEqual([apac, apac]);
    const done = await undo(engine, run.id);
    expect([done.status, done.error]).toEqual(['succeeded', null]);
    expect(await homes()).toEqual([
      { home: emea, source },
      { home: null, source: null },
    ]);
    expect(await standing(engine)).toEqual(before);
  });

  test('that finds nothing left to take back pauses nothing and holds nothing', async () => {
    const engine = await engineWith(5);
    engine.directory.put({ id: 'p3', department: 'Finance' });
    const run = await engine.sync();
    const edited = await userOf(engine, 'Person 03');
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        update users set department = 'Legal', provenance = provenance || '{"department": "manual"}', version = version + 1, last_run_id = null
        where id = ${edited}`,
    );
    const done = await undo(engine, run.id);
    expect((await engine.changes(done.id)).map((row) => [row.op, row.state])).toEqual([['keep', 'conflict']]);
    const { reconciliation, tenantId, connectionId } = engine;
    expect((await reconciliation.findConnection(tenantId, connectionId)).status).toBe('active');
    expect(await reconciliation.listHeldLinks(tenantId, {}, 10)).toEqual([]);
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });

  test('a user suspended, removed (suspended or not before) or brought back by the run stands as before', async () => {
    const engine = await engineWith(30, { leaver: { policy: 'remove' } });
    engine.directory.people.delete('p9');
    engine.directory.put({ id: 'p1', isActive: false });
    await engine.sync();
    const before = await standing(engine);
    engine.directory.put(person(engine, 9));
    for (const id of ['p1', 'p2']) engine.directory.people.delete(id);
    const run = await engine.sync();
    await undo(engine, run.id);
    expect(await standing(engine)).toEqual(before);
  });

  test('what was edited later is kept and told, and the rest goes on', async () => {
    const engine = await engineWith(30);
    engine.directory.put(
      { id: 'p3', department: 'Finance', email: 'new3@mail.test' },
      { id: 'p4', department: 'Finance' },
    );
    const run = await engine.sync();
    const edited = await userOf(engine, 'Person 03');
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        update users set department = 'Legal', provenance = provenance || '{"department": "manual"}', version = version + 1, last_run_id = null
        where id = ${edited}`,
    );
    const done = await undo(engine, run.id);
    expect(done.status).toBe('partly');
    expect((await engine.changes(done.id)).map((row) => [row.op, row.subject, row.state])).toEqual([
      ['update', 'Person 03', 'applied'],
      ['update', 'Person 04', 'applied'],
      ['keep', 'Person 03', 'conflict'],
    ]);
    const users = new Map((await engine.users()).map((user) => [user.name, [user.department, user.email]]));
    expect(users.get('Person 03')).toEqual(['Legal', 'p3@mail.test']);
    expect(users.get('Person 04')).toEqual(['Sales', 'p4@mail.test']);
  });

  test('a user the run created who was given a role by hand since is not removed', async () => {
    const engine = await engineWith(30);
    engine.directory.put(person(engine, 31), person(engine, 32));
    const run = await engine.sync();
    const given = await userOf(engine, 'Person 31');
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        insert into grants (tenant_id, organization_id, user_id, role, source)
        values (${engine.tenantId}, ${engine.tenantId}, ${given}, 'billing_admin', 'manual')`,
    );
    await undo(engine, run.id);
    const users = new Map((await engine.users()).map((user) => [user.name, [user.status, user.roles.length]]));
    expect([users.get('Person 31'), users.get('Person 32')]).toEqual([
      ['active', 2],
      ['removed', 0],
    ]);
  });

  test("is undone itself by another undo, and the links are the runs' again", async () => {
    const engine = await engineWith(30);
    engine.directory.put({ id: 'p3', department: 'Finance' }, { id: 'p6', isActive: false }, person(engine, 31));
    engine.directory.team('ops', 'Ops', ['p1', 'p8']);
    const run = await engine.sync();
    const after = await standing(engine);
    const first = await undo(engine, run.id);
    const second = await undo(engine, first.id);
    expect(second.status).toBe('succeeded');
    expect(await standing(engine)).toEqual(after);
    await engine.reconciliation.resumeConnection('test', engine.tenantId, engine.connectionId);
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });
});

describe('the undo of one user', () => {
  test('touches nobody else', async () => {
    const engine = await engineWith(30);
    engine.directory.put({ id: 'p3', department: 'Finance' }, { id: 'p4', department: 'Finance' });
    const run = await engine.sync();
    await undo(engine, run.id, { userId: await userOf(engine, 'Person 03'), keepsRunning: true });
    const users = new Map((await engine.users()).map((user) => [user.name, user.department]));
    expect([users.get('Person 03'), users.get('Person 04')]).toEqual(['Sales', 'Finance']);
    const connection = await engine.reconciliation.findConnection(engine.tenantId, engine.connectionId);
    expect(connection.status).toBe('active');
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });

  test('a username that somebody else has by now is not taken back', async () => {
    const engine = await engineWith(30);
    engine.directory.put(
      { id: 'p4', username: person(engine, 5).username },
      { id: 'p5', username: person(engine, 4).username },
    );
    const run = await engine.sync();
    const done = await undo(engine, run.id, { userId: await userOf(engine, 'Person 04') });
    expect((await engine.changes(done.id)).map((row) => [row.op, row.state])).toEqual([['keep', 'conflict']]);
  });
});

describe('links that an undo holds', () => {
  test('are listed and counted, and released they are decided anew: who was removed comes back as the same user', async () => {
    const engine = await engineWith(30);
    const { tenantId, reconciliation, connectionId } = engine;
    engine.directory.put({ id: 'p3', department: 'Finance' }, person(engine, 31));
    const run = await engine.sync();
    const after = (await engine.users()).map(({ id, name, department, status }) => [id, name, department, status]);
    const done = await undo(engine, run.id);
    const held = await reconciliation.listHeldLinks(tenantId, {}, 100);
    expect(held.map((link) => [link.subject, link.heldRunId])).toEqual([
      ['Person 03', done.id],
      ['Person 31', done.id],
    ]);
    const explained = await reconciliation.explainUser(tenantId, held[0]?.userId ?? '');
    expect(explained.links.map((link) => [link.state, link.reason])).toEqual([
      ['held', `Held since run ${run.id} was undone.`],
    ]);
    expect(await reconciliation.resumeConnection('test', tenantId, connectionId)).toMatchObject({ heldLinks: 2 });
    expect(await reconciliation.releaseLinks('test', tenantId, { runId: done.id })).toBe(2);
    await expect(reconciliation.releaseLinks('test', tenantId, { runId: done.id })).rejects.toSatisfy((error) =>
      isRollcallError(error, 'not_found'),
    );
    await engine.sync();
    expect((await engine.users()).map(({ id, name, department, status }) => [id, name, department, status])).toEqual(
      after,
    );
  });

  test('belong to nobody where the run had made the link, and released they may match again', async () => {
    const engine = await createEngine(database.db, { document: { roles: [] } });
    const { tenantId, reconciliation } = engine;
    engine.directory.put(person(engine, 1));
    const userId = '01890000-0000-7000-8000-000000000001';
    const { username } = person(engine, 1);
    await database.db.tenant(
      tenantId,
      (tx) => tx.sql`
        insert into users (tenant_id, id, username, username_key) values (${tenantId}, ${userId}, ${username}, ${username})`,
    );
    const before = await standing(engine);
    const run = await engine.sync();
    expect((await engine.changes(run.id)).map((row) => row.op)).toContain('link');
    const done = await undo(engine, run.id);
    expect(await standing(engine)).toEqual(before);
    const links = () => database.db.tenant(tenantId, (tx) => tx.sql`select state, user_id from links`);
    expect(await links()).toEqual([{ state: 'held', user_id: null }]);
    await reconciliation.releaseLinks('test', tenantId, { runId: done.id });
    expect(await links()).toEqual([]);
    await reconciliation.resumeConnection('test', tenantId, engine.connectionId);
    await engine.sync();
    expect(await links()).toEqual([{ state: 'linked', user_id: userId }]);
  });
});

describe('what can not be undone', () => {
  test('a live run, one that changed nothing, and one whose rows are purged are refused in words', async () => {
    const engine = await engineWith(5);
    const { tenantId, reconciliation, connectionId } = engine;
    const nothing = await engine.run();
    const ask = (runId: RunId) => reconciliation.requestUndo({ tenantId, runId, requestedBy: 'test', mode: 'plan' });
    await expect(ask(nothing.id)).rejects.toThrow('it changed nothing');
    engine.directory.put({ id: 'p3', department: 'Finance' });
    const run = await engine.sync();
    const live = await reconciliation.requestRun({
      tenantId,
      connectionId,
      read: 'full',
      mode: 'auto',
      requestedBy: 'test',
    });
    await expect(ask(live)).rejects.toThrow('still queued');
    await expect(ask(run.id)).rejects.toSatisfy((error) => isRollcallError(error, 'run_live'));
    await reconciliation.cancelRun(tenantId, live, 'test');
    await database.db.tenant(tenantId, (tx) => tx.sql`delete from changes where run_id = ${run.id}`);
    await expect(ask(run.id)).rejects.toThrow('purged');
  });
});
