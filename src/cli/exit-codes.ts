/** What the exit code of a command means; scripts rely on it (docs, README). */
import { isRollcallError, type ErrorCode } from '../core/errors.ts';

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** Only with --exit-code: there are changes. */
  changes: 3,
  /** It waits for a person: held by a guard, a first plan, or a second approval is missing. */
  held: 4,
  partly: 5,
  forbidden: 6,
  locked: 7,
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const byError: Partial<Record<ErrorCode, ExitCode>> = {
  invalid_config: exitCodes.usage,
  invalid_input: exitCodes.usage,
  unauthenticated: exitCodes.forbidden,
  forbidden: exitCodes.forbidden,
  second_approver: exitCodes.forbidden,
  run_live: exitCodes.locked,
  fenced: exitCodes.locked,
};

export function exitCodeOf(error: unknown, isStopped: boolean): ExitCode {
  if (isStopped) return exitCodes.interrupted;
  return isRollcallError(error) ? (byError[error.code] ?? exitCodes.failed) : exitCodes.failed;
}
