/** An id in a path that is not even a UUID names nothing: 404, like any id of another tenant, never a database error. */
import { RollcallError } from './errors.ts';
import { isUuid } from './ids.ts';

export function notFound(what: string): RollcallError {
  return new RollcallError('not_found', `There is no such ${what}.`, {
    remedy: 'Check the id, and that this credential acts in an organization at or above it.',
  });
}

/** The branded id, or `not_found` naming what was looked for. */
export function requireId<Id extends string>(text: string, what: string): Id {
  if (!isUuid(text)) throw notFound(what);
  return text.toLowerCase() as Id;
}
