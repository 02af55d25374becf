/**
 * Random histories of a directory and of people at work in the portal: in the end everybody stands as a simple model
 * says, a further run finds nothing to do, and no role is there that no group, mapping or person gave.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { principalOf } from '../../../test/setup/people.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { createAccess } from '../../access/access.ts';
import type { UserId } from '../../core/ids.ts';
import type { GrantableRole } from '../../core/roles.ts';
import { systemClock } from '../../platform/clock.ts';

const database = useDatabase();

type Step =
  | { readonly do: 'put'; readonly id: string; readonly isActive: boolean; readonly version: number }
  | { readonly do: 'delete' | 'hide' | 'show' | 'grant' | 'exclude'; readonly id: string }
  | { readonly do: 'team'; readonly team: 'staff' | 'inner' | 'ops'; readonly members: readonly string[] }
  | { readonly do: 'sync' };

const id = fc.constantFrom('p1', 'p2', 'p3', 'p4');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      id,
      isActive: fc.constantFrom(true, true, false),
      version: fc.nat(2),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('delete', 'hide', 'show', 'grant', 'exclude' as const), id }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('team' as const),
      team: fc.constantFrom('staff', 'inner', 'ops' as const),
      members: fc.uniqueArray(fc.oneof({ weight: 4, arbitrary: id }, { weight: 1, arbitrary: fc.constant('inner') })),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ do: 'sync' as const }) },
);

type Standing = { status: 'active' | 'suspended'; name: string; given: Set<GrantableRole> };

/** What should be, told by the promises alone: one record for each user there is. */
class Model {
  readonly users = new Map<string, Standing>();
  readonly byHand = new Set<string>();
  readonly excluded = new Set<string>();

  /** What a read of this directory makes of everybody; who is hidden is there, so nothing happens. */
  sync({ directory }: Engine): void {
    const members = (team: string): ReadonlySet<string> => {
      const direct = directory.teams.get(team)?.members ?? [];
      return new Set([...direct, ...(direct.includes('inner') ? (directory.teams.get('inner')?.members ?? []) : [])]);
    };
    for (const anchor of new Set([...this.users.keys(), ...directory.people.keys()])) {
      const person = directory.people.get(anchor);
      const known = this.users.get(anchor);
      if (person === undefined) {
        if (known !== undefined) known.status = 'suspended';
        continue;
      }
      if (directory.hidden.has(anchor) || (known === undefined && person.isActive === false)) continue;
      const given = new Set<GrantableRole>();
      if (members('staff').has(anchor) && !this.excluded.has(anchor)) given.add('user');
      if (members('ops').has(anchor)) given.add('view_only_admin');
      this.users.set(anchor, {
        status: person.isActive === false ? 'suspended' : 'active',
        name: person.name ?? '',
        given,
      });
    }
  }
}

async function userIdOf(engine: Engine, anchor: string): Promise<UserId | null> {
  const [link] = await database.db.tenant(
    engine.tenantId,
    (tx) =>
      tx.sql<
        { userId: UserId }[]
      >`select user_id as "userId" from links where anchor = ${anchor} and user_id is not null`,
  );
  return link?.userId ?? null;
}

async function workByHand(engine: Engine, model: Model, what: 'grant' | 'exclude', anchor: string): Promise<void> {
  const userId = await userIdOf(engine, anchor);
  if (userId === null) return;
  const access = createAccess({ db: database.db, pepper: Buffer.alloc(32, 7), clock: systemClock });
  const operator = { ...principalOf(engine.tenantId, 'super_admin'), actor: 'operator:test' };
  const { organizationId } = engine.tenant;
  if (what === 'grant') {
    await access.grantManually(operator, { organizationId, userId, role: 'billing_admin' });
    model.byHand.add(anchor);
    return;
  }
  const standing = model.users.get(anchor);
  if (standing?.given.has('user') !== true) return;
  await access.revokeManually(operator, { organizationId, userId, role: 'user' });
  standing.given.delete('user');
  model.excluded.add(anchor);
}

async function take(engine: Engine, model: Model, step: Step): Promise<void> {
  const { directory } = engine;
  switch (step.do) {
    case 'put':
      directory.put({
        id: step.id,
        name: `${step.id} v${step.version}`,
        username: `${step.id}-${step.version}@${engine.tenant.builtInDomain}`,
        isActive: step.isActive,
      });
      return;
    case 'delete':
      directory.people.delete(step.id);
      return;
    case 'hide':
      directory.hidden.add(step.id);
      return;
    case 'show':
      directory.hidden.delete(step.id);
      return;
    case 'team':
      directory.team(step.team, step.team, step.members);
      return;
    case 'grant':
    case 'exclude':
      return workByHand(engine, model, step.do, step.id);
    case 'sync':
      await syncBoth(engine, model);
  }
}

async function syncBoth(engine: Engine, model: Model): Promise<void> {
  const run = await engine.sync();
  expect([run.status, run.error]).toEqual(['succeeded', null]);
  model.sync(engine);
}

type Row = { anchor: string; name: string; status: string; roles: string[]; isMember: boolean };

async function standingOf(engine: Engine): Promise<Row[]> {
  return database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql<Row[]>`
      select l.anchor, u.display_name as name, u.status,
        coalesce((select jsonb_agg(distinct g.role order by g.role) from grants g where g.user_id = u.id), '[]') as roles,
        exists (select 1 from memberships m where m.user_id = u.id) as "isMember"
      from users u left join links l on l.user_id = u.id order by l.anchor`,
  );
}

function expected(model: Model): Row[] {
  return [...model.users]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([anchor, { name, status, given }]) => {
      const roles = [...given, ...(model.byHand.has(anchor) ? ['billing_admin'] : [])].toSorted();
      return { anchor, name, status, roles, isMember: roles.length > 0 };
    });
}

test('after any history everybody stands as the directory and the people say, and another run finds nothing to do', async () => {
  await fc.assert(
    fc.asyncProperty(fc.noBias(fc.array(step, { minLength: 14, maxLength: 22, size: 'max' })), async (steps) => {
      const engine = await createEngine(database.db, {
        document: {
          roles: [
            { group: 'staff', role: 'user' },
            { group: 'ops', role: 'view_only_admin' },
          ],
        },
      });
      const model = new Model();
      for (const team of ['staff', 'inner', 'ops']) engine.directory.team(team, team, []);
      for (const name of ['p0', 'p1', 'p2', 'p3']) engine.directory.put({ id: name, name });
      engine.directory.team('staff', 'staff', ['p1', 'p2', 'inner']);
      engine.directory.team('ops', 'ops', ['p2', 'p3']);
      await syncBoth(engine, model);
      for (const one of steps) await take(engine, model, one);
      await syncBoth(engine, model);
      expect(await standingOf(engine)).toEqual(expected(model));
      engine.directory.hidden.clear();
      await syncBoth(engine, model);
      expect(await standingOf(engine)).toEqual(expected(model));
      expect(await engine.changes((await engine.run()).id)).toEqual([]);
    }),
    { seed: 20_261_122, numRuns: 16 },
  );
}, 60_000);
