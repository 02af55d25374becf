/** An erasure: two operators, and only for whom no directory vouches any more. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import type { UserId } from '../../core/ids.ts';
import type { Erasure } from '../reconciliation.ts';

const database = useDatabase();

/** Ids that say nothing of the name. */
const idOf = (name: string) => `o-${name.charCodeAt(0)}`;

/** Ann, whom the directory deleted; Dan, whom it disabled; Bob, who is there. */
async function withLeaver(): Promise<
  Engine & { erase(who: string, actor: string, reason?: string): Promise<Erasure> }
> {
  const engine = await createEngine(database.db);
  for (const name of ['Ann', 'Bob', 'Dan']) {
    engine.directory.put({
      id: idOf(name),
      name,
      username: `${name}@${engine.tenant.builtInDomain}`,
      email: `${name}@mail.test`,
    });
  }
  await engine.sync();
  engine.directory.people.delete(idOf('Ann'));
  engine.directory.put({ id: idOf('Dan'), isActive: false });
  await engine.sync();
  return {
    ...engine,
    erase: async (who, actor, reason = 'asked for by mail') => {
      const user = (await engine.users()).find((one) => one.name === who);
      const userId = (user?.id ?? '') as UserId;
      return engine.reconciliation.eraseUser({ tenantId: engine.tenantId, userId, actor, reason });
    },
  };
}

const names = async (engine: Engine) => (await engine.users()).map((user) => user.name);

describe('an erasure', () => {
  test('shows what would go, and is done when another operator asks for it too', async () => {
    const engine = await withLeaver();
    const asked = await engine.erase('Ann', 'operator:ada');
    expect(asked).toMatchObject({ name: 'Ann', isDone: false, rows: { links: 1, roles: 1, exclusions: 0 } });
    expect(await names(engine)).toContain('Ann');
    await expect(engine.erase('Ann', 'operator:ada')).rejects.toMatchObject({ code: 'second_approver' });
    const done = await engine.erase('Ann', 'operator:eve');
    expect(done).toMatchObject({ isDone: true, requestedBy: 'operator:ada' });
    expect(await names(engine)).toEqual(['Bob', 'Dan']);
    const left = await database.db.tenant(engine.tenantId, async (tx) => [
      await tx.sql`select to_jsonb(c)::text from changes c`,
      await tx.sql`select to_jsonb(m)::text from mirror_objects m`,
      await tx.sql`select to_jsonb(l)::text from links l`,
    ]);
    expect(JSON.stringify(left)).not.toMatch(/ann/i);
    const told = await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`select actor, action from audit_events where action like 'user.eras%' order by at`,
    );
    expect(told).toEqual([
      { actor: 'operator:ada', action: 'user.erasure_requested' },
      { actor: 'operator:eve', action: 'user.erased' },
    ]);
    expect(await engine.changes((await engine.run()).id)).toEqual([]);
  });

  test('that was asked for more than 72 hours ago is asked for anew', async () => {
    const engine = await withLeaver();
    const ann = (await engine.users()).find((user) => user.name === 'Ann')?.id ?? '';
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        insert into audit_events (tenant_id, actor, action, target, at)
        values (${engine.tenantId}, 'operator:old', 'user.erasure_requested', ${`user:${ann}`}, now() - interval '73 hours')`,
    );
    expect((await engine.erase('Ann', 'operator:ada')).isDone).toBe(false);
    expect(await names(engine)).toContain('Ann');
  });

  test('is refused for who is active, still in a directory, or protected, without a reason, and to who is no operator', async () => {
    const engine = await withLeaver();
    await expect(engine.erase('Bob', 'operator:ada')).rejects.toThrow(/Bob is active/);
    await expect(engine.erase('Dan', 'operator:ada')).rejects.toThrow(/in a directory still/);
    await expect(engine.erase('Ann', 'token:admin')).rejects.toMatchObject({ code: 'forbidden' });
    await expect(engine.erase('Ann', 'operator:ada', ' ')).rejects.toMatchObject({ code: 'invalid_input' });
    const { tenantId: elsewhere } = await createTenant(database.db);
    const userId = ((await engine.users())[0]?.id ?? '') as UserId;
    const request = { tenantId: elsewhere, userId, actor: 'operator:ada', reason: 'x' };
    await expect(engine.reconciliation.eraseUser(request)).rejects.toMatchObject({ code: 'not_found' });
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update users set is_protected = true where display_name = 'Ann'`,
    );
    await expect(engine.erase('Ann', 'operator:ada')).rejects.toThrow(/Ann is protected/);
  });
});
