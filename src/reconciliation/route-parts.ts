/** What the routes of this room share: who may, and how ids and facts look on the wire. */
import { z } from 'zod';
import type { RunId } from '../core/ids.ts';
import { requireId } from '../core/require-id.ts';
import { runKinds, runModes, runPhases, runStatuses } from '../core/vocabulary.ts';
import type { Principal } from '../platform/route.ts';
import type { Reconciliation } from './reconciliation.ts';

export const view = { object: 'directories', level: 'view' } as const;
export const full = { object: 'directories', level: 'full' } as const;
export const connectionParams = z.strictObject({ connectionId: z.string() });
export const runParams = z.strictObject({ runId: z.string() });
export const textOrNull = z.string().nullable();
export const facts = z.record(z.string(), z.unknown());

export const runBody = z.object({
  id: z.string(),
  connectionId: z.string(),
  connectionName: z.string(),
  connectionVersion: z.int(),
  kind: z.enum(runKinds),
  mode: z.enum(runModes),
  status: z.enum(runStatuses),
  phase: z.enum(runPhases).nullable(),
  requestedBy: z.string(),
  scheduledFor: textOrNull,
  startedAt: textOrNull,
  finishedAt: textOrNull,
  isFirst: z.boolean(),
  counts: facts,
  progress: facts.nullable().describe('Of the phase under way: how far, how fast, and when it will be done.'),
  digest: textOrNull,
  guard: facts.nullable(),
  approvedBy: textOrNull,
  approvals: z.array(facts).readonly(),
  undoOf: textOrNull,
  undoScope: facts.nullable(),
  error: facts.nullable(),
  createdAt: z.string(),
});

/** The run an address names; throws invalid_input, and not_found for one that is out of the caller's reach. */
export async function reachedRun(
  { reconciliation }: Pick<RoutesDeps, 'reconciliation'>,
  principal: Principal,
  params: z.output<typeof runParams>,
): Promise<RunId> {
  const runId = requireId<RunId>(params.runId, 'run');
  await reconciliation.reach.requireRun(principal, runId);
  return runId;
}

export type RoutesDeps = {
  readonly reconciliation: Reconciliation;
  /** Hands a queued run to a worker. */
  readonly dispatch: (run: {
    readonly tenantId: string;
    readonly runId: RunId;
    readonly connectionId: string;
  }) => Promise<void>;
};
