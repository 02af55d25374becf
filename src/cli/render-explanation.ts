/** An explanation in words: what led to each value and role of a user, and what each step made of an object. */
import type { Change, Explanation, ObjectExplanation, ObjectPreview } from '../reconciliation/reconciliation.ts';
import { cellText, formatTime, renderTable, type Column } from './output.ts';
import { describeChange } from './render-plan.ts';

type ExplainedAttribute = Explanation['attributes'][number];
type ExplainedGrant = Explanation['grants'][number];

const widthForRuns = 140;

export function renderExplanation(explanation: Explanation, terminalWidth?: number): string {
  const { user } = explanation;
  const name = user.displayName ?? user.username ?? user.email ?? user.id;
  const status = user.statusReason === null ? user.status : `${user.status}: ${user.statusReason}`;
  // times and the ids of runs would leave no room for the words; -o json has them
  const isNarrow = terminalWidth !== undefined && terminalWidth < widthForRuns;
  const by = user.protectedBy === null ? '' : ` (${user.protectedBy}: ${user.protectedReason ?? 'no reason given'})`;
  const guarded = user.isProtected ? `, out of reach of every directory${by}` : '';
  return [
    `${name} (${user.id}), ${status}${guarded}\n`,
    `Draws count in ${user.quotaHome}: ${user.quotaHomeSource}.\n`,
    section(terminalWidth, 'Values', explanation.attributes, [
      { title: 'attribute', value: (row) => row.attribute },
      { title: 'value', value: (row) => row.value },
      { title: 'comes from', value: (row) => (row.by === null ? row.source : `${row.source} (${row.by})`) },
      { title: 'rule', value: (row) => (row.rule === null ? null : `${row.rule}, version ${row.ruleVersion ?? '?'}`) },
      ...(isNarrow
        ? []
        : [
            { title: 'since', value: (row: ExplainedAttribute) => formatTime(row.since) },
            { title: 'run', value: (row: ExplainedAttribute) => row.runId },
          ]),
    ]),
    section(terminalWidth, 'Roles', explanation.grants, [
      { title: 'organization', value: (row) => row.organization },
      { title: 'role', value: (row) => row.role },
      { title: 'because', value: (row) => row.because },
      { title: 'through', value: (row) => row.groups },
      {
        title: 'rule',
        value: (row) =>
          row.precedence === null ? null : `precedence ${row.precedence}, version ${row.ruleVersion ?? '?'}`,
      },
      ...(isNarrow ? [] : [{ title: 'since', value: (row: ExplainedGrant) => formatTime(row.since) }]),
    ]),
    ...renderExclusions(explanation, terminalWidth),
    section(terminalWidth, 'Directory objects', explanation.links, [
      { title: 'connection', value: (row) => row.connectionName },
      { title: 'object', value: (row) => row.locator ?? row.anchor },
      { title: 'state', value: linkStateWords },
      { title: 'matched by', value: (row) => row.matchedBy },
      { title: 'groups', value: (row) => row.groups.join(', ') },
    ]),
    ...explanation.objects.map((object) => renderObject(object, terminalWidth)),
    section(terminalWidth, 'History, newest first', explanation.history, [
      { title: 'when', value: (row) => formatTime(row.appliedAt) },
      { title: 'what', value: describeChange },
      { title: 'state', value: (row) => row.state },
      { title: 'why', value: (row) => row.reason },
      ...(isNarrow ? [] : [{ title: 'run', value: (row: Change) => row.runId }]),
    ]),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function renderExclusions(explanation: Explanation, terminalWidth?: number): string[] {
  return [
    section(terminalWidth, 'Withheld by an exclusion', explanation.withheld, [
      { title: 'organization', value: (row) => row.organization },
      { title: 'role', value: (row) => row.role },
      { title: 'group', value: (row) => row.group },
    ]),
    section(terminalWidth, 'Exclusions', explanation.exclusions, [
      { title: 'organization', value: (row) => row.organization },
      { title: 'role', value: (row) => row.role ?? 'every role' },
      { title: 'by', value: (row) => row.by },
      { title: 'reason', value: (row) => row.reason },
    ]),
  ];
}

/** A hold is named with its reason: it is why no run touches the user. */
function linkStateWords({ state, reason, due, isActive }: Explanation['links'][number]): string {
  const next = due === null ? '' : `, ${due.what.replaceAll('_', ' ')} from ${formatTime(due.at) ?? due.at}`;
  const words = (state === 'held' && reason !== null ? `held: ${reason}` : state) + next;
  return isActive ? words : `${words}, disabled there`;
}

function section<Row>(
  terminalWidth: number | undefined,
  title: string,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): string {
  return rows.length === 0 ? '' : `${title}\n${renderTable(rows, columns, terminalWidth)}`;
}

/** Six steps, each with what it looked at, the rule and the outcome. */
/** What was read, then what each step made of it. */
export function renderPreview(preview: ObjectPreview, terminalWidth?: number): string {
  const rows = Object.entries(preview.source).map(([attribute, value]) => ({ attribute, value }));
  const unread =
    preview.unread.length === 0
      ? []
      : [`Not read so far, so empty here: ${preview.unread.join(', ')}. A run asks for them.\n`];
  return [
    section(terminalWidth, 'As read', rows, [
      { title: 'attribute', value: (row) => row.attribute },
      { title: 'value', value: (row) => (typeof row.value === 'string' ? row.value : JSON.stringify(row.value)) },
    ]),
    ...unread,
    preview.predicates.length === 0
      ? ''
      : `Role mappings that apply: ${preview.predicates.map((one) => (one === 'true' ? 'everyone' : one)).join('; ')}\n`,
    renderObject(preview, terminalWidth),
  ].join('\n');
}

export function renderObject(object: ObjectExplanation, terminalWidth?: number): string {
  const place = object.locator === null ? object.anchor : `${object.locator}, ${object.anchor}`;
  const steps = object.steps.map((step, index) => {
    const lines = [
      `${index + 1}. ${step.step}: ${step.outcome}`,
      `   looked at: ${step.input}`,
      `   rule (version ${step.ruleVersion}): ${step.rule}`,
    ];
    const table =
      step.lines.length === 0
        ? ''
        : renderTable(step.lines, stepColumns, terminalWidth === undefined ? undefined : terminalWidth - 3)
            .trimEnd()
            .replaceAll(/^/gm, '   ')
            .concat('\n');
    return `${lines.map((line) => cellText(line)).join('\n')}\n${table}`;
  });
  return `${cellText(`${object.name} in ${object.connectionName} (${place})`)}\n${steps.join('')}`;
}

const stepColumns: readonly Column<ObjectExplanation['steps'][number]['lines'][number]>[] = [
  { title: 'what', value: (row) => row.what },
  { title: 'input', value: (row) => row.input },
  { title: 'rule', value: (row) => row.rule },
  { title: 'outcome', value: (row) => row.outcome },
];
