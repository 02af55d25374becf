/** Data on stdout as a table or JSON; words about it on stderr. */
import type { Environment } from '../app/app.ts';
import { isUuid } from '../core/ids.ts';

export const outputFormats = ['human', 'json', 'ndjson'] as const;
export type OutputFormat = (typeof outputFormats)[number];

export type Column<Row> = {
  readonly title: string;
  readonly value: (row: Row) => string | number | null | undefined;
  readonly align?: 'left' | 'right';
};

type Streams = Pick<Environment, 'stdout' | 'stderr'>;

/** Rows in the format asked for; `empty` is what a person reads instead of an empty table. */
export function printRows<Row>(
  streams: Streams,
  format: OutputFormat,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  empty: string,
): void {
  switch (format) {
    case 'json':
      streams.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
      return;
    case 'ndjson':
      for (const row of rows) streams.stdout.write(`${JSON.stringify(row)}\n`);
      return;
    case 'human':
      streams.stdout.write(rows.length === 0 ? `${empty}\n` : renderTable(rows, columns, streams.stdout.columns));
  }
}

/** One object: `human` writes its words, the other formats the object. */
export function printObject(streams: Streams, format: OutputFormat, value: unknown, human: string): void {
  if (format === 'human') streams.stdout.write(human.endsWith('\n') ? human : `${human}\n`);
  else streams.stdout.write(`${JSON.stringify(value, null, format === 'json' ? 2 : undefined)}\n`);
}

const gap = '  ';

/** Plain columns, a row to a line: where the terminal is narrower, the widest columns are cut. */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  terminalWidth?: number,
): string {
  const cells = rows.map((row) => columns.map((column) => cellText(column.value(row))));
  const widths = fitWidths(
    columns.map((column, index) => ({
      width: Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[index] ?? ''))),
      isId: cells.some((line) => isUuid(line[index] ?? '')),
    })),
    terminalWidth,
  );
  const render = (line: readonly string[]): string => {
    const text = line
      .map((cell, index) => {
        const width = widths[index] ?? 0;
        return padCell(cutToWidth(cell, width), width, columns[index]?.align ?? 'left');
      })
      .join(gap)
      .trimEnd();
    return terminalWidth === undefined || terminalWidth < narrowest ? text : cutToWidth(text, terminalWidth);
  };
  return [columns.map((column) => column.title.toUpperCase()), ...cells].map((line) => `${render(line)}\n`).join('');
}

/** A terminal that says it is narrower than this does not know its width. */
const narrowest = 20;
const narrowestColumn = 10;

/** The widest columns give way until the row fits; ids stay whole, because people copy them. */
function fitWidths(
  columns: readonly { readonly width: number; readonly isId: boolean }[],
  terminalWidth: number | undefined,
): number[] {
  if (terminalWidth === undefined || terminalWidth < narrowest) return columns.map(({ width }) => width);
  const widths = columns.map(({ width }) => Math.min(width, terminalWidth));
  const gaps = gap.length * (columns.length - 1);
  for (let excess = widths.reduce((sum, width) => sum + width, gaps) - terminalWidth; excess > 0; excess -= 1) {
    const elastic = widths.map((width, index) => (columns[index]?.isId === true ? 0 : width));
    const widest = elastic.indexOf(Math.max(...elastic));
    const width = elastic[widest] ?? 0;
    if (width <= narrowestColumn) break;
    widths[widest] = width - 1;
  }
  return widths;
}

/** Names come from directories: control characters in them must not reach a terminal. */
export function cellText(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return '-';
  // oxlint-disable-next-line no-control-regex -- these are the characters to remove
  return String(value).replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, ' ');
}

function padCell(text: string, width: number, align: 'left' | 'right'): string {
  const padding = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'right' ? padding + text : text + padding;
}

/** Code points, with East Asian wide ones as two columns; combining marks as none. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text.normalize('NFC')) {
    if (/\p{Mark}/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/.test(character) ||
      (character.codePointAt(0) ?? 0) > 0x1f2ff
        ? 2
        : 1;
  }
  return width;
}

/** What is too wide ends with an ellipsis. */
export function cutToWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let kept = '';
  for (const character of text) {
    if (displayWidth(kept + character) >= width) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Minutes in UTC: `2026-03-01 09:30Z`. */
export function formatTime(time: string | null | undefined): string | null {
  if (time === null || time === undefined) return null;
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? time : `${at.toISOString().slice(0, 16).replace('T', ' ')}Z`;
}

export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}
