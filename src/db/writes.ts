/**
 * Writes that leave as one statement, each a part of its `with` (PostgreSQL manual, section 7.8.4): what a statement
 * costs beside its rows (names to look up, a snapshot, an answer) is paid once. All of them see what stood before the
 * statement and none sees what another one writes; foreign keys are looked at when all are done.
 */
import type { PendingQuery, Row } from 'postgres';
import type { TenantTx } from './db.ts';

export type Write = {
  readonly table: string;
  /** An insert, update or delete without `returning`. */
  readonly sql: PendingQuery<Row[]>;
  /** How many rows it must write; where it writes others, the statement fails as `overtaken`. */
  readonly mustWrite?: number;
};

/** The state of a statement that failed so (`require_rows`, migration 0025). */
export const overtaken = 'RC001';

/**
 * In order, in one packet and in as few statements as their tables allow: a statement can not write a row twice, so the
 * second write of a table begins the next one.
 */
export async function writeAll(tx: TenantTx, writes: readonly Write[]): Promise<void> {
  await Promise.all(statementsOf(writes).map((statement) => writeTogether(tx, statement)));
}

function statementsOf(writes: readonly Write[]): Write[][] {
  const statements: Write[][] = [];
  for (const write of writes) {
    const last = statements.at(-1);
    if (last === undefined || last.some(({ table }) => table === write.table)) statements.push([write]);
    else last.push(write);
  }
  return statements;
}

async function writeTogether({ sql }: TenantTx, writes: readonly Write[]): Promise<void> {
  const [first] = writes;
  if (first?.mustWrite === undefined && writes.length === 1) await first?.sql;
  else {
    const values = writes.flatMap(({ mustWrite }) => mustWrite ?? []);
    await sql(templateOf(writes), ...writes.map((write) => write.sql), ...values);
  }
}

const templates = new Map<string, TemplateStringsArray>();

/** `with w0 as (${} returning 1), w1 as (${} returning 1) select require_rows((select count(*) from w1), ${})` */
function templateOf(writes: readonly Write[]): TemplateStringsArray {
  const shape = writes.map(({ mustWrite }) => (mustWrite === undefined ? 'any' : 'some')).join(' ');
  let template = templates.get(shape);
  if (template === undefined) {
    const required = writes.flatMap(({ mustWrite }, index) => (mustWrite === undefined ? [] : [`w${index}`]));
    const strings = [
      ...writes.map((_, index) => `${index === 0 ? 'with' : ' returning 1),'} w${index} as (`),
      ...required.map(
        (name, index) =>
          `${index === 0 ? ' returning 1) select ' : '), '}require_rows((select count(*) from ${name}), `,
      ),
      required.length === 0 ? ' returning 1) select 1' : ')',
    ];
    templates.set(shape, (template = Object.assign(strings, { raw: strings })));
  }
  return template;
}
