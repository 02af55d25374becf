/**
 * Random histories of two directories and of people at work in the portal; then the last run that changed anything is
 * undone, whole or for one user, by a worker that may die at any statement on the way. Everybody stands as before that
 * run, and the undo of the undo brings back what it had made of them.
 */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { addFailpoints, Killed } from '../../../test/crash/failpoints.ts';
import { createEngine, type Connected, type Engine } from '../../../test/fakes/engine.ts';
import { scale } from '../../../test/setup/full.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import type { RunId, UserId } from '../../core/ids.ts';
import type { LeaverPolicy } from '../../core/vocabulary.ts';
import { systemClock } from '../../platform/clock.ts';
import { SecretBox } from '../../platform/secrets.ts';
import { createReconciliation, type RunSummary } from '../reconciliation.ts';

const database = useDatabase();
const ids = ['p1', 'p2', 'p3', 'p4', 'p5'] as const;

type Step =
  | { readonly do: 'put'; readonly id: string; readonly isActive: boolean; readonly version: number }
  | { readonly do: 'delete' | 'edit' | 'give'; readonly id: string }
  | { readonly do: 'swap'; readonly id: string; readonly with: string }
  | { readonly do: 'team'; readonly team: 'staff' | 'ops'; readonly members: readonly string[] }
  | { readonly do: 'sync' | 'second' };

const id = fc.constantFrom(...ids);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      id,
      isActive: fc.constantFrom(true, true, false),
      version: fc.nat(2),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('delete', 'edit', 'give' as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('swap' as const), id, with: id }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('team' as const),
      team: fc.constantFrom('staff', 'ops' as const),
      members: fc.uniqueArray(id),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('sync', 'second' as const) }) },
);

const whole = fc.record({ user: fc.option(fc.nat(20)), diesAt: fc.option(fc.integer({ min: 1, max: 40 })) });

/** One user with what they are in; versions and times of writing aside. */
type Standing = { readonly user: Record<string, unknown>; readonly grants: unknown; readonly memberships: unknown };

async function standings(engine: Engine): Promise<Map<string, Standing>> {
  const rows = await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql<(Standing & { id: string })[]>`
      select u.id, to_jsonb(u) - array['version', 'last_run_id', 'updated_at', 'status_changed_at'] as user,
        coalesce((select jsonb_agg(to_jsonb(g) order by g.organization_id, g.role, g.source) from grants g where g.user_id = u.id), '[]') as grants,
        coalesce((select jsonb_agg(m.organization_id order by 1) from memberships m where m.user_id = u.id), '[]') as memberships
      from users u`,
  );
  return new Map(rows.map(({ id: key, ...standing }) => [key, standing]));
}

async function take(engine: Engine, second: Connected, one: Step): Promise<void> {
  const { directory } = engine;
  const domain = engine.tenant.builtInDomain;
  const person = (anchor: string, version: number, isActive: boolean) => ({
    id: anchor,
    name: `${anchor} v${version}`,
    username: `${anchor}-${version}@${domain}`,
    employeeId: anchor,
    department: version === 1 ? null : `D${version}`,
    isActive,
  });
  switch (one.do) {
    case 'put':
      directory.put(person(one.id, one.version, one.isActive));
      if (one.id < 'p4') second.directory.put(person(one.id, (one.version + 1) % 3, true));
      return;
    case 'delete':
      directory.people.delete(one.id);
      return;
    case 'swap': {
      const [a, b] = [directory.people.get(one.id), directory.people.get(one.with)];
      if (a === undefined || b === undefined || a === b) return;
      directory.put({ id: a.id, username: b.username ?? null }, { id: b.id, username: a.username ?? null });
      return;
    }
    case 'team':
      directory.team(one.team, one.team, one.members);
      return;
    case 'edit':
    case 'give':
      return workByHand(engine, one.do, one.id);
    case 'sync':
    case 'second':
      await (one.do === 'sync' ? engine : second).sync();
  }
}

async function workByHand(engine: Engine, what: 'edit' | 'give', anchor: string): Promise<void> {
  await database.db.tenant(engine.tenantId, async (tx) => {
    const [link] = await tx.sql<{ userId: string }[]>`
      select l.user_id as "userId" from links l join users u on u.id = l.user_id and u.status <> 'removed'
      where l.anchor = ${anchor} limit 1`;
    if (link === undefined) return;
    if (what === 'edit') {
      await tx.sql`
        update users set department = 'By hand', provenance = provenance || '{"department": "manual"}', version = version + 1, last_run_id = null
        where id = ${link.userId}`;
      return;
    }
    const { organizationId } = engine.tenant;
    await tx.sql`
      insert into grants (tenant_id, organization_id, user_id, role, source)
      values (${engine.tenantId}, ${organizationId}, ${link.userId}, 'billing_admin', 'manual') on conflict do nothing`;
    await tx.sql`
      insert into memberships (tenant_id, organization_id, user_id) values (${engine.tenantId}, ${organizationId}, ${link.userId})
      on conflict do nothing`;
  });
}

