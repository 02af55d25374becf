/** One bad row stops only itself (design.md promise 7): what the database refuses is found by halving the chunk. */
import { expect, test } from 'vitest';
import { createEngine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { newId } from '../../core/ids.ts';

const database = useDatabase();

test('a row that the database refuses fails alone, with the reason, and everybody else is there', async () => {
  const engine = await createEngine(database.db);
  const { tenantId } = engine;
  const usernameOf = (n: number) => `p${n}@${engine.tenant.builtInDomain}`;
  for (let n = 1; n <= 9; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}`, username: usernameOf(n) });
  const plan = await engine.run();
  await database.db.tenant(tenantId, async (tx) => {
    for (const n of [3, 8]) {
      await tx.sql`
        insert into users (tenant_id, id, username, username_key, display_name)
        values (${tenantId}, ${newId()}, ${usernameOf(n)}, ${usernameOf(n)}, 'By hand')`;
    }
  });
  const run = await engine.approve(plan);
  expect(run.status).toBe('partly');
  const created = (await engine.changes(run.id)).filter((row) => row.op === 'create');
  expect(created.filter((row) => row.state !== 'applied').map((row) => [row.subject, row.state])).toEqual([
    ['Person 3', 'failed'],
    ['Person 8', 'failed'],
  ]);
  // in order of their names
  expect((await engine.users()).map((user) => user.name)).toEqual([
    'By hand',
    'By hand',
    ...[1, 2, 4, 5, 6, 7, 9].map((n) => `Person ${n}`),
  ]);
});
