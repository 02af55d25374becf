/**
 * One run, phase by phase (design.md section 7). Each transaction starts with the fence; the plan is finished and
 * guarded before the first write to a user; a run that is taken over after its plan goes on applying that plan.
 */
import { RollcallError, describeError, isRollcallError } from '../../core/errors.ts';
import type { RunId, TenantId } from '../../core/ids.ts';
import type { PhaseProgress } from '../../core/progress.ts';
import { baselineSchema, checkPlausibility, type Implausibility } from '../../core/sanity.ts';
import { grantableRoles, isWithinCeiling } from '../../core/roles.ts';
import type { RunPhase } from '../../core/vocabulary.ts';
import { isPassingFailure, type Db, type TenantTx } from '../../db/db.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';
import { applyPlan, type ApplyScope } from '../apply/apply.ts';
import { settleLinks } from '../apply/links.ts';
import { countPlanned, deleteChanges, insertChanges, type NewChange } from '../plan/changes.ts';
import { openConnection, type ConnectionsDeps, type OpenConnection } from '../connections/connections.ts';
import { updateConnectionRow } from '../connections/connections-store.ts';
import { noteSuccess } from '../connections/quarantine.ts';
import { decisionContext } from '../plan/decision-context.ts';
import { judgePlan, type Judgment, type PlanOfRun } from '../plan/judge.ts';
import { startHeartbeat } from './heartbeat.ts';
import { trackProgress } from './progress.ts';
import { skipRowsOfStopped } from './stop-run.ts';
import { measureReading, type ReadingCounts } from '../mirror/measure.ts';
import { mergeStage, type MirrorCounts } from '../mirror/mirror.ts';
import { chooseComparison, comparisonSchema, noteCompared, type Comparison } from '../plan/comparison.ts';
import { writePlan } from '../plan/plan.ts';
import { writeUndoPlan } from '../undo/undo-plan.ts';
import type { UndoneRun } from '../undo/undo-apply.ts';
import { proveAbsence } from '../mirror/prove.ts';
import { readDirectory, type Read } from '../mirror/read-directory.ts';
import { dropOwnStage } from '../mirror/stage.ts';
import { recordApplied, recordFailure, recordPlan, recordUndone } from './record.ts';
import { requireMostlyGood, requireUnpaused } from './refusals.ts';
import { refreshStatistics } from '../mirror/statistics.ts';
import {
  beat,
  checkFence,
  claimRun,
  handOver,
  isPoisonous,
  mustFindRun,
  setPhase,
  type ClaimedRun,
  type RunSummary,
} from './runs-store.ts';

export type Progress = PhaseProgress & { readonly runId: RunId };

export type RunDeps = ConnectionsDeps & { readonly db: Db; readonly clock: Clock; readonly log: Logger };

export type ExecuteOptions = {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** How often the worker says it lives; the sweeper waits for several missed ones. */
  readonly heartbeatMs?: number;
  /** How often a changed progress is written for those who watch; a second unless given. */
  readonly progressMs?: number;
};

/** Executes a queued run to its end and returns what became of it. Throws only when the run could not be recorded. */
export async function executeRun(
  deps: RunDeps,
  tenantId: TenantId,
  runId: RunId,
  options: ExecuteOptions,
): Promise<RunSummary> {
  const claimed = await deps.db.tenant(tenantId, (tx) => claimRun(tx, runId));
  const live = new LiveRun(deps, claimed, options);
  await using _beating = live.startBeating(options.heartbeatMs ?? 10_000);
  try {
    await live.execute();
  } catch (error) {
    await live.fail(error);
  } finally {
    await dropOwnStage(deps.db, claimed);
  }
  return deps.db.tenant(tenantId, (tx) => mustFindRun(tx, runId));
}

/** What an apply writes to. */
const appliedTables = ['users', 'links', 'grants', 'memberships', 'changes'] as const;

class LiveRun {
  readonly #deps: RunDeps;
  readonly #run: ClaimedRun;
  readonly #options: ExecuteOptions;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #log: Logger;
  readonly #seconds: Record<string, number> = {};
  readonly #progress = trackProgress(() => performance.now());
  #applied = 0;
  #phase: RunPhase = 'claim';
  #phaseStarted = performance.now();
  /** What the plan compared, here or in the execution that made it. */
  #compared: Comparison | null;
  /** Whom it decided, if in this execution. */
  #decided: readonly string[] | null = null;

  constructor(deps: RunDeps, run: ClaimedRun, options: ExecuteOptions) {
    this.#deps = deps;
    this.#run = run;
    this.#compared = comparisonSchema.safeParse(run.counts['compared']).data ?? null;
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
    this.#log = deps.log.child({ runId: run.id, connectionId: run.connectionId });
  }

