/**
 * Decisions about a few objects at once, outside of a run over everything: what a push settles in its request, what
 * provisioning on demand does, and what explain says without doing it.
 */
import { decideSubject } from '../../core/decide.ts';
import type { ConnectionId, RunId, UserId } from '../../core/ids.ts';
import { isWaiting } from '../../core/link-states.ts';
import type { DecisionContext, Draft, Subject } from '../../core/subject.ts';
import { textKey } from '../../core/text-keys.ts';
import type { TenantTx } from '../../db/db.ts';
import type { OpenConnection } from '../connections/connections.ts';
import { insertChanges, toNewChanges, type NewChange } from '../plan/changes.ts';
import { loadSubjects, wantedOfAnchors, type SubjectQuery, type Wanted } from '../plan/subjects.ts';
import { allSent } from './all-sent.ts';

export type Decided = { readonly subject: Subject; readonly drafts: readonly Draft[] };

export type DecidedNow = {
  readonly subjects: readonly Subject[];
  /** Those with something to do. */
  readonly decided: readonly Decided[];
  /** Anchors whose turn only comes with time. */
  readonly waiting: ReadonlySet<string>;
};

/** Reads only. Privileged roles become cases, unless a person has said that such a case is to be ignored. */
export async function decideNow(
  tx: TenantTx,
  connection: OpenConnection,
  context: DecisionContext,
  anchors: readonly string[],
  {
    newUsernames,
    wanted = wantedOfAnchors(tx, context.connectionId, anchors),
    objects,
  }: {
    /** Of new objects: the usernames they ask for. Who has them and whom correlation finds is then read along. */
    readonly newUsernames?: readonly string[];
    readonly wanted?: Wanted | Promise<Wanted>;
    readonly objects?: NonNullable<SubjectQuery['objects']> | undefined;
  } = {},
): Promise<DecidedNow> {
  const [subjects, owners] = await allSent([
    loadSubjects(tx, {
      connectionId: context.connectionId,
      anchors,
      wanted,
      correlation: connection.policy.correlation,
      provenDomains: [...context.provenDomains],
      few: newUsernames === undefined ? 'known' : 'new',
      ...(objects === undefined ? {} : { objects }),
    }),
    selectOwners(tx, newUsernames ?? []),
  ]);
  return decideSubjects(tx, context, subjects, { owners, asked: new Set(newUsernames) });
}

/** The same for subjects that are read already; `asked` usernames have no owners but these. */
export async function decideSubjects(
  tx: TenantTx,
  context: DecisionContext,
  subjects: readonly Subject[],
  { owners, asked }: { readonly owners: Map<string, UserId>; readonly asked: ReadonlySet<string> },
): Promise<DecidedNow> {
  const drafted = subjects.map((subject) => ({ subject, drafts: decideSubject(subject, context) }));
  const more = new Set(drafted.flatMap(({ drafts }) => wantedUsername(drafts)?.key ?? []));
  for (const key of asked) more.delete(key);
  for (const [key, id] of await selectOwners(tx, [...more])) owners.set(key, id);
  const all = drafted.map(({ subject, drafts }) => ({
    subject,
    drafts: keepUsernamesUnique(owners, drafts).map(privilegedToCase),
  }));
  const wanted = await withoutIgnored(tx, context.connectionId, all);
  return {
    subjects,
    decided: wanted.filter(({ drafts }) => drafts.length > 0),
    waiting: new Set(
      wanted.flatMap(({ subject, drafts }) => (drafts.length === 0 && isWaiting(subject) ? [subject.anchor] : [])),
    ),
  };
}

