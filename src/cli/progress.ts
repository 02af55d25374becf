/** Progress on stderr: on a terminal one line that is overwritten, else a line every few seconds. */
import type { Output } from '../app/app.ts';
import type { Progress } from '../reconciliation/reconciliation.ts';
import { formatCount } from './output.ts';

export type ProgressLine = { show(progress: Omit<Progress, 'runId'>): void; end(): void };

const terminalEveryMs = 100;
const lineEveryMs = 5000;

export function createProgressLine(output: Output, nowMs: () => number): ProgressLine {
  let phase: string | null = null;
  let shownMs = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  return {
    show: (progress) => {
      const now = nowMs();
      const isNewPhase = progress.phase !== phase;
      phase = progress.phase;
      const isDue = now - shownMs >= (output.isTty ? terminalEveryMs : lineEveryMs);
      if (!isDue && !isNewPhase) return;
      shownMs = now;
      const text = describeProgress(progress);
      // CSI K clears what the longer line before left behind
      output.write(output.isTty ? `\r${text}\u001b[K` : `${text}\n`);
      isOpen = output.isTty;
    },
    end: () => {
      if (isOpen) output.write('\n');
      isOpen = false;
    },
  };
}

/** `fetch: 12,000 of about 50,000, 4,000/s, 10 s left` */
export function describeProgress(progress: Omit<Progress, 'runId'>): string {
  const { phase, done, total, isEstimate, perSecond, etaSeconds, message } = progress;
  const of = total === null ? '' : ` of ${isEstimate ? 'about ' : ''}${formatCount(total)}`;
  const parts = [
    done === 0 && total === null ? phase : `${phase}: ${formatCount(done)}${of}`,
    ...(perSecond === null ? [] : [`${formatCount(perSecond)}/s`]),
    ...(etaSeconds === null || etaSeconds === 0 ? [] : [`${formatDuration(etaSeconds)} left`]),
    ...(message === null ? [] : [message]),
  ];
  return parts.join(', ');
}

function formatDuration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
