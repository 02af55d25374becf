/** Plans as people read them: who joins, moves, leaves or is in conflict, each with the reason; and what is held. */
import { z } from 'zod';
import { changeKinds, changeStates, type ChangeKind } from '../core/vocabulary.ts';
import type { Change, RunSummary } from '../reconciliation/reconciliation.ts';
import { cellText, formatCount, formatTime, renderTable, type Column } from './output.ts';

const changeCountsSchema = z.array(
  z.object({ kind: z.enum(changeKinds), state: z.enum(changeStates), rows: z.number() }),
);
export type ChangeCounts = z.output<typeof changeCountsSchema>;

/** `counts.changes` of a run: rows by kind and state. A run that ended before its plan has none. */
export function changeCountsOf(run: RunSummary): ChangeCounts {
  return changeCountsSchema.safeParse(run.counts['changes']).data ?? [];
}

export type PlanView = {
  readonly run: RunSummary;
  /** The first rows of each kind. */
  readonly changes: Readonly<Record<ChangeKind, readonly Change[]>>;
};

const headings: Record<ChangeKind, string> = {
  joiner: 'Joiners',
  mover: 'Movers',
  leaver: 'Leavers',
  conflict: 'Conflicts',
};

export type PlanOptions = {
  readonly terminalWidth?: number | undefined;
  /** Ends the commands that are printed (context.ts). */
  readonly sameTenant?: string;
};

export function renderPlan(view: PlanView, { terminalWidth, sameTenant = '' }: PlanOptions = {}): string {
  const parts = [
    renderRunHead(view.run),
    renderCounts(view.run),
    renderUndoOfNothing(view.run),
    renderUnnamed(view.run),
    renderHolds(view.run),
  ];
  for (const kind of changeKinds) parts.push(renderKind(kind, view, terminalWidth));
  const next = nextStep(view.run, sameTenant);
  if (next !== null) parts.push(`${next}\n`);
  return parts.filter((part) => part !== '').join('\n');
}

export function renderRunHead(run: RunSummary): string {
  const lines = [
    `Run ${run.id} of ${cellText(run.connectionName)}: ${statusWords[run.status]}`,
    `${kindWords(run)}, asked for by ${run.requestedBy}${run.startedAt === null ? '' : `, started ${formatTime(run.startedAt)}`}`,
  ];
  if (run.digest !== null) lines.push(`digest ${run.digest}`);
  if (run.approvedBy !== null) lines.push(`approved by ${run.approvedBy}`);
  else if (run.approvals.length > 0) {
    lines.push(`approved by ${run.approvals.map((one) => one.actor).join(', ')}; a second person must approve it too`);
  }
  const error = run.error === null ? null : errorWords(run.error);
  if (error !== null) lines.push(error);
  return `${lines.join('\n')}\n`;
}

function kindWords({ kind, undoOf }: RunSummary): string {
  if (kind === 'undo') return `undo of ${undoOf ?? 'a run'}`;
  if (kind === 'object') return 'provision on demand';
  if (kind === 'push') return 'pushes of a day';
  return `${kind} read`;
}

const statusWords: Record<RunSummary['status'], string> = {
  queued: 'queued',
  running: 'running',
  planned: 'planned, nothing is changed yet',
  held: 'held, it waits for a person',
  succeeded: 'succeeded',
  partly: 'partly applied',
  failed: 'failed',
  canceled: 'canceled',
  discarded: 'discarded',
  superseded: 'superseded by a newer plan',
};

function errorWords(error: Readonly<Record<string, unknown>>): string {
  const words = ['message', 'remedy'].map((key) => error[key]).filter((text) => typeof text === 'string');
  const raw = typeof error['raw'] === 'string' ? ` [${error['raw']}]` : '';
  return `${words.join(' ')}${raw}`;
}

/** People per kind, and how far their changes got. */
export function renderCounts(run: RunSummary): string {
  const counts = changeCountsOf(run);
  const isThrough = run.status !== 'queued' && run.status !== 'running' && run.status !== 'failed';
  if (counts.length === 0) return isThrough ? 'No changes: the portal agrees with the directory.\n' : '';
  const states = new Set(counts.map((count) => count.state));
  const rows = changeKinds
    .map((kind) => ({ kind, of: counts.filter((count) => count.kind === kind) }))
    .filter(({ of }) => of.length > 0);
  const columns: Column<(typeof rows)[number]>[] = [
    { title: '', value: ({ kind }) => headings[kind] },
    { title: 'changes', align: 'right', value: ({ of }) => formatCount(sum(of)) },
    ...[...states].map((state): Column<(typeof rows)[number]> => ({
      title: state,
      align: 'right',
      value: ({ of }) => formatCount(sum(of.filter((count) => count.state === state))),
    })),
  ];
  return renderTable(rows, columns);
}