  /** A heartbeat that finds another epoch stops the run at once. */
  startBeating(everyMs: number): AsyncDisposable {
    const stop = () => this.#stop.abort(new RollcallError('fenced', 'The run was canceled or taken over.'));
    return startHeartbeat({
      db: this.#deps.db,
      run: this.#run,
      everyMs,
      progressMs: this.#options.progressMs ?? 1000,
      takeProgress: () => this.#progress.take(),
      onLost: stop,
      log: this.#log,
    });
  }

  async execute(): Promise<void> {
    this.#log.info({ kind: this.#run.kind, mode: this.#run.mode, epoch: this.#run.epoch }, 'run started');
    if (isPoisonous(this.#run)) {
      throw new RollcallError(
        'internal',
        `This run was started ${this.#run.epoch} times and never ended; it is not tried again.`,
        { remedy: 'Look into the log of the workers for how they ended, then start a new run.' },
      );
    }
    const open = await this.#fenced((tx) => openConnection(tx, this.#deps.connectors, this.#run.connectionId));
    if (open.row.version !== this.#run.connectionVersion) {
      throw new RollcallError('connection_state', `${open.row.name} was changed after this run was asked for.`, {
        remedy: 'Start a new run: it uses the new settings.',
      });
    }
    // an undo pauses its connection itself
    const wouldApply = this.#run.mode === 'auto' || this.#run.isApproved;
    if (wouldApply && this.#run.kind !== 'undo') requireUnpaused(open.row);
    // a plan that was finished (approved, or being applied when its worker died) is applied as it stands
    if (this.#run.isApproved || this.#run.phase === 'apply' || this.#run.phase === 'record')
      return this.#applyAndRecord(open, null);
    await this.#fenced((tx) => deleteChanges(tx, this.#run.id));
    if (this.#run.undone !== null) {
      if ((await this.#planUndo(open, this.#run.undone)) === 'apply') await this.#applyAndRecord(open, null);
      return;
    }
    // an object run settles what pushes left open: the mirror is up to date already
    const read = this.#run.kind === 'object' ? null : await this.#read(open);
    const implausible = read === null ? [] : await this.#mirror(open, read);
    const planned = await this.#plan(open, read, implausible);
    if (planned === 'done') return;
    await this.#applyAndRecord(open, read);
  }

  // ---------------------------------------------------------------- fetch and mirror

  async #read(open: OpenConnection): Promise<Read> {
    await this.#enter('fetch', {});
    return readDirectory({
      deps: this.#deps,
      open,
      run: this.#run,
      signal: this.#signal,
      inTransaction: (work) => this.#fenced(work),
      onProgress: (done, total, message) => this.#report(done, total, message, true),
      log: this.#log,
    });
  }

  /** Merges the stage and judges the reading; returns why it is not plausible. */
  async #mirror(open: OpenConnection, read: Read): Promise<Implausibility[]> {
    await this.#enter('mirror', { fetched: read.result.counts, mode: read.result.mode });
    const merged = await this.#fenced(async (tx): Promise<MirrorCounts> => {
      const counts = await mergeStage(tx, this.#run.connectionId, read.stage.tables, read.stage.counts);
      const isFull = read.result.mode === 'full';
      await tx.sql`update runs set kind = ${read.result.mode} where tenant_id = ${tx.tenantId} and id = ${this.#run.id}`;
      if (isFull || read.result.cursor !== null) {
        await updateConnectionRow(tx, this.#run.connectionId, {
          cursor: read.result.cursor,
          ...(isFull ? { lastFullAt: this.#deps.clock.now().toISOString() } : {}),
        });
      }
      return counts;
    });
    await dropOwnStage(this.#deps.db, this.#run);
    await refreshStatistics(this.#deps.db, merged.objectsWritten + merged.edgesAdded, [
      'mirror_objects',
      'mirror_edges',
    ]);
    await this.#enter('sanity', { mirrored: merged });
    if (read.result.mode !== 'full') return [];
    const stored = baselineSchema.safeParse(open.row.baseline);
    const baseline = stored.success ? stored.data : null;
    const reading = await this.#fenced((tx) =>
      measureReading(tx, this.#run.connectionId, read.result.counts, baseline),
    );
    return checkPlausibility(reading, baseline);
  }

  // ---------------------------------------------------------------- plan and guard

  async #plan(open: OpenConnection, read: Read | null, implausible: Implausibility[]): Promise<'done' | 'apply'> {
    await this.#enter('prove', {});
    const proven = await proveAbsence(
      this.#deps,
      open,
      (work) => this.#fenced(work),
      this.#signal,
      (done, total) => this.#report(done, total),
    );
    await this.#enter('decide', { proven });
    const isFirst = open.row.approvedVersion === null;
    const { subjects, anchors } = await this.#fenced(async (tx) => {
      const context = await decisionContext(tx, open, this.#deps);
      this.#compared = await chooseComparison(tx, this.#run.connectionId);
      return writePlan(tx, {
        runId: this.#run.id,
        connectionId: this.#run.connectionId,
        correlation: open.policy.correlation,
        context,
        comparison: this.#compared,
        insert: (rows) => this.#insert(rows),
        onProgress: (done, total) => this.#report(done, total),
      });
    });
    this.#decided = anchors;
    await refreshStatistics(this.#deps.db, subjects, ['changes']);
    await this.#enter('guard', { subjects, compared: this.#compared });
    const judged = await this.#fenced((tx) => judgePlan(tx, this.#planOf(open, isFirst, implausible)));
    const mustStop = this.#run.mode === 'plan' || isFirst || implausible.length > 0;
    if (judged.digest === null || !mustStop) {
      // a person who asked for a plan reads the faults in it; a run that would act on the rest stops here
      if (this.#run.mode === 'auto' && read !== null) {
        requireMostlyGood(read.result.counts.problems, read.result.counts.users, 'read', open.policy.quarantine);
      }
      return 'apply';
    }
    return this.#stopAtPlan(open, read, judged, implausible.length === 0);
  }

  /** The rows of the undone run, turned around; two persons where the connection's changes need two. */
  async #planUndo(open: OpenConnection, undone: UndoneRun): Promise<'done' | 'apply'> {
    await this.#enter('decide', {});
    const { id: runId, connectionId } = this.#run;
    const grantable = grantableRoles.filter((role) => isWithinCeiling(role, open.connection.ceiling));
    const subjects = await this.#fenced((tx) =>
      writeUndoPlan(tx, { runId, undoOf: undone.id, connectionId, scope: undone.scope, grantable }),
    );
    await refreshStatistics(this.#deps.db, subjects, ['changes']);
    await this.#enter('guard', { subjects });
    const judged = await this.#fenced((tx) => judgePlan(tx, this.#planOf(open, false, [])));
    const mustStop = this.#run.mode === 'plan' || judged.guard !== null || open.policy.approval.approvers > 1;
    return judged.digest === null || !mustStop ? 'apply' : this.#stopAtPlan(open, null, judged, true);
  }

  #planOf(open: OpenConnection, isFirst: boolean, implausible: readonly Implausibility[]): PlanOfRun {
    const { id: runId, connectionId, kind } = this.#run;
    return { runId, connectionId, isFirst, isUndo: kind === 'undo', limits: open.policy.guards, implausible };
  }