/** Writes the rows; their seqs come from the sequence of pushes, which no other request waits for. */
export async function insertDecided(
  tx: TenantTx,
  where: { readonly runId: RunId; readonly connectionId: ConnectionId; readonly requestId: string | null },
  decided: readonly Decided[],
): Promise<NewChange[]> {
  const total = decided.reduce((sum, one) => sum + one.drafts.length, 0);
  const seqs = await tx.sql<
    { seq: number }[]
  >`select nextval('push_change_seq')::int as seq from generate_series(1, ${total}) order by 1`;
  let next = 0;
  const rows = decided.flatMap(({ subject, drafts }) =>
    toNewChanges(subject, drafts, 0).map((row) => ({ ...row, seq: seqs[next++]?.seq ?? 0 })),
  );
  await insertChanges(tx, where, rows);
  return rows;
}

/** A role that a person decided not to give is not asked for again at every push. */
async function withoutIgnored(
  tx: TenantTx,
  connectionId: ConnectionId,
  decided: readonly Decided[],
): Promise<readonly Decided[]> {
  const asking = decided.filter(({ drafts }) => drafts.some(asksForRole)).map(({ subject }) => subject.anchor);
  if (asking.length === 0) return decided;
  const rows = await tx.sql<{ anchor: string; reason: string }[]>`
    select anchor, reason from cases
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = any(${asking}) and kind = 'privileged_grant'
      and status = 'ignored'`;
  const ignored = new Set(rows.map((row) => JSON.stringify([row.anchor, row.reason])));
  return decided.map(({ subject, drafts }) => ({
    subject,
    drafts: drafts.filter(
      (draft) => !asksForRole(draft) || !ignored.has(JSON.stringify([subject.anchor, draft.reason])),
    ),
  }));
}

function asksForRole(draft: Draft): boolean {
  return draft.op === 'dispute' && draft.after?.['caseKind'] === 'privileged_grant';
}

/** A push never gives a privileged role by itself: a person decides (scim.md rule 16). */
function privilegedToCase(draft: Draft): Draft {
  if (draft.class !== 'grant' || draft.role === 'user') return draft;
  return {
    ...draft,
    class: 'conflict',
    op: 'dispute',
    kind: 'conflict',
    after: {
      ...draft.after,
      caseKind: 'privileged_grant',
      candidates: draft.userId === null ? [] : [draft.userId],
      grantSource: draft.grantSource,
    },
    reason: `${draft.reason} The role ${draft.role ?? ''} waits for a person.`,
  };
}

type WantedName = { readonly draft: Draft; readonly key: string };

function wantedUsername(drafts: readonly Draft[]): WantedName | null {
  const draft = drafts.find(
    (one) => (one.class === 'create' || one.class === 'key') && typeof one.after?.['username'] === 'string',
  );
  const username = draft?.after?.['username'];
  const key = typeof username === 'string' ? textKey(username) : null;
  return draft === undefined || key === null ? null : { draft, key };
}

/** Who has these usernames. */
async function selectOwners(tx: TenantTx, keys: readonly string[]): Promise<Map<string, UserId>> {
  if (keys.length === 0) return new Map();
  const rows = await tx.sql<{ key: string; id: UserId }[]>`
    select username_key as key, id from users
    where tenant_id = ${tx.tenantId} and username_key = any(${keys as string[]})`;
  return new Map(rows.map(({ key, id }) => [key, id]));
}

/** A username that another user has becomes a case; the rest of the push stands (promise 7). */
function keepUsernamesUnique(owners: ReadonlyMap<string, UserId>, drafts: readonly Draft[]): readonly Draft[] {
  const wanted = wantedUsername(drafts);
  const owner = wanted === null ? undefined : owners.get(wanted.key);
  if (wanted === null || owner === undefined || owner === wanted.draft.userId) return drafts;
  const { draft: wanting, key } = wanted;
  const conflict: Draft = {
    ...wanting,
    class: 'conflict',
    op: 'dispute',
    kind: 'conflict',
    userId: wanting.class === 'create' ? null : wanting.userId,
    after: { caseKind: 'duplicate_key', username: key, candidates: [owner] },
    reason: `The username ${key} belongs to another user.`,
    cause: 'duplicate_key',
  };
  return wanting.class === 'create' ? [conflict] : drafts.map((draft) => (draft === wanting ? conflict : draft));
}
