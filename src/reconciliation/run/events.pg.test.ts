/** A run as server-sent events: over real HTTP, with the worker beside it. */
import { afterEach, describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { startApi, type TestApi } from '../../../test/setup/api.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import { silentLogger } from '../../../test/setup/people.ts';
import type { OrganizationId, RunId, TenantId } from '../../core/ids.ts';
import { systemClock } from '../../platform/clock.ts';
import type { Principal } from '../../platform/route.ts';
import type { RunSummary } from '../reconciliation.ts';
import { reconciliationRoutes } from '../routes.ts';
import { createRunWatcher } from './watch-runs.ts';

const database = useDatabase();
const open: TestApi[] = [];

afterEach(async () => {
  for (const api of open.splice(0)) await api.server.close(0);
});

type Event = { readonly id: string; readonly event: string; readonly data: Record<string, unknown> };

const principalOf = (tenantId: TenantId, role: Principal['role'] = 'view_only_admin'): Principal => ({
  actor: `token:${tenantId}`,
  tenantId,
  organizationId: tenantId as string as OrganizationId,
  userId: null,
  role,
});

async function serve(engine: Engine): Promise<TestApi> {
  const other = await createTenant(database.db);
  const callers = new Map([
    ['ours', principalOf(engine.tenantId)],
    ['theirs', principalOf(other.tenantId, 'admin')],
    ['user', principalOf(engine.tenantId, 'user')],
  ]);
  const routes = reconciliationRoutes({ reconciliation: engine.reconciliation, dispatch: () => Promise.resolve() });
  const api = await startApi(routes, callers);
  open.push(api);
  return api;
}

const eventsOf = (api: TestApi, runId: RunId, headers: Record<string, string> = {}) =>
  fetch(`${api.base}/runs/${runId}/events`, { headers: { authorization: 'Bearer ours', ...headers } });

function parseEvents(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('id: '))
    .map((block) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
      return { id: field('id'), event: field('event'), data: JSON.parse(field('data')) as Event['data'] };
    });
}

/** A run that stands in the middle of its read until `goOn`. */
async function startStandingRun(
  engine: Engine,
): Promise<{ runId: RunId; ended: Promise<RunSummary>; goOn: () => void }> {
  const { reconciliation, tenantId, connectionId } = engine;
  const gate = Promise.withResolvers<void>();
  const isThere = Promise.withResolvers<void>();
  engine.directory.beforeEvent = (index) => {
    if (index < 501) return Promise.resolve();
    isThere.resolve();
    return gate.promise;
  };
  for (let n = 0; n < 600; n += 1) engine.directory.put({ id: `p${n}`, name: `Person ${n}` });
  const wish = { tenantId, connectionId, read: 'full', mode: 'plan', requestedBy: 'test' } as const;
  const runId = await reconciliation.requestRun(wish);
  const { signal } = new AbortController();
  const ended = reconciliation.executeRun(tenantId, runId, { signal, progressMs: 20 });
  await isThere.promise;
  return { runId, ended, goOn: () => gate.resolve() };
}

