/**
 * The short way of a push whose changes only add: a new user, new values, an unprivileged role. Everything is known
 * once it is decided, so the rows are written down as applied and their effects follow in the same packet, without
 * reading anything back. Whatever turns out otherwise (somebody else has the username, the user changed meanwhile)
 * gives up the transaction, and the push goes the whole way in another one.
 */
import { addFirstRuleGrants, addRuleGrants } from '../../access/access.ts';
import type { RunId, UserId } from '../../core/ids.ts';
import type { ChangeOp } from '../../core/vocabulary.ts';
import { databaseErrorCode } from '../../db/db.ts';
import type { TenantTx } from '../../db/db.ts';
import { applyUserChanges, moveQuotaHomes } from '../../users/users.ts';
import { toGrantChange, toUserChange } from '../apply/effects.ts';
import { settlePushed, writeLinks, type LinkScope } from '../apply/links.ts';
import { insertApplied, toNewChanges, type NewChange } from '../plan/changes.ts';
import { allSent } from './all-sent.ts';
import type { Decided } from './decide-now.ts';
import { StartOver } from './whole-way.ts';

const additions: ReadonlySet<ChangeOp> = new Set(['create', 'update', 'key', 'link', 'grant', 'quota_home']);
const valueOps = ['create', 'update', 'key'] as const;

/** False: it is not that kind of push, and nothing was done. Throws StartOver where the world is not as it was decided. */
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
  const created = new Set(linked(rows, 'create').map((row) => row.anchor));
  // settling writes the link anyway, but takes back no decision about an attribute
  const settled = new Set(settling);
  const resolved = new Set(
    decided.flatMap(({ subject }) => (Object.keys(subject.link?.resolved ?? {}).length > 0 ? [subject.anchor] : [])),
  );
  const isOwnWrite = ({ anchor }: NewChange) => resolved.has(anchor) || !settled.has(anchor);
  try {
    await allSent([
      prepare(),
      insertApplied(tx, { ...scope, requestId: null }, rows),
      ...valueOps.map((op) => writeValues(tx, scope, op, rows)),
      writeLinks(tx, scope, 'create', linked(rows, 'create'), true),
      writeLinks(tx, scope, 'link', linked(rows, 'link')),
      ...(['update', 'key'] as const).map((op) => writeLinks(tx, scope, op, linked(rows, op).filter(isOwnWrite))),
      moveHomes(tx, scope.runId, rows),
      giveRoles(tx, scope.runId, rows, new Set(linked(rows, 'create').map((row) => row.userId))),
      settlePushed(
        tx,
        scope.connectionId,
        settling.filter((anchor) => !created.has(anchor)),
      ),
    ]);
    return true;
  } catch (error) {
    // named by its words alone: as a cause, the caller would take it for a failure of its own
    if (databaseErrorCode(error)?.startsWith('23') === true) throw new StartOver(String(error));
    throw error;
  }
}

function numbered(rows: readonly NewChange[], op: ChangeOp): NewChange[] {
  return rows.map((row, index) => ({ ...row, seq: index })).filter((row) => row.op === op);
}

function linked(rows: readonly NewChange[], op: ChangeOp) {
  return rows.filter((row) => row.op === op);
}

function mustBeAll(done: readonly number[], wanted: readonly unknown[]): void {
  if (done.length !== wanted.length) throw new StartOver('The user changed meanwhile.');
}

async function writeValues(
  tx: TenantTx,
  scope: LinkScope,
  op: (typeof valueOps)[number],
  rows: readonly NewChange[],
): Promise<void> {
  const changes = numbered(rows, op).flatMap((row) => toUserChange(row, op));
  if (changes.length > 0) mustBeAll(await applyUserChanges(tx, scope, changes), changes);
}

async function giveRoles(
  tx: TenantTx,
  runId: RunId,
  rows: readonly NewChange[],
  created: ReadonlySet<UserId | null>,
): Promise<void> {
  const grants = numbered(rows, 'grant').flatMap(toGrantChange);
  const [first, others] = [
    grants.filter(({ userId }) => created.has(userId)),
    grants.filter(({ userId }) => !created.has(userId)),
  ];
  const giveOthers = async () => {
    if (others.length > 0) mustBeAll(await addRuleGrants(tx, runId, others), others);
  };
  await allSent([addFirstRuleGrants(tx, runId, first), giveOthers()]);
}

async function moveHomes(tx: TenantTx, runId: RunId, rows: readonly NewChange[]): Promise<void> {
  const moves = numbered(rows, 'quota_home');
  if (moves.length > 0) mustBeAll(await moveQuotaHomes(tx, runId, moves), moves);
}
