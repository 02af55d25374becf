/** A plan with a line per person: what would become of them, and why. The rows are the run's change rows. */
import { formatCount, renderTable, type Column } from '../../src/cli/output.ts';
import { describeChange, renderCounts, renderHolds, renderRunHead } from '../../src/cli/render-plan.ts';
import type { ChangeKind } from '../../src/core/vocabulary.ts';
import type { Change, RunSummary } from '../../src/reconciliation/reconciliation.ts';

export type Plan = {
  readonly run: RunSummary;
  readonly changes: Readonly<Record<ChangeKind, readonly Change[]>>;
  /** Names of organizations by id. */
  readonly organizations: ReadonlyMap<string, string>;
};

const peopleShown = 10;

const headings: Record<ChangeKind, string> = {
  joiner: 'Joiners',
  mover: 'Movers',
  leaver: 'Leavers',
  conflict: 'Conflicts',
};

export function renderPeople(plan: Plan, width: number): string {
  const kinds = (Object.keys(headings) as ChangeKind[]).map((kind) => renderKind(plan, kind, width));
  return [renderRunHead(plan.run), renderCounts(plan.run), renderHolds(plan.run), ...kinds]
    .filter((part) => part !== '')
    .join('\n');
}

type Person = { readonly who: string; readonly what: string; readonly why: string; readonly isHeld: boolean };

function renderKind({ changes, organizations }: Plan, kind: ChangeKind, width: number): string {
  const people = [...Map.groupBy(changes[kind], (change) => change.anchor ?? change.userId)]
    .map(([, rows]) => toPerson(rows, organizations))
    // what waits for a person is what a person should see
    .toSorted((a, b) => Number(b.isHeld) - Number(a.isHeld));
  if (people.length === 0) return '';
  const shown = people.slice(0, peopleShown);
  const rest = people.length - shown.length;
  const columns: Column<Person>[] = [
    { title: 'who', value: (row) => row.who },
    // of a conflict only the reason counts
    ...(kind === 'conflict' ? [] : [{ title: 'what', value: (row: Person) => row.what }]),
    { title: 'why', value: (row) => row.why },
  ];
  const table = renderTable(shown, columns, width);
  return `${headings[kind]}: ${formatCount(people.length)}\n${table}${rest > 0 ? `... and ${formatCount(rest)} more\n` : ''}`;
}

function toPerson(rows: readonly Change[], organizations: ReadonlyMap<string, string>): Person {
  const [first] = rows;
  const held = rows.find((row) => row.state === 'held');
  const ordered = rows.toSorted((a, b) => weightOf(a) - weightOf(b));
  return {
    who: first?.subject ?? '',
    what: ordered.map((row) => `${wordsOf(row, organizations)}${row.state === 'held' ? ' (held)' : ''}`).join(', '),
    why: (held ?? first)?.reason ?? '',
    isHeld: held !== undefined,
  };
}

function weightOf(change: Change): number {
  if (change.op === 'create' || change.op === 'link') return 0;
  return change.state === 'held' ? 1 : 2;
}

function wordsOf(change: Change, organizations: ReadonlyMap<string, string>): string {
  const where = organizations.get(change.organizationId ?? '') ?? '';
  switch (change.op) {
    case 'create':
      return 'new user';
    case 'link':
      return 'recognized';
    case 'grant':
      return `${change.role ?? ''} in ${where}`;
    case 'revoke':
      return `no longer ${change.role ?? ''} in ${where}`;
    case 'suspend':
      return 'suspended';
    case 'update':
    case 'quota_home':
    case 'key':
    case 'reactivate':
    case 'unlink':
    case 'remove':
    case 'dispute':
    case 'error':
    case 'keep':
      return describeChange(change);
  }
}
