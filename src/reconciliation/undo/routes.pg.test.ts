/** Undo over HTTP, as a client sees it: the whole run, one person, what a guard holds, what is out of reach. */
import { afterEach, describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { startApi, type TestApi } from '../../../test/setup/api.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import type { OrganizationId, RunId, TenantId } from '../../core/ids.ts';
import type { Principal } from '../../platform/route.ts';
import type { RunSummary } from '../reconciliation.ts';
import { reconciliationRoutes } from '../routes.ts';

const database = useDatabase();
const open: TestApi[] = [];

afterEach(async () => {
  for (const api of open.splice(0)) await api.server.close(0);
});

const callerOf = (tenantId: TenantId, role: Principal['role']): Principal => ({
  actor: `token:${role}`,
  tenantId,
  organizationId: tenantId as string as OrganizationId,
  userId: null,
  role,
});

type Client = {
  readonly engine: Engine;
  /** Asks as an Admin unless told otherwise; a run that was queued has ended when it returns. */
  readonly ask: (
    path: string,
    body: object,
    caller?: string,
  ) => Promise<{ status: number; body: Record<string, unknown> }>;
  /** The run as it stands now. */
  readonly runOf: (body: Record<string, unknown>) => Promise<RunSummary>;
  readonly departments: () => Promise<(string | null)[]>;
};

/** Three people whom a run has just moved from Sales to Finance; `document` comes on top. */
async function moved(document: Record<string, unknown> = {}): Promise<Client & { readonly runId: RunId }> {
  const engine = await createEngine(database.db, { document });
  const { tenantId, reconciliation } = engine;
  const put = (department: string) =>
    engine.directory.put(...['a', 'b', 'c'].map((id) => ({ id, name: `Person ${id}`, department })));
  put('Sales');
  await engine.sync();
  put('Finance');
  const { id: runId } = await engine.sync();
  const other = await createTenant(database.db);
  const api = await startApi(
    reconciliationRoutes({
      reconciliation,
      dispatch: async (run) => {
        await reconciliation.executeRun(tenantId, run.runId, { signal: new AbortController().signal });
      },
    }),
    new Map([
      ['admin', callerOf(tenantId, 'admin')],
      ['viewer', callerOf(tenantId, 'view_only_admin')],
      ['stranger', callerOf(other.tenantId, 'admin')],
    ]),
  );
  open.push(api);
  return {
    engine,
    runId,
    ask: async (path, body, caller = 'admin') => {
      const headers = { authorization: `Bearer ${caller}`, 'content-type': 'application/json' };
      const answer = await fetch(api.base + path, { method: 'POST', headers, body: JSON.stringify(body) });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    },
    runOf: (body) => reconciliation.getRun(tenantId, String(body['id']) as RunId),
    departments: async () => (await engine.users()).map((user) => user.department),
  };
}

describe('POST /runs/:runId/undo', () => {
  test('plans the undo of the whole run and changes nothing until its digest is approved', async () => {
    const { runId, ask, runOf, departments, engine } = await moved();
    const asked = await ask(`/runs/${runId}/undo`, {});
    expect([asked.status, asked.body['kind'], asked.body['undoOf']]).toEqual([202, 'undo', runId]);
    const planned = await runOf(asked.body);
    expect([planned.status, await departments()]).toEqual(['planned', ['Finance', 'Finance', 'Finance']]);
    const approved = await ask(`/runs/${planned.id}/approve`, { digest: planned.digest });
    expect([approved.status, (await runOf(approved.body)).status]).toEqual([202, 'succeeded']);
    expect(await departments()).toEqual(['Sales', 'Sales', 'Sales']);
    const connection = await engine.reconciliation.findConnection(engine.tenantId, engine.connectionId);
    expect(connection.status).toBe('paused');
  });

  test('of one user takes back what the run did to them, at once where that is asked and nothing holds it', async () => {
    const { runId, ask, runOf, departments, engine } = await moved();
    const [first] = await engine.users();
    const asked = await ask(`/runs/${runId}/undo`, { userId: first?.id, apply: true, keepRunning: true });
    expect([asked.status, (await runOf(asked.body)).status]).toEqual([202, 'succeeded']);
    expect(await departments()).toEqual(['Sales', 'Finance', 'Finance']);
    const connection = await engine.reconciliation.findConnection(engine.tenantId, engine.connectionId);
    expect(connection.status).toBe('active');
  });

  test('that is to be applied at once waits where a guard holds it, or a second person must say yes', async () => {
    const strict = { emailChanges: { count: 1, percent: 0 } };
    const guarded = await createGuarded(strict);
    const held = await guarded.ask(`/runs/${guarded.runId}/undo`, { apply: true });
    expect([(await guarded.runOf(held.body)).status, await guarded.emails()]).toEqual(['held', 'new']);
    const two = await moved();
    const { reconciliation, tenantId, connectionId } = two.engine;
    const document = await reconciliation.exportConnection(tenantId, connectionId);
    await reconciliation.updateConnection('test', tenantId, connectionId, { ...document, approval: { approvers: 2 } });
    const waiting = await two.ask(`/runs/${two.runId}/undo`, { apply: true });
    expect([(await two.runOf(waiting.body)).status, (await two.departments())[0]]).toEqual(['planned', 'Finance']);
  });

  test('asked for twice leaves one plan that waits, and names it', async () => {
    const { runId, ask, runOf, engine } = await moved();
    const first = await ask(`/runs/${runId}/undo`, {});
    const second = await runOf((await ask(`/runs/${runId}/undo`, {})).body);
    expect([second.status, second.counts['sameAs']]).toEqual(['superseded', first.body['id']]);
    expect(await engine.changes(second.id)).toEqual([]);
    const waiting = await engine.reconciliation.listRuns(engine.tenantId, { status: 'planned', limit: 10 });
    expect(waiting.map((run) => run.id)).toEqual([first.body['id']]);
  });

  test('is refused in words: without the right, from another tenant, for a run that changed nothing, and running on as a whole', async () => {
    const { runId, ask, engine } = await moved();
    const nothing = await engine.run();
    const refused: readonly (readonly [string, object, string, number, string])[] = [
      [runId, {}, 'viewer', 403, 'forbidden'],
      [runId, {}, 'stranger', 404, 'not_found'],
      [nothing.id, {}, 'admin', 409, 'run_state'],
      [runId, { keepRunning: true }, 'admin', 400, 'invalid_input'],
      ['x', {}, 'admin', 404, 'not_found'],
    ];
    for (const [id, body, caller, status, code] of refused) {
      const answer = await ask(`/runs/${id}/undo`, body, caller);
      expect([answer.status, answer.body['code']], JSON.stringify(answer.body)).toEqual([status, code]);
    }
  });
});

/** Somebody whose e-mail address a person let a run change, under a guard that holds any such change. */
async function createGuarded(guards: Record<string, unknown>) {
  const client = await moved({ guards });
  const { engine } = client;
  engine.directory.put({ id: 'a', email: 'old@mail.test' });
  await engine.sync();
  engine.directory.put({ id: 'a', email: 'new@mail.test' });
  const { id: runId } = await engine.sync();
  const emails = async () => (await engine.users())[0]?.email?.split('@')[0];
  return { ...client, runId, emails };
}
