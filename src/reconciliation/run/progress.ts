/**
 * How far a run has come. Its worker keeps it in memory and writes it into the run's row with the sign of life, at most
 * once a second and only when it changed: one small update a second, whatever the size of the directory.
 */
import { measurePace, type PhaseProgress } from '../../core/progress.ts';
import type { RunPhase } from '../../core/vocabulary.ts';

export type Report = {
  readonly phase: RunPhase;
  readonly done: number;
  readonly total?: number | null;
  readonly isEstimate?: boolean;
  readonly message?: string | null;
};

export type ProgressTracker = {
  report(report: Report): PhaseProgress;
  /** What changed since it was last taken, measured now; null when nothing did. */
  take(): PhaseProgress | null;
};

export function trackProgress(nowMs: () => number): ProgressTracker {
  let current: Required<Report> | null = null;
  let startedMs = nowMs();
  let isNew = false;
  const measure = ({ phase, done, total, isEstimate, message }: Required<Report>): PhaseProgress => ({
    phase,
    done,
    total,
    isEstimate,
    message,
    ...measurePace(done, total, nowMs() - startedMs),
  });
  return {
    report: (report) => {
      if (report.phase !== current?.phase) startedMs = nowMs();
      current = { total: null, isEstimate: false, message: null, ...report };
      isNew = true;
      return measure(current);
    },
    take: () => {
      if (!isNew || current === null) return null;
      isNew = false;
      return measure(current);
    },
  };
}
