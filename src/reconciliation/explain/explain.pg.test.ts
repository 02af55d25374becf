import { beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { addSubOrganization } from '../../../test/setup/people.ts';
import type { ConnectionId, UserId } from '../../core/ids.ts';
import type { ObjectExplanation } from './explain-object.ts';

const database = useDatabase();
let engine: Engine;

const quiet = { adminGrants: 1000, joiners: { count: 1000 } };

beforeEach(async () => {
  engine = await createEngine(database.db, {
    document: {
      roles: [{ group: 'All Staff', role: 'user', precedence: 7 }],
      scope: 'object.department != "Robots"',
      guards: quiet,
    },
  });
  const { directory } = engine;
  directory.put(
    {
      id: 'ann',
      username: `ann@${engine.tenant.builtInDomain}`,
      email: 'ann@x.test',
      name: 'Ann Arbor',
      department: 'Sales',
    },
    { id: 'bob', username: `bob@${engine.tenant.builtInDomain}`, name: 'Bob Builder', department: 'Robots' },
  );
  directory.team('berlin', 'Berlin', ['ann']);
  directory.team('germany', 'Germany', ['berlin']);
  directory.team('staff', 'All Staff', ['germany']);
  // a cycle ends
  directory.team('berlin', 'Berlin', ['ann', 'staff']);
});

const stepOf = (explanation: ObjectExplanation, name: string) => {
  const step = explanation.steps.find((one) => one.step === name);
  if (step === undefined) throw new Error(`no step ${name}`);
  return step;
};

async function counts(): Promise<unknown> {
  return database.db.tenant(
    engine.tenantId,
    (tx) => tx.sql`
      select (select count(*) from changes)::int as changes, (select count(*) from users)::int as users, (select count(*) from cases)::int as cases,
        (select count(*) from runs)::int as runs, (select coalesce(sum(version), 0) from links)::int as links, (select count(*) from audit_events)::int as audit`,
  );
}

describe('explain of an object', () => {
  it('that is not linked yet tells all six steps with input, rule, version and outcome, and changes nothing', async () => {
    await engine.run('plan');
    const before = await counts();
    const found = await engine.reconciliation.explainObject(engine.tenantId, engine.connectionId, 'Ann Arbor');
    expect(await counts()).toEqual(before);
    expect(found.steps.map((step) => step.step)).toEqual(['import', 'scope', 'match', 'map', 'decide', 'act']);
    expect(found.steps.every((step) => step.ruleVersion === 1 && step.outcome !== '')).toBe(true);
    expect(found.userId).toBeNull();
    expect(stepOf(found, 'import').outcome).toMatch(/^There and active/);
    expect(stepOf(found, 'scope')).toMatchObject({ input: 'department = Sales', outcome: 'In scope.' });
    expect(stepOf(found, 'match').outcome).toBe('Not linked; no user matches.');
    expect(stepOf(found, 'map').lines).toContainEqual({
      what: 'email',
      input: 'email = ann@x.test',
      rule: 'object.email (authoritative, empty: clear)',
      outcome: 'ann@x.test',
    });
    expect(stepOf(found, 'decide').lines).toContainEqual(
      expect.objectContaining({
        what: 'role user in Contoso',
        input: 'in Berlin > Germany > All Staff',
        rule: expect.stringContaining('precedence 7') as string,
        outcome: 'to be given',
      }),
    );
    const act = stepOf(found, 'act');
    expect(act.lines.map((line) => line.what)).toEqual(expect.arrayContaining(['create', 'grant user in Contoso']));
    expect(act.outcome).toMatch(/Run \S+ waits for approval/);
  });

  it('says what the run then does: the steps are those of the plan', async () => {
    const run = await engine.run('plan');
    expect(run).toMatchObject({ status: 'planned', error: null });
    const found = await engine.reconciliation.explainObject(engine.tenantId, engine.connectionId, 'ann');
    const planned = (await engine.changes(run.id))
      .filter((change) => change.anchor === 'ann')
      .map((change) => change.reason);
    const told = stepOf(found, 'act').lines.filter((line) => line.rule === null || line.rule.startsWith('rule:'));
    expect(told.map((line) => line.outcome).toSorted()).toEqual(planned.toSorted());
  });

  it('names the scope that keeps it out', async () => {
    await engine.run('plan');
    const found = await engine.reconciliation.explainObject(engine.tenantId, engine.connectionId, 'bob');
    expect(stepOf(found, 'scope')).toMatchObject({ input: 'department = Robots', outcome: 'Out of scope.' });
    expect(stepOf(found, 'act').outcome).toBe('Nothing to do.');
  });

  it('refuses a name that several have, naming them, and one that nobody has', async () => {
    engine.directory.put({ id: 'ann2', name: 'Ann Arbor', department: 'Sales' });
    await engine.run('plan');
    const explain = (name: string) => engine.reconciliation.explainObject(engine.tenantId, engine.connectionId, name);
    await expect(explain('Ann Arbor')).rejects.toThrow(/\(ann\).*\(ann2\)/);
    await expect(explain('nobody')).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('explain of a user', () => {
  it('names object, rule version, run and input of each value, and the way through the groups of each role', async () => {
    const run = await engine.sync();
    const explanation = await engine.reconciliation.explainUser(engine.tenantId, 'Ann Arbor');
    const department = explanation.attributes.find((one) => one.attribute === 'department');
    expect(department).toMatchObject({
      value: 'Sales',
      anchor: 'ann',
      rule: expect.stringContaining('object.department') as string,
      ruleVersion: 1,
      input: 'department = Sales',
      runId: run.id,
    });
    expect(explanation.grants).toContainEqual(
      expect.objectContaining({
        role: 'user',
        runId: run.id,
        ruleVersion: 1,
        precedence: 7,
        anchor: 'ann',
        groups: 'Berlin > Germany > All Staff',
      }),
    );
    expect(explanation.objects).toHaveLength(1);
    expect(explanation.user.quotaHomeSource).toBe('where the user was first added');
  });

  it('names protection and its reason, exclusions and who said so, and a hold', async () => {
    await engine.sync();
    const { tenantId, tenant, reconciliation } = engine;
    const ann = (await engine.users()).find((user) => user.name === 'Ann Arbor');
    await database.db.tenant(tenantId, async ({ sql }) => {
      await sql`insert into exclusions (tenant_id, id, organization_id, user_id, reason, created_by)
        values (${tenantId}, gen_random_uuid(), ${tenant.organizationId}, ${ann?.id as UserId}, 'Works elsewhere', 'user:boss')`;
      await sql`update users set is_protected = true, protected_by = 'user:boss', protected_reason = 'Break-glass' where id = ${ann?.id as UserId}`;
    });
    const explained = await reconciliation.explainUser(tenantId, 'Ann Arbor');
    expect(explained.user).toMatchObject({ protectedBy: 'user:boss', protectedReason: 'Break-glass' });
    const [object] = explained.objects;
    if (object === undefined) throw new Error('no object');
    expect(stepOf(object, 'decide').outcome).toMatch(/protected/);
    expect(stepOf(object, 'decide').lines).toContainEqual(
      expect.objectContaining({ outcome: 'withheld: excluded by user:boss: Works elsewhere' }),
    );
    await database.db.tenant(tenantId, ({ sql }) => sql`update links set state = 'held', reason = 'Run x was undone.'`);
    const held = await reconciliation.explainObject(tenantId, engine.connectionId, 'ann');
    expect(stepOf(held, 'match').outcome).toMatch(/held: Run x was undone/);
    expect(stepOf(held, 'decide').outcome).toBe('Nothing: the link is held.');
  });

  it('ends where groups contain each other and the mapped one is no longer among them', async () => {
    await engine.sync();
    engine.directory.team('berlin', 'Berlin', ['ann', 'spandau']);
    engine.directory.team('spandau', 'Spandau', ['berlin']);
    engine.directory.team('staff', 'All Staff', ['bob']);
    await engine.run('plan');
    const explanation = await engine.reconciliation.explainUser(engine.tenantId, 'Ann Arbor');
    expect(explanation.grants.map((grant) => [grant.role, grant.groups])).toEqual([['user', null]]);
    const [object] = explanation.objects;
    if (object === undefined) throw new Error('no object');
    expect(stepOf(object, 'decide').lines).toContainEqual(
      expect.objectContaining({ what: 'role user in Contoso', outcome: 'to be revoked: Left the group All Staff.' }),
    );
  });

  it('tells the last change of a value, not an earlier one', async () => {
    await engine.sync();
    for (const department of ['A', 'B', 'C', 'D']) {
      engine.directory.put({ id: 'ann', department });
      await engine.sync();
    }
    const explanation = await engine.reconciliation.explainUser(engine.tenantId, 'Ann Arbor');
    expect(explanation.attributes.find((one) => one.attribute === 'department')).toMatchObject({
      value: 'D',
      input: 'department = D',
    });
  });
});

describe('groups that no mapping names', () => {
  it('are listed with their members, the mapped ones are not, and those below one are marked', async () => {
    engine.directory.team('choir', 'Choir', ['ann', 'bob']);
    await engine.sync();
    const connectionIds: ConnectionId[] = [engine.connectionId];
    const groups = await engine.reconciliation.listUnmappedGroups(engine.tenantId, { connectionIds, limit: 10 });
    expect(groups.map(({ name, members, isNested }) => [name, members, isNested])).toEqual([
      ['Berlin', 2, true],
      ['Choir', 2, false],
      ['Germany', 1, true],
    ]);
  });
});

describe('a quota home', () => {
  it('follows the mapping of highest precedence through run, changed precedence and end of the mapping', async () => {
    const { tenantId, tenant } = engine;
    const emea = await addSubOrganization(database.db, tenantId, tenant.organizationId);
    const apac = await addSubOrganization(database.db, tenantId, tenant.organizationId);
    const paths = { emea: `${tenant.slug}/${emea}`, apac: `${tenant.slug}/${apac}` };
    const roles = (first: number, second: number) => [
      { group: 'All Staff', role: 'user' },
      { group: 'Germany', role: 'user', organization: paths.emea, precedence: first },
      { group: 'Berlin', role: 'user', organization: paths.apac, precedence: second },
    ];
    const save = (wanted: readonly unknown[]) =>
      engine.reconciliation.updateConnection('test', tenantId, engine.connectionId, {
        name: 'Directory',
        kind: 'ldap',
        organization: tenant.slug,
        ceiling: 'admin',
        roles: wanted,
      });
    const home = async () => {
      const [row] = await database.db.tenant(
        tenantId,
        (tx) => tx.sql<{ home: string | null; source: string }[]>`
          select quota_home_id as home, provenance ->> 'quotaHome' as source from users where display_name = 'Ann Arbor'`,
      );
      return row;
    };
    await save(roles(10, 20));
    const first = await engine.sync();
    expect((await home())?.home).toBe(emea);
    const moved = (await engine.changes(first.id)).find((change) => change.op === 'quota_home');
    expect(moved).toMatchObject({ state: 'applied', before: { quotaHome: null }, after: { quotaHome: emea } });

    await save(roles(30, 20));
    const second = await engine.sync();
    expect((await engine.changes(second.id)).map((change) => change.op)).toEqual(['quota_home']);
    expect((await home())?.home).toBe(apac);

    const third = await engine.sync();
    expect(await engine.changes(third.id)).toEqual([]);

    await save([{ group: 'All Staff', role: 'user' }]);
    await engine.sync();
    expect(await home()).toEqual({ home: null, source: 'first' });
  });
});
