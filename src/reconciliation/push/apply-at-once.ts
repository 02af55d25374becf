/**
 * The short way of a push whose changes only add: a new user, new values, an unprivileged role. Everything is known
 * once it is decided, so the rows are written down as applied and their effects follow in the same packet, without
 * reading anything back. Whatever turns out otherwise (somebody else has the username, the user changed meanwhile)
 * gives up the transaction, and the push goes the whole way in another one.
 */
import { addRuleGrants, firstRuleGrantWrites, type GrantChange } from '../../access/access.ts';
import type { RunId } from '../../core/ids.ts';
import type { ChangeOp } from '../../core/vocabulary.ts';
import { databaseErrorCode, overtaken, writeAll, type TenantTx, type Write } from '../../db/db.ts';
import { lockUsers, moveQuotaHomes, userWrite, type UserChange } from '../../users/users.ts';
import { toGrantChange, toUserChange } from '../apply/effects.ts';
import { linkWrites, settledWrites, type LinkScope } from '../apply/links.ts';
import { appliedWrites, toNewChanges, type NewChange } from '../plan/changes.ts';
import { allSent } from './all-sent.ts';
import type { Decided } from './decide-now.ts';
import { StartOver } from './whole-way.ts';

const additions: ReadonlySet<ChangeOp> = new Set(['create', 'update', 'key', 'link', 'grant', 'quota_home']);
const valueOps = ['create', 'update', 'key'] as const;

/**
 * False: it is not that kind of push, and nothing was done. Where the world is not as it was decided, this or the end of the
 * transaction throws StartOver.
 */
export async function applyAtOnce(
  tx: TenantTx,
  scope: LinkScope & {
    readonly requestIdOf: (anchor: string) => string;
    /** All objects were made by this transaction: nothing stood beside them before. */
    readonly areNew: boolean;
  },
  decided: readonly Decided[],
  settling: readonly string[],
  /** Goes first, in the same packet. */
  prepare: () => Promise<void>,
): Promise<boolean> {
  const rows = decided.flatMap(({ subject, drafts }) =>
    toNewChanges(subject, drafts, 0).map((row) => ({ ...row, requestId: scope.requestIdOf(subject.anchor) })),
  );
  if (!rows.every((row) => additions.has(row.op))) return false;
  const made = new Set(linked(rows, 'create').map((row) => row.userId));
  const values = valueOps.flatMap((op) => {
    const changes = numbered(rows, op).flatMap((row) => toUserChange(row, op));
    return changes.length === 0 ? [] : [changes];
  });
  const grants = numbered(rows, 'grant').flatMap(toGrantChange);
  const first = grants.filter(({ userId }) => made.has(userId));
  const others = grants.filter(({ userId }) => !made.has(userId));
  const moves = numbered(rows, 'quota_home');
  const writes = [
    ...appliedWrites(tx, { ...scope, requestId: null }, rows),
    ...values.map((changes) => userWrite(tx, scope, changes)),
    ...linkWritesOf(tx, scope, decided, rows, settling),
    ...firstRuleGrantWrites(tx, scope.runId, first),
  ];
  // these two lock users and are judged by how many they wrote
  const isJudged = moves.length > 0 || others.length > 0;
  const applying = orStartOver([
    prepare(),
    lockChanged(tx, values, isJudged),
    writeAll(tx, writes),
    moveHomes(tx, scope.runId, moves),
    giveRoles(tx, scope.runId, others),
  ]);
  if (isJudged) await applying;
  else tx.atEnd(applying);
  return true;
}

async function orStartOver(work: readonly Promise<void>[]): Promise<void> {
  try {
    await allSent(work);
  } catch (error) {
    // named by its words alone: as a cause, the caller would take it for a failure of its own
    const code = databaseErrorCode(error);
    if (code === overtaken || code?.startsWith('23') === true) throw new StartOver(String(error));
    throw error;
  }
}

function linkWritesOf(
  tx: TenantTx,
  scope: LinkScope,
  decided: readonly Decided[],
  rows: readonly NewChange[],
  settling: readonly string[],
): Write[] {
  const created = linked(rows, 'create');
  const made = new Set(created.map((row) => row.anchor));
  // settling writes the link anyway, but takes back no decision about an attribute
  const settled = new Set(settling);
  const resolved = new Set(
    decided.flatMap(({ subject }) => (Object.keys(subject.link?.resolved ?? {}).length > 0 ? [subject.anchor] : [])),
  );
  const isOwnWrite = ({ anchor }: NewChange) => resolved.has(anchor) || !settled.has(anchor);
  const stood = settling.filter((anchor) => !made.has(anchor));
  return [
    ...linkWrites(tx, scope, 'create', created, true),
    ...linkWrites(tx, scope, 'link', linked(rows, 'link')),
    ...(['update', 'key'] as const).flatMap((op) => linkWrites(tx, scope, op, linked(rows, op).filter(isOwnWrite))),
    ...settledWrites(tx, scope.connectionId, stood),
  ];
}

function numbered(rows: readonly NewChange[], op: ChangeOp): NewChange[] {
  return rows.map((row, index) => ({ ...row, seq: index })).filter((row) => row.op === op);
}

function linked(rows: readonly NewChange[], op: ChangeOp) {
  return rows.filter((row) => row.op === op);
}

/**
 * One alone needs no order, where nothing locks it later, and all that is asked of it stands in its own row, which Postgres
 * looks at again.
 */
async function lockChanged(
  tx: TenantTx,
  values: readonly (readonly UserChange[])[],
  areLockedLater: boolean,
): Promise<void> {
  const known = new Set(
    values.flatMap((changes) => changes.flatMap(({ op, userId }) => (op === 'create' ? [] : [userId]))),
  );
  if (known.size > 1 || (areLockedLater && known.size > 0)) await lockUsers(tx, [...known]);
}

async function giveRoles(tx: TenantTx, runId: RunId, grants: readonly GrantChange[]): Promise<void> {
  if (grants.length > 0) mustBeAll(await addRuleGrants(tx, runId, grants), grants);
}

async function moveHomes(tx: TenantTx, runId: RunId, moves: readonly NewChange[]): Promise<void> {
  if (moves.length > 0) mustBeAll(await moveQuotaHomes(tx, runId, moves), moves);
}

function mustBeAll(done: readonly number[], wanted: readonly unknown[]): void {
  if (done.length !== wanted.length) throw new StartOver('The user changed meanwhile.');
}
