/** Progress on stderr: on a terminal one line that is overwritten, else a line every few seconds. */
import type { Output } from '../app/app.ts';
import type { Progress } from '../reconciliation/reconciliation.ts';
import { formatCount } from './output.ts';

export type ProgressLine = { show(progress: Progress): void; end(): void };

const terminalEveryMs = 100;
const lineEveryMs = 5000;

export function createProgressLine(output: Output, nowMs: () => number): ProgressLine {
  let phase: string | null = null;
  let phaseStartedMs = 0;
  let shownMs = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  return {
    show: (progress) => {
      const now = nowMs();
      const isNewPhase = progress.phase !== phase;
      if (isNewPhase) {
        phase = progress.phase;
        phaseStartedMs = now;
      }
      const isDue = now - shownMs >= (output.isTty ? terminalEveryMs : lineEveryMs);
      if (!isDue && !isNewPhase) return;
      shownMs = now;
      const text = describeProgress(progress, now - phaseStartedMs);
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

/** `fetch: 12,000 of 50,000, 4,000/s` */
export function describeProgress(progress: Progress, elapsedMs: number): string {
  const total = progress.total === null ? '' : ` of ${formatCount(progress.total)}`;
  const perSecond =
    elapsedMs >= 1000 && progress.done > 0 ? `, ${formatCount(Math.round((progress.done * 1000) / elapsedMs))}/s` : '';
  const message = progress.message === null ? '' : `, ${progress.message}`;
  const count = progress.done === 0 && progress.total === null ? '' : `: ${formatCount(progress.done)}${total}`;
  return `${progress.phase}${count}${perSecond}${message}`;
}