describe('the events of a run', () => {
  test('tell phase, counts and rate while it is under way, and its end, and then the stream ends', async () => {
    const engine = await createEngine(database.db);
    const api = await serve(engine);
    const { runId, ended, goOn } = await startStandingRun(engine);
    const response = await eventsOf(api, runId);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const readUntil = async (wanted: RegExp): Promise<void> => {
      while (!wanted.test(text)) {
        const chunk = await reader?.read();
        if (chunk?.done !== false) throw new Error(`ended before ${String(wanted)}: ${text}`);
        text += chunk.value;
      }
    };
    await readUntil(/"done":500/);
    expect(text).toMatch(/^retry: 3000\n\n/);
    expect(parseEvents(text).at(-1)).toMatchObject({
      event: 'progress',
      data: { runId, status: 'running', phase: 'fetch', progress: { done: 500, total: null } },
    });
    goOn();
    await ended;
    await readUntil(/event: end/);
    expect((await reader?.read())?.done).toBe(true);
    expect(parseEvents(text).at(-1)).toMatchObject({ event: 'end', data: { status: 'planned', progress: null } });
    const ids = parseEvents(text).map((event) => event.id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('go on after the id that was seen last, and a client that saw the end is told not to come again', async () => {
    const engine = await createEngine(database.db);
    const api = await serve(engine);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const run = await engine.run();
    const [end] = parseEvents(await (await eventsOf(api, run.id)).text());
    expect(end?.event).toBe('end');
    const again = await eventsOf(api, run.id, { 'last-event-id': end?.id ?? '' });
    expect(again.status).toBe(204);
    const stranger = await eventsOf(api, run.id, { 'last-event-id': 'something-else' });
    expect(parseEvents(await stranger.text())).toEqual([end]);
  });

  test('are for those who may see the run: another tenant finds nothing, and a plain user is refused', async () => {
    const engine = await createEngine(database.db);
    const api = await serve(engine);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const run = await engine.run();
    expect((await eventsOf(api, run.id, { authorization: 'Bearer theirs' })).status).toBe(404);
    expect((await eventsOf(api, run.id, { authorization: 'Bearer user' })).status).toBe(403);
    expect((await eventsOf(api, run.id, { authorization: 'Bearer nobody' })).status).toBe(401);
  });

  test('end when the process stops, so that the server closes well within two seconds', async () => {
    const engine = await createEngine(database.db);
    const api = await serve(engine);
    const { runId, ended, goOn } = await startStandingRun(engine);
    const response = await eventsOf(api, runId);
    const text = response.text();
    await expect
      .poll(async () => (await engine.reconciliation.getRun(engine.tenantId, runId)).progress?.done)
      .toBe(500);
    api.stopping.abort();
    const startedAt = performance.now();
    await api.server.close(2000);
    expect(performance.now() - startedAt).toBeLessThan(1500);
    // ended, not cut: fetch would throw
    expect(await text).toMatch(/^retry/);
    goOn();
    await ended;
  });
});

describe('a watcher of runs', () => {
  test('asks the database once for all listeners, and stops asking when nobody listens', async () => {
    const engine = await createEngine(database.db);
    const { runId, ended, goOn } = await startStandingRun(engine);
    let looks = 0;
    const db = {
      ...database.db,
      engine: ((work) => {
        looks += 1;
        return database.db.engine(work);
      }) as typeof database.db.engine,
    };
    const watcher = createRunWatcher({ db, clock: systemClock, log: silentLogger, everyMs: 20, silenceMs: 30 });
    const leaving = new AbortController();
    const seen = await Promise.all(
      Array.from({ length: 20 }, async () => {
        for await (const state of watcher.watch(engine.tenantId, runId, leaving.signal)) {
          if (state?.progress?.done === 500) return state.id;
        }
        return null;
      }),
    );
    expect(new Set(seen).size).toBe(1);
    expect(looks).toBeLessThan(20);
    const before = looks;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(looks - before).toBeLessThanOrEqual(1);
    goOn();
    await ended;
  });

  test('says that it is still there while nothing happens, and refuses more listeners than its limit', async () => {
    const engine = await createEngine(database.db);
    const { runId, ended, goOn } = await startStandingRun(engine);
    const options = { db: database.db, clock: systemClock, log: silentLogger };
    const watcher = createRunWatcher({ ...options, everyMs: 10, silenceMs: 20, listenersMax: 1 });
    const leaving = new AbortController();
    const states = watcher.watch(engine.tenantId, runId, leaving.signal);
    expect(() => watcher.watch(engine.tenantId, runId, leaving.signal)).toThrow(/listeners watch runs already/);
    for await (const state of states) if (state === null) break;
    // the place is free again
    const after = watcher.watch(engine.tenantId, runId, leaving.signal);
    leaving.abort();
    for await (const state of after) expect(state).toBeUndefined();
    goOn();
    await ended;
  });

  test('shows nothing of a run to a listener who names another tenant', async () => {
    const engine = await createEngine(database.db);
    const other = await createTenant(database.db);
    engine.directory.put({ id: 'p1', name: 'Ann' });
    const run = await engine.run();
    const options = { db: database.db, clock: systemClock, log: silentLogger };
    const watcher = createRunWatcher({ ...options, everyMs: 10, silenceMs: 60 });
    for await (const state of watcher.watch(other.tenantId, run.id, AbortSignal.timeout(200))) expect(state).toBeNull();
  });
});

describe('what a directory makes us wait for', () => {
  test('is seen by who watches the run', async () => {
    const engine = await createEngine(database.db);
    const connector = engine.directory.connector();
    const gate = Promise.withResolvers<void>();
    const waiting = await createEngine(database.db, {
      connector: {
        ...connector,
        read: async function* (request) {
          request.onWait?.('Waiting 40 s for Microsoft (users): 429');
          await gate.promise;
          yield { type: 'complete', mode: 'full', cursor: null };
        },
      },
    });
    const { reconciliation, tenantId, connectionId } = waiting;
    const wish = { tenantId, connectionId, read: 'full', mode: 'plan', requestedBy: 'test' } as const;
    const runId = await reconciliation.requestRun(wish);
    const ended = reconciliation.executeRun(tenantId, runId, { signal: new AbortController().signal, progressMs: 20 });
    await expect
      .poll(async () => (await reconciliation.getRun(tenantId, runId)).progress?.message)
      .toBe('Waiting 40 s for Microsoft (users): 429');
    gate.resolve();
    expect((await ended).progress).toBeNull();
  });
});
