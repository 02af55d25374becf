/** A run that dies at chosen points, is taken up again each time as the queue would, and what the tables say then. */
import postgres from 'postgres';
import type { RunId } from '../../src/core/ids.ts';
import { openDb, type Db } from '../../src/db/db.ts';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { readRows, type Rows } from '../e2e/site-rows.ts';
import { addFailpoints, Killed, type Failpoint } from './failpoints.ts';
import { cloneHistory, directoryNow, openReconciliation, type History } from './history.ts';

export type Death = { readonly rows: Rows; readonly met: readonly Failpoint[]; readonly deaths: readonly Failpoint[] };

/**
 * Executes the history's run; the first process dies at `fatal[0]`, the one that takes over at its own `fatal[1]`, and
 * so on. The last one lives.
 */
export async function dieAndRecover(history: History, fatal: readonly number[]): Promise<Death> {
  const clone = await cloneHistory(history);
  const db = openDb({ url: clone.url, max: 4 });
  try {
    const runId = await askForRun(history, db);
    const deaths: Failpoint[] = [];
    let met: readonly Failpoint[] = [];
    for (const ordinal of [...fatal, null]) {
      const life = addFailpoints(db, ordinal);
      const died = await execute(history, life.db, runId);
      met = deaths.length === 0 ? life.met : met;
      if (died === null) break;
      deaths.push(died);
      if (await hasEnded(history, db, runId)) break;
    }
    return { rows: await rowsOf(clone.url), met, deaths };
  } finally {
    await db.close();
    await clone.drop();
  }
}

async function askForRun(history: History, db: Db): Promise<RunId> {
  const reconciliation = openReconciliation(db, directoryNow(history));
  const { tenantId, connectionId, planned } = history;
  if (planned === null) {
    return reconciliation.requestRun({ tenantId, connectionId, read: 'full', mode: 'auto', requestedBy: 'test' });
  }
  await reconciliation.approveRun(tenantId, planned.id, { actor: 'test', digest: planned.digest ?? '' });
  return planned.id;
}

/** Null: it came to its end. A process that dies answers nobody, so what its calls say is not looked at. */
async function execute(history: History, db: Db, runId: RunId): Promise<Failpoint | null> {
  const reconciliation = openReconciliation(db, directoryNow(history));
  try {
    // without signs of life in between, so that the failpoints of one run are those of every run
    const rarelyMs = 600_000;
    const options = { signal: new AbortController().signal, heartbeatMs: rarelyMs, progressMs: rarelyMs };
    await reconciliation.executeRun(history.tenantId, runId, options);
    return null;
  } catch (error) {
    if (error instanceof Killed) return error.point;
    throw error;
  }
}

async function hasEnded(history: History, db: Db, runId: RunId): Promise<boolean> {
  const run = await openReconciliation(db, directoryNow(history)).getRun(history.tenantId, runId);
  return run.status !== 'queued' && run.status !== 'running';
}

async function rowsOf(url: string): Promise<Rows> {
  const sql = postgres({ ...parseDatabaseUrl(url), max: 1, onnotice: () => undefined });
  try {
    return await readRows(sql);
  } finally {
    await sql.end();
  }
}
