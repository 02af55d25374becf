/** Approvals by one person or by two: whose word counts, for what, and how long. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { travel } from '../../../test/fakes/travel.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { RunSummary } from '../reconciliation.ts';

const database = useDatabase();
const refused = (code: ErrorCode) => (error: unknown) => isRollcallError(error, code);

async function waiting(
  document: Record<string, unknown> = { approval: { approvers: 2 } },
): Promise<[Engine, RunSummary]> {
  const engine = await createEngine(database.db, { document });
  engine.directory.put({ id: 'p1', name: 'Ann' });
  return [engine, await engine.run()];
}

function approve(engine: Engine, run: RunSummary, actor: string, overrideReason?: string) {
  const approval = { actor, digest: run.digest ?? '', overrideReason };
  return engine.reconciliation.approveRun(engine.tenantId, run.id, approval);
}

async function statusOf(engine: Engine, run: RunSummary): Promise<string> {
  return (await engine.reconciliation.getRun(engine.tenantId, run.id)).status;
}

describe('a connection that asks for two persons', () => {
  test('applies nothing until the second approves the same plan', async () => {
    const [engine, run] = await waiting();
    expect(await approve(engine, run, 'token:ada')).toMatchObject({ isQueued: false });
    expect(await statusOf(engine, run)).toBe('planned');
    expect(await approve(engine, run, 'token:bob')).toMatchObject({ isQueued: true });
    const approved = await engine.reconciliation.getRun(engine.tenantId, run.id);
    expect([approved.status, approved.approvedBy]).toEqual(['queued', 'token:ada, token:bob']);
    expect(approved.approvals.map((one) => [one.actor, one.digest])).toEqual([
      ['token:ada', run.digest],
      ['token:bob', run.digest],
    ]);
  });

  test('does not take the second word from who gave the first, nor from who asked for the run', async () => {
    const [engine, run] = await waiting();
    await approve(engine, run, 'token:ada');
    await expect(approve(engine, run, 'token:ada')).rejects.toSatisfy(refused('second_approver'));
    // the runs of this engine are asked for by `test`
    await expect(approve(engine, run, 'test')).rejects.toSatisfy(refused('second_approver'));
    expect(await statusOf(engine, run)).toBe('planned');
  });

  test('may get its first word from who asked for the run', async () => {
    const [engine, run] = await waiting();
    await approve(engine, run, 'test');
    expect(await approve(engine, run, 'token:bob')).toMatchObject({ isQueued: true });
  });

  test('forgets the first word after 72 hours', async () => {
    const [engine, run] = await waiting();
    await approve(engine, run, 'token:ada');
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`
        update runs set approvals = jsonb_set(approvals, '{0,at}', to_jsonb(now() - interval '73 hours')) where id = ${run.id}`,
    );
    expect(await approve(engine, run, 'token:bob')).toMatchObject({ isQueued: false });
    expect(await statusOf(engine, run)).toBe('planned');
    await travel(database.db, engine.tenantId, 4);
    await expect(approve(engine, run, 'token:ada')).rejects.toSatisfy(refused('approval_expired'));
  });

  test('does not count a word that was given for another digest', async () => {
    const [engine, run] = await waiting();
    await approve(engine, run, 'token:ada');
    await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql`update runs set approvals = jsonb_set(approvals, '{0,digest}', '"other"') where id = ${run.id}`,
    );
    expect(await approve(engine, run, 'token:bob')).toMatchObject({ isQueued: false });
  });

  test('is overridden by the operator of the host alone, and the audit has the reason', async () => {
    const [engine, run] = await waiting();
    await expect(approve(engine, run, 'token:ada', 'in a hurry')).rejects.toSatisfy(refused('forbidden'));
    await expect(approve(engine, run, 'operator:root', ' ')).rejects.toSatisfy(refused('invalid_input'));
    expect(await approve(engine, run, 'operator:root', 'Bob is ill')).toMatchObject({ isQueued: true });
    const events = await database.db.tenant(
      engine.tenantId,
      (tx) => tx.sql<{ actor: string; details: Record<string, unknown> }[]>`
        select actor, details from audit_events where action = 'run.approved'`,
    );
    expect(events).toMatchObject([{ actor: 'operator:root', details: { overrideReason: 'Bob is ill', approvers: 2 } }]);
  });

  test('stops an undo at its plan, also one that would apply at once', async () => {
    const engine = await createEngine(database.db, { document: { approval: { approvers: 2 } } });
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const run = await engine.run();
    await approve(engine, run, 'token:ada');
    await approve(engine, run, 'token:bob');
    const { tenantId, reconciliation } = engine;
    const options = { signal: new AbortController().signal };
    await reconciliation.executeRun(tenantId, run.id, options);
    const undo = await reconciliation.requestUndo({ tenantId, runId: run.id, requestedBy: 'test', mode: 'auto' });
    const planned = await reconciliation.executeRun(tenantId, undo, options);
    expect(['planned', 'held']).toContain(planned.status);
  });
});

test('without such a policy one person is enough, whoever asked for the run', async () => {
  const [engine, run] = await waiting({});
  expect(await approve(engine, run, 'test')).toMatchObject({ isQueued: true });
});