/** Executes the run with a worker that dies at that point (where it comes so far), then with one that lives. */
async function execute(engine: Engine, runId: RunId, diesAt: number | null): Promise<RunSummary> {
  const options = { signal: new AbortController().signal };
  if (diesAt !== null) {
    const { db } = addFailpoints(database.db, diesAt);
    const dying = createReconciliation({
      db,
      connectors: new Map([
        ['ldap', engine.directory.connector()],
        ['entra', engine.directory.connector()],
      ]),
      secretBox: new SecretBox(randomBytes(32)),
      nextSlot: () => '2030-01-01T00:00:00Z',
      now: () => new Date(),
      clock: systemClock,
      log: pino({ level: 'silent' }),
    });
    try {
      return await dying.executeRun(engine.tenantId, runId, options);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      // it died after the last commit: there is nothing left to do
      const run = await engine.reconciliation.getRun(engine.tenantId, runId);
      if (run.status !== 'queued' && run.status !== 'running') return run;
    }
  }
  return engine.reconciliation.executeRun(engine.tenantId, runId, options);
}

async function undo(
  engine: Engine,
  runId: RunId,
  how: { readonly userId?: UserId | undefined; readonly diesAt: number | null },
): Promise<RunSummary> {
  const { tenantId, reconciliation } = engine;
  const id = await reconciliation.requestUndo({
    tenantId,
    runId,
    requestedBy: 'test',
    mode: 'plan',
    userId: how.userId,
  });
  const planned = await execute(engine, id, how.diesAt);
  if (planned.status !== 'planned' && planned.status !== 'held') return planned;
  await reconciliation.approveRun(tenantId, id, { actor: 'test', digest: planned.digest ?? '' });
  return execute(engine, id, how.diesAt);
}

async function lastRun(engine: Engine): Promise<{ id: RunId; userIds: UserId[] } | null> {
  const [row] = await database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql<{ id: RunId; userIds: UserId[] }[]>`
      select run_id as id, array_agg(distinct user_id) as "userIds" from changes
      where state = 'applied' and op not in ('dispute', 'error') and run_id = (select max(id::text)::uuid from runs)
      group by 1`,
  );
  return row ?? null;
}

async function expectDone(engine: Engine, run: RunSummary): Promise<void> {
  const rows = await engine.changes(run.id);
  expect(rows.filter((row) => row.state !== 'applied')).toEqual([]);
  expect([run.status, run.error]).toEqual(['succeeded', null]);
}

async function check(
  engine: Engine,
  run: { id: RunId; userIds: UserId[] },
  how: { user: number | null; diesAt: number | null },
  before: Map<string, Standing>,
): Promise<void> {
  const after = await standings(engine);
  const userId = how.user === null ? undefined : run.userIds[how.user % run.userIds.length];
  const done = await undo(engine, run.id, { userId, diesAt: how.diesAt });
  const kept = (await engine.changes(done.id)).filter((row) => row.op === 'keep');
  const now = await standings(engine);
  for (const [key, standing] of now) {
    const isMeant = userId === undefined || userId === key;
    if (!isMeant) expect(standing).toEqual(after.get(key));
    else if (kept.some((row) => row.userId === key)) expect(userId).toBeDefined();
    else if (before.has(key)) expect(standing).toEqual(before.get(key));
    else expect([standing.user['status'], standing.grants, standing.memberships]).toEqual(['removed', [], []]);
  }
  if (kept.length > 0) return;
  await expectDone(engine, done);
  const again = await undo(engine, done.id, { diesAt: how.diesAt });
  await expectDone(engine, again);
  expect(await standings(engine)).toEqual(after);
}

test(
  'an undo restores everybody as they stood before the run, also where its worker dies midway',
  async () => {
    const policy = fc.constantFrom<LeaverPolicy>('keep', 'suspend', 'revoke_roles', 'remove');
    const steps = fc.array(step, { minLength: 10, maxLength: 18, size: 'max' });
    let undone = 0;
    await fc.assert(
      fc.asyncProperty(fc.noBias(steps), policy, whole, fc.boolean(), async (history, leaver, how, fromSecond) => {
        const document = {
          leaver: { policy: leaver },
          roles: [
            { everyone: 'user' },
            { group: 'staff', role: 'billing_admin' },
            { group: 'ops', role: 'view_only_admin' },
          ],
        };
        const engine = await createEngine(database.db, { document });
        const second = await engine.connect({ priority: 50, roles: [], correlation: ['employee_id'] });
        for (const team of ['staff', 'ops'] as const) engine.directory.team(team, team, []);
        for (const one of ids.slice(0, 4))
          await take(engine, second, { do: 'put', id: one, isActive: true, version: 0 });
        await engine.sync();
        for (const one of history) await take(engine, second, one);
        const before = await standings(engine);
        await (fromSecond ? second : engine).sync();
        const run = await lastRun(engine);
        if (run === null) return;
        undone += 1;
        await check(engine, run, how, before);
      }),
      { seed: 20_261_122, numRuns: scale(10, 240), endOnFailure: true },
    );
    expect(undone).toBeGreaterThan(scale(5, 100));
  },
  scale(90_000, 2_400_000),
);
