/**
 * The staging tables of one run, filled by COPY (as owner: Postgres refuses COPY into a table with a policy) and
 * merged as rollcall_tenant. Rows are buffered and copied in batches, so memory stays flat.
 */
import type { DirectoryObject } from '../../connectors/contract/contract.ts';
import type { RunId } from '../../core/ids.ts';
import type { MappingResult } from '../../core/mapping.ts';
import { textKey } from '../../core/text-keys.ts';
import type { ObjectKind } from '../../core/vocabulary.ts';
import {
  copyRows,
  createStageTables,
  dropOrphanStages,
  dropStageTables,
  stageTableName,
  type CopyValue,
} from '../../db/db.ts';
import type { Db } from '../../db/db.ts';
import { keysOf } from './mirror-keys.ts';

const batchRows = 5_000;

const objectColumns = [
  'seq',
  'kind',
  'anchor',
  'user_name_key',
  'email_key',
  'employee_id_key',
  'display_name',
  'display_name_key',
  'locator',
  'source',
  'mapped',
  'rule_ids',
  'is_active',
  'is_in_scope',
  'problem',
  'content_hash',
] as const;

const tables = {
  objects: {
    columns: objectColumns,
    ddl: `seq bigint, kind text, anchor text collate "C", user_name_key text collate "C", email_key text collate "C",
      employee_id_key text collate "C", display_name text, display_name_key text collate "C", locator text, source jsonb,
      mapped jsonb, rule_ids uuid[], is_active boolean, is_in_scope boolean, problem text, content_hash bytea`,
  },
  edges: {
    columns: ['seq', 'group_anchor', 'member_anchor', 'op'],
    ddl: 'seq bigint, group_anchor text collate "C", member_anchor text collate "C", op "char"',
  },
  group_sets: {
    columns: ['group_anchor', 'seq', 'is_set', 'members_hash', 'member_count'],
    ddl: 'group_anchor text collate "C", seq bigint, is_set boolean, members_hash bytea, member_count integer',
  },
  gone: { columns: ['seq', 'kind', 'anchor'], ddl: 'seq bigint, kind text, anchor text collate "C"' },
  absent: { columns: ['kind', 'anchor'], ddl: 'kind text, anchor text collate "C"' },
  swept: { columns: ['kind', 'anchor'], ddl: 'kind text, anchor text collate "C"' },
} as const;

export type StageTable = keyof typeof tables;

export type StageTables = Readonly<Record<StageTable, string>>;

type Holder = { readonly id: RunId; readonly epoch: number };

/** COPY is outside the fence: a worker that wakes after takeover must not meet the tables of the one that took over. */
const nameIn = (run: Holder, table: StageTable): string => `e${run.epoch}_${table}`;

const tableNames = Object.keys(tables) as StageTable[];

export function stageTablesOf(run: Holder): StageTables {
  const names: Partial<Record<StageTable, string>> = {};
  for (const table of tableNames) names[table] = stageTableName(run.id, nameIn(run, table));
  return names as StageTables;
}

/** Makes the tables of the run in this epoch, empty. */
export function createStage(db: Db, run: Holder): Promise<void> {
  const columns = tableNames.map((table) => [nameIn(run, table), tables[table].ddl]);
  return createStageTables(db.stage, run.id, Object.fromEntries(columns) as Record<string, string>);
}

/** Drops the tables of this epoch; `sweepStages` finds those of an epoch that never ended. */
export function dropOwnStage(db: Db, run: Holder): Promise<void> {
  return dropStageTables(
    db.stage,
    run.id,
    tableNames.map((table) => nameIn(run, table)),
  );
}

/** A run may be written down a moment before its status says that it is live. */
const youngMs = 3_600_000;

