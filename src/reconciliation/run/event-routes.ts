/** GET /runs/:runId/events: a run as server-sent events, until it rests. */
import { streamRoute, type Route } from '../../platform/route.ts';
import { eventStreamHeaders, formatComment, formatEvent, formatRetry } from '../../platform/server-sent-events.ts';
import { reachedRun, runParams, view, type RoutesDeps } from '../route-parts.ts';
import { toState, type RunState } from './watch-runs.ts';

/** After this the client comes again with its credential, which may have been revoked meanwhile. */
const longestMs = 10 * 60_000;
const retryMs = 3000;

export function eventRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    streamRoute({
      path: '/runs/:runId/events',
      summary:
        'A run as server-sent events: `progress` with phase, counts, rate and time left, and `end` when it rests. A client that reconnects after the end is answered 204.',
      permission: view,
      params: runParams,
      contentTypes: ['text/event-stream'],
      handler: async ({ params }, { principal, signal, header }) => {
        const runId = await reachedRun({ reconciliation }, principal, params);
        const seen = header('last-event-id');
        if (seen !== null) {
          const run = await reconciliation.getRun(principal.tenantId, runId);
          const state = toState({ ...run, runId });
          // 204 tells a browser not to come again (HTML Living Standard, section 9.2.3)
          if (!state.isLive && state.id === seen) return { headers: {}, body: null };
        }
        const until = AbortSignal.any([signal, AbortSignal.timeout(longestMs)]);
        const states = reconciliation.watchRun(principal.tenantId, runId, until);
        return { headers: eventStreamHeaders, body: toEvents(states, seen) };
      },
    }),
  ];
}

async function* toEvents(states: AsyncIterable<RunState | null>, seen: string | null): AsyncGenerator<string> {
  yield formatRetry(retryMs);
  for await (const state of states) {
    if (state === null) yield formatComment('still here');
    else if (state.id !== seen) {
      const { id, isLive, ...data } = state;
      yield formatEvent({ id, name: isLive ? 'progress' : 'end', data });
    }
  }
}
