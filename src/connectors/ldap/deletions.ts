/** Whether this account is told about deletions in Active Directory, and what it can see of them. */
import { isRollcallError } from '../../core/errors.ts';
import { controlOids, ValueControl } from './controls.ts';
import type { Directory } from './directory.ts';
import { isPresent } from './filter.ts';

/** MS-ADTS section 3.1.1.3.4.1.14, LDAP_SERVER_SHOW_DELETED_OID: a control without a value. */
function showDeletedControl(): ValueControl {
  return new ValueControl(controlOids.showDeleted, null, true);
}

/**
 * Deleted objects lie in a container that only administrators may read, unless somebody allows it to the account. Whoever
 * may not read it is told about no deletion, by no feed.
 */
export async function seesDeletions({ session, rootDse }: Directory): Promise<boolean> {
  const base = `CN=Deleted Objects,${rootDse.namingContexts[0] ?? ''}`;
  try {
    const [container] = await session.find({
      base,
      scope: 'base',
      filter: isPresent('objectClass'),
      attributes: ['isDeleted'],
      controls: [showDeletedControl()],
      doing: 'looking for deleted objects',
    });
    // Its name is shown to everybody, what stands in it only to those who may read it.
    return container?.has('isdeleted') === true;
  } catch (error) {
    // A refusal is an answer; a lost connection is none.
    if (isRollcallError(error) && error.details['resultCode'] !== undefined) return false;
    throw error;
  }
}