/** What dead workers left in schema stage. */
export async function sweepStages(db: Db, now: Date): Promise<number> {
  const live = await db.engine(
    (tx) => tx.sql<{ id: RunId }[]>`select id from runs where status in ('queued', 'running')`,
  );
  return dropOrphanStages(db.stage, {
    before: new Date(now.getTime() - youngMs),
    except: live.map(({ id }) => id),
  });
}

/** Rows on their way into the run's tables, which are made for the first of them: most reads find nothing new. */
export class StageWriter {
  readonly tables: StageTables;
  readonly #db: Db;
  readonly #run: Holder;
  #made: Promise<void> | null = null;
  readonly #buffers: Record<StageTable, CopyValue[][]> = {
    objects: [],
    edges: [],
    group_sets: [],
    gone: [],
    absent: [],
    swept: [],
  };
  readonly counts: Record<StageTable, number> = { objects: 0, edges: 0, group_sets: 0, gone: 0, absent: 0, swept: 0 };

  constructor(db: Db, run: Holder) {
    this.#db = db;
    this.#run = run;
    this.tables = stageTablesOf(run);
  }

  object(seq: number, object: DirectoryObject, result: MappingResult | null, contentHash: Buffer): Promise<void> {
    const keys = keysOf(result?.mapped ?? {});
    return this.#push('objects', [
      seq,
      object.kind,
      object.anchor,
      keys.userNameKey,
      keys.emailKey,
      keys.employeeIdKey,
      object.name,
      textKey(object.name),
      object.locator,
      jsonText({
        ...object.attributes,
        ...(object.inactiveReason === null ? {} : { inactiveReason: object.inactiveReason }),
      }),
      result === null ? null : jsonText(result.mapped),
      `{${(result?.ruleIds ?? []).join(',')}}`,
      object.isActive,
      result?.isInScope ?? true,
      result?.problem ?? null,
      `\\x${contentHash.toString('hex')}`,
    ]);
  }

  async edges(seq: number, groupAnchor: string, memberAnchors: readonly string[], op: '+' | '-'): Promise<void> {
    for (const anchor of memberAnchors) await this.#push('edges', [seq, groupAnchor, anchor, op]);
  }

  groupSet(groupAnchor: string, seq: number, membersHash: string | null, memberCount: number | null): Promise<void> {
    return this.#push('group_sets', [
      groupAnchor,
      seq,
      true,
      membersHash === null ? null : `\\x${membersHash}`,
      memberCount,
    ]);
  }

  groupTouched(groupAnchor: string): Promise<void> {
    return this.#push('group_sets', [groupAnchor, null, false, null, null]);
  }

  gone(seq: number, kind: ObjectKind, anchor: string): Promise<void> {
    return this.#push('gone', [seq, kind, anchor]);
  }

  absent(kind: ObjectKind, anchor: string): Promise<void> {
    return this.#push('absent', [kind, anchor]);
  }

  /** Ids that are there now; the empty anchor says that the kind was swept, even when nobody is left. */
  async swept(kind: ObjectKind, anchors: readonly string[]): Promise<void> {
    for (const anchor of ['', ...anchors]) await this.#push('swept', [kind, anchor]);
  }

  async flush(): Promise<void> {
    for (const table of tableNames) await this.#copy(table);
  }

  async #push(table: StageTable, row: CopyValue[]): Promise<void> {
    const buffer = this.#buffers[table];
    buffer.push(row);
    if (buffer.length >= batchRows) await this.#copy(table);
  }

  async #copy(table: StageTable): Promise<void> {
    const rows = this.#buffers[table];
    if (rows.length === 0) return;
    this.#buffers[table] = [];
    this.counts[table] += rows.length;
    this.#made ??= createStage(this.#db, this.#run);
    await this.#made;
    await copyRows(this.#db.stage, this.tables[table], tables[table].columns, rows);
  }
}

/** JSON for jsonb: Postgres refuses the NUL character in it. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value);
  if (!text.includes('\\u0000')) return text;
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'string' ? part.replaceAll('\u0000', '') : part,
  );
}
