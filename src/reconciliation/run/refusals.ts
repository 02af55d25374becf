/** When a run goes no further although nothing broke. */
import { RollcallError } from '../../core/errors.ts';
import type { QuarantineLimits } from '../../core/policy.ts';
import { isMostlyFailed } from '../../core/quarantine.ts';
import type { ConnectionStatus } from '../../core/vocabulary.ts';

type Named = { readonly name: string; readonly status: string; readonly statusReason: string | null };

/** Nothing is applied while a connection is paused; a plan can be made. */
export function requireUnpaused({ name, status, statusReason }: Named): void {
  if ((status as ConnectionStatus) !== 'paused') return;
  throw new RollcallError('connection_state', `${name} is paused${statusReason === null ? '' : `: ${statusReason}`}.`, {
    remedy: 'Resume it with: rollcall connections resume. A plan can be made while it is paused.',
  });
}

/** One bad object stops only itself; where most are bad, the rules or the source are. */
export function requireMostlyGood(
  failed: number,
  objects: number,
  what: 'read' | 'applied',
  limits: QuarantineLimits,
): void {
  if (!isMostlyFailed(failed, objects, limits)) return;
  const words =
    what === 'read'
      ? `${failed} of ${objects} users that were read can not be used`
      : `${failed} of ${objects} changes could not be applied`;
  throw new RollcallError('too_many_failures', `${words}: more than ${limits.failedObjects.percent} %.`, {
    remedy: 'Read the reasons with rollcall runs show; correct the mapping or the source, then retry the connection.',
    details: { failed, objects },
  });
}
