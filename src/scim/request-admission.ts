/** How much of what a connection sends is recorded: a load test must not fill the disk, an identity provider is never that fast. */
import { newId, type ConnectionId, type TenantId } from '../core/ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { RequestEntry } from './request-log.ts';

export type LoggedCaller = { readonly tenantId: TenantId; readonly connectionId: ConnectionId };

export type Admission = {
  admits(caller: LoggedCaller, status: number): boolean;
  hasSummaries(): boolean;
  /** What was left out in the seconds that are over, as entries of their own. */
  takeSummaries(): RequestEntry[];
};

const successesPerSecond = 100;
const errorsPerSecond = 200;

type Window = {
  readonly caller: LoggedCaller;
  second: number;
  successes: number;
  errors: number;
  omitted: number;
};

export function createAdmission(clock: Pick<Clock, 'now'>): Admission {
  const windows = new Map<ConnectionId, Window>();
  const secondNow = () => Math.floor(clock.now().getTime() / 1_000);
  return {
    admits(caller, status) {
      const second = secondNow();
      const known = windows.get(caller.connectionId);
      const window = known ?? { caller, second, successes: 0, errors: 0, omitted: 0 };
      if (known === undefined) windows.set(caller.connectionId, window);
      if (window.second !== second) Object.assign(window, { second, successes: 0, errors: 0 });
      const isAdmitted =
        status >= 400 ? (window.errors += 1) <= errorsPerSecond : (window.successes += 1) <= successesPerSecond;
      if (!isAdmitted) window.omitted += 1;
      return isAdmitted;
    },
    hasSummaries: () => windows.size > 0,
    takeSummaries: () => takeSummaries(windows, secondNow(), clock.now()),
  };
}

function takeSummaries(windows: Map<ConnectionId, Window>, second: number, now: Date): RequestEntry[] {
  const summaries: RequestEntry[] = [];
  for (const [connectionId, { caller, omitted, second: counted }] of windows) {
    if (counted === second) continue;
    windows.delete(connectionId);
    if (omitted > 0) summaries.push(summaryOf(caller, omitted, now));
  }
  return summaries;
}

function summaryOf({ tenantId, connectionId }: LoggedCaller, omitted: number, now: Date): RequestEntry {
  return {
    id: newId(),
    tenantId,
    connectionId,
    at: now.toISOString(),
    tokenId: null,
    method: '',
    path: '',
    status: 0,
    scimType: null,
    reason: `${omitted} further requests were not recorded: there were too many a second.`,
    durationMs: 0,
    clientAddress: null,
    userAgent: null,
    body: null,
    bodyBytes: 0,
  };
}