/** Newcomers whom the directory gives no name in the tenant's domains. */
function renderUnnamed({ counts }: RunSummary): string {
  const users = counts['withoutUsername'];
  if (typeof users !== 'number') return '';
  const [join, have] = users === 1 ? ['joiner has', 'name lies'] : ['joiners have', 'names lie'];
  return `${formatCount(users)} ${join} no username: the directory's ${have} outside of the tenant's domains, or there is none. See mappings in docs/rules.md.\n`;
}

/** An undo of which every row says why something stays. */
function renderUndoOfNothing(run: RunSummary): string {
  const counts = changeCountsOf(run);
  if (run.kind !== 'undo' || counts.length === 0 || counts.some(({ kind }) => kind !== 'conflict')) return '';
  const isOpen = run.status === 'planned' || run.status === 'held';
  return isOpen
    ? 'Nothing is left to take back: applied, it pauses nothing and holds no link.\n'
    : 'Nothing was left to take back, so the connection was not paused and no link is held.\n';
}

function sum(counts: ChangeCounts): number {
  return counts.reduce((total, count) => total + count.rows, 0);
}

/** What stopped the run, in the words of the guard or of the plausibility check. */
export function renderHolds(run: RunSummary): string {
  const messages = [...messagesOf(run.guard?.['implausible']), ...messagesOf(run.guard?.['breaches'])];
  if (messages.length === 0) return '';
  // of a run that is through it is history, and no longer a question
  const isOpen = run.status === 'held' || run.status === 'planned';
  const heading = isOpen ? 'Held' : 'A guard had held';
  const causes = isOpen ? causesOf(run.guard?.['causes']) : [];
  const byCause = causes.length < 2 ? '' : `By cause:\n${causes.map((words) => `  - ${cellText(words)}\n`).join('')}`;
  return `${heading}:\n${messages.map((message) => `  - ${cellText(message)}\n`).join('')}${byCause}`;
}

function messagesOf(list: unknown): string[] {
  return textsOf(list, 'message');
}

function causesOf(list: unknown): string[] {
  return textsOf(list, 'words');
}

function textsOf(list: unknown, key: string): string[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((item: unknown) => {
    const text: unknown = typeof item === 'object' && item !== null ? Reflect.get(item, key) : null;
    return typeof text === 'string' ? [text] : [];
  });
}

function renderKind(kind: ChangeKind, view: PlanView, terminalWidth: number | undefined): string {
  const shown = view.changes[kind];
  if (shown.length === 0) return '';
  const total = sum(changeCountsOf(view.run).filter((count) => count.kind === kind));
  const rest =
    total > shown.length ? `  ... and ${formatCount(total - shown.length)} more (--rows, or -o ndjson)\n` : '';
  return `${headings[kind]}\n${renderTable(shown, changeColumns, terminalWidth)}${rest}`;
}

export const changeColumns: readonly Column<Change>[] = [
  { title: 'who', value: (row) => row.subject },
  { title: 'what', value: describeChange },
  { title: 'state', value: (row) => row.state },
  { title: 'why', value: (row) => row.error ?? row.reason },
];

/** `email a@x -> b@x`, `grant admin`, `suspend`. */
export function describeChange(change: Change): string {
  if (change.role !== null) return `${change.op} ${change.role}`;
  if (change.op === 'quota_home') {
    return `quota home ${textOf(change.before?.['organization'])} -> ${textOf(change.after?.['organization'])}`;
  }
  const attributes = [...new Set([...Object.keys(change.before ?? {}), ...Object.keys(change.after ?? {})])]
    .filter((name) => textOf(change.before?.[name]) !== textOf(change.after?.[name]))
    .slice(0, 3)
    .map((name) => {
      const before = change.before?.[name];
      return before === undefined || before === null
        ? `${name} ${textOf(change.after?.[name])}`
        : `${name} ${textOf(before)} -> ${textOf(change.after?.[name])}`;
    });
  const isShown = change.op === 'update' || change.op === 'key' || change.op === 'create';
  return isShown && attributes.length > 0 ? `${change.op} ${attributes.join(', ')}` : change.op;
}

const longestValue = 40;

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '(none)';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > longestValue ? `${text.slice(0, longestValue)}…` : text;
}

function nextStep(run: RunSummary, sameTenant: string): string | null {
  if (run.status !== 'planned' && run.status !== 'held') return null;
  if (run.digest === null) return null;
  const call = (name: string): string => `rollcall ${name} ${run.id}${sameTenant}`;
  return `Next: ${call('approve')} && ${call('apply')}\n  or: ${call('discard')}`;
}
