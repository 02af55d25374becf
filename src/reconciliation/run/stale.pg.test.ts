/** Between a plan and its end: edits by hand, old approvals, cancellation, a second worker. What was shown is what is done. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { addGrant, addUser } from '../../../test/setup/people.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { RunId, UserId } from '../../core/ids.ts';

const database = useDatabase();

async function engineWith(count: number): Promise<Engine> {
  const engine = await createEngine(database.db);
  for (let n = 1; n <= count; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  await engine.sync();
  return engine;
}

async function find(engine: Engine, name: string) {
  const user = (await engine.users()).find((found) => found.name === name);
  if (user === undefined) throw new Error(`no ${name}`);
  return user;
}

async function editByHand(engine: Engine, name: string, department: string): Promise<void> {
  const { id } = await find(engine, name);
  await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql`update users set department = ${department}, provenance = provenance || '{"department":"manual"}',
      version = version + 1, last_run_id = null where tenant_id = ${tx.tenantId} and id = ${id}`,
  );
}

const states = async (engine: Engine, runId: RunId) =>
  (await engine.changes(runId)).map((row) => [row.op, row.subject, row.state]);
const refused = (code: Parameters<typeof isRollcallError>[1]) => (error: unknown) => isRollcallError(error, code);

describe('a user edited between plan and apply', () => {
  test('makes the row stale and is not overwritten; the rest is done, and the next run decides anew', async () => {
    const engine = await engineWith(10);
    engine.directory.put({ id: 'p1', department: 'Sales' }, { id: 'p2', department: 'Sales' });
    const plan = await engine.run('plan');
    await editByHand(engine, 'Person 1', 'By hand');
    const applied = await engine.approve(plan);
    expect(applied.status).toBe('partly');
    expect(await states(engine, plan.id)).toEqual([
      ['update', 'Person 1', 'stale'],
      ['update', 'Person 2', 'applied'],
    ]);
    expect((await find(engine, 'Person 1')).department).toBe('By hand');
    const next = await engine.run();
    expect(await states(engine, next.id)).toEqual([['update', 'Person 1', 'applied']]);
  });

  test('is neither suspended nor removed by the older plan', async () => {
    const engine = await engineWith(10);
    engine.directory.people.delete('p1');
    const plan = await engine.run('plan');
    await editByHand(engine, 'Person 1', 'By hand');
    await engine.approve(plan);
    expect((await find(engine, 'Person 1')).status).toBe('active');
    await engine.sync();
    expect((await find(engine, 'Person 1')).status).toBe('suspended');
  });

  test.each([
    ['was edited', (engine: Engine, _id: UserId) => editByHand(engine, 'By hand', 'X')],
    [
      'became an Admin',
      (engine: Engine, userId: UserId) => {
        const { organizationId } = engine.tenant;
        return addGrant(database.db, engine.tenantId, { organizationId, userId, role: 'admin', source: 'manual' });
      },
    ],
  ])('is not linked to an object whose plan matched the user before it %s', async (_what, meanwhile) => {
    const engine = await engineWith(3);
    const email = `ann@${engine.tenant.builtInDomain}`;
    const id = await addUser(database.db, engine.tenantId, { name: 'By hand', email });
    engine.directory.put({ id: 'ann', name: 'By hand', email });
    const plan = await engine.run('plan');
    expect((await states(engine, plan.id))[0]).toEqual(['link', 'By hand', 'planned']);
    await meanwhile(engine, id);
    await engine.approve(plan);
    expect((await states(engine, plan.id)).find(([op]) => op === 'link')?.[2]).toBe('stale');
    const links = await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`select 1 from links where user_id = ${id} and state = 'linked'`,
    );
    expect(links).toHaveLength(0);
  });
});

describe('an edit by hand', () => {
  test('stays while the source says nothing new about that attribute, whatever else it says', async () => {
    const engine = await engineWith(3);
    await editByHand(engine, 'Person 1', 'Sales');
    // the source comes to say the same by itself: nothing to write, and from now on its last word
    engine.directory.put({ id: 'p1', department: 'Sales' });
    await engine.sync();
    await editByHand(engine, 'Person 1', 'By hand');
    engine.directory.put({ id: 'p1', employeeId: '77' });
    await engine.sync();
    expect((await find(engine, 'Person 1')).department).toBe('By hand');
    engine.directory.put({ id: 'p1', department: 'Support' });
    await engine.sync();
    expect((await find(engine, 'Person 1')).department).toBe('Support');
  });
});

describe('an approval', () => {
  async function planned(): Promise<{ engine: Engine; plan: Awaited<ReturnType<Engine['run']>> }> {
    const engine = await engineWith(5);
    engine.directory.put({ id: 'p1', department: 'Sales' });
    return { engine, plan: await engine.run('plan') };
  }

  test('of a plan older than 72 hours is refused, one just younger is not', async () => {
    const { engine, plan } = await planned();
    const age = (hours: number) =>
      database.db.tenant(
        engine.tenantId,
        (tx) =>
          tx.sql`update runs set finished_at = now() - make_interval(secs => ${hours * 3600 - 60}) where id = ${plan.id}`,
      );
    await age(72.1);
    await expect(engine.approve(plan)).rejects.toSatisfy(refused('approval_expired'));
    await age(72);
    expect((await engine.approve(plan)).status).toBe('succeeded');
  });

  test('of a plan that a newer one superseded is refused', async () => {
    const { engine, plan } = await planned();
    engine.directory.put({ id: 'p2', department: 'Sales' });
    const newer = await engine.run('plan');
    await expect(engine.approve(plan)).rejects.toSatisfy(refused('run_state'));
    expect((await engine.approve(newer)).status).toBe('succeeded');
  });

  test('of a discarded plan is refused, and the next run finds the same plan again', async () => {
    const { engine, plan } = await planned();
    await engine.reconciliation.discardRun(engine.tenantId, plan.id, 'test');
    await expect(engine.approve(plan)).rejects.toSatisfy(refused('run_state'));
    expect((await find(engine, 'Person 1')).department).toBeNull();
    const next = await engine.run('plan');
    expect([next.status, next.digest]).toEqual(['planned', plan.digest]);
  });

  test('is refused after the connection was changed', async () => {
    const { engine, plan } = await planned();
    const document = await engine.reconciliation.exportConnection(engine.tenantId, engine.connectionId);
    await engine.reconciliation.updateConnection('test', engine.tenantId, engine.connectionId, {
      ...document,
      priority: 5,
    });
    await expect(engine.approve(plan)).rejects.toSatisfy(refused('connection_state'));
  });
});

/** A gate that a read waits at, once. */
function gate(): { readonly reached: Promise<void>; open: () => void; wait: () => Promise<void> } {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const wait = () => {
    reached.resolve();
    return opened.promise;
  };
  return { reached: reached.promise, open: () => opened.resolve(), wait };
}

