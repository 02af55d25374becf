/** How fast a phase goes and when it will be done. Pure. */
import type { RunPhase } from './vocabulary.ts';

/** As stored with the sign of life of a run, and as shown. */
export type PhaseProgress = {
  readonly phase: RunPhase;
  readonly done: number;
  /** Null where nobody knows, as in the first read of a directory. */
  readonly total: number | null;
  /** True: the total is that of the last full read. */
  readonly isEstimate: boolean;
  readonly perSecond: number | null;
  readonly etaSeconds: number | null;
  /** Why nothing moves just now, e.g. that the directory asked us to wait. */
  readonly message: string | null;
};

/** Shorter than this and a rate is noise. */
const shortestMs = 1_000;

/** Average since the phase began: waiting counts, because more of it may come. */
export function measurePace(
  done: number,
  total: number | null,
  elapsedMs: number,
): Pick<PhaseProgress, 'perSecond' | 'etaSeconds'> {
  if (elapsedMs < shortestMs || done <= 0) return { perSecond: null, etaSeconds: null };
  const exact = (done * 1000) / elapsedMs;
  const perSecond = exact < 10 ? Number(exact.toFixed(1)) : Math.round(exact);
  // an estimate that was passed says nothing about the end
  if (total === null || done > total) return { perSecond, etaSeconds: null };
  return { perSecond, etaSeconds: Math.ceil((total - done) / exact) };
}
