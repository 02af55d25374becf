/** The standing of a connection as a sentence, the same in lists, on the API and in doctor. */
import type { ConnectionStatus } from './vocabulary.ts';

export type ConnectionStanding = {
  readonly status: ConnectionStatus;
  readonly statusReason: string | null;
  readonly failedRuns: number;
  /** RFC 3339; null unless in quarantine. */
  readonly quarantinedAt: string | null;
  readonly quarantineRetries: number;
  readonly nextRunAt: string | null;
};

/** `In quarantine since 2026-03-01 09:30Z after 5 failed runs: ... Next try 2026-03-01 10:00Z, after 2 in vain.` */
export function describeStanding(standing: ConnectionStanding): string | null {
  const { status, statusReason, failedRuns, quarantinedAt, quarantineRetries, nextRunAt } = standing;
  if (status === 'quarantined') {
    const runs = `${failedRuns} failed ${failedRuns === 1 ? 'run' : 'runs'}`;
    const since = quarantinedAt === null ? '' : ` since ${minuteOf(quarantinedAt)}`;
    const next = nextRunAt === null ? 'It is tried again by hand only' : `Next try ${minuteOf(nextRunAt)}`;
    const before = quarantineRetries === 0 ? '' : `, after ${quarantineRetries} in vain`;
    return `In quarantine${since} after ${runs}: ${sentence(statusReason ?? 'no reason is recorded')} ${next}${before}.`;
  }
  if (status === 'paused') return `Paused: ${sentence(statusReason ?? 'no reason is recorded')}`;
  if (failedRuns > 0) return `The last ${failedRuns === 1 ? 'run' : `${failedRuns} runs`} failed.`;
  return null;
}

function sentence(text: string): string {
  return /[.!?\])]$/.test(text) ? text : `${text}.`;
}

function minuteOf(time: string): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}