async function mirrorVersion(engine: Engine): Promise<unknown> {
  return database.db.tenant(engine.tenantId, async (tx) => ({
    objects: await tx.sql`select xmin::text, anchor from mirror_objects order by connection_id, anchor`,
    users: await tx.sql`select xmin::text, id from users order by id`,
  }));
}

const request = (engine: Engine) =>
  engine.reconciliation.requestRun({
    tenantId: engine.tenantId,
    connectionId: engine.connectionId,
    read: 'full',
    mode: 'auto',
    requestedBy: 'test',
  });
const execute = (engine: Engine, runId: RunId) =>
  engine.reconciliation.executeRun(engine.tenantId, runId, { signal: new AbortController().signal });

describe('a run that is canceled while it reads', () => {
  test('writes nothing more, and the next run does its work', async () => {
    const engine = await engineWith(10);
    engine.directory.put({ id: 'p1', department: 'Sales' });
    const runId = await request(engine);
    const before = await mirrorVersion(engine);
    engine.directory.beforeEvent = async (index) => {
      if (index === 5) await engine.reconciliation.cancelRun(engine.tenantId, runId, 'test');
    };
    expect((await execute(engine, runId)).status).toBe('canceled');
    expect(await mirrorVersion(engine)).toEqual(before);
    engine.directory.beforeEvent = () => Promise.resolve();
    expect(await states(engine, (await engine.run()).id)).toEqual([['update', 'Person 1', 'applied']]);
  });
});

describe('a worker that froze and wakes up after another took its run over', () => {
  test('writes nothing more when the other one is done', async () => {
    const engine = await engineWith(10);
    const runId = await request(engine);
    const frozen = gate();
    let reads = 0;
    engine.directory.beforeEvent = (index) => {
      if (index === 0) reads += 1;
      return reads === 1 && index === 5 ? frozen.wait() : Promise.resolve();
    };
    const first = execute(engine, runId);
    await frozen.reached;
    engine.directory.put({ id: 'p1', department: 'Sales' });
    const second = await execute(engine, runId);
    expect([second.status, second.epoch]).toEqual(['succeeded', 2]);
    const before = await mirrorVersion(engine);
    frozen.open();
    expect(await first).toMatchObject({ status: 'succeeded', epoch: 2, error: null });
    expect(await mirrorVersion(engine)).toEqual(before);
    expect((await find(engine, 'Person 1')).department).toBe('Sales');
  });

  test('takes nothing away from the other one while that still reads', async () => {
    const engine = await engineWith(10);
    const runId = await request(engine);
    const gates = [gate(), gate()];
    let reads = 0;
    engine.directory.beforeEvent = (index) => {
      if (index === 0) reads += 1;
      return index === 5 ? (gates[reads - 1]?.wait() ?? Promise.resolve()) : Promise.resolve();
    };
    for (let n = 11; n <= 20; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
    const first = execute(engine, runId);
    await gates[0]?.reached;
    const second = execute(engine, runId);
    await gates[1]?.reached;
    gates[0]?.open();
    await first;
    gates[1]?.open();
    expect(await second).toMatchObject({ status: 'succeeded', epoch: 2, error: null });
    expect(await engine.users()).toHaveLength(20);
  });
});
