/**
 * Schema `stage`: the tables of one run, made and filled by COPY as the owner (Postgres refuses COPY into a table with
 * a policy), then merged by INSERT ... SELECT as rollcall_tenant. Names carry the run's id, so that runs never meet and
 * what a crash left behind can be found.
 */
import { pipeline } from 'node:stream/promises';
import { RollcallError } from '../core/errors.ts';
import type { RunId } from '../core/ids.ts';
import { isUuid } from '../core/ids.ts';
import type { Stage } from './db.ts';
import { translateFailure } from './failures.ts';

/** Buffers go in as bytea; everything else as the text Postgres reads (jsonb as JSON, arrays as `{a,b}`). */
export type CopyValue = string | number | bigint | boolean | Buffer | null;

export type CopyOptions = { readonly signal?: AbortSignal };

/** Bytes per write; larger saves nothing, smaller costs a system call each. */
const chunkBytes = 64 * 1024;
const longestName = 29;

/** `stage.r<run id>_<name>`: pass it through `sql(...)`, which quotes both parts. */
export function stageTableName(runId: RunId, name: string): string {
  if (!isUuid(runId)) throw new RollcallError('internal', `"${runId}" is not a run id.`);
  // Postgres cuts names at 63 bytes, and two cut names could be one
  if (!/^[a-z][a-z0-9_]*$/.test(name) || name.length > longestName) {
    throw new RollcallError('internal', `"${name}" is no name for a stage table.`);
  }
  return `stage.${prefixOf(runId)}${name}`;
}

function prefixOf(runId: RunId): string {
  return `r${runId.replaceAll('-', '').toLowerCase()}_`;
}

/**
 * Makes the tables anew (a run that was claimed again starts empty) and gives rollcall_tenant the use of them; all or
 * none, in one round trip. `columns`: name -> SQL of its columns.
 */
export async function createStageTables(
  stage: Stage,
  runId: RunId,
  columns: Readonly<Record<string, string>>,
): Promise<void> {
  const tables = Object.entries(columns).map(([name, ddl]) => ({ table: stageTableName(runId, name), ddl }));
  const names = tables.map(({ table }) => table).join(', ');
  const made = tables.map(({ table, ddl }) => `create table ${table} (${ddl});`).join('\n');
  // several statements in one simple query are one transaction (PostgreSQL manual, section 54.2.2.1)
  await translated(
    stage.sql.unsafe(`
      drop table if exists ${names};
      ${made}
      grant select, insert, update, delete on ${names} to rollcall_tenant`),
  );
}

/** ANALYZE needs the owner (before PostgreSQL 17 no privilege gives it to another role); it reads no row out. */
export async function analyzeTables(stage: Stage, tables: readonly string[]): Promise<void> {
  for (const table of tables) await translated(stage.sql`analyze ${stage.sql(table)}`);
}

/** Drops these tables of the run, made or not; by name, because a search through the catalog costs more than they do. */
export async function dropStageTables(stage: Stage, runId: RunId, names: readonly string[]): Promise<void> {
  const tables = names.map((name) => stageTableName(runId, name)).join(', ');
  await translated(stage.sql.unsafe(`drop table if exists ${tables}`));
}

export type OrphanOptions = {
  /** Tables of runs made before this are orphans ... */
  readonly before: Date;
  /** ... unless the run is one of these (those that are live). */
  readonly except: readonly RunId[];
};

/** Drops what crashed runs left; answers how many tables. The age comes from the run's id, which is a UUIDv7. */
export async function dropOrphanStages(stage: Stage, options: OrphanOptions): Promise<number> {
  const kept = new Set(options.except.map((runId) => prefixOf(runId)));
  const all = await findTables(stage, 'r');
  const orphans = all.filter((table) => {
    const name = table.slice('stage.'.length);
    const madeAt = Number.parseInt(name.slice(1, 13), 16);
    return /^r[0-9a-f]{32}_/.test(name) && madeAt < options.before.getTime() && !kept.has(name.slice(0, 34));
  });
  await dropTables(stage, orphans);
  return orphans.length;
}

async function findTables(stage: Stage, prefix: string): Promise<string[]> {
  const rows = await translated(
    stage.sql<{ name: string }[]>`
      select tablename as name from pg_tables where schemaname = 'stage' and starts_with(tablename, ${prefix})`,
  );
  return rows.map(({ name }) => `stage.${name}`);
}

/** One by one: a run may have many and a lock on each would be held until the last. */
async function dropTables(stage: Stage, tables: readonly string[]): Promise<void> {
  for (const table of tables) await translated(stage.sql`drop table if exists ${stage.sql(table)}`);
}

/**
 * COPY FROM STDIN in text format (PostgreSQL manual, COPY, "Text Format"). All rows or none; answers how many. Memory
 * is one chunk: `rows` is asked for more only when the server took what it has.
 */
export async function copyRows(
  stage: Stage,
  table: string,
  columns: readonly string[],
  rows: Iterable<readonly CopyValue[]> | AsyncIterable<readonly CopyValue[]>,
  options: CopyOptions = {},
): Promise<number> {
  options.signal?.throwIfAborted();
  const counter = { rows: 0 };
  const names = columns.map((column) => `"${column.replaceAll('"', '""')}"`).join(', ');
  try {
    // a connection of its own: the driver sends other statements after those that are under way, and a server that
    // takes in a copy ends the connection at the first of them
    const own = await stage.sql.reserve();
    try {
      const sink = await own`copy ${own(table)} (${own.unsafe(names)}) from stdin`.writable();
      await pipeline(encodeRows(rows, columns.length, counter), sink, options.signal ? { signal: options.signal } : {});
    } catch (error) {
      own.destroy(new Error('The copy did not come to its end.', { cause: error }));
      throw error;
    }
    own.release();
  } catch (error) {
    options.signal?.throwIfAborted();
    throw translateFailure(error);
  }
  return counter.rows;
}

async function* encodeRows(
  rows: Iterable<readonly CopyValue[]> | AsyncIterable<readonly CopyValue[]>,
  width: number,
  counter: { rows: number },
): AsyncGenerator<Buffer> {
  let text = '';
  // awaiting each row of an array would cost more than encoding it
  if (Symbol.iterator in rows) {
    for (const row of rows) {
      text += encodeRow(row, width);
      counter.rows += 1;
      if (text.length >= chunkBytes) {
        yield Buffer.from(text, 'utf8');
        text = '';
      }
    }
  } else {
    for await (const row of rows) {
      text += encodeRow(row, width);
      counter.rows += 1;
      if (text.length >= chunkBytes) {
        yield Buffer.from(text, 'utf8');
        text = '';
      }
    }
  }
  if (text !== '') yield Buffer.from(text, 'utf8');
}

export function encodeRow(row: readonly CopyValue[], width: number): string {
  if (row.length !== width) {
    throw new RollcallError('internal', `A row of ${row.length} values was given for ${width} columns.`);
  }
  return `${row.map(encodeValue).join('\t')}\n`;
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r', '\0': '' };

/** A NUL can not be stored in Postgres text at all, so it is left out: one odd value must not stop a whole read. */
function encodeValue(value: CopyValue): string {
  if (value === null) return '\\N';
  if (typeof value === 'string') return value.replaceAll(/[\\\t\n\r\0]/g, (character) => escapes[character] ?? '');
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (Buffer.isBuffer(value)) return `\\\\x${value.toString('hex')}`;
  return String(value);
}

async function translated<T>(promise: PromiseLike<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw translateFailure(error);
  }
}
