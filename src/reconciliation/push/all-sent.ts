/** Work that is sent in one packet on one connection. */
import { databaseErrorCode, inFailedTransaction } from '../../db/db.ts';

/**
 * Waits for all of them: on one connection a failure must not leave the others behind. Throws the failure that broke
 * the transaction, not those that found it broken.
 */
export async function allSent<T extends readonly unknown[] | []>(
  work: T,
): Promise<{ -readonly [P in keyof T]: Awaited<T[P]> }> {
  const outcomes = await Promise.allSettled(work);
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
  if (failures.length > 0) {
    throw failures.find((failure) => databaseErrorCode(failure) !== inFailedTransaction) ?? failures[0];
  }
  return Promise.all(work);
}
