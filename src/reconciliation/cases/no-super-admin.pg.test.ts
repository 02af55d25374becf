import { beforeEach, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { addUser, principalOf } from '../../../test/setup/people.ts';
import type { UserId } from '../../core/ids.ts';

const database = useDatabase();
let engine: Engine;

beforeEach(async () => {
  engine = await createEngine(database.db, {
    document: { roles: [{ group: 'Admins', role: 'admin' }], guards: { adminGrants: 1000, joiners: { count: 1000 } } },
  });
  engine.directory.put({ id: 'ann', name: 'Ann' }, { id: 'bob', name: 'Bob' });
  engine.directory.team('admins', 'Admins', ['ann', 'bob']);
});

const operator = () => ({ ...principalOf(engine.tenantId, 'super_admin'), actor: 'operator:test' });
const openCases = () => engine.reconciliation.listCases(engine.tenantId, 'open');
const userId = async (name: string) => {
  const user = (await engine.users()).find((one) => one.name === name);
  if (user === undefined) throw new Error(`no ${name}`);
  return user.id as UserId;
};
const holder = async () => {
  const [row] = await database.db.tenant(
    engine.tenantId,
    ({ sql }) => sql<{ userId: string }[]>`select user_id as "userId" from super_admins`,
  );
  return row?.userId ?? null;
};

describe('an organization whose first Admin a directory brought', () => {
  it('has no Super Admin, one open case with the Admins, and a critical alert; a second run opens no other', async () => {
    await engine.sync();
    expect(await holder()).toBeNull();
    const cases = await openCases();
    expect(
      cases.map((found) => [
        found.kind,
        found.subject,
        found.candidates.map((one) => one.name).toSorted((a, b) => a.localeCompare(b)),
      ]),
    ).toEqual([['no_super_admin', 'Contoso', ['Ann', 'Bob']]]);
    const alerts = await database.db.tenant(
      engine.tenantId,
      ({ sql }) =>
        sql<
          { payload: { severity: string } }[]
        >`select payload from outbox_messages where type = 'organization.no_super_admin'`,
    );
    expect(alerts.map((row) => row.payload.severity)).toEqual(['critical']);
    engine.directory.put({ id: 'cid', name: 'Cid' });
    engine.directory.team('admins', 'Admins', ['ann', 'bob', 'cid']);
    await engine.sync();
    expect(await openCases()).toHaveLength(1);
  });

  it('gets one when the operator assigns it, which closes the case', async () => {
    await engine.sync();
    const [found] = await openCases();
    const ann = await userId('Ann');
    await engine.reconciliation.fillSeat(operator(), found?.id ?? '', { action: 'assign', userId: ann });
    expect(await holder()).toBe(ann);
    expect(await openCases()).toEqual([]);
    const resolved = await engine.reconciliation.listCases(engine.tenantId, 'resolved');
    expect(resolved[0]?.resolvedBy).toBe('operator:test');
  });

  it('gets one when an Admin claims it, and nobody who is no Admin can', async () => {
    await engine.sync();
    const [found] = await openCases();
    const caseId = found?.id ?? '';
    const stranger = await addUser(database.db, engine.tenantId);
    const claim = (id: UserId) =>
      engine.reconciliation.fillSeat(principalOf(engine.tenantId, 'admin', { userId: id }), caseId, {
        action: 'claim',
      });
    await expect(claim(stranger)).rejects.toMatchObject({ code: 'forbidden' });
    const bob = await userId('Bob');
    await claim(bob);
    expect(await holder()).toBe(bob);
  });

  it('that a person ignored is not asked about again, and can still be decided', async () => {
    await engine.sync();
    const [found] = await openCases();
    const caseId = found?.id ?? '';
    await engine.reconciliation.resolveCase('test', engine.tenantId, caseId, { action: 'ignore' });
    engine.directory.put({ id: 'cid', name: 'Cid' });
    engine.directory.team('admins', 'Admins', ['ann', 'bob', 'cid']);
    await engine.sync();
    expect(await openCases()).toEqual([]);
    const ann = await userId('Ann');
    await engine.reconciliation.fillSeat(operator(), caseId, { action: 'assign', userId: ann });
    expect(await holder()).toBe(ann);
  });

  it('refuses to be decided by linking or granting', async () => {
    await engine.sync();
    const [found] = await openCases();
    const decide = engine.reconciliation.resolveCase('test', engine.tenantId, found?.id ?? '', { action: 'create' });
    await expect(decide).rejects.toMatchObject({ code: 'invalid_input' });
  });
});

describe('a privileged role that a person ignored', () => {
  it('is not asked for again when the same thing is said again, and is when another role is asked for', async () => {
    engine.directory.team('admins', 'Admins', []);
    await engine.sync();
    engine.directory.team('admins', 'Admins', ['ann']);
    const { tenantId, connectionId, reconciliation } = engine;
    const provision = async () =>
      reconciliation.provisionObject({
        tenantId,
        connectionId,
        reference: 'ann',
        actor: 'test',
        signal: new AbortController().signal,
      });
    expect((await provision()).changes.map((change) => change.op)).toEqual(['dispute']);
    const [found] = await openCases();
    expect(found?.kind).toBe('privileged_grant');
    await reconciliation.resolveCase('test', tenantId, found?.id ?? '', { action: 'ignore' });
    engine.directory.put({ id: 'ann', department: 'Changed' });
    expect((await provision()).changes.map((change) => change.op)).toEqual(['update']);
    expect(await openCases()).toEqual([]);
  });

  it('is given by the person who decides so, and the empty seat is a case of its own', async () => {
    engine.directory.team('admins', 'Admins', []);
    await engine.sync();
    engine.directory.team('admins', 'Admins', ['ann']);
    const { tenantId, connectionId, reconciliation } = engine;
    const { signal } = new AbortController();
    await reconciliation.provisionObject({ tenantId, connectionId, reference: 'ann', actor: 'test', signal });
    const [found] = await openCases();
    await reconciliation.resolveCase('test', tenantId, found?.id ?? '', { action: 'grant' });
    expect((await openCases()).map((one) => one.kind)).toEqual(['no_super_admin']);
  });
});