  async #insert(rows: readonly NewChange[]): Promise<void> {
    if (rows.length === 0) return;
    const { id: runId, connectionId } = this.#run;
    await this.#fenced((tx) => insertChanges(tx, { runId, connectionId, requestId: null }, rows));
  }

  async #stopAtPlan(open: OpenConnection, read: Read | null, judged: Judgment, isPlausible: boolean): Promise<'done'> {
    const isHeld = judged.guard !== null;
    await this.#fenced(async (tx) => {
      await recordPlan(tx, this.#scope(open), { ...judged, isHeld }, this.#close());
      await this.#noteSuccess(tx, open);
      if (isPlausible && read !== null && read.result.mode === 'full') await this.#saveBaseline(tx, read.result.counts);
    });
    this.#log.info({ held: isHeld }, 'run waits for approval');
    return 'done';
  }

  // ---------------------------------------------------------------- apply and record

  async #applyAndRecord(open: OpenConnection, read: Read | null): Promise<void> {
    await this.#enter('apply', {});
    const scope = this.#scope(open);
    const planned = await this.#fenced((tx) => countPlanned(tx, this.#run.id));
    const applied = await applyPlan(
      scope,
      (work) => this.#fenced(work),
      (done, failed) => {
        this.#applied = done;
        this.#report(done, planned);
        requireMostlyGood(failed, done, 'applied', open.policy.quarantine);
      },
    );
    await refreshStatistics(this.#deps.db, applied, appliedTables);
    await this.#enter('record', {});
    // before any row is marked as waiting elsewhere: what waits must stay open
    if (scope.undone === null) await settleLinks((work) => this.#fenced(work), scope, this.#decided);
    await this.#fenced(async (tx) => {
      if (scope.undone === null) {
        await recordApplied(tx, scope, this.#run.connectionVersion, this.#close());
        if (this.#compared !== null) await noteCompared(tx, scope, this.#compared);
      } else await recordUndone(tx, scope, scope.undone, this.#close());
      const reading = this.#fullReading(read);
      if (reading !== null) await this.#saveBaseline(tx, reading);
      await this.#noteSuccess(tx, open);
    });
    this.#log.info({ seconds: this.#seconds }, 'run ended');
  }

  /** An approved plan or an undo says nothing about the directory, nor does an object run where there is one to read. */
  async #noteSuccess(tx: TenantTx, open: OpenConnection): Promise<void> {
    const { kind, isApproved } = this.#run;
    if (isApproved || kind === 'undo' || (kind === 'object' && open.row.kind !== 'scim')) return;
    await noteSuccess(tx, this.#deps, { runId: this.#run.id, connectionId: this.#run.connectionId });
  }

  #scope(open: OpenConnection): ApplyScope {
    const { id: runId, connectionId, undone } = this.#run;
    return { runId, connectionId, connectionName: open.row.name, undone };
  }

  /** Of this execution, or of the one that made the plan which is applied now: approved, it is what later ones compare with. */
  #fullReading(read: Read | null): ReadingCounts | null {
    if (read !== null) return read.result.mode === 'full' ? read.result.counts : null;
    if (this.#run.kind !== 'full') return null;
    const stored = baselineSchema.safeParse(this.#run.counts['fetched']);
    return stored.success ? stored.data : null;
  }

  async #saveBaseline(tx: TenantTx, counts: ReadingCounts): Promise<void> {
    const { newUsers: _newUsers, ...measured } = await measureReading(tx, this.#run.connectionId, counts, null);
    // the database's clock, because it dates the objects that this is compared with
    const [now] = await tx.sql<{ at: string }[]>`select now() as at`;
    await updateConnectionRow(tx, this.#run.connectionId, { baseline: { ...measured, at: now?.at } });
  }

  /** A failed run changes nobody: what was applied before the fault is recorded on its rows. */
  async fail(error: unknown): Promise<void> {
    const isStopping = this.#options.signal.aborted;
    let isOurs = !isRollcallError(error, 'fenced') && !this.#stop.signal.aborted;
    if (isOurs && (isStopping || isPassingFailure(error))) {
      // nothing is wrong with the run: the queue gives it to a worker again, which finds it where this one left it
      isOurs = await this.#deps.db.tenant(this.#run.tenantId, (tx) => handOver(tx, this.#run));
      if (isOurs) this.#log.info({ phase: this.#phase, ...(isStopping ? {} : { err: error }) }, 'run handed over');
      if (isOurs && isStopping) return;
      if (isOurs) throw error;
    } else if (isOurs) isOurs = await this.#deps.db.tenant(this.#run.tenantId, (tx) => beat(tx, this.#run));
    if (!isOurs) {
      this.#log.warn({ err: error }, 'run stopped: no longer ours');
      await this.#deps.db.tenant(this.#run.tenantId, (tx) => skipRowsOfStopped(tx, this.#run.id));
      // the next run goes on from here, and must not be planned for tables as they were
      return refreshStatistics(this.#deps.db, this.#applied, appliedTables);
    }
    const known =
      error instanceof RollcallError ? error : new RollcallError('internal', describeError(error), { cause: error });
    this.#log.error({ err: error, phase: this.#phase }, 'run failed');
    const failure = { phase: this.#phase, seconds: this.#close(), error: known };
    await this.#fenced((tx) => recordFailure(tx, this.#deps, this.#run, failure));
  }

  // ---------------------------------------------------------------- small parts

  async #enter(phase: RunPhase, counts: Readonly<Record<string, unknown>>): Promise<void> {
    this.#close();
    this.#phase = phase;
    this.#report(0, null);
    await this.#fenced((tx) => setPhase(tx, this.#run.id, phase, counts));
  }

  #close(): Record<string, number> {
    const now = performance.now();
    const spent = (now - this.#phaseStarted) / 1000;
    this.#seconds[this.#phase] = Number(((this.#seconds[this.#phase] ?? 0) + spent).toFixed(3));
    this.#phaseStarted = now;
    return this.#seconds;
  }

  #report(done: number, total: number | null, message: string | null = null, isEstimate = false): void {
    const progress = this.#progress.report({ phase: this.#phase, done, total, message, isEstimate });
    this.#options.onProgress?.({ ...progress, runId: this.#run.id });
  }

  #fenced<T>(work: (tx: TenantTx) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    return this.#deps.db.tenant(this.#run.tenantId, async (tx) => {
      await checkFence(tx, this.#run);
      return work(tx);
    });
  }
}
