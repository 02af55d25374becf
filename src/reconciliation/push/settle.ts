/** What follows from a push: the decision about the users it touches, carried out in its own transaction. */
import type { RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { applyPushed } from '../apply/apply.ts';
import { settlePushed } from '../apply/links.ts';
import type { OpenConnection } from '../connections/connections.ts';
import { markLeaving } from '../plan/leavers.ts';
import { queueObjectRun } from '../run/object-runs.ts';
import { applyAtOnce } from './apply-at-once.ts';
import { decideNow, decideSubjects, insertDecided, type Decided, type DecidedNow } from './decide-now.ts';
import type { PushedUsers } from './mirror-users.ts';
import { NotTogether } from './not-together.ts';
import type { OpenPush } from './open-push.ts';
import { takesWholeWay } from './whole-way.ts';

/** More affected users than this and the effects leave the request (scim.md rule 16). */
const inRequestUsers = 500;

export type Settling = {
  /** Of users whose objects are written meanwhile. */
  readonly pushed?: PushedUsers | undefined;
  /** Of several pushes that came together: the request of each. They only go together when they only add. */
  readonly requestIds?: ReadonlyMap<string, string>;
};

/** Decides and applies for these users now, or queues a run where they are many. A paused connection's effects wait. */
export async function settle(
  tx: TenantTx,
  opened: OpenPush,
  anchors: readonly string[],
  { pushed, requestIds }: Settling = {},
): Promise<void> {
  const { connection, context } = opened;
  if (anchors.length === 0 || connection.connection.status !== 'active') return;
  if (anchors.length > inRequestUsers) return queueObjectRun(tx, context.connectionId, connection.row.version);
  const { decision } = opened;
  if (decision.leaver.graceDays > 0) await markLeaving(tx, context.connectionId, decision.leaver.graceDays, anchors);
  const { subjects, decided, waiting, areNew } = await decide(tx, opened, anchors, pushed);
  if (requestIds !== undefined) mustBeApart(decided);
  const standing = subjects.flatMap(({ anchor }) => (waiting.has(anchor) ? [] : [anchor]));
  if (decided.length === 0) return tx.atEnd(settlePushed(tx, context.connectionId, standing));
  const { id: runId, isThere } = opened.standingRun;
  const requestIdOf = (anchor: string) => requestIds?.get(anchor) ?? context.requestId;
  const scope = { runId, connectionId: context.connectionId, requestIdOf, areNew };
  const prepare = async () => (isThere ? undefined : insertStandingRun(tx, connection, runId));
  if (!takesWholeWay(tx) && (await applyAtOnce(tx, scope, decided, standing, prepare))) return;
  if (requestIds !== undefined) throw new NotTogether('One of them does more than add.');
  await prepare();
  const open = await applyDecided(tx, opened, runId, decided);
  await settlePushed(
    tx,
    context.connectionId,
    standing.filter((anchor) => !open.has(anchor)),
  );
}

async function decide(
  tx: TenantTx,
  opened: OpenPush,
  anchors: readonly string[],
  pushed: PushedUsers | undefined,
): Promise<DecidedNow & { readonly areNew: boolean }> {
  const { connection, decision } = opened;
  const wanted = opened.hasGroupRules ? {} : { wanted: { desired: null, rules: opened.rules } };
  if (pushed === undefined || pushed.newcomers === null) {
    // who may be leaving was marked after the links were read beside the objects
    const objects = decision.leaver.graceDays > 0 ? undefined : pushed?.mirrored.then(({ changed }) => changed);
    const decided = await decideNow(tx, connection, decision, anchors, { ...wanted, objects });
    // what is known of the rules may be older than the roles that were read: nobody loses one by that
    const isTaking = decided.decided.some(({ drafts }) => drafts.some(({ op }) => op === 'revoke'));
    return { ...(isTaking ? await decideNow(tx, connection, decision, anchors) : decided), areNew: false };
  }
  const newUsernames = pushed.contents.flatMap(({ usernameKey }) => usernameKey ?? []);
  const subjects = await pushed.newcomers;
  if (subjects === null) {
    return { ...(await decideNow(tx, connection, decision, anchors, { ...wanted, newUsernames })), areNew: false };
  }
  const decided = await decideSubjects(tx, decision, subjects, { owners: new Map(), asked: new Set(newUsernames) });
  return { ...decided, areNew: true };
}

/** One user found for two of them: the second is decided when the first has been written. */
function mustBeApart(decided: readonly Decided[]): void {
  const users = decided.flatMap(({ drafts }) => [...new Set(drafts.map(({ userId }) => userId))]);
  const known = users.filter((userId) => userId !== null);
  if (new Set(known).size < known.length) throw new NotTogether('Two of them are one user.');
}

/** Writes the rows into the day's standing run and applies them; returns the anchors that stay open. */
async function applyDecided(
  tx: TenantTx,
  { connection, context }: OpenPush,
  runId: RunId,
  decided: readonly Decided[],
): Promise<Set<string>> {
  const scope = { runId, connectionId: context.connectionId, connectionName: connection.row.name, undone: null };
  const rows = await insertDecided(tx, { ...scope, requestId: context.requestId }, decided);
  return applyPushed(
    tx,
    scope,
    rows.map((row) => row.seq),
  );
}

async function insertStandingRun(tx: TenantTx, connection: OpenConnection, runId: RunId): Promise<void> {
  await tx.sql`
    insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by, started_at)
    values (${tx.tenantId}, ${runId}, ${connection.connection.id}, ${connection.row.version}, 'push', 'auto', 'succeeded', 'push', now())
    on conflict do nothing`;
}
