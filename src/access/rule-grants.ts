/**
 * access/rule-grants: the set-based grants of a run, under the lock that work by hand takes. Without it a run and a
 * person at the same user leave a grant without a membership, or give what was just excluded: neither statement sees
 * what the other has not committed (races.pg.test.ts).
 */
import type { RunId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';
import * as apply from './apply-grants.ts';
import { lockUsers } from './store.ts';

export { firstRuleGrantWrites, type GrantChange } from './apply-grants.ts';

/** Gives grants; returns the seqs that now stand. A user removed, protected or excluded meanwhile is left out. */
export async function addRuleGrants(tx: TenantTx, runId: RunId, rows: readonly apply.GrantChange[]): Promise<number[]> {
  const users = rows.map((row) => row.userId);
  // in one packet: the second statement begins when the first has its locks, and sees what was committed by then
  const [, given] = await Promise.all([lockUsers(tx, users), apply.addRuleGrants(tx, runId, rows)]);
  return given;
}

/** Takes grants; one that is gone already counts as done. A membership ends with its last grant. */
export async function removeRuleGrants(tx: TenantTx, rows: readonly apply.GrantChange[]): Promise<number[]> {
  await lockUsers(
    tx,
    rows.map((row) => row.userId),
  );
  return apply.removeRuleGrants(tx, rows);
}
