/** Look-up keys of mirror objects. */
import { textKey } from '../../core/text-keys.ts';

/** Look-up keys of a mapped user, as the mirror stores them. */
export function keysOf(mapped: Readonly<Record<string, string | null>>): {
  userNameKey: string | null;
  emailKey: string | null;
  employeeIdKey: string | null;
} {
  return {
    userNameKey: textKey(mapped['username']),
    emailKey: textKey(mapped['email']),
    employeeIdKey: textKey(mapped['employeeId']),
  };
}
