/** Phase fetch around the connector: the known mirror, one retry in full after lost history, what was absent. */
import { expressionsOf } from '../../core/correlation.ts';
import { RollcallError } from '../../core/errors.ts';
import type { ConnectionId, RunId } from '../../core/ids.ts';
import { compileMapper, type Mapper } from '../../core/mapping.ts';
import { baselineSchema } from '../../core/sanity.ts';
import type { RunKind } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import type { Logger } from '../../platform/logger.ts';
import { openSecrets, type ConnectionsDeps, type OpenConnection } from '../connections/connections.ts';
import { fetchDirectory, type FetchResult, type KnownMirror } from './fetch.ts';
import { loadKnownMirror, stageAbsent } from './mirror.ts';
import { StageWriter } from './stage.ts';

export type Read = { readonly result: FetchResult; readonly stage: StageWriter };

export type ReadOptions = {
  readonly deps: ConnectionsDeps & { readonly db: Db };
  readonly open: OpenConnection;
  readonly run: {
    readonly id: RunId;
    readonly epoch: number;
    readonly connectionId: ConnectionId;
    readonly kind: RunKind;
  };
  readonly signal: AbortSignal;
  /** Opens a fenced transaction. */
  readonly inTransaction: <T>(work: (tx: TenantTx) => Promise<T>) => Promise<T>;
  /** `total` is that of the last full read, where this is one too. */
  readonly onProgress: (done: number, total: number | null, message: string | null) => void;
  readonly log: Logger;
};

/** Reads to the end mark, or throws; a partial read is never returned. */
export async function readDirectory(options: ReadOptions): Promise<Read> {
  const wantsDelta = options.run.kind === 'delta' && options.open.row.cursor !== null && !isFullReadDue(options);
  const first = await readOnce(options, wantsDelta ? 'delta' : 'full');
  if (!('reset' in first)) return first;
  options.log.warn({ reason: first.reset }, 'the directory lost our position; reading it in full');
  const second = await readOnce(options, 'full');
  if (!('reset' in second)) return second;
  throw new RollcallError('directory_history_lost', `The directory refused even a full read: ${second.reset}.`);
}

/**
 * An increment alone never tells everything: under 50,000 users read in full each day, above
 * each third day; a cursor expires after seven days, so six are the end in any case.
 */
function isFullReadDue({ deps, open }: ReadOptions): boolean {
  // an increment may be empty and prove nothing: only everything says that the failure is over
  if (open.row.lastFullAt === null || open.row.status === 'quarantined') return true;
  const ageDays = (deps.now().getTime() - Date.parse(open.row.lastFullAt)) / 86_400_000;
  const baseline = baselineSchema.safeParse(open.row.baseline);
  return ageDays >= (baseline.success && baseline.data.users >= 50_000 ? 3 : 1);
}

async function readOnce(options: ReadOptions, mode: 'full' | 'delta'): Promise<Read | { readonly reset: string }> {
  const { deps, open, run, inTransaction } = options;
  const connector = deps.connectors.get(open.connection.kind);
  if (connector === undefined) {
    throw new RollcallError('connection_state', `${open.row.name} is pushed to; it has nothing to read.`);
  }
  const mapper = mapperOf(open);
  const stage = new StageWriter(deps.db, run);
  const known: KnownMirror =
    mode === 'full'
      ? await inTransaction((tx) => loadKnownMirror(tx, run.connectionId))
      : { objects: null, members: new Map() };
  let done = 0;
  const total = mode === 'full' ? lastTotal(open) : null;
  const events = connector.read({
    settings: connector.settingsSchema.parse(open.row.settings),
    secrets: openSecrets(deps, connector, open.row),
    mode,
    cursor: open.row.cursor,
    attributes: mapper.attributes,
    signal: options.signal,
    tenantId: open.row.tenantId,
    onWait: (message) => options.onProgress(done, total, message),
  });
  const result = await fetchDirectory({
    events,
    mapper,
    known,
    stage,
    onProgress: (objects) => {
      done = objects;
      options.onProgress(done, total, null);
    },
  });
  if ('reset' in result) return result;
  if (result.mode === 'full' && known.objects !== null) {
    const objects = known.objects;
    await inTransaction((tx) => stageAbsent(tx, run.connectionId, objects, stage));
  }
  return { result, stage };
}

function lastTotal({ row }: OpenConnection): number | null {
  const baseline = baselineSchema.safeParse(row.baseline);
  return baseline.success ? baseline.data.users + baseline.data.groups : null;
}

/** The connection's mappings, scope and predicates, compiled. */
export function mapperOf(open: OpenConnection): Mapper {
  return compileMapper({
    mappings: open.mappings,
    scope: open.policy.scope,
    keys: expressionsOf(open.policy.correlation),
    predicates: open.roleMappings.flatMap((rule) =>
      rule.predicate === null ? [] : [{ id: rule.id, expression: rule.predicate }],
    ),
  });
}
